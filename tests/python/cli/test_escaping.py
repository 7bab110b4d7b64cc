from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import flint
from flint.cli.output import printable, printable_key

if TYPE_CHECKING:
    from tests.python.cli.conftest import Cli


KEYS = {
    "line\nbreak": "line\\nbreak",
    "tab\there": "tab\\there",
    "\x1b[31mred": "\\x1b[31mred",
    "\x9b31mred": "\\x9b31mred",
    "bell\x07": "bell\\x07",
    "\u202eright to left": "\\u202eright to left",
    "\u2066isolate": "\\u2066isolate",
    "zero\u200bwidth": "zero\\u200bwidth",
    "no-break\u00a0space": "no-break\\xa0space",
    "line\u2028separator": "line\\u2028separator",
    "tag\U000e0041": "tag\\U000e0041",
    "back\\slash": "back\\\\slash",
    "back\\nslash": "back\\\\nslash",
    "[bold]markup[/bold]": "[bold]markup[/bold]",
    ":smile:": ":smile:",
    "\u043a\u043b\u044e\u0447:\u00fc/\u2603": "\u043a\u043b\u044e\u0447:\u00fc/\u2603",
    "\u6f22\u5b57": "\u6f22\u5b57",
}


@pytest.mark.parametrize(("key", "shown"), KEYS.items())
def test_keys_are_shown_escaped(key: str, shown: str) -> None:
    assert printable_key(key) == shown
    assert len(printable_key(key).splitlines()) == 1


def test_surrogates_are_shown_escaped() -> None:
    assert printable("\udcff") == "\\udcff"


def test_every_command_that_shows_keys_escapes_them(cli: Cli, data_dir: Path) -> None:
    with flint.Limiter(data_dir) as limiter:
        for key in KEYS:
            limiter.limit(key, 2, "1d")
    assert [line.split("  ")[0] for line in cli("limit", "list").out.splitlines()[1:]] == [
        KEYS[key] for key in sorted(KEYS, key=str.encode)
    ]

    def commands_of_one_key(number: int, key: str, shown: str) -> None:
        place = data_dir.with_name(f"data-{number}")
        with flint.Limiter(place) as limiter:
            limiter.limit(key, 2, "1d")
        for command in ("status", "check", "peek", "history", "reset"):
            ran = cli("--data-dir", place, "limit", command, key)
            assert ran.status == 0, ran.err
            assert key == shown or key not in ran.out
        assert shown in cli("--data-dir", place, "limit", "status", key).out
        assert cli("--data-dir", place, "limit", "status", key, "--json").json["key"] == key

    for number, pair in enumerate(KEYS.items()):
        commands_of_one_key(number, *pair)
    for arguments in (("limit", "top", "--by", "allowed"), ("log", "dump")):
        out = cli(*arguments).out
        for key, shown in KEYS.items():
            assert shown in out or arguments[1] == "top"
            assert key == shown or key not in out


def test_error_messages_escape_what_they_quote(cli: Cli, tmp_path: Path) -> None:
    evil = "\x1b[2J\u202e\nfake line"
    for arguments in (("limit", "status", evil), ("limit", "add", "k", evil), (evil,), ("limit", "top", "--by", evil)):
        ran = cli(*arguments)
        assert ran.status in (2, 3)
        assert "fake line" not in ran.err.splitlines()
        assert "\u202e" not in ran.err
    ran = cli("--data-dir", tmp_path / evil, "limit", "list")
    assert ran.status == 3
    assert "\\x1b[2J" in ran.err


def test_messages_survive_a_poor_encoding(cli: Cli, data_dir: Path) -> None:
    with flint.Limiter(data_dir) as limiter:
        limiter.limit("\u2603", 2, "1d")
    ran = cli("limit", "list", PYTHONIOENCODING="ascii")
    assert ran.status == 0
    assert "\\u2603" in ran.out
