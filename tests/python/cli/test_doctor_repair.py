"""`flint doctor --repair`: the copy, the report, and the untouched original."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.python.system.support import contents, on_small_disk, state

import flint

if TYPE_CHECKING:
    from tests.python.cli.conftest import Cli, Environment

KEYS = ("bucket", "window", "log")


def fill(data_dir: Path) -> list[dict[str, object]]:
    """Fills and closes a store; returns the state of every key."""
    with flint.Limiter(data_dir) as limiter:
        limiter.limit("bucket", "100/day")
        limiter.limit("window", "100/day", algorithm="fixed_window_counter")
        limiter.limit("log", "100/day", algorithm="sliding_window_log")
        for key in KEYS:
            for _ in range(5):
                limiter.check(key, 2)
        limiter.limit("late", "7/hour")
        return state(limiter)


def record_places(data_dir: Path, cli: Cli) -> dict[int, int]:
    """Where each record starts, by its number."""
    found = {}
    for line in cli("log", "dump", "--json").out.splitlines():
        record = json.loads(line)
        found[record["seq"]] = record["offset"]
    return found


def flip(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


@pytest.fixture
def damaged(cli: Cli, data_dir: Path) -> dict[str, Any]:
    """A store whose sixth record, a check of `bucket`, is damaged."""
    expected = fill(data_dir)
    offset = record_places(data_dir, cli)[6]
    (log,) = data_dir.glob("*.aof")
    flip(log, offset + 40)
    assert cli("doctor").status == 3
    return {"log": log, "offset": offset, "expected": expected}


def copied(directory: Path) -> list[dict[str, object]]:
    with flint.Limiter(directory, read_only=True) as limiter:
        assert limiter.doctor()["ok"]
        return state(limiter)


def test_a_store_that_opens_is_not_copied(cli: Cli, data_dir: Path, tmp_path: Path) -> None:
    fill(data_dir)
    before = contents(data_dir)
    ran = cli("doctor", "--repair")
    assert (ran.status, ran.err) == (0, "")
    assert ran.out == f"nothing to repair: {data_dir} opens as it is; no copy was made\n"
    found = cli("doctor", "--repair", "--json")
    assert (found.status, found.json["written"], found.json["output"]) == (0, False, None)
    assert contents(data_dir) == before
    assert os.listdir(tmp_path) == ["data"]


def test_a_record_that_is_damaged_is_named_with_the_keys_that_it_may_concern(
    cli: Cli, data_dir: Path, tmp_path: Path, damaged: dict[str, Any]
) -> None:
    before = contents(data_dir)
    ran = cli("doctor", "--repair")
    copy = tmp_path / "data.repaired"
    assert (ran.status, ran.err) == (3, "")
    assert re.search(rf"^copy +{copy}$", ran.out, re.M)
    offset = damaged["offset"]
    expected = (
        f"dropped: {damaged['log']} bytes {offset} to {offset + 64}, record 6: it cannot be verified; "
        "may cost limits or consumption\n"
    )
    assert expected in ran.out
    assert "in doubt: bucket: " in ran.out
    assert "its totals may be too low" in ran.out
    # It was made after the damage.
    assert "in doubt: late" not in ran.out
    assert ran.out.endswith("the copy is written, but it lacks what is named above; the original was not changed\n")
    assert contents(data_dir) == before
    found = {str(status["key"]): status for status in copied(copy)}
    assert set(found) == {*KEYS, "late"}
    for status in damaged["expected"]:
        if status["key"] == "bucket":
            assert found["bucket"]["total_allowed"] == 4
        else:
            assert found[status["key"]] == status
    with flint.Limiter(copy) as limiter:
        # The records behind it carry the state: no consumption of the bucket is lost.
        status = limiter.status("bucket")
        assert status is not None
        assert status.remaining == 90
        limiter.check("bucket")
    assert cli("--data-dir", copy, "doctor").status == 0


def test_the_report_as_json(cli: Cli, data_dir: Path, tmp_path: Path, damaged: dict[str, Any]) -> None:
    copy = tmp_path / "elsewhere"
    found = cli("doctor", "--repair", "--output", copy, "--json")
    report = found.json
    assert (found.status, report["written"], report["complete"], report["output"]) == (3, True, False, str(copy))
    assert report["limits"] == 4
    (part,) = report["dropped"]
    assert part == {
        "file": str(damaged["log"]),
        "from_byte": damaged["offset"],
        "to_byte": damaged["offset"] + 64,
        "first_record": 6,
        "last_record": 6,
        "loss": "state",
        "reason": "it cannot be verified",
    }
    assert [doubt["key"] for doubt in report["doubts"]] == ["bucket", "log", "window"]
    assert str(data_dir) in report["problem"]


def test_a_copy_that_lacks_nothing_is_status_0(cli: Cli, data_dir: Path, tmp_path: Path) -> None:
    expected = fill(data_dir)
    (log,) = data_dir.glob("*.aof")
    flip(log, 20)
    ran = cli("doctor", "--repair")
    assert (ran.status, ran.err) == (0, "")
    assert "the segment header's checksum does not match; costs nothing" in ran.out
    assert ran.out.endswith("the copy is complete: nothing was lost; the original was not changed\n")
    assert copied(tmp_path / "data.repaired") == expected


def test_a_snapshot_that_is_lost_costs_nothing_while_the_log_holds_it_all(
    cli: Cli, data_dir: Path, tmp_path: Path
) -> None:
    fill(data_dir)
    with flint.Limiter(data_dir) as limiter:
        limiter.compact()
        limiter.check("window", 3)
        expected = state(limiter)
    (snapshot,) = data_dir.glob("*.snapshot")
    snapshot.unlink()
    assert cli("limit", "list").status == 3
    assert cli("doctor", "--repair").status == 0
    assert copied(tmp_path / "data.repaired") == expected


def test_wrong_arguments(cli: Cli, data_dir: Path, tmp_path: Path, damaged: dict[str, Any]) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "precious").write_text("x")
    file = tmp_path / "file"
    file.write_text("precious")
    inside = data_dir / "copy"
    link = tmp_path / "link"
    link.symlink_to(data_dir)
    cases = {
        "--output goes with --repair": ["--output", str(tmp_path / "x")],
        "it is empty": ["--repair", "--output", ""],
        f"{full} is not empty": ["--repair", "--output", str(full)],
        f"{data_dir} is not empty": ["--repair", "--output", str(data_dir)],
        f"{inside} is inside": ["--repair", "--output", str(inside)],
        f"{link / 'copy'} is inside": ["--repair", "--output", str(link / "copy")],
        f"{file} is not a directory": ["--repair", "--output", str(file)],
        f"{tmp_path / 'none'} does not exist": ["--repair", "--output", str(tmp_path / "none" / "copy")],
    }
    before = contents(tmp_path)
    for message, arguments in cases.items():
        ran = cli("doctor", *arguments)
        assert (ran.status, ran.out) == (2, ""), (message, ran)
        assert message in ran.err
        assert contents(tmp_path) == before
        assert sorted(os.listdir(tmp_path)) == ["data", "file", "full", "link"]


def test_an_empty_directory_takes_the_copy_and_stays_when_there_is_none(
    cli: Cli, data_dir: Path, tmp_path: Path, damaged: dict[str, Any]
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert cli("doctor", "--repair", "--output", empty).status == 3
    assert copied(empty)


def test_a_missing_directory(cli: Cli, data_dir: Path, tmp_path: Path) -> None:
    ran = cli("doctor", "--repair")
    assert ran.status == 3
    assert "does not exist" in ran.err
    assert os.listdir(tmp_path) == []


def test_nothing_is_left_to_repair(cli: Cli, data_dir: Path, tmp_path: Path) -> None:
    fill(data_dir)
    for path in [*data_dir.glob("*.aof"), *data_dir.glob("*.snapshot")]:
        path.unlink()
    ran = cli("doctor", "--repair")
    assert (ran.status, ran.out) == (3, "")
    assert "it cannot be repaired, nothing is left" in ran.err
    assert os.listdir(tmp_path) == ["data"]


def test_the_directory_of_an_older_release(cli: Cli, data_dir: Path, tmp_path: Path) -> None:
    sample = Path(__file__).parents[2] / "legacy-data" / "v0_2_corrupt_middle" / "data"
    shutil.copytree(sample, data_dir)
    before = contents(data_dir)
    ran = cli("doctor", "--repair")
    assert (ran.status, ran.out) == (3, "")
    assert re.search(r"damaged at byte \d+: line \d+", ran.err)
    assert "remove the damaged line" in ran.err
    assert contents(data_dir) == before
    assert os.listdir(tmp_path) == ["data"]


# Root may write wherever permissions forbid it, but not where the mount does.
_READ_ONLY = 'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && shift && exec "$@"'


@pytest.mark.system
def test_an_original_that_can_only_be_read(
    command: list[str], environment: Environment, data_dir: Path, tmp_path: Path, damaged: dict[str, Any]
) -> None:
    for path in data_dir.iterdir():
        path.chmod(0o400)
    data_dir.chmod(0o500)
    before = contents(data_dir)
    rights = [] if os.geteuid() == 0 else ["--map-root-user"]
    wrapper = ["unshare", *rights, "--mount", "sh", "-c", _READ_ONLY, "sh", str(data_dir)]
    probe = subprocess.run([*wrapper, "touch", str(data_dir / "x")], capture_output=True, text=True, check=False)
    assert "Read-only file system" in probe.stderr
    done = subprocess.run(
        [*wrapper, *command, "doctor", "--repair"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 3, done.stderr
    assert contents(data_dir) == before
    assert copied(tmp_path / "data.repaired")


@pytest.mark.system
def test_a_full_disk_leaves_nothing_behind(
    command: list[str], environment: Environment, data_dir: Path, tmp_path: Path, damaged: dict[str, Any]
) -> None:
    small = tmp_path / "small"
    script = (
        '"$@" doctor --repair --output "$SMALL/copy"; echo "status $?"; ls -A "$SMALL"; '
        'mkdir "$SMALL/empty"; "$@" doctor --repair --output "$SMALL/empty"; echo "status $?"; ls -A "$SMALL/empty"'
    )
    done = subprocess.run(
        [*on_small_disk(small, "size=1m"), "sh", "-c", script, "sh", *command],
        env={**environment, "SMALL": str(small)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == "status 3\nstatus 3\n", done
    assert done.stderr.count("No space left on device") == 2, done.stderr


def test_a_copy_beside_a_running_application_comes_with_a_warning(cli: Cli, data_dir: Path, tmp_path: Path) -> None:
    fill(data_dir)
    (log,) = data_dir.glob("*.aof")
    with flint.Limiter(data_dir) as limiter:
        limiter.check("bucket")
        flip(log, 40 + 64)
        ran = cli("doctor", "--repair")
        assert ran.status == 3
        assert f"note: process {os.getpid()} " in ran.out
        assert "is running" in ran.out
        limiter.check("bucket")
    assert copied(tmp_path / "data.repaired")


def test_a_killed_repair_leaves_nothing_under_its_name(
    command: list[str], environment: Environment, data_dir: Path, tmp_path: Path, damaged: dict[str, Any]
) -> None:
    copy, partial = tmp_path / "copy", tmp_path / ".copy.partial"
    killed = 0
    for delay in range(12):
        process = subprocess.Popen(
            [*command, "doctor", "--repair", "--output", copy], env=environment, stdout=subprocess.DEVNULL
        )
        # The directory is there before anything is in it: the kill comes while the copy is written, or just after.
        while not partial.exists() and process.poll() is None:
            pass
        for _ in range(delay * 2_000):
            pass
        process.send_signal(signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
        if copy.exists():
            assert {status["key"] for status in copied(copy)} == {*KEYS, "late"}
            shutil.rmtree(copy)
    assert killed, "every repair was faster than its kill"
