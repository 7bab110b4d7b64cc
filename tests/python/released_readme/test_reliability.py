"""What release 0.2.1's README said that its tests cover, as far as the embedded limiter and its command line go."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import flint
import flint.testing
from flint import _native

Shell = Callable[[str], "subprocess.CompletedProcess[str]"]

LEGACY = Path(__file__).parents[2] / "legacy-data"
ALGORITHMS = ("token_bucket", "fixed_window_counter", "sliding_window_log")
HEADER_LEN = 64


def files_of(directory: Path) -> dict[str, bytes]:
    """Every file below `directory` with its content, the lock excepted: it names the last writer."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.name != "flint.lock"
    }


def status_of(limiter: flint.Limiter, key: str) -> flint.LimitStatus:
    status = limiter.status(key)
    assert status is not None
    return status


def test_the_data_directory_is_locked_exclusively(tmp_path: Path) -> None:
    second = (
        "import flint, sys\ntry:\n flint.Limiter(sys.argv[1])\nexcept flint.DataDirLocked as error:\n print(error.pid)"
    )
    with flint.Limiter(tmp_path / "data") as limiter:
        limiter.limit("key", rate=1, per="1m")
        with pytest.raises(flint.DataDirLocked):
            flint.Limiter(tmp_path / "data")
        other = subprocess.run(
            [sys.executable, "-c", second, str(tmp_path / "data")],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        assert other.stdout == f"{os.getpid()}\n"
    flint.Limiter(tmp_path / "data").close()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("sync", ["always", "batch"])
def test_concurrent_checks_of_one_key(tmp_path: Path, sync: str, algorithm: str) -> None:
    with flint.Limiter(tmp_path / "data", sync=sync) as limiter:
        limiter.limit("key", rate=100, per="10d", algorithm=algorithm)
        allowed: list[int] = []
        start = threading.Barrier(8)

        def check() -> None:
            start.wait()
            allowed.append(sum(limiter.allow("key") for _ in range(25)))

        threads = [threading.Thread(target=check) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(allowed) == 8
        assert sum(allowed) == 100
        status = status_of(limiter, "key")
        assert (status.total_allowed, status.total_denied, status.remaining) == (100, 100, 0)


def test_ten_thousand_limits(tmp_path: Path) -> None:
    keys = [f"user:{number}" for number in range(10_000)]
    with flint.Limiter(tmp_path / "data", sync="batch") as limiter:
        for key in keys:
            limiter.limit(key, rate=3, per="10d")
        for key in keys[::100]:
            assert limiter.allow(key)
    with flint.Limiter(tmp_path / "data") as again:
        statuses = again.list()
        assert {status.key for status in statuses} == set(keys)
        assert {status.key for status in statuses if status.remaining == 2} == set(keys[::100])


def test_compaction_preserves_status_and_metrics(tmp_path: Path) -> None:
    clock = flint.testing.ManualClock()
    with flint.Limiter(tmp_path / "data", clock=clock) as limiter:
        for algorithm in ALGORITHMS:
            limiter.limit(algorithm, rate=10, per="1h", algorithm=algorithm)
            for cost in (1, 4, 9, 2):
                limiter.check(algorithm, cost=cost)
                clock.advance(ms=1500)
        limiter.reset("token_bucket")
        limiter.check("token_bucket", cost=7)
        before = limiter.list()
        limiter.compact()
        assert limiter.list() == before
        assert limiter.doctor()["snapshot_exists"] is True
    with flint.Limiter(tmp_path / "data", clock=clock) as again:
        assert again.list() == before
        assert again.recovery.snapshot_seq > 0


def test_recovery_from_the_log(tmp_path: Path) -> None:
    """A process that ends without a word, in the mode that does not wait for the disk."""
    job = (
        "import flint, os, sys\n"
        "limiter = flint.Limiter(sys.argv[1], sync='batch')\n"
        "limiter.limit('key', rate=100, per='10d')\n"
        "for _ in range(60): limiter.check('key')\n"
        "os._exit(7)\n"
    )
    done = subprocess.run([sys.executable, "-c", job, str(tmp_path / "data")], check=False, timeout=60)
    assert done.returncode == 7
    with flint.Limiter(tmp_path / "data") as limiter:
        assert not limiter.recovery.clean
        assert not limiter.recovery.created
        status = status_of(limiter, "key")
        assert (status.total_allowed, status.remaining) == (60, 40)


def closed_store(directory: Path) -> Path:
    """A closed store of one segment, and that segment."""
    with flint.Limiter(directory) as limiter:
        limiter.limit("key", rate=100, per="10d")
        for _ in range(20):
            limiter.check("key")
    return directory / "flint-00000000000000000001.aof"


def flip(path: Path, offset: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 1]))


