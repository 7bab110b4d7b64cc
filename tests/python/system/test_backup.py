"""Copies of a directory that a process under load writes to, compared with what that process had acknowledged."""

from __future__ import annotations

import asyncio
import mmap
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.python.system.support import on_small_disk

import flint
from flint import _native

KEYS = 10
CAPACITY = 10**9
BACKUPS = 20

# Checks go round the keys, so that any number of first calls leaves one possible total for each key. The number of
# acknowledged calls is in shared memory, which costs the loop nothing. A memoryview stores and loads it in one piece;
# the struct module would clear the place first and then go byte by byte.
WRITER = """
import mmap, sys
import flint
with open(sys.argv[2], "r+b") as file:
    board = memoryview(mmap.mmap(file.fileno(), 0)).cast("Q")
with flint.Limiter(sys.argv[1], sync=sys.argv[3], history_bytes=8 << 20) as limiter:
    keys = [f"k{number}" for number in range(10)]
    for key in keys:
        limiter.limit(key, 10**9, "7d", algorithm="fixed_window_counter")
    call = 0
    while not board[1]:
        limiter.check(keys[call % 10])
        call += 1
        board[0] = call
"""


class Writer:
    """The process, and what it has acknowledged."""

    def __init__(self, process: subprocess.Popen[bytes], board: memoryview, data: Path) -> None:
        self.process = process
        self.data = data
        self._board = board

    @property
    def acknowledged(self) -> int:
        assert self.process.poll() is None, "the writer has ended"
        return int(self._board[0])

    def wait_for(self, number: int) -> None:
        while self.acknowledged < number:
            time.sleep(0.01)

    def stop(self) -> None:
        self._board[1] = 1


