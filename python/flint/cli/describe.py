"""Limits and results as text, and as JSON where that is wanted."""

from __future__ import annotations

import math
import sys
import time
from functools import lru_cache
from typing import TYPE_CHECKING

import flint
from flint._errors import capacity_of
from flint.cli import output, table
from flint.cli.errors import DENIED
from flint.cli.output import NS_PER_S, moment, printable_key, second
from flint.cli.table import GREEN, RED, YELLOW, Cell, Column

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

# Different limits in a listing; most of its keys share a few.
_CACHED = 1024

KEY = Column("KEY", 0, folds="anywhere")
LIMIT = Column("LIMIT", 2, folds="words")
REMAINING = Column("REMAINING", 1, numeric=True)
ALLOWED = Column("ALLOWED", 4, numeric=True)
DENIED_TOTAL = Column("DENIED", 3, numeric=True)
STATUS = (KEY, LIMIT, Column("ALGORITHM", 6), REMAINING, ALLOWED, DENIED_TOTAL, Column("RESET AT", 5))

_UNITS = (
    (604_800_000, "week"),
    (86_400_000, "day"),
    (3_600_000, "hour"),
    (60_000, "minute"),
    (1_000, "s"),
    (1, "ms"),
)
_LETTERS = {"week": "w", "day": "d", "hour": "h", "minute": "m", "s": "s", "ms": "ms"}


def period(per_millis: int) -> str:
    """A period in the rate grammar, in its largest whole unit: "minute", "2h", "250ms"."""
    for millis, unit in _UNITS:
        if per_millis % millis == 0:
            number = per_millis // millis
            return unit if number == 1 else f"{number}{_LETTERS[unit]}"
    raise ValueError(f"{per_millis} is no period in milliseconds")


def rate(limit: int, per_millis: int, burst: int, algorithm: str) -> str:
    """One rate in the grammar: "100/minute", "10/2h burst 20"."""
    text = f"{limit}/{period(per_millis)}"
    return f"{text} burst {burst}" if algorithm == "token_bucket" and burst != limit else text


@lru_cache(_CACHED)
def rates(of: tuple[flint.Rate, ...]) -> tuple[str, str]:
    """The rates of a key, joined as the grammar joins them, and their algorithms, each once."""
    return (
        "; ".join(rate(each.rate, each.per_millis, each.burst, each.algorithm) for each in of),
        ", ".join(dict.fromkeys(each.algorithm for each in of)),
    )


def status_row(status: flint.LimitStatus) -> tuple[Cell, ...]:
    """The cells under STATUS."""
    return (
        Cell(printable_key(status.key)),
        limit(status),
        Cell(rates(status.rates)[1]),
        remaining(status),
        Cell(str(status.total_allowed)),
        denials(status.total_denied),
        Cell(reset(status.reset_at_ns)),
    )


def limit(status: flint.LimitStatus) -> Cell:
    """The most recently used limit of a key, and how many others calls brought."""
    text = rates(status.rates)[0]
    more = len(status.counters) - 1
    return Cell(f"{text} (and {more} more)" if more else text)


def note_others(statuses: Iterable[flint.LimitStatus]) -> None:
    """Says, on standard error, how to see the limits that a table leaves out, if it leaves out any."""
    if any(len(status.counters) > 1 for status in statuses):
        output.report('calls brought further limits to the keys with "more"; flint limit status KEY shows each of them')


def remaining(status: flint.LimitStatus) -> Cell:
    """What is left of a limit; a limit that is used up stands out."""
    return Cell(str(status.remaining), None if status.remaining else RED)


def denials(total: int) -> Cell:
    """A number of denials; any stands out."""
    return Cell(str(total), YELLOW if total else None)


def relative_times() -> bool:
    """Whether times are shown as distances from now: to a person. What reads a pipe gets exact ones."""
    return output.is_terminal(sys.stdout)


def reset(at_ns: int) -> str:
    """When a limit is full again."""
    if not relative_times():
        return second(at_ns // NS_PER_S)
    left = at_ns - time.time_ns()
    return "full" if left <= 0 else f"in {distance(left / NS_PER_S)}"


def when(at: datetime, at_ns: int) -> str:
    """When something happened."""
    if not relative_times():
        return output.millisecond(at)
    return f"{distance(max(time.time_ns() - at_ns, 0) / NS_PER_S)} ago"


def distance(value: float) -> str:
    """A span of time in its two largest units: "0.125 s", "4 min 5 s", "2 d 3 h"."""
    return seconds(value) if value < 60 else " ".join(seconds(value).split(" ")[:4])


def seconds(value: float) -> str:
    """A waiting time, to the millisecond, rounded up as the library does it: "0.25 s", "1 h 2 min 3 s"."""
    if value < 60:
        return f"{math.ceil(value * 1000) / 1000:.3f}".rstrip("0").rstrip(".") + " s"
    whole = int(value) + (value > int(value))
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = ((days, "d"), (hours, "h"), (minutes, "min"), (rest, "s"))
    return " ".join(f"{number} {unit}" for number, unit in parts if number)


def decision(result: flint.CheckResult) -> str:
    """One line on a check's result."""
    head = "allowed" if result.allowed else "denied"
    if table.in_colour():
        head = table.paint(head, GREEN if result.allowed else RED)
    left = f"remaining {result.remaining} of {capacity_of(result)}"
    text = f"{head}  {printable_key(result.key)}  cost {result.cost}  {left}"
    return text if result.allowed else f"{text}  retry after {seconds(result.retry_after)}"


def print_decision(as_json: bool, result: flint.CheckResult) -> int:
    """Prints a check's result and returns the exit status for it."""
    if as_json:
        output.document(result.to_dict())
    else:
        output.line(decision(result))
    return 0 if result.allowed else DENIED


def _both(exact: str, shown: str) -> str:
    """An exact time, and on a terminal how far away it is."""
    return exact if shown == exact else f"{shown} ({exact})"


def other_limits(status: flint.LimitStatus) -> list[tuple[str, str]]:
    """Each limit that calls brought besides the most recently used one, as facts."""
    facts = []
    for counter in status.counters[1:]:
        limit, algorithms = rates(counter.rates)
        totals = f"{counter.total_allowed} allowed, {counter.total_denied} denied"
        full = f"full again {moment(counter.reset_at)}"
        facts.append(("another limit", f"{limit} ({algorithms}): remaining {counter.remaining}, {full}, {totals}"))
    return facts


def print_status(as_json: bool, status: flint.LimitStatus) -> None:
    """Prints all that is known of a key."""
    if as_json:
        output.document(status.to_dict())
        return
    limit, algorithms = rates(status.rates)
    totals = f"{status.total_allowed} allowed (cost {status.total_allowed_cost}), "
    totals += f"{status.total_denied} denied (cost {status.total_denied_cost})"
    output.facts(
        [
            ("key", printable_key(status.key)),
            ("limit", limit),
            ("algorithm", algorithms),
            ("remaining", str(status.remaining)),
            ("full again", _both(moment(status.reset_at), reset(status.reset_at_ns))),
            ("checks", totals),
            ("last allowed", moment(status.last_allowed_at)),
            ("last denied", moment(status.last_denied_at)),
            ("last reset", moment(status.last_reset_at)),
            *other_limits(status),
        ]
    )