def assert_refused(directory: Path, shell: Shell, path: Path) -> None:
    before = files_of(directory)
    with pytest.raises(flint.CorruptData) as caught:
        flint.Limiter(directory)
    assert Path(caught.value.path) == path
    assert path.name in str(caught.value)
    assert shell(f"flint --data-dir {directory} doctor").returncode == 3
    assert shell(f"flint --data-dir {directory} limit status key").returncode == 3
    assert files_of(directory) == before


def test_a_corrupt_record_in_the_middle_is_refused(tmp_path: Path, shell: Shell) -> None:
    segment = closed_store(tmp_path / "data")
    flip(segment, HEADER_LEN + 10 * 64 + 20)
    assert_refused(tmp_path / "data", shell, segment)


def test_a_tampered_record_is_refused_at_its_offset(tmp_path: Path) -> None:
    """The cost of the first check, which the record holds at byte 40."""
    segment = closed_store(tmp_path / "data")
    records: list[dict[str, Any]] = []
    _native.dump(tmp_path / "data", 0, records.append)
    first_allow = next(record["offset"] for record in records if record["type"] == "ALLOW")
    flip(segment, first_allow + 40)
    with pytest.raises(flint.CorruptData) as caught:
        flint.Limiter(tmp_path / "data")
    assert caught.value.offset == first_allow


def test_a_tampered_snapshot_is_refused(tmp_path: Path, shell: Shell) -> None:
    closed_store(tmp_path / "data")
    with flint.Limiter(tmp_path / "data") as limiter:
        limiter.compact()
    (snapshot,) = (tmp_path / "data").glob("*.snapshot")
    flip(snapshot, snapshot.read_bytes().index(b'"key":"key"') + 60)
    assert_refused(tmp_path / "data", shell, snapshot)


def test_what_a_crash_cut_off_the_end_is_ignored(tmp_path: Path) -> None:
    """The last record of a process that died, half written: a byte of it is still zero."""
    job = (
        "import flint, os, sys\n"
        "limiter = flint.Limiter(sys.argv[1], sync='batch', flush_every_ms=60_000, flush_every_events=1_000_000)\n"
        "limiter.limit('key', rate=100, per='10d')\n"
        "for _ in range(10): limiter.check('key')\n"
        "os._exit(0)\n"
    )
    data = tmp_path / "data"
    subprocess.run([sys.executable, "-c", job, str(data)], check=True, timeout=60)
    segment = data / "flint-00000000000000000001.aof"
    content = segment.read_bytes()
    last = max(at for at in range(HEADER_LEN, len(content) - 64, 8) if any(content[at : at + 8]))
    with segment.open("r+b") as file:
        file.seek(last)
        file.write(bytes(8))
    for cut in (True, False):
        with flint.Limiter(data) as limiter:
            assert (limiter.recovery.cut_bytes > 0) is cut
            status = status_of(limiter, "key")
            assert (status.total_allowed, status.remaining) == (9, 91)


def test_per_seconds_of_release_0_1_become_per_millis(tmp_path: Path) -> None:
    shutil.copytree(LEGACY / "v0_1_log_only/data", tmp_path / "data")
    with flint.Limiter(tmp_path / "data") as limiter:
        assert status_of(limiter, "short")["per_millis"] == 30_000
        assert status_of(limiter, "token_bucket")["per_millis"] == 315_360_000_000


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_costs(tmp_path: Path, algorithm: str) -> None:
    with flint.Limiter(tmp_path / "data") as limiter:
        limiter.limit("key", rate=10, per="10d", algorithm=algorithm)
        answers = [limiter.check("key", cost=cost) for cost in (4, 7, 6, 1)]
    assert [answer.allowed for answer in answers] == [True, False, True, False]
    assert [answer.remaining for answer in answers] == [6, 6, 0, 0]
    assert [answer.cost for answer in answers] == [4, 7, 6, 1]
    with flint.Limiter(tmp_path / "data") as again:
        status = status_of(again, "key")
        assert (status.remaining, status.total_allowed_cost, status.total_denied_cost) == (0, 10, 8)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_no_partial_consumption(tmp_path: Path, algorithm: str) -> None:
    with flint.Limiter(tmp_path / "data") as limiter:
        for key, rate in (("first", 10), ("second", 10), ("third", 1)):
            limiter.limit(key, rate=rate, per="10d", algorithm=algorithm)
        assert limiter.allow_all(["first", "second", "third"])
        before = {status.key: status.remaining for status in limiter.list()}
        assert not limiter.allow_all([("first", 5), "second", "third"])
        assert not limiter.allow_all(["third", ("second", 5), "first"])
        assert {status.key: status.remaining for status in limiter.list()} == before
    with flint.Limiter(tmp_path / "data") as again:
        assert {status.key: status.remaining for status in again.list()} == before
