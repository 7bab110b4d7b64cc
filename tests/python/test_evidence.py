"""scripts/check_evidence.py fails when the tests did less than they have to."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.python import evidence

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "check_evidence.py"

MINIMUMS = """
kills = 100
states = 50_000

[system]
signals = 7

[soak]
kills = 1000
"""
ENOUGH = "kills 60\nstates 50000\nkills 40\nsignals 7\n"


class Check:
    def __init__(self, tmp_path: Path) -> None:
        scripts = tmp_path / "scripts"
        (tmp_path / "tests").mkdir()
        scripts.mkdir()
        # The script looks for the minimums beside itself.
        self.script = scripts / SCRIPT.name
        self.script.write_bytes(SCRIPT.read_bytes())
        self.minimums = tmp_path / "tests" / "minimums.toml"
        self.minimums.write_text(MINIMUMS, encoding="utf-8")
        self.file = tmp_path / "evidence"

    def __call__(self, text: str | bytes, *options: str) -> subprocess.CompletedProcess[str]:
        self.file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return self.run(*options)

    def run(self, *options: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(self.script), str(self.file), *options]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture
def check(tmp_path: Path) -> Check:
    return Check(tmp_path)


def rows(done: subprocess.CompletedProcess[str]) -> list[list[str]]:
    return [line.split() for line in done.stdout.splitlines()[1:]]


def test_lines_of_one_name_add_up_to_enough(check: Check) -> None:
    done = check(ENOUGH)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0].split() == ["what", "really", "done", "minimum"]
    assert rows(done) == [["kills", "100", "100"], ["signals", "7", "7"], ["states", "50,000", "50,000"]]


def test_one_too_few_fails(check: Check) -> None:
    done = check(ENOUGH.replace("kills 40", "kills 39"))
    assert done.returncode == 1
    assert ["kills", "99", "100", "TOO", "FEW"] in rows(done)
    assert "less was tested" in done.stderr


@pytest.mark.parametrize("name", ["kills", "states", "signals"])
def test_a_missing_name_fails(check: Check, name: str) -> None:
    done = check("".join(line for line in ENOUGH.splitlines(keepends=True) if not line.startswith(name)))
    assert done.returncode == 1
    assert next(row for row in rows(done) if row[0] == name)[1:] in (
        ["-", "100", "MISSING"],
        ["-", "50,000", "MISSING"],
        ["-", "7", "MISSING"],
    )


def test_nothing_at_all_fails(check: Check) -> None:
    done = check("")
    assert done.returncode == 1
    assert [row[0] for row in rows(done)] == ["kills", "signals", "states"]
    check.file.unlink()
    done = check.run()
    assert done.returncode == 1
    assert "evidence" in done.stderr


def test_a_name_without_a_minimum_is_shown(check: Check) -> None:
    done = check(ENOUGH + "flips 12345\n")
    assert done.returncode == 0
    assert ["flips", "12,345", "-"] in rows(done)


GARBAGE = [b"kills", b"kills many", b"kills -1", b"kills 1 2", b"kills 1.5", b" 1", b"", b"\xff\xfe 1x"]


@pytest.mark.parametrize("garbage", [*GARBAGE, "kills \u0661".encode()])
def test_garbage_is_not_passed_over(check: Check, garbage: bytes) -> None:
    done = check(ENOUGH.encode() + garbage + b"\n")
    assert done.returncode == 1
    assert f"{check.file}:5: " in done.stderr


def test_without_system_tests_their_counts_are_not_required(check: Check) -> None:
    for text in (ENOUGH.replace("signals 7\n", ""), ENOUGH.replace("signals 7", "signals 6")):
        assert check(text).returncode == 1
        done = check(text, "--no-system")
        assert done.returncode == 0
        assert "not required" in done.stdout
    assert check(ENOUGH.replace("states 50000", "states 49999"), "--no-system").returncode == 1


def test_the_long_run_has_minimums_of_its_own(check: Check) -> None:
    done = check("kills 1000\n", "--soak")
    assert (done.returncode, rows(done)) == (0, [["kills", "1,000", "1,000"]])
    assert check("kills 999\n", "--soak").returncode == 1
    check.minimums.write_text(MINIMUMS.partition("[soak]")[0], encoding="utf-8")
    assert check("kills 1000\n", "--soak").returncode == 1, "a long run of which nothing is asked"


@pytest.mark.parametrize(
    "minimums",
    ["kills = 0", "kills = '5'", "kills = true", "kills = 5\n[system]\nkills = 5", "kills 5", "[other]\nkills = 5"],
)
def test_minimums_that_ask_for_nothing_are_refused(check: Check, minimums: str) -> None:
    check.minimums.write_text(minimums, encoding="utf-8")
    done = check("kills 5\nother 5\n")
    assert done.returncode == 1
    assert "minimums.toml" in done.stderr


def test_the_minimums_of_this_project_are_readable(check: Check) -> None:
    minimums = (ROOT / "tests" / "minimums.toml").read_bytes()
    check.minimums.write_bytes(minimums)
    done = check("")
    assert done.returncode == 1
    assert "golden_stores" in done.stdout


def test_what_is_recorded_is_what_is_read(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLINT_EVIDENCE", str(check.file))
    for name, count in (("kills", 99), ("states", 50_000), ("kills", 1), ("signals", 7)):
        evidence.record(name, count)
    assert check.run().returncode == 0
    monkeypatch.delenv("FLINT_EVIDENCE")
    evidence.record("kills", 5)
    assert ["kills", "100", "100"] in rows(check.run())
