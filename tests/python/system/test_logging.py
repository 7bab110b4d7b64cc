"""The logger `flint`: silent by itself, and spoken to by Python's threads only."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pytest
from tests.python.system.support import run, segment

import flint


def crashed(data_dir: Path) -> None:
    """A directory whose process died in the middle of a write."""
    code = """
    import flint, os, sys
    limiter = flint.Limiter(sys.argv[1], sync="batch", flush_every_ms=60_000, flush_every_events=10**6)
    limiter.limit("a", "100/hour")
    for _ in range(10): limiter.check("a")
    os._exit(0)
    """
    run(code, data_dir).ok()
    log = segment(data_dir)
    data = bytearray(log.read_bytes())
    end = len(data.rstrip(b"\0"))
    data[end - 6] ^= 0xFF
    log.write_bytes(data)


def test_the_logger_has_a_null_handler_and_nothing_else() -> None:
    code = """
    import logging
    before = logging.root.handlers[:], logging.root.level
    import flint
    logger = logging.getLogger("flint")
    print([type(handler).__name__ for handler in logger.handlers], logger.level, logger.propagate)
    assert before == (logging.root.handlers, logging.root.level)
    """
    assert run(code).ok().out == "['NullHandler'] 0 True\n"


def test_an_application_that_configures_nothing_sees_nothing(tmp_path: Path) -> None:
    crashed(tmp_path)
    ran = run("import flint, sys; l = flint.Limiter(sys.argv[1]); print(l.recovery.cut_bytes > 0)", tmp_path).ok()
    assert (ran.out, ran.err) == ("True\n", "")


def test_a_cut_tail_is_a_warning_at_open(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    crashed(tmp_path)
    with caplog.at_level(logging.DEBUG), flint.Limiter(tmp_path) as limiter:
        (record,) = caplog.records
        assert (record.name, record.levelno) == ("flint", logging.WARNING)
        message = record.getMessage()
        assert "torn tail" in message
        assert limiter.recovery.cut_file is not None
        assert limiter.recovery.cut_file in message
        assert f"byte {limiter.recovery.cut_offset}" in message
        assert f"{limiter.recovery.cut_bytes} bytes" in message
        status = limiter.status("a")
        assert status is not None
        assert status.total_allowed == 9
    caplog.clear()
    with caplog.at_level(logging.DEBUG), flint.Limiter(tmp_path) as limiter:
        assert not caplog.records
        assert limiter.recovery.cut_bytes == 0


def test_an_orderly_life_says_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        for _ in range(2):
            with flint.Limiter(tmp_path, sync="batch") as limiter:
                limiter.limit("a", "3/hour")
                for _ in range(5):
                    limiter.check("a")
                limiter.compact()
    assert not caplog.records


def test_a_migration_is_a_warning_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    samples = Path(__file__).parents[2] / "legacy-data"
    opened = 0
    for sample in sorted(samples.glob("*/data")):
        data_dir = tmp_path / sample.parent.name
        shutil.copytree(sample, data_dir)
        caplog.clear()
        with caplog.at_level(logging.DEBUG):
            try:
                limiter = flint.Limiter(data_dir)
            except flint.FlintError:
                continue
            with limiter:
                assert limiter.recovery.migrated_from in ("0.1", "0.2")
                migrated = [record for record in caplog.records if "migrated" in record.getMessage()]
                assert [(record.name, record.levelno) for record in migrated] == [("flint", logging.WARNING)]
                assert str(data_dir) in migrated[0].getMessage()
            caplog.clear()
            flint.Limiter(data_dir).close()
            assert not caplog.records
        opened += 1
    assert opened >= 2


# The fsync that fails is made to by strace; in batch mode it is the flusher's, a native thread.
STOPPED = """
import flint, logging, sys, threading
records = []
class Collect(logging.Handler):
    def emit(self, record):
        records.append((record.levelname, threading.current_thread() is threading.main_thread(), record.getMessage()))
logging.getLogger("flint").addHandler(Collect())
limiter = flint.Limiter(sys.argv[1], sync=sys.argv[2], flush_every_ms=1, flush_every_events=1)
limiter.limit("a", 10**9, "1d")
try:
    while True:
        seen = len(records)
        limiter.check("a")
        assert len(records) == seen or sys.argv[2] == "batch", records
except flint.StorageError as error:
    print(error)
assert len(records) == 1, records
level, in_main, message = records[0]
assert level == "ERROR" and in_main, records
assert "stopped" in message and "reopen" in message and "Input/output error" in message, message
for _ in range(3):
    try:
        limiter.check("a")
    except flint.StorageError:
        pass
assert len(records) == 1, records
try:
    limiter.close()
except flint.StorageError:
    pass
"""


@pytest.mark.system
@pytest.mark.parametrize("sync", ["always", "batch"])
def test_a_stopped_engine_is_one_error_from_a_python_thread(sync: str, tmp_path: Path) -> None:
    wrapper = ["strace", "-f", "--seccomp-bpf", "-o", str(tmp_path / "strace"), "-e", "trace=fdatasync"]
    wrapper += ["-e", "inject=fdatasync:error=EIO:when=20+"]
    ran = run(STOPPED, tmp_path / "data", sync, wrapper=wrapper).ok()
    assert "Input/output error" in ran.out
    assert ran.err == ""


def test_a_handler_that_raises_does_not_spoil_the_call(tmp_path: Path) -> None:
    crashed(tmp_path)
    code = """
    import flint, logging, sys
    class Broken(logging.Handler):
        def handle(self, record):
            raise RuntimeError("broken handler")
    logging.getLogger("flint").addHandler(Broken())
    limiter = flint.Limiter(sys.argv[1])
    print(limiter.check("a").allowed)
    limiter.close()
    """
    ran = run(code, tmp_path).ok()
    assert ran.out == "True\n"
    assert "broken handler" in ran.err


def test_a_percent_sign_in_a_path_is_just_that(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data_dir = tmp_path / "100%s %d"
    crashed(data_dir)
    with caplog.at_level(logging.DEBUG), flint.Limiter(data_dir):
        assert str(data_dir) in caplog.records[0].getMessage()
