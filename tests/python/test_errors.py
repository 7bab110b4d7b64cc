"""The tree of errors, their attributes, and which failure of the engine becomes which of them."""

from __future__ import annotations

import copy
import errno
import inspect
import logging
import os
import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import flint
from flint import _errors, _native
from flint.keys import client_ip

from .conftest import Run

TREE: dict[str, tuple[type[BaseException], ...]] = {
    "RateLimitExceeded": (flint.FlintError,),
    "AcquireTimeout": (flint.RateLimitExceeded, TimeoutError),
    "LimitNotFound": (flint.FlintError, LookupError),
    "InvalidLimit": (flint.FlintError, ValueError),
    "InvalidCost": (flint.FlintError, ValueError),
    "InvalidKey": (flint.FlintError, ValueError),
    "InvalidArgument": (flint.FlintError, ValueError),
    "StorageError": (flint.FlintError,),
    "CorruptData": (flint.StorageError,),
    "DataDirLocked": (flint.FlintError,),
    "ClosedError": (flint.FlintError,),
    "ForkedError": (flint.FlintError,),
    "FlintConnectionError": (flint.FlintError,),
    "FlintServerError": (flint.FlintError,),
}


def test_the_tree_is_complete_and_drawn() -> None:
    classes = {
        name: value for name, value in vars(_errors).items() if inspect.isclass(value) and issubclass(value, Exception)
    }
    assert classes.pop("FlintError").__bases__ == (Exception,)
    assert {name: value.__bases__ for name, value in classes.items()} == TREE
    assert _errors.__doc__ is not None
    assert all(f"─ {name} " in _errors.__doc__ for name in TREE)


