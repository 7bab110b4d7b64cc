"""What becomes of standard output and error: pipes, full disks, closed descriptors, interrupts."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import pytest
from tests.python.cli.conftest import heed_interrupts

import flint
from flint.cli.limit import top

if TYPE_CHECKING:
    from tests.python.cli.conftest import Cli, Environment


LEGACY = Path(__file__).parents[2] / "legacy-data"


@pytest.fixture
def filled(data_dir: Path) -> Path:
    with flint.Limiter(data_dir) as limiter:
        limiter.limit_many({"key": f"k{number:05}", "rate": 1, "per": "1d"} for number in range(20_000))
    return data_dir


def start(
    command: list[str], environment: Environment, *arguments: str, stdout: int | IO[Any] = subprocess.PIPE
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*command, *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        preexec_fn=heed_interrupts,
    )


def output_of(process: subprocess.Popen[bytes]) -> IO[bytes]:
    assert process.stdout is not None
    return process.stdout


def errors_of(process: subprocess.Popen[bytes]) -> bytes:
    assert process.stderr is not None
    return process.stderr.read()


@pytest.mark.parametrize(
    "arguments",
    [
        ("limit", "list"),
        ("limit", "list", "--json"),
        ("log", "dump"),
        ("log", "dump", "--follow"),
        ("log", "dump", "--json"),
    ],
    ids=" ".join,
)
def test_a_reader_that_goes_away_is_no_error(
    command: list[str], environment: Environment, filled: Path, arguments: tuple[str, ...]
) -> None:
    with start(command, environment, *arguments) as process:
        assert output_of(process).readline()
        output_of(process).close()
        assert process.wait(60) == 0
        assert errors_of(process) == b""


def test_a_reader_that_goes_away_while_nothing_is_written(
    command: list[str], environment: Environment, data_dir: Path
) -> None:
    with flint.Limiter(data_dir) as limiter:
        limiter.limit("k", 1, "1d")
        for arguments in (("log", "dump", "--follow"), ("limit", "top", "--watch")):
            with start(command, environment, *arguments) as process:
                assert output_of(process).readline()
                output_of(process).close()
                assert process.wait(60) == 0
                assert errors_of(process) == b""


def test_a_decision_is_made_without_a_reader(command: list[str], environment: Environment, data_dir: Path) -> None:
    with flint.Limiter(data_dir) as limiter:
        limiter.limit("k", 1, "1d")
        limiter.check("k")
    reader, writer = os.pipe()
    os.close(reader)
    with start(command, environment, "limit", "check", "k", stdout=writer) as process:
        os.close(writer)
        assert process.wait(60) == 1
        assert errors_of(process) == b""


@pytest.mark.parametrize(
    "arguments", [("limit", "list"), ("limit", "list", "--json"), ("doctor",), ("--version",)], ids=" ".join
)
def test_a_full_disk_under_standard_output(
    command: list[str], environment: Environment, filled: Path, arguments: tuple[str, ...]
) -> None:
    with open("/dev/full", "w") as full, start(command, environment, *arguments, stdout=full) as process:
        assert process.wait(60) == 3
        assert errors_of(process) == b"flint: cannot write to standard output: No space left on device\n"


def test_closed_streams(environment: Environment, command: list[str], filled: Path) -> None:
    for closing in (">&-", "2>&-", ">&- 2>&-", "<&-"):
        line = f"{' '.join(command)} limit status k00001 {closing}"
        assert (
            subprocess.run(["/bin/sh", "-c", line], env=environment, capture_output=True, check=False).returncode == 0
        )


@pytest.mark.parametrize(
    "arguments", [("log", "dump", "--follow"), ("limit", "top", "--by", "allowed", "--watch")], ids=" ".join
)
def test_an_interrupt_ends_quietly(
    command: list[str], environment: Environment, data_dir: Path, arguments: tuple[str, ...]
) -> None:
    with flint.Limiter(data_dir) as limiter:
        limiter.limit("k", 1, "1d")
    with start(command, environment, *arguments) as process:
        assert output_of(process).readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert errors_of(process) == b""


def test_follow_goes_on_with_what_is_written(command: list[str], environment: Environment, data_dir: Path) -> None:
    with flint.Limiter(data_dir) as limiter:
        limiter.limit("k", 10, "1d")
        with start(command, environment, "log", "dump", "--follow", "--json") as process:
            seen = json.loads(output_of(process).readline())
            while seen.get("key") != "k":
                seen = json.loads(output_of(process).readline())
            newest = seen["seq"]
            for cost in (1, 2, 3):
                limiter.check("k", cost)
                record = json.loads(output_of(process).readline())
                assert record["seq"] == newest + 1
                assert record["cost"] == cost
                newest = record["seq"]
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 130


def test_removed_records_are_reported_as_a_gap(cli: Cli, data_dir: Path) -> None:
    with flint.Limiter(data_dir, sync="batch", history_bytes=0) as limiter:
        limiter.limit("k", 10**9, "1d")
        while limiter.counters()["rotations"] == 0:
            limiter.check("k")
        limiter.compact()
    found = [json.loads(line) for line in cli("log", "dump", "--json").out.splitlines()]
    first = found[0]["seq"]
    assert first > 3
    assert {record["key"] for record in found if record["type"] == "ALLOW"} == {"k"}
    whole = cli("log", "dump", "--after", "2")
    assert (whole.status, whole.err) == (
        0,
        f"flint: records 3 to {first - 1} were removed by compaction before they were read\n",
    )
    assert len(whole.out.splitlines()) == len(found)
    gap = cli("log", "dump", "--after", "2", "--json")
    assert (gap.status, gap.err) == (0, "")
    assert [json.loads(line) for line in gap.out.splitlines()] == [{"type": "GAP", "from": 3, "to": first - 1}, *found]


def test_follow_reports_records_that_were_removed_between_two_looks(
    command: list[str], environment: Environment, data_dir: Path
) -> None:
    with flint.Limiter(data_dir, sync="batch", history_bytes=0) as limiter:
        limiter.limit("k", 10**9, "1d")
        with start(command, environment, "log", "dump", "--follow", "--json") as process:
            seen = json.loads(output_of(process).readline())
            while seen.get("key") != "k":
                seen = json.loads(output_of(process).readline())
            # It is stopped while the segment that it reads and the next one are removed.
            process.send_signal(signal.SIGSTOP)
            while limiter.counters()["rotations"] < 3:
                limiter.check("k")
            limiter.compact()
            process.send_signal(signal.SIGCONT)
            newest = seen["seq"]
            gaps: list[dict[str, int]] = []
            while not gaps or newest < limiter.counters()["seq"]:
                record = json.loads(output_of(process).readline())
                if record["type"] == "GAP":
                    assert record["from"] == newest + 1
                    gaps.append(record)
                    newest = record["to"]
                else:
                    assert record["seq"] == newest + 1
                    newest = record["seq"]
            assert len(gaps) == 1
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 130


def test_dump_after_a_sequence_number(cli: Cli, data_dir: Path) -> None:
    with flint.Limiter(data_dir) as limiter:
        limiter.limit("k", 10, "1d")
        limiter.check("k")
    records = [json.loads(line) for line in cli("log", "dump", "--json").out.splitlines()]
    assert [record["seq"] for record in records] == list(range(1, len(records) + 1))
    assert len(cli("log", "dump", "--after", "2").out.splitlines()) == len(records) - 2
    assert cli("log", "dump", "--after", str(len(records))).out == ""
    assert cli("log", "dump", "--after", "-1").status == 2
    assert cli("log", "dump", "--after", str(2**64)).status == 2


def test_watch_without_a_terminal_prints_each_look(cli: Cli, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(top, "_REFRESH_S", 0.01)
    with flint.Limiter(data_dir) as limiter:
        limiter.limit("k", 1, "1d")
        limiter.check("k")
        looks = cli("limit", "top", "--by", "allowed", "--watch", "--rounds", "2", "--json").out.splitlines()
    assert [json.loads(look)[0]["key"] for look in looks] == ["k", "k"]


def test_long_keys_are_whole_in_a_pipe(cli: Cli, data_dir: Path) -> None:
    key = "k" * 512
    with flint.Limiter(data_dir) as limiter:
        limiter.limit(key, 1, "1d")
    for more in ({}, {"COLUMNS": "20"}, {"FORCE_COLOR": "1", "TTY_COMPATIBLE": "1"}):
        assert key in cli("limit", "list", **more).out


def test_reports_of_the_engine_go_to_standard_error(cli: Cli, tmp_path: Path) -> None:
    data_dir = tmp_path / "old"
    shutil.copytree(LEGACY / "v0_2_torn_tail" / "data", data_dir)
    ran = cli("--data-dir", data_dir, "limit", "add", "new", "1/s", "--json")
    assert ran.status == 0
    assert ran.json["key"] == "new"
    assert "flint: warning: " in ran.err
