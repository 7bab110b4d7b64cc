from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import flint

if TYPE_CHECKING:
    from tests.python.cli.conftest import Cli


def complete(cli: Cli, line: str, **more: str) -> list[str]:
    words = line.split(" ")
    variables = {"_FLINT_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    return cli(**variables, **more).out.split()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts(cli: Cli, shell: str) -> None:
    ran = cli(_FLINT_COMPLETE=f"source_{shell}")
    assert ran.status == 0
    assert "_FLINT_COMPLETE" in ran.out


def test_commands_and_options(cli: Cli) -> None:
    assert complete(cli, "flint l") == ["limit", "log"]
    assert complete(cli, "flint limit check") == ["check", "check-all"]
    assert complete(cli, "flint limit add k --algorithm f") == ["fixed_window_counter"]
    assert "denied_cost" in complete(cli, "flint limit top --by d")


def test_keys(cli: Cli, data_dir: Path) -> None:
    with flint.Limiter(data_dir) as limiter:
        limiter.limit_many({"key": key, "rate": 1, "per": "1d"} for key in ("user-1", "user-2", "org", "user-\x1b[0m"))
    assert complete(cli, "flint limit status user-") == ["user-1", "user-2"]
    assert complete(cli, f"flint --data-dir {data_dir} limit check o", FLINT_DATA_DIR="/nowhere") == ["org"]


def test_keys_of_a_directory_that_cannot_be_read(cli: Cli, data_dir: Path) -> None:
    assert complete(cli, "flint limit status u") == []
    data_dir.write_text("a file")
    assert complete(cli, "flint limit status u") == []