ERRORS = [
    flint.RateLimitExceeded(flint.CheckResult(False, "k", 3, 10, 2, 1_500_000_000, 2_000_000_000, 10**18)),
    flint.AcquireTimeout(flint.CheckResult(False, "k", 3, 10, 2, 1_500_000_000, 2_000_000_000, 10**18)),
    flint.LimitNotFound("message", key="k"),
    flint.InvalidLimit("message"),
    flint.InvalidCost("message"),
    flint.InvalidKey("message"),
    flint.InvalidArgument("message"),
    flint.StorageError("message", errno=28, filename="file"),
    flint.CorruptData("message", path="file", offset=64),
    flint.AcquireTimeout(flint.CheckResult(False, "k", 3, 10, 2, 1_500_000_000, 2_000_000_000, 10**18), time_left=0.25),
    flint.DataDirLocked("message", path="dir", pid=7),
    flint.ClosedError("message"),
    flint.ForkedError("message"),
    flint.FlintConnectionError("message"),
    flint.FlintServerError("message"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_is_pickled_with_its_attributes(error: flint.FlintError) -> None:
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(again) is type(error)
        assert str(again) == str(error)
        assert again.args == error.args
        assert vars(again) == vars(error)
    assert type(error).__module__ == "flint"


def test_a_limit_exceeded_tells_what_the_result_tells() -> None:
    result = flint.CheckResult(False, "k", 3, 10, 2, 1_500_000_000, 2_000_000_000, 10**18)
    error = flint.RateLimitExceeded(result)
    assert error.result is result
    for name in ("key", "cost", "limit", "remaining", "retry_after", "reset_at"):
        assert getattr(error, name) == getattr(result, name)
    assert str(error) == "rate limit exceeded for 'k': 3 requested, 2 of 10 left, retry after 1.5 s"


def test_messages_on_a_limit_name_its_capacity(limiter: flint.Limiter) -> None:
    """Not the tokens per period, of which a bucket may hold fewer or more."""
    assert limiter.check("k", limit="5/minute burst 2").allowed
    assert limiter.check("k", limit="5/minute burst 2").allowed
    with pytest.raises(flint.AcquireTimeout, match=r"longer than the [0-9.]+ s left .*: cost 1, 0 of 2 tokens left$"):
        limiter.acquire("k", limit="5/minute burst 2", timeout=1)
    error = flint.RateLimitExceeded(limiter.check("k", 2, limit="5/minute burst 2"))
    assert "2 requested, 0 of 2 left" in str(error)


# What type checkers refuse, too.
MISTAKES: list[tuple[Callable[[Any], object], str]] = [
    (lambda it: it.check("k", "5/minute"), r"'5/minute' is not accepted; .* a limit is passed by name, as limit='5/m"),
    (lambda it: it.allow("k", flint.Limit("5/minute")), r"a limit is passed by name, as limit=Limit\("),
    (lambda it: it.check("k", 1.5), r"1.5 is not accepted; a cost is an integer from 1 to the .* capacity, such as 1"),
    (lambda it: it.check("k", 0, limit="5/minute"), r"0 takes nothing; accepted is .* capacity of 5, such as 1$"),
    (lambda it: it.check("k", 9, limit="5/minute"), r"9 is more than the limit ever holds.* capacity of 5, such as 1$"),
    (lambda it: it.check_all([{"key": "k", "limt": "5/s"}]), r"unknown name 'limt'; accepted are key, cost and limit"),
    (lambda it: it.limit_many([{"key": "k", "rat": "5/s"}]), r"unknown name 'rat'; accepted are key, rate, per,"),
    (lambda _: client_ip({"type": "http"}), r"key_func=client_ip\(\) with parentheses"),
    (lambda _: client_ip(trusted_proxies=5), r"trusted_proxies is a list of .*, such as \['10.0.0.0/8'\], not 5"),  # type: ignore[arg-type]
    (lambda it: it.check(7), r"a key or prefix must be a str, such as 'user-42', not 7"),
    (lambda it: it.list(prefix=7), r"a key or prefix must be a str, such as 'user-42', not 7"),
    (lambda it: it.check_all([7]), r"as in {\"key\": \"user-42\", \"cost\": 2}, not 7"),
    (lambda it: it.limit_many(7), r"specs must be a list, each element a mapping .* such as {\"key\": .*}, not 7"),
    (lambda it: it.limit_many(["k"]), r"specs\[0\] must be a mapping of limit\(\)'s arguments, such as .*, not 'k'"),
    (lambda it: it.limit("k", None), r"rate must be text such as '100/minute', a flint.Limit, or .*, not None"),
    (lambda it: it.limit("k", flint.Limit("5/s"), "1m"), r"per was given with Limit\('5/second'\), .* leave per out"),
    (lambda it: it.check("k", limit="5/s;"), r"\"5/s;\": a rate is missing; write it as \"100/minute\""),
    (lambda it: it.check("k", limit="0/s"), r"\"0/s\": the rate is 0; it must be at least 1, such as 100 a minute"),
    # Neither takes limit=.
    (lambda it: it.reset("k"), r"set one with limit\(\), or pass limit= to a call that takes it"),
    (
        lambda it: it.close() or it.allow("k"),
        r"the limiter is closed: create a new one, or close it after its last call",
    ),
    (lambda it: it.backup(7), r"path must be a str or a Path, such as \".flint\", not int"),
]


@pytest.mark.parametrize(("mistake", "message"), MISTAKES, ids=[message[:30] for _, message in MISTAKES])
def test_a_mistake_leads_to_what_was_meant(
    limiter: flint.Limiter, mistake: Callable[[flint.Limiter], object], message: str
) -> None:
    with pytest.raises((flint.FlintError, TypeError), match=message):
        mistake(limiter)


def test_a_second_writer_in_the_same_process(limiter: flint.Limiter, data_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(data_dir)
    for path in (data_dir, tmp_path / "link"):
        with pytest.raises(flint.DataDirLocked, match=r"already open for writing in this process.*read_only") as caught:
            flint.Limiter(path)
        assert caught.value.pid == os.getpid()
        assert caught.value.path == str(path)
    limiter.check("k", limit="1/s")


def test_a_second_writer_in_another_process(limiter: flint.Limiter, run: Run) -> None:
    done = run(f"""
        import flint
        try:
            flint.Limiter(DIR)
        except flint.DataDirLocked as error:
            assert error.pid == {os.getpid()}, error.pid
            assert "held by process {os.getpid()} (" in str(error), error
            assert "SharedLimiter" in str(error) and "read_only=True" in str(error)
        else:
            raise AssertionError("opened twice")
    """)
    assert (done.returncode, done.stderr) == (0, "")
    limiter.check("k", limit="1/s")


def test_a_read_only_limiter_refuses_to_write(data_dir: Path) -> None:
    flint.Limiter(data_dir).close()
    with flint.Limiter(data_dir, read_only=True) as reader:
        for call in (lambda: reader.limit("k", "1/s"), lambda: reader.check("k", limit="1/s"), reader.compact):
            with pytest.raises(flint.StorageError, match="read_only=True") as caught:
                call()
            assert caught.value.filename == str(data_dir)


def test_a_full_disk_raises_with_errno_and_changes_nothing(run: Run, data_dir: Path) -> None:
    """A file size limit stands in for the full disk: the system refuses the next segment."""
    done = run(f"""
        import resource, signal
        import flint

        limiter = flint.Limiter(DIR, sync="batch")
        limiter.limit("k", "1000000000/day")
        limiter.compact()
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, resource.RLIM_INFINITY))
        allowed = 0
        try:
            for _ in range(1_000_000):
                allowed += limiter.allow("k")
        except flint.StorageError as error:
            assert error.errno == {errno.EFBIG}, error.errno
            assert error.filename, error
        else:
            raise AssertionError("the disk was never full")
        assert limiter.status("k").total_allowed == allowed
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        assert limiter.allow("k")
        limiter.close()
        with flint.Limiter(DIR) as limiter:
            assert limiter.status("k").total_allowed == allowed + 1
    """)
    assert (done.returncode, done.stderr) == (0, "")


def closed_store(data_dir: Path) -> list[Path]:
    with flint.Limiter(data_dir) as limiter:
        limiter.limit("k", "100/day")
        limiter.check("k", 3)
        limiter.compact()
        limiter.check("k", 4)
    return sorted(path for path in data_dir.iterdir() if path.suffix in (".aof", ".snapshot"))


def attempt(data_dir: Path) -> flint.Limiter | flint.StorageError:
    try:
        return flint.Limiter(data_dir)
    except flint.StorageError as error:
        return error


def test_damage_is_refused_with_file_and_offset(data_dir: Path, tmp_path: Path) -> None:
    paths = closed_store(data_dir)
    refused = 0
    for path in paths:
        whole = path.read_bytes()
        for offset in range(0, len(whole.rstrip(b"\0")), 7):
            damaged = bytearray(whole)
            damaged[offset] ^= 0x10
            copied = tmp_path / f"{path.suffix[1:]}-{offset}"
            copied.mkdir()
            for other in paths:
                (copied / other.name).write_bytes(damaged if other == path else other.read_bytes())
            opened = attempt(copied)
            if isinstance(opened, flint.StorageError):
                refused += 1
                assert opened.filename is not None
                assert opened.filename in str(opened)
                if isinstance(opened, flint.CorruptData):
                    assert opened.path == opened.filename
                    assert 0 <= opened.offset <= len(whole)
                assert (copied / path.name).read_bytes() == damaged, "a refused store was changed"
            else:
                # Only what says that the store was closed may be lost: the state is the same.
                with opened:
                    assert not opened.recovery.clean
                    status = opened.status("k")
                assert status is not None
                assert (status.rate, status.per_millis, status.total_allowed_cost) == (100, 86_400_000, 7)
            shutil.rmtree(copied)
    assert refused > 50


def test_a_missing_snapshot_is_refused(data_dir: Path) -> None:
    closed_store(data_dir)
    (snapshot,) = data_dir.glob("*.snapshot")
    snapshot.rename(data_dir.parent / "away")
    with pytest.raises(flint.StorageError):
        flint.Limiter(data_dir)
    found = _native.doctor(data_dir)
    assert not found["ok"]
    assert found["problems"]
    assert all(re.search(r" at byte \d+: ", problem) for problem in found["problems"])


def test_doctor_refuses_a_directory_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(flint.StorageError) as caught:
        _native.doctor(tmp_path / "none")
    assert caught.value.errno == errno.ENOENT
    assert not (tmp_path / "none").exists()


def test_dump_calls_back_for_every_record(data_dir: Path) -> None:
    with flint.Limiter(data_dir) as limiter:
        limiter.limit("k", "100/day")
        limiter.check("k", 3)
    records: list[dict[str, object]] = []
    newest = _native.dump(data_dir, 0, records.append)
    sequence = [record["seq"] for record in records]
    assert sequence == list(range(1, newest + 1))
    assert {"file", "offset", "seq", "type", "at"} <= set(records[0])
    assert any(record.get("key") == "k" for record in records)

    later: list[dict[str, object]] = []

    def one(record: dict[str, object]) -> bool:
        later.append(record)
        return False

    _native.dump(data_dir, 1, one)
    assert later == records[1:2]

    def fail(_record: dict[str, object]) -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        _native.dump(data_dir, 0, fail)


def test_a_cut_tail_is_reported_and_logged(run: Run, data_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    run("""
        import os, flint
        limiter = flint.Limiter(DIR, sync="batch", flush_every_ms=3_600_000, flush_every_events=1_000_000)
        limiter.limit("k", "100/day")
        limiter.flush()
        limiter.check("k")
        limiter.check("k")
        os._exit(0)
    """)
    (segment,) = data_dir.glob("*.aof")
    content = bytearray(segment.read_bytes())
    end = len(content.rstrip(b"\0"))
    content[end - 1] ^= 0xFF
    segment.write_bytes(content)
    with caplog.at_level(logging.WARNING, logger="flint"), flint.Limiter(data_dir) as limiter:
        recovery = limiter.recovery
        status = limiter.status("k")
    assert recovery.cut_bytes > 0
    assert recovery.cut_file == str(segment)
    assert recovery.cut_offset is not None
    assert not recovery.clean
    assert status is not None
    assert status.total_allowed == 1
    assert [record.name for record in caplog.records] == ["flint"]
    assert caplog.records[0].levelno == logging.WARNING


def test_messages_are_one_line(limiter: flint.Limiter) -> None:
    with pytest.raises(flint.LimitNotFound) as caught:
        limiter.check("line\nbreak\x1b[31m")
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)