@contextmanager
def writing(tmp_path: Path, sync: str) -> Iterator[Writer]:
    board_file = tmp_path / "board"
    board_file.write_bytes(bytes(16))
    with board_file.open("r+b") as file:
        board = memoryview(mmap.mmap(file.fileno(), 0)).cast("Q")
    data = tmp_path / "data"
    process = subprocess.Popen([sys.executable, "-c", WRITER, data, board_file, sync])
    writer = Writer(process, board, data)
    try:
        writer.wait_for(100)
        yield writer
        writer.stop()
        assert process.wait(60) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def check(copy: Path, least: int, most: int) -> int:
    """The copy is healthy, and is what some number of first calls left, history included. Returns that number."""
    report = _native.doctor(copy)
    assert (report["ok"], report["notes"]) == (True, []), report
    with flint.Limiter(copy, read_only=True) as limiter:
        assert limiter.recovery.clean
        statuses = [limiter.status(f"k{number}") for number in range(KEYS)]
        totals = [status.total_allowed for status in statuses if status is not None]
        calls = sum(totals)
        assert least <= calls <= most
        assert totals == [calls // KEYS + (number < calls % KEYS) for number in range(KEYS)]
        last = limiter.history(f"k{(calls - 1) % KEYS}", 1)[-1]
        assert (last.type, last.remaining) == ("ALLOW", CAPACITY - totals[(calls - 1) % KEYS])
    return calls


@pytest.mark.parametrize("sync", ["always", "batch"])
def test_copies_from_another_process_beside_a_writer_under_load(tmp_path: Path, sync: str) -> None:
    with writing(tmp_path, sync) as writer:
        seen = []
        for number in range(BACKUPS):
            copy = tmp_path / f"copy-{number}"
            before = writer.acknowledged
            report = _native.backup(writer.data, copy)
            seen.append(check(copy, before, writer.acknowledged + 1))
            assert report["bytes"] == sum(path.stat().st_size for path in copy.iterdir() if path.name != "flint.lock")
            shutil.rmtree(copy)
            # Some work in between: the copies come from different files.
            writer.wait_for(before + (60_000 if sync == "batch" else 20))
        assert seen == sorted(set(seen))
    assert sync == "always" or list(writer.data.glob("*.snapshot")), "no compaction took place"


def test_copies_in_the_process_itself(tmp_path: Path) -> None:
    acknowledged, done = 0, threading.Event()

    def work(limiter: flint.Limiter) -> None:
        nonlocal acknowledged
        while not done.is_set():
            limiter.check(f"k{acknowledged % KEYS}")
            acknowledged += 1

    with flint.Limiter(tmp_path / "data", sync="batch", history_bytes=1 << 20) as limiter:
        for number in range(KEYS):
            limiter.limit(f"k{number}", CAPACITY, "7d", algorithm="fixed_window_counter")
        worker = threading.Thread(target=work, args=(limiter,))
        worker.start()
        try:
            for number in range(BACKUPS):
                copy = tmp_path / f"copy-{number}"
                while acknowledged < 1_000 * (number + 1):
                    time.sleep(0.001)
                before = acknowledged
                if number % 2:
                    limiter.backup(copy)
                else:
                    asyncio.run(limiter.abackup(str(copy)))
                check(copy, before, acknowledged + 1)
        finally:
            done.set()
            worker.join()


def test_doctor_names_a_torn_copy(tmp_path: Path) -> None:
    """What `cp` makes beside a writer under load is healthy, or doctor says what it is."""
    torn = whole = 0
    with writing(tmp_path, "batch") as writer:
        deadline = time.monotonic() + 60
        while torn < 5 and time.monotonic() < deadline:
            copy = tmp_path / "copy"
            subprocess.run(["cp", "-a", writer.data, copy], stderr=subprocess.DEVNULL, check=False)
            report = _native.doctor(copy)
            if report["ok"]:
                whole += 1
            else:
                torn += 1
                assert all("torn copy" in problem for problem in report["problems"]), report
                with pytest.raises(flint.CorruptData, match="torn copy"):
                    flint.Limiter(copy)
            shutil.rmtree(copy)
            # The next one comes at another moment of the writer's files.
            writer.wait_for(writer.acknowledged + 1_000 * (torn + whole) % 7_000)
    assert torn >= 5, f"only {torn} of {torn + whole} copies were torn"


@pytest.mark.system
def test_room_is_checked_before_anything_is_written(tmp_path: Path) -> None:
    data, small = tmp_path / "data", tmp_path / "small"
    with flint.Limiter(data) as limiter:
        limiter.limit("k", "5/day")
    script = """
import errno, os, sys
import flint
data, small = sys.argv[1:]
with flint.Limiter(data) as limiter:
    try:
        limiter.backup(f"{small}/copy")
    except flint.StorageError as error:
        assert error.errno == errno.ENOSPC, error
        assert "needs 4259840 bytes" in str(error), error
        assert os.listdir(small) == []
        assert limiter.check("k").allowed
        print("refused")
"""
    done = subprocess.run(
        [*on_small_disk(small, "size=2m"), sys.executable, "-c", script, str(data), str(small)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == "refused\n", done


def test_a_killed_copy_leaves_nothing_under_its_name(tmp_path: Path) -> None:
    data, copy = tmp_path / "data", tmp_path / "copy"
    with flint.Limiter(data, sync="batch") as limiter:
        limiter.limit_many({"key": f"key:{number}", "rate": 9, "per": "1d"} for number in range(50_000))
    script = "import sys; from flint import _native; print('ready', flush=True); _native.backup(*sys.argv[1:])"
    killed = 0
    for attempt in range(12):
        with subprocess.Popen([sys.executable, "-c", script, data, copy], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            for _ in range(attempt * 20_000):
                pass
            process.kill()
            killed += process.wait() < 0
        if copy.exists():
            assert _native.doctor(copy)["ok"]
            shutil.rmtree(copy)
    assert killed >= 3
    _native.backup(data, copy)
    assert {path.name for path in tmp_path.iterdir()} == {"data", "copy"}
