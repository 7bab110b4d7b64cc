"""The command line while another process holds the directory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import flint

if TYPE_CHECKING:
    from tests.python.cli.conftest import Cli


def test_reading_works_while_another_process_writes(cli_process: Cli, data_dir: Path) -> None:
    with flint.Limiter(data_dir, sync="batch") as limiter:
        limiter.limit("k", 2, "1d")
        for _ in range(3):
            limiter.check("k")
        assert cli_process("limit", "status", "k", "--json").json["remaining"] == 0
        assert [status["key"] for status in cli_process("limit", "list", "--json").json] == ["k"]
        assert cli_process("limit", "peek", "k").status == 1
        assert [event["type"] for event in cli_process("limit", "history", "k", "--json").json][:3] == [
            "LIMIT_CONFIGURED",
            "ALLOW",
            "ALLOW",
        ]
        assert cli_process("limit", "top", "--by", "allowed", "--json").json[0]["total_allowed"] == 2
        assert cli_process("log", "verify").status == 0
        assert cli_process("doctor").status == 0
        assert "ALLOW" in cli_process("log", "dump").out.upper()
        limiter.reset("k")
        assert cli_process("limit", "status", "k", "--json").json["remaining"] == 2


def test_writing_names_the_process_that_holds_the_directory(cli_process: Cli, cli: Cli, data_dir: Path) -> None:
    with flint.Limiter(data_dir) as limiter:
        limiter.limit("k", 2, "1d")
        for arguments in (
            ("limit", "add", "new", "1/s"),
            ("limit", "check", "k"),
            ("limit", "check-all", "k"),
            ("limit", "reset", "k"),
            ("limit", "delete", "k"),
            ("log", "compact"),
        ):
            ran = cli_process(*arguments)
            assert (ran.status, ran.out) == (3, "")
            assert str(os.getpid()) in ran.err
            assert str(data_dir) in ran.err
            assert "work alongside it" in ran.err
            assert cli(*arguments, "--json").json["error"]["type"] == "DataDirLocked"
        status = limiter.status("k")
        assert status is not None
        assert status.remaining == 2
