"""The options of `flint` itself, which every command takes as well; before it and after it they mean the same.

Where one is given twice, the last one counts.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import click

from flint.cli.session import DEFAULT_DATA_DIR, session_of

# Each with its declarations and attributes. The environment variables belong to the root.
_OPTIONS: dict[str, dict[str, Any]] = {
    "data_dir": {
        "declared": ["--data-dir"],
        "metavar": "DIR",
        "help": "The data directory.",
        "root": {"envvar": "FLINT_DATA_DIR", "show_envvar": True, "default": DEFAULT_DATA_DIR, "show_default": True},
    },
    "url": {
        "declared": ["--url"],
        "metavar": "URL",
        "help": "A server instead, such as http://host:port or unix:///path.",
        "root": {"envvar": "FLINT_URL", "show_envvar": True},
    },
    "token_file": {
        "declared": ["--token-file"],
        "metavar": "FILE",
        "help": "With --url: the file with the token; without it, the variable FLINT_TOKEN.",
        "root": {},
    },
    "json": {
        "declared": ["--json"],
        "is_flag": True,
        "help": "Print JSON and nothing else on standard output.",
        "root": {},
    },
}


class RootOption(click.Option):
    """One of these options."""


def root_options(*, at_root: bool, taken: Iterable[str] = ()) -> list[click.Option]:
    """The options for a command that has options of its own called `taken`, or for the root."""
    made: list[click.Option] = []
    for name, described in _OPTIONS.items():
        if name not in taken:
            attributes = {key: value for key, value in described.items() if key not in ("declared", "root")}
            if at_root:
                attributes.update(described["root"])
            made.append(RootOption(described["declared"], expose_value=False, callback=_choose, **attributes))
    return made


def _choose(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    """Notes a value; which of them count is decided when all are known, by Session.settle."""
    name = str(parameter.name)
    source = context.get_parameter_source(name)
    if name == "json":
        session_of(context).json |= bool(value)
    elif value is not None and source is not None:
        session_of(context).choose(name, value, source.name)
