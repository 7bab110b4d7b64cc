"""One writer per directory; the error of any other names its process and what to do."""

from __future__ import annotations

import logging
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.python.system.support import mounting_is_allowed, run, worker

import flint

HOLDER = """
import flint, sys
limiter = flint.Limiter(sys.argv[1])
limiter.limit("a", "100/hour", algorithm="fixed_window_counter")
limiter.check("a")
print("open", flush=True)
for line in sys.stdin:
    print(limiter.check("a").remaining, flush=True)
"""
REMEDIES = ("one worker", " server start --unix ", 'flint.SharedLimiter("unix:///', "read_only=True")


def test_another_process_is_named_with_the_remedies(tmp_path: Path) -> None:
    script = tmp_path / "holder.py"
    script.write_text(HOLDER)
    code = "import os, sys; os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    with worker(code, script, tmp_path, "a-word-of-its-command-line") as holder:
        assert holder.line() == "open"
        with pytest.raises(flint.DataDirLocked) as refused:
            flint.Limiter(tmp_path)
        message = str(refused.value)
        assert refused.value.pid == holder.pid
        assert refused.value.path == str(tmp_path)
        for part in (str(tmp_path), str(holder.pid), "a-word-of-its-command-line", *REMEDIES):
            assert part in message, part
        assert "in this process" not in message
        assert "\n" not in message
        # The holder is not disturbed.
        holder.say()
        assert holder.line() == "98"
        assert holder.end().ok().err == ""
    with flint.Limiter(tmp_path) as limiter:
        assert limiter.recovery.clean


def test_the_error_in_this_process_says_so(tmp_path: Path) -> None:
    with flint.Limiter(tmp_path) as limiter:
        with pytest.raises(flint.DataDirLocked, match="imported twice") as refused:
            flint.Limiter(tmp_path)
        assert refused.value.pid == os.getpid()
        assert "in this process" in str(refused.value)
        assert "read_only=True" in str(refused.value)
        limiter.limit("a", "1/m")
        assert limiter.allow("a")
    flint.Limiter(tmp_path).close()


def test_a_symbolic_link_is_no_way_around(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "data")
    with flint.Limiter(tmp_path / "data"), pytest.raises(flint.DataDirLocked):
        flint.Limiter(tmp_path / "link")
    with flint.Limiter(tmp_path / "link"), pytest.raises(flint.DataDirLocked):
        flint.Limiter(tmp_path / "data")


def test_flint_imported_twice_still_sees_its_own_lock(tmp_path: Path) -> None:
    code = """
    import sys
    import flint as first
    for name in [name for name in sys.modules if name.split(".")[0] == "flint"]:
        del sys.modules[name]
    import flint as second
    assert first is not second
    limiter = first.Limiter(sys.argv[1])
    limiter.limit("a", "1/m")
    try:
        second.Limiter(sys.argv[1])
    except Exception as error:
        print(type(error).__name__, "imported twice" in str(error))
    looking = second.Limiter(sys.argv[1], read_only=True)
    print(looking.status("a").rate)
    """
    assert run(code, tmp_path).ok().out == "DataDirLocked True\n1\n"


def test_the_error_of_an_application_module_imported_twice_says_so(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(f"import flint\nlimiter = flint.Limiter({str(tmp_path / 'data')!r})\n")
    code = """
    import runpy, sys
    sys.path.insert(0, sys.argv[1])
    import app
    runpy.run_path(sys.argv[1] + "/app.py", run_name="__main__")
    """
    ran = run(code, tmp_path)
    assert ran.status == 1
    assert "its module may have been imported twice" in ran.err


def test_looking_beside_a_writer(tmp_path: Path) -> None:
    with worker(HOLDER, tmp_path) as holder:
        assert holder.line() == "open"
        for taken in range(1, 4):
            with flint.Limiter(tmp_path, read_only=True) as looking:
                status = looking.status("a")
                assert status is not None
                assert status.total_allowed == taken
                with pytest.raises(flint.StorageError, match="read_only=True"):
                    looking.check("a")
            holder.say()
            assert holder.line() == str(100 - taken - 1)
        assert holder.end().ok().err == ""


def test_a_reader_holds_nothing(tmp_path: Path) -> None:
    flint.Limiter(tmp_path).close()
    with flint.Limiter(tmp_path, read_only=True), flint.Limiter(tmp_path) as limiter:
        limiter.limit("a", "1/m")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP], ids=["KILL", "TERM", "STOP"])
def test_the_lock_ends_with_its_process(number: int, tmp_path: Path) -> None:
    with worker(HOLDER, tmp_path) as holder:
        assert holder.line() == "open"
        if number == signal.SIGSTOP:
            # A process that is stopped is not dead.
            holder.process.send_signal(number)
            with pytest.raises(flint.DataDirLocked):
                flint.Limiter(tmp_path)
            number = signal.SIGKILL
        holder.kill(number)
        with flint.Limiter(tmp_path) as limiter:
            assert not limiter.recovery.clean
            assert limiter.peek("a").remaining <= 99


