"""One writer per directory; the error of any other names its process and what to do."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
from tests.python.system.support import run, worker

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
