"""Data directories that releases 0.1.0 and 0.2.1 wrote: each opens, or is refused, as those releases would have it."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

import flint
from flint import _native
from flint.testing import ManualClock

LEGACY = Path(__file__).parents[1] / "legacy-data"
FOLDERS = sorted(path.parent.name for path in LEGACY.glob("*/expected.json"))
EXPECTED: dict[str, Any] = {
    name: json.loads((LEGACY / name / "expected.json").read_text(encoding="utf-8")) for name in FOLDERS
}
GOOD = [name for name in FOLDERS if "limits" in EXPECTED[name]]
BAD = [name for name in FOLDERS if "error" in EXPECTED[name]]
TOTALS = ("total_allowed", "total_denied", "total_allowed_cost", "total_denied_cost")

Tree = dict[str, tuple[int, int, bytes]]


def tree(directory: Path) -> Tree:
    """Everything that a change would show: names, modes, times of change and contents."""
    return {
        str(path.relative_to(directory)): (
            path.stat().st_mode,
            path.stat().st_mtime_ns,
            b"" if path.is_dir() else path.read_bytes(),
        )
        for path in [directory, *sorted(directory.rglob("*"))]
    }


def old_files(name: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (LEGACY / name / "data").iterdir() if path.name != "flint.lock"}


def newest_time(name: str) -> datetime:
    """The newest time stamp in the old files, rounded up to the microseconds of a datetime."""
    text = b"".join(old_files(name).values()).decode()
    stamps = re.findall(r"(20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d)\.(\d{1,9})Z", text)
    assert stamps
    seconds, fraction = max((seconds, fraction.ljust(9, "0")) for seconds, fraction in stamps)
    start = datetime.fromisoformat(seconds).replace(tzinfo=timezone.utc)
    return start + timedelta(microseconds=-(-int(fraction) // 1000))


@pytest.fixture
def data(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A copy of the folder's data directory."""
    directory = tmp_path / "data"
    shutil.copytree(LEGACY / str(request.param) / "data", directory)
    for path in [directory, *directory.iterdir()]:
        path.chmod(0o700 if path.is_dir() else 0o600)
    return directory


each_good = pytest.mark.parametrize(("data", "name"), [(name, name) for name in GOOD], indirect=["data"])
each_bad = pytest.mark.parametrize(("data", "name"), [(name, name) for name in BAD], indirect=["data"])


def assert_as_expected(limiter: flint.Limiter, name: str) -> None:
    expected = EXPECTED[name]
    statuses = {status.key: status for status in limiter.list()}
    assert statuses.keys() == expected["limits"].keys()
    for key, wanted in expected["limits"].items():
        status = statuses[key]
        assert limiter.status(key) == status
        per_millis = wanted["per_millis"] if "per_millis" in wanted else wanted["per_seconds"] * 1000
        assert (status.rate, status.per_millis, status.algorithm, status.remaining) == (
            wanted["rate"],
            per_millis,
            wanted["algorithm"],
            wanted["remaining"],
        ), key
        for total in TOTALS:
            if total in wanted:
                assert status[total] == wanted[total], (key, total)
        assert not status.out_of_bounds
    for key, count in expected["history_events"].items():
        assert len(limiter.history(key)) == count, key


def test_every_folder_is_of_one_kind() -> None:
    assert (len(GOOD), len(BAD)) == (4, 2)


@each_good
def test_opens_as_expected_and_stays_so(data: Path, name: str) -> None:
    release = EXPECTED[name]["written_by"].split()[1][:3]
    clock = ManualClock(newest_time(name))
    with flint.Limiter(data, clock=clock) as limiter:
        assert limiter.recovery.migrated_from == release
        assert_as_expected(limiter, name)
    for _ in range(2):
        with flint.Limiter(data, clock=clock) as again:
            assert again.recovery.migrated_from is None
            assert again.recovery.clean
            assert_as_expected(again, name)
            again.compact()
            assert_as_expected(again, name)
    assert _native.doctor(data)["ok"]


@each_good
def test_old_files_rest_in_legacy_unchanged(data: Path, name: str) -> None:
    flint.Limiter(data, clock=ManualClock(newest_time(name))).close()
    legacy = data / "legacy"
    assert {path.name: path.read_bytes() for path in legacy.iterdir()} == old_files(name)
    assert not (data / "flint.snapshot").exists()
    assert legacy.stat().st_mode & 0o777 == 0o700


@each_good
def test_what_is_left_as_the_log_is_none_for_an_old_release(data: Path, name: str) -> None:
    """The old release forgives one line that it cannot parse, the last; two invalid lines make it refuse."""
    flint.Limiter(data, clock=ManualClock(newest_time(name))).close()
    lines = (data / "flint.aof").read_text(encoding="utf-8").splitlines()
    assert len(lines) >= 2
    for line in lines:
        with pytest.raises(json.JSONDecodeError):
            json.loads(line)