def test_the_lock_file_of_a_dead_process_is_no_lock(tmp_path: Path) -> None:
    # The pid that it names may belong to another process by now, such as this one.
    (tmp_path / "flint.lock").write_text(f"{os.getpid()}\n")
    with flint.Limiter(tmp_path) as limiter:
        assert limiter.recovery.created


def test_a_holder_in_another_container_is_not_taken_for_this_process(tmp_path: Path) -> None:
    # Both may have the same pid, each in its own namespace: what the lock file says proves nothing.
    with worker(HOLDER, tmp_path) as holder:
        assert holder.line() == "open"
        lock = tmp_path / "flint.lock"
        lock.write_text(f"{os.getpid()}\n")
        with pytest.raises(flint.DataDirLocked) as refused:
            flint.Limiter(tmp_path)
        assert "imported twice" not in str(refused.value)
        assert "SharedLimiter" in str(refused.value)


def test_a_second_copy_of_the_native_module_is_in_this_process(tmp_path: Path) -> None:
    code = """
    import importlib.machinery, importlib.util, pathlib, shutil, sys
    import flint, flint._native
    copy = sys.argv[1] + "/copy.so"
    shutil.copy(flint._native.__file__, copy)
    spec = importlib.util.spec_from_file_location("copy._native", copy)
    other = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(other)
    limiter = flint.Limiter(sys.argv[1] + "/data")
    try:
        other.Limiter(sys.argv[1] + "/data")
    except flint.DataDirLocked as error:
        print(error)
    """
    assert "in this process" in run(code, tmp_path).ok().out


def test_the_command_line_is_shown_without_control_characters(tmp_path: Path) -> None:
    script = tmp_path / "red\x1b[31m\ttext.py"
    script.write_text(HOLDER)
    code = "import os, sys; os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    with worker(code, script, tmp_path) as holder:
        assert holder.line() == "open"
        with pytest.raises(flint.DataDirLocked) as refused:
            flint.Limiter(tmp_path)
        assert all(character.isprintable() or character == "\ufffd" for character in str(refused.value))
        assert "[31m" in str(refused.value)
        assert Path(sys.executable).name in str(refused.value)


REMOVAL = ("flint.lock was removed or replaced", "was made again", "no other writer")


