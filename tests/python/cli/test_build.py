"""The parts of the build that decide whether a fresh machine can run it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import flint

ROOT = Path(__file__).parents[3]
INSTALL = ROOT / "scripts" / "install-system-tools.sh"
MAKE = shutil.which("make") or "make"


@pytest.fixture
def bare(tmp_path: Path) -> dict[str, str]:
    """A PATH with what the scripts need, and no apt-get."""
    commands = tmp_path / "bin"
    commands.mkdir()
    for name in ("sh", "id", "find", "env"):
        (commands / name).symlink_to(shutil.which(name) or f"/bin/{name}")
    return {"PATH": str(commands), "HOME": str(tmp_path)}


def script(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_a_missing_system_tool_is_named_with_the_command(bare: dict[str, str]) -> None:
    done = subprocess.run(["sh", INSTALL, "sh", "flint-missing"], env=bare, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "apt-get install flint-missing" in done.stderr
    assert "SYSTEM=0" in done.stderr


def test_present_system_tools_need_nothing(bare: dict[str, str]) -> None:
    subprocess.run(["sh", INSTALL, "sh", "id"], env=bare, check=True)


def test_root_on_debian_installs_after_an_update(bare: dict[str, str]) -> None:
    commands = Path(bare["PATH"])
    (commands / "id").unlink()
    script(commands / "id", "echo 0")
    script(commands / "apt-get", f'echo "$@" >> {bare["HOME"]}/calls')
    subprocess.run(["sh", INSTALL, "flint-missing"], env=bare, check=True)
    assert (
        Path(bare["HOME"]) / "calls"
    ).read_text() == "update -qq\ninstall -y -qq --no-install-recommends flint-missing\n"


def test_an_old_python_is_refused(bare: dict[str, str]) -> None:
    old = Path(bare["HOME"]) / "old-python"
    script(old, "exit 1")
    done = subprocess.run(
        [MAKE, "-f", ROOT / "Makefile", "-C", ROOT, f"PYTHON={old}", f"VENV={bare['HOME']}/venv", "dev"],
        env=bare,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "Python 3.10 or later is needed" in done.stderr


@pytest.fixture
def without_system(tmp_path: Path) -> tuple[list[str], str]:
    """What `SYSTEM=0 make test-python` calls Python with, and prints. Tests are only listed, not run."""
    calls = tmp_path / "calls"
    python = tmp_path / "python"
    # The options distinguish a run from a listing; the listing is the real one.
    case = f'case "$*" in *--collect-only*) exec {sys.executable} "$@";; *) echo "$FLINT_SYSTEM $*" >> {calls};; esac'
    script(python, case)
    make = [MAKE, "--no-print-directory", "-C", str(ROOT), "-o", ".venv/.built", "test-python"]
    done = subprocess.run(
        [*make, "SYSTEM=0", f"PY={python}"],
        env={**os.environ, "MAKEFLAGS": "", "MAKELEVEL": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return calls.read_text().splitlines(), done.stdout


def marked(*options: str) -> set[str]:
    command = [sys.executable, "-m", "pytest", "tests/python", "--collect-only", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return {line for line in done.stdout.splitlines() if "::" in line}


def test_what_is_left_out_without_system_tools_is_listed(without_system: tuple[list[str], str]) -> None:
    calls, shown = without_system
    head, listed = shown.split("Left out because of SYSTEM=0:\n")
    assert "::" not in head
    left_out = marked("-m", "system")
    assert len(left_out) > 50
    assert left_out <= set(listed.splitlines())
    assert "tests/python/system/test_syscalls.py::" in listed, "a whole file"
    assert "[tmpfs" in listed, "single cases"
    assert "tests/python/system/test_threads.py::test_waiting_for_room_never_hangs" in listed.splitlines()
    assert "crates/flint-torture/tests/kill_points.rs::at_system_calls" in listed.splitlines()
    assert all("::" in line for line in listed.splitlines())
    # The Rust tests, which leave themselves out.
    kills = (ROOT / "crates/flint-torture/tests/kill_points.rs").read_text(encoding="utf-8")
    functions = re.findall(r"fn (\w+)\(\) \{\n\s+if left_out\(\"(\w+)\"\)", kills)
    assert functions
    assert all(name == shown_as for name, shown_as in functions)
    rust = {f"crates/flint-torture/tests/kill_points.rs::{name}" for name, _ in functions}
    assert set(listed.splitlines()) - left_out == rust
    assert calls == ["0 -m pytest --numprocesses 3 tests/python -m not system"]


def test_ci_runs_the_tests_and_nothing_else() -> None:
    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    assert lines[-1] == "exec make test"
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_what_is_installed_has_no_test_hooks() -> None:
    extension = Path(flint._native.__file__).read_bytes()
    assert b"flint-spare.tmp" in extension, "file names can be found in it"
    for variable in (b"FLINT_DEFECT", b"FLINT_KILL_AT_STORE"):
        assert variable not in extension
