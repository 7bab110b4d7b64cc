"""The arguments of the public functions on metrics, checked."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from flint._errors import InvalidArgument

_PREFIX = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class Options:
    """The arguments of flint.prometheus.FlintCollector, whose docstring describes them."""

    prefix: str
    include_key_label: bool
    key_label_func: Callable[[str], str] | None
    max_series: int

    def __post_init__(self) -> None:
        _require_type("prefix", self.prefix, str)
        _require_type("include_key_label", self.include_key_label, bool)
        _require_type("max_series", self.max_series, int)
        if _PREFIX.fullmatch(self.prefix) is None:
            raise InvalidArgument(
                "prefix must be letters, digits and underscores, and not begin with a digit, such as 'flint', "
                f"not {self.prefix!r}"
            )
        if self.max_series < 1:
            raise InvalidArgument(f"max_series must be at least 1, such as 10000, not {self.max_series}")
        if self.key_label_func is not None:
            if not callable(self.key_label_func):
                raise TypeError(f"key_label_func must be callable, not {type(self.key_label_func).__name__}")
            if not self.include_key_label:
                raise InvalidArgument(
                    "key_label_func makes the label that include_key_label=False leaves out; use one of the two"
                )


def _require_type(name: str, value: object, kind: type) -> None:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise TypeError(f"{name} must be of type {kind.__name__}, not {type(value).__name__}")
