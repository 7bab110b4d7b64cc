"""Help texts, and what a mistyped command or option leads to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import pytest
from tests.python.command_tree import everything

from flint.cli.commands import Argument

if TYPE_CHECKING:
    from tests.python.cli.conftest import Cli


ALL = everything()


@pytest.mark.parametrize("path", ALL, ids=lambda path: " ".join(("flint", *path)))
def test_help_fits_80_columns_and_explains_everything(cli: Cli, path: tuple[str, ...]) -> None:
    shown = cli(*path, "--help", COLUMNS="80")
    assert (shown.status, shown.err) == (0, "")
    assert max(map(len, shown.out.splitlines())) <= 80
    # A summary that is cut off is too long.
    assert "..." not in shown.out.replace("[ARGS]...", "").replace("KEY...", "")
    for parameter in ALL[path].params:
        if isinstance(parameter, Argument):
            assert parameter.explanation
            assert parameter.metavar
            assert parameter.metavar in shown.out
        else:
            assert isinstance(parameter, click.Option)
            assert parameter.help
            assert parameter.opts[-1] in shown.out


@pytest.mark.parametrize(
    ("arguments", "suggestion"),
    [
        (("limit", "chek"), "did you mean 'check' or 'check-all'?"),
        (("limits",), "did you mean 'limit'?"),
        (("check", "k"), "did you mean 'limit check'?"),
        (("dump",), "did you mean 'log dump'?"),
        (("list",), "did you mean 'limit list'?"),
        (("server", "begin"), "the commands are start"),
        (("xyzzy",), "the commands are limit, log, server, backup, restore, doctor"),
        (("limit", "check", "k", "--cots", "3"), "--cost"),
        (("--data-dri", "x", "limit", "list"), "--data-dir"),
        (("limit", "top", "--by", "lucky"), "'allowed_cost'"),
    ],
)
def test_mistyped(cli: Cli, arguments: tuple[str, ...], suggestion: str) -> None:
    ran = cli(*arguments)
    assert (ran.status, ran.out) == (2, "")
    message, usage = ran.err.splitlines()
    assert suggestion in message
    assert usage.startswith("flint: Usage: flint ")
