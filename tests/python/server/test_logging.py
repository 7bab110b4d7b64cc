"""The log lines of a server."""

from __future__ import annotations

import json
import signal
from datetime import datetime
from pathlib import Path

from tests.python.server.support import STRONG, refused, serving


def test_text(tmp_path: Path) -> None:
    with serving(tmp_path / "data", "--token", "dev-secret") as server:
        server.send(signal.SIGHUP)
        server.until("^flint: read the tokens again$")
        server.end()
        assert all(line.startswith("flint: ") for line in server.log), server.log
        assert server.log[-1] == "flint: shutting down"


def test_json(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text(f"{STRONG} check\n")
    file.chmod(0o600)
    with serving(tmp_path / "data", "--token-file", file, "--log-format", "json") as server:
        client = server.client(STRONG)
        client.ask("GET", '/v1/limits/"%0A')
        file.write_text("rubbish")
        server.send(signal.SIGHUP)
        server.until("the tokens stay as they were")
        server.end()
        lines = [json.loads(line) for line in server.log]
    assert all(set(line) == {"at", "level", "message"} for line in lines)
    assert {line["level"] for line in lines} == {"info", "warning", "error"}
    for line in lines:
        assert datetime.fromisoformat(line["at"][:19] + "+00:00").tzinfo
    assert STRONG not in "".join(server.log)
    assert [line["message"] for line in lines][-1] == "shutting down"


def test_an_unknown_format(tmp_path: Path) -> None:
    assert "log_format" in refused(tmp_path / "data", "--bind", "127.0.0.1:0", "--log-format", "xml")


def test_requests_are_not_logged(tmp_path: Path) -> None:
    """No client can fill the disk with log lines, or put anything into them."""
    with serving(tmp_path / "data") as server:
        before = list(server.log)
        for path in ("/nothing", "/v1/limits/x", "/v1/limits/%0Aflint: error: lies"):
            server.client().ask("GET", path.replace(" ", "%20"))
        server.connect(b"rubbish\r\n\r\n").close()
        server.client().get("/v1/health")
        assert server.log == before