@each_good
def test_goes_on_counting(data: Path, name: str) -> None:
    clock = ManualClock(newest_time(name))
    open_keys = [key for key, wanted in EXPECTED[name]["limits"].items() if wanted["remaining"]]
    full_keys = [key for key, wanted in EXPECTED[name]["limits"].items() if not wanted["remaining"]]
    with flint.Limiter(data, clock=clock) as limiter:
        before = {status.key: status.remaining for status in limiter.list()}
        assert all(limiter.allow(key) for key in open_keys)
        assert not any(limiter.allow(key) for key in full_keys)
    with flint.Limiter(data, clock=clock) as again:
        for status in again.list():
            assert status.remaining == max(before[status.key] - 1, 0)
        types = [event.type for event in again.history(open_keys[0])]
        assert types[0] == "LIMIT_CONFIGURED"
        assert types[-1] == "ALLOW"


@each_good
def test_looking_changes_nothing(data: Path, name: str) -> None:
    before = tree(data)
    with flint.Limiter(data, read_only=True, clock=ManualClock(newest_time(name))) as limiter:
        assert_as_expected(limiter, name)
        assert limiter.doctor()["ok"]
    assert tree(data) == before
    report = _native.doctor(data)
    assert report["ok"]
    assert report["format"] == EXPECTED[name]["written_by"].split()[1][:3]
    assert report["limits"] == len(EXPECTED[name]["limits"])
    assert report["history_events"] == sum(EXPECTED[name]["history_events"].values())
    assert report["snapshot_exists"] == (data / "flint.snapshot").exists()
    assert tree(data) == before


@each_good
def test_the_command_line_looks_without_migrating(data: Path, name: str) -> None:
    before = tree(data)
    key = min(EXPECTED[name]["limits"])
    for command in (
        ["limit", "list"],
        ["limit", "status", key],
        ["limit", "history", key],
        ["doctor"],
        ["log", "verify"],
    ):
        done = subprocess.run(
            [sys.executable, "-m", "flint", "--data-dir", str(data), *command],
            env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8"},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, (command, done.stderr)
    assert tree(data) == before


@each_bad
def test_is_refused_and_left_alone(data: Path, name: str) -> None:
    before = tree(data)
    damaged = "flint.aof" if "AOF" in EXPECTED[name]["error"] else "flint.snapshot"
    for read_only in (False, True):
        with pytest.raises(flint.CorruptData) as caught:
            flint.Limiter(data, read_only=read_only)
        assert Path(caught.value.path) == data / damaged
        if line := re.search(r"line (\d+)", EXPECTED[name]["error"]):
            content = (data / damaged).read_bytes().splitlines(keepends=True)
            assert caught.value.offset == sum(map(len, content[: int(line[1]) - 1]))
    report = _native.doctor(data)
    assert not report["ok"]
    assert any(damaged in problem for problem in report["problems"])
    after = tree(data)
    for files in (before, after):
        # Taking the lock writes the holder's process id.
        del files["flint.lock"], files["."]
    assert after == before


def test_a_migration_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    shutil.copytree(LEGACY / "v0_2_log_only/data", tmp_path / "data")
    with caplog.at_level(logging.WARNING, logger="flint"):
        flint.Limiter(tmp_path / "data").close()
    assert any("migrated" in message for message in caplog.messages)


def test_both_formats_together_are_refused_by_name(tmp_path: Path) -> None:
    with flint.Limiter(tmp_path / "data") as limiter:
        limiter.limit("key", "1/minute")
    shutil.copy(LEGACY / "v0_2_log_only/data/flint.aof", tmp_path / "data/flint.aof")
    for read_only in (False, True):
        with pytest.raises(flint.StorageError, match=r"flint\.aof"):
            flint.Limiter(tmp_path / "data", read_only=read_only)


def test_a_limit_beyond_todays_bounds_is_readable_until_it_is_redefined(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    configured = {
        "type": "LIMIT_CONFIGURED",
        "config": {"key": "old", "rate": 1, "per_seconds": 10**9, "algorithm": "token_bucket"},
    }
    entry = {"ts": "2025-01-01T00:00:00Z", "event": configured}
    (data / "flint.aof").write_text(json.dumps(entry, separators=(",", ":")) + "\n", encoding="utf-8")
    for _ in range(2):
        with flint.Limiter(data) as limiter:
            status = limiter.status("old")
            assert status is not None
            assert (status.rate, status.per_millis, status.out_of_bounds) == (1, 10**12, True)
            with pytest.raises(flint.InvalidLimit):
                limiter.check("old")
    with flint.Limiter(data) as limiter:
        limiter.limit("old", "5/minute")
        status = limiter.status("old")
        assert status is not None
        assert not status.out_of_bounds
        limiter.check("old")


@pytest.mark.parametrize("data", ["v0_2_log_only"], indirect=True)
def test_a_limit_that_comes_with_a_call_goes_before_an_old_one(data: Path) -> None:
    """The old releases' decorator and middleware set limits as well: changing the rate there has to take effect.

    The same limit goes on with what was used.
    """
    with flint.Limiter(data) as limiter:
        # Seven of ten are used up.
        assert limiter.check("fixed_window_counter").remaining == 2, "without one, the old limit holds"
        result = limiter.check("fixed_window_counter", limit="100/week")
        assert (result.limit, result.remaining) == (100, 99)
        status = limiter.status("fixed_window_counter")
        assert status is not None
        old = status.counters[1]
        same = flint.Limit(old.rate, timedelta(milliseconds=old.per_millis), algorithm=old.algorithm)
        assert limiter.check("fixed_window_counter", limit=same).remaining == 1
        # What is set stays set.
        limiter.limit("org", "50/week")
        assert limiter.check("org", limit="70/week").limit == 50
