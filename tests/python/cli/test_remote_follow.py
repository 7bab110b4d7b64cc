"""`flint --url URL log dump --follow`."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from tests.python.cli.conftest import heed_interrupts
from tests.python.served import serving

import flint

if TYPE_CHECKING:
    from tests.python.cli.conftest import Environment


@contextmanager
def following(
    command: list[str], environment: Environment, url: str, *options: str
) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
    whole = [*command, "--url", url, "log", "dump", "--follow", *options]
    with subprocess.Popen(
        whole,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=heed_interrupts,
    ) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout
        finally:
            process.kill()


def test_it_goes_on_with_what_is_written(command: list[str], environment: Environment, data_dir: Path) -> None:
    with serving(data_dir) as served, flint.SharedLimiter(served.url) as limiter:
        limiter.limit("k", 10, "1d")
        with following(command, environment, served.url, "--json") as (process, output):
            seen = json.loads(output.readline())
            while seen.get("key") != "k":
                seen = json.loads(output.readline())
            newest = seen["seq"]
            for cost in (1, 2, 3):
                limiter.check("k", cost)
                record = json.loads(output.readline())
                assert (record["seq"], record["cost"]) == (newest + 1, cost)
                newest = record["seq"]
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 130


def test_it_ends_with_its_reader(command: list[str], environment: Environment, data_dir: Path) -> None:
    with (
        serving(data_dir) as served,
        flint.SharedLimiter(served.url) as limiter,
        following(command, environment, served.url) as (process, output),
    ):
        limiter.limit("k", 10, "1d")
        assert output.readline()
        output.close()
        assert process.wait(60) == 0
        assert process.stderr is not None
        assert process.stderr.read() == b""


def test_it_ends_with_its_server(command: list[str], environment: Environment, data_dir: Path) -> None:
    with serving(data_dir) as served, following(command, environment, served.url) as (process, output):
        assert output.readline()
        served.end()
        assert process.wait(60) == 3
        assert process.stderr is not None
        message = process.stderr.read().decode()
    assert served.url in message
    assert "server start" in message
    assert "Traceback" not in message


def test_it_reports_what_compaction_removed(command: list[str], environment: Environment, data_dir: Path) -> None:
    with flint.Limiter(data_dir, sync="batch", history_bytes=0) as filled:
        filled.limit("k", 10**9, "1d")
        while filled.counters()["rotations"] == 0:
            filled.check("k")
        filled.compact()
    with serving(data_dir) as served:
        whole = [*command, "--url", served.url, "log", "dump", "--after", "2"]
        plain = subprocess.run(whole, env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert plain.returncode == 0
        assert plain.stderr.startswith("flint: records 3 to ")
        assert plain.stderr.endswith(" were removed by compaction before they were read\n")
        as_json = subprocess.run([*whole, "--json"], env=environment, capture_output=True, timeout=60, check=True)
    first, second, *_ = (json.loads(line) for line in as_json.stdout.splitlines())
    assert (first["type"], first["from"], first["to"]) == ("GAP", 3, second["seq"] - 1)
