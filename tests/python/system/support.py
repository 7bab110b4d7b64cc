"""Real processes for the tests of this folder."""

from __future__ import annotations

import contextlib
import functools
import os
import random
import select
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import flint

# Nothing here waits this long unless something hangs; then the process is killed and the test fails.
TIMEOUT_S = 60


@dataclass(frozen=True)
class Ran:
    """A process that has ended."""

    status: int
    out: str
    err: str

    def ok(self) -> Ran:
        """Itself, if the process succeeded."""
        assert self.status == 0, f"exit status {self.status}\n{self.out}\n{self.err}"
        return self


def environment() -> dict[str, str]:
    """As bare as a service's."""
    return {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH") if name in os.environ}


def command(code: str, *arguments: object, flags: Sequence[str] = (), wrapper: Sequence[str] = ()) -> list[str]:
    """The command line that runs `code` with `arguments` in a new interpreter, under `wrapper`."""
    script = textwrap.dedent(code)
    return [*wrapper, sys.executable, *flags, "-c", script, *(str(argument) for argument in arguments)]


def run(code: str, *arguments: object, flags: Sequence[str] = (), wrapper: Sequence[str] = ()) -> Ran:
    """Runs `code` in a process of its own until it ends."""
    done = subprocess.run(
        command(code, *arguments, flags=flags, wrapper=wrapper),
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


class Worker:
    """A running process that is talked to line by line."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.pid = process.pid

    def line(self) -> str:
        """The next line of its standard output; empty when it has ended."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().decode().rstrip("\n")

    def lines(self) -> list[bytes]:
        """All the rest of its standard output."""
        assert self.process.stdout is not None
        return self.process.stdout.readlines()

    def say(self, text: str = "") -> None:
        """Writes a line to its standard input."""
        assert self.process.stdin is not None
        self.process.stdin.write(text.encode() + b"\n")
        self.process.stdin.flush()

    def kill(self, number: int = signal.SIGKILL) -> int:
        """Sends a signal, waits for the end and gives the exit status."""
        self.process.send_signal(number)
        return self.process.wait()

    def end(self) -> Ran:
        """Closes its standard input and waits for it to end."""
        out, err = self.process.communicate()
        return Ran(self.process.returncode, out.decode(), err.decode())


@contextlib.contextmanager
def worker(
    code: str,
    *arguments: object,
    flags: Sequence[str] = (),
    wrapper: Sequence[str] = (),
    pass_fds: Sequence[int] = (),
    cwd: Path | None = None,
) -> Iterator[Worker]:
    """Starts `code` in a process of its own; it is dead when the block ends, and earlier if it hangs."""
    with subprocess.Popen(
        command(code, *arguments, flags=flags, wrapper=wrapper),
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=pass_fds,
        cwd=cwd,
    ) as process:
        watchdog = threading.Timer(TIMEOUT_S, process.kill)
        watchdog.start()
        try:
            yield Worker(process)
        finally:
            watchdog.cancel()
            if process.poll() is None:
                process.kill()


# A mount that only the process below it can see, and that goes away with it. No root is needed where user namespaces
# are allowed.
_MOUNT = 'mount -t tmpfs -o "$1" tmpfs "$2" && shift 2 && exec "$@"'


def on_small_disk(directory: Path, options: str) -> list[str]:
    """A wrapper for `run`: `directory` is a tmpfs with these mount options while the process runs."""
    directory.mkdir(exist_ok=True)
    rights = [] if os.geteuid() == 0 else ["--map-root-user"]
    return ["unshare", *rights, "--mount", "sh", "-c", _MOUNT, "sh", options, str(directory)]


# How to make each file system, in an image of so many MiB: the smallest that its tools make.
FILE_SYSTEMS = {
    "ext4": (64, ["mkfs.ext4", "-q", "-F"]),
    "xfs": (300, ["mkfs.xfs", "-q", "-m", "reflink=0"]),
    "xfs with reflink": (300, ["mkfs.xfs", "-q", "-m", "reflink=1"]),
    "btrfs": (120, ["mkfs.btrfs", "-q"]),
    "tmpfs": (64, []),
}
# The image is sparse, and the loop device goes away with the mount.
_MOUNT_IMAGE = 'mount -o loop "$1" "$2" && shift 2 && exec "$@"'


def on_file_system(kind: str, directory: Path) -> list[str]:
    """A wrapper for `run`: `directory` is an empty file system of this kind while the process runs.

    Loop devices need root. Where neither root nor `sudo` without a password is there, or the kernel lacks the file
    system, the test is left out, and the count of tested file systems in the evidence is too low.
    """
    mebibytes, make = FILE_SYSTEMS[kind]
    if not make:
        return on_small_disk(directory, f"size={mebibytes}m")
    directory.mkdir(exist_ok=True)
    image = directory.with_name(directory.name + ".image")
    with image.open("wb") as file:
        file.truncate(mebibytes << 20)
    subprocess.run([*make, str(image)], check=True, capture_output=True)
    rights = [] if os.geteuid() == 0 else ["sudo", "-n", "env", *(f"{k}={v}" for k, v in environment().items())]
    wrapper = [*rights, "unshare", "--mount", "sh", "-c", _MOUNT_IMAGE, "sh", str(image), str(directory)]
    done = subprocess.run([*wrapper, "true"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"{kind} cannot be mounted here: {done.stderr.strip()}")
    return wrapper


@functools.cache
def mounting_is_allowed() -> bool:
    """Whether `on_small_disk` works here: containers often forbid it."""
    with tempfile.TemporaryDirectory() as directory:
        try:
            done = subprocess.run(
                [*on_small_disk(Path(directory), "size=1m"), "true"], capture_output=True, check=False
            )
        except FileNotFoundError:
            return False
        if done.returncode != 0:
            print(f"No disk can be mounted here: {done.stderr.decode().strip()}")
        return done.returncode == 0


def on_full_disk(kind: str, directory: Path, options: str) -> list[str]:
    """A wrapper for `run` whose script fills its disk itself: "tmpfs" is `on_small_disk`, "file size" nothing at all.

    Where mounting is not allowed, the script finds no mount and limits its file sizes instead.
    """
    if kind == "tmpfs" and mounting_is_allowed():
        return on_small_disk(directory, options)
    print("A limit of the file size takes the place of a full disk.")
    return []


def seed() -> random.Random:
    """A source of chance whose seed is printed, so that a failure can be repeated with FLINT_TEST_SEED."""
    number = int(os.environ.get("FLINT_TEST_SEED") or random.SystemRandom().getrandbits(32))
    print(f"FLINT_TEST_SEED={number}")
    return random.Random(number)


def contents(directory: Path) -> dict[str, bytes]:
    """Every file of a directory."""
    return {
        str(path.relative_to(directory)): path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file()
    }


def state(limiter: flint.Limiter) -> list[dict[str, object]]:
    """What the limiter knows of every key that does not depend on the moment."""
    return [
        {
            "key": status.key,
            "rate": status.rate,
            "per_millis": status.per_millis,
            "burst": status.burst,
            "algorithm": status.algorithm,
            "total_allowed": status.total_allowed,
            "total_allowed_cost": status.total_allowed_cost,
        }
        for status in limiter.list()
    ]


def segment(directory: Path) -> Path:
    """The newest log segment."""
    return max(directory.glob("flint-*.aof"))


def without(findings: dict[str, bytes], *names: str) -> dict[str, bytes]:
    """The same without some files, such as the lock, which every attempt to open may write."""
    return {name: data for name, data in findings.items() if name not in names}


def ended(pid: int) -> None:
    """Waits until a process that is not a child of this one has ended; everything it had open is closed then."""
    try:
        watch = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        readable, _, _ = select.select([watch], [], [], TIMEOUT_S)
        assert readable, f"process {pid} did not end"
    finally:
        os.close(watch)


def opened_when_free(data_dir: Path, **options: Any) -> flint.Limiter:
    """Opens a directory whose lock is about to be released: by a process that ends, or a child that has not run yet."""
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        try:
            return flint.Limiter(data_dir, **options)
        except flint.DataDirLocked:
            if time.monotonic() > deadline:
                raise