@pytest.mark.parametrize("replaced", [False, True])
def test_removing_the_lock_file_lets_no_second_writer_in(
    replaced: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lock = tmp_path / "flint.lock"
    with worker(HOLDER, tmp_path) as holder, caplog.at_level(logging.WARNING, logger="flint"):
        assert holder.line() == "open"
        lock.unlink()
        if replaced:
            lock.write_text("1\n")
        with pytest.raises(flint.DataDirLocked) as refused:
            flint.Limiter(tmp_path)
        assert refused.value.pid == holder.pid
        # The holder is found without the file, too.
        lock.unlink()
        with pytest.raises(flint.DataDirLocked) as refused:
            flint.Limiter(tmp_path, lock_timeout=0.05)
        assert refused.value.pid == holder.pid
        assert holder.end().ok().err == ""
    with flint.Limiter(tmp_path) as limiter:
        assert limiter.recovery.clean
        before = lock.read_text()
        lock.unlink()
        # The next round of the background threads notices; a compaction does so at once.
        limiter.compact()
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert all(part in caplog.text for part in REMOVAL), caplog.text
        assert lock.read_text() == before
        assert lock.stat().st_mode & 0o777 == 0o600
        with pytest.raises(flint.DataDirLocked):
            flint.Limiter(tmp_path)
        with pytest.raises(subprocess.CalledProcessError):
            subprocess.run(["flock", "--nonblock", lock, "true"], check=True)
        limiter.compact()
        assert len(caplog.records) == 1


@pytest.mark.parametrize("sync", ["always", "batch"])
def test_closing_makes_a_removed_lock_file_again(sync: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Its text names the store, so that a later loss of all other files is noticed."""
    lock = tmp_path / "flint.lock"
    with caplog.at_level(logging.WARNING, logger="flint"):
        limiter = flint.Limiter(tmp_path, sync=sync)
        limiter.check("a", limit="5/day")
        before = lock.read_text()
        lock.unlink()
        limiter.close()
        assert lock.read_text() == before
        assert lock.stat().st_mode & 0o777 == 0o600
        assert all(part in caplog.text for part in REMOVAL), caplog.text
    for path in tmp_path.iterdir():
        if path != lock:
            path.unlink()
    with pytest.raises(flint.StorageError, match="all its files are missing"):
        flint.Limiter(tmp_path)


def test_a_directory_that_is_removed_is_reported_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = tmp_path / "data"
    with caplog.at_level(logging.WARNING, logger="flint"):
        limiter = flint.Limiter(data, sync="batch")
        limiter.limit("a", "100/m")
        for path in data.iterdir():
            path.unlink()
        data.rmdir()
        for _ in range(2):
            with pytest.raises(flint.StorageError):
                limiter.compact()
        assert len([record for record in caplog.records if "flint.lock was removed" in record.message]) == 1
        assert "cannot be made again" in caplog.text
        assert "may be lost" in caplog.text
        limiter.close()


def test_a_directory_is_locked_for_programs_that_lock_it_themselves(tmp_path: Path) -> None:
    with flint.Limiter(tmp_path), pytest.raises(subprocess.CalledProcessError):
        subprocess.run(["flock", "--nonblock", tmp_path, "true"], check=True)
    subprocess.run(["flock", "--nonblock", tmp_path, "true"], check=True)


LOCKED = """
import flint, os, sys
try:
    flint.Limiter(sys.argv[1])
except flint.DataDirLocked as error:
    print(error.pid)
    print(error)
"""


@pytest.mark.parametrize("what", ["flint.lock", ""], ids=["file", "directory"])
def test_flock_is_named_and_not_the_process_before_it(what: str, tmp_path: Path) -> None:
    with worker(HOLDER, tmp_path) as ended:
        assert ended.line() == "open"
    code = "import subprocess, sys; sys.exit(subprocess.call(['sh', '-c', 'echo locked; read end']))"
    # flock(1) takes the lock; the shell that it starts inherits it.
    with worker(code, wrapper=["flock", str(tmp_path / what)]) as holder:
        assert holder.line() == "locked"
        with pytest.raises(flint.DataDirLocked) as refused:
            flint.Limiter(tmp_path)
        assert refused.value.pid == holder.pid
        assert f"is held by process {holder.pid} (flock " in str(refused.value)
        holder.say()
        assert holder.end().status == 0


def test_a_lock_that_is_left_to_a_child_is_the_childs(tmp_path: Path) -> None:
    """`exec 9>flint.lock; flock 9` in a shell: flock(1) has ended when the lock is met."""
    flint.Limiter(tmp_path).close()
    script = 'exec 9<>"$0/flint.lock"; flock 9; echo locked; read end'
    with subprocess.Popen(
        ["sh", "-c", script, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as shell:
        assert shell.stdout is not None
        assert shell.stdout.readline() == "locked\n"
        with pytest.raises(flint.DataDirLocked) as refused:
            flint.Limiter(tmp_path)
        assert refused.value.pid == shell.pid
        assert f"process {shell.pid} (sh -c " in str(refused.value)


@pytest.mark.system
def test_a_process_of_another_pid_namespace_is_not_taken_for_one_of_this(tmp_path: Path) -> None:
    rights = [] if os.geteuid() == 0 else ["--map-root-user"]
    inside = ["unshare", *rights, "--pid", "--fork", "--mount-proc"]
    assert mounting_is_allowed(), "this test needs namespaces"
    # Held outside, met inside: the namespace does not show the holder.
    with worker(HOLDER, tmp_path) as holder:
        assert holder.line() == "open"
        pid, message = run(LOCKED, tmp_path, wrapper=inside).ok().out.splitlines()
        assert pid == "None"
        assert (
            f"a process of another PID namespace, such as another container, in which its number is {holder.pid}"
            in message
        )
        assert "imported twice" not in message
        assert holder.end().ok().err == ""
    # Held inside, where it is number 1; met outside, where its true number can be found.
    with worker(HOLDER, tmp_path, wrapper=inside) as holder:
        assert holder.line() == "open"
        assert (tmp_path / "flint.lock").read_text().startswith("1\n")
        with pytest.raises(flint.DataDirLocked) as refused:
            flint.Limiter(tmp_path)
        named = re.search(r"is held by process (\d+) \((.*?)\): ", str(refused.value))
        assert named, refused.value
        assert int(named[1]) == refused.value.pid != 1
        assert "import flint" in named[2]
        # Two containers, in each of which it would be number 1.
        pid, message = run(LOCKED, tmp_path, wrapper=inside).ok().out.splitlines()
        assert pid == "None"
        assert "another PID namespace" in message
        assert "its number is 1:" in message
        assert "in this process" not in message


def test_a_process_that_has_ended_is_not_named_as_the_holder(tmp_path: Path) -> None:
    """Where the holder cannot be seen, as another user's, its lock file is not believed if that process has ended."""
    with worker(HOLDER, tmp_path) as ended:
        assert ended.line() == "open"
        pid = ended.pid
    text = (tmp_path / "flint.lock").read_text()
    assert text.startswith(f"{pid}\n")
    # The number belongs to another process by now, which started at another time.
    (tmp_path / "flint.lock").write_text(text.replace(f"{pid}\n", f"{os.getpid()}\n", 1))
    code = """
    import ctypes, fcntl, os, sys
    descriptor = os.open(sys.argv[1] + "/flint.lock", os.O_RDWR)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    # Only root may look at its descriptors from here on.
    PR_SET_DUMPABLE = 4
    assert ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0
    print("locked", flush=True)
    sys.stdin.readline()
    """
    with worker(code, tmp_path) as holder:
        assert holder.line() == "locked"
        with pytest.raises(flint.DataDirLocked) as refused:
            flint.Limiter(tmp_path)
        if os.geteuid() == 0:
            assert refused.value.pid == holder.pid
        else:
            assert refused.value.pid is None
            assert f"flint.lock names process {os.getpid()}, which has ended" in str(refused.value)
