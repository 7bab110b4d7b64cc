"""Types of arguments and of plain results. Each alias is defined here, once for the whole package.

`import flint` does not load this module: annotations are not evaluated.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Literal, TypeAlias, TypedDict

from flint._native import Limit, Rate

Algorithm: TypeAlias = Literal["token_bucket", "sliding_window_log", "fixed_window_counter"]
# A limit that comes with a call.
LimitLike: TypeAlias = str | Limit
# What limit() and rate_limit() take as `rate`.
RateLike: TypeAlias = int | str | Limit | list[str | Limit] | tuple[str | Limit, ...]
# An integer counts seconds.
Period: TypeAlias = str | timedelta | int


class _ItemKey(TypedDict):
    key: str


class ItemDict(_ItemKey, total=False):
    """One key of check_all() as a mapping."""

    cost: int
    limit: LimitLike | None


# One key of check_all().
Item: TypeAlias = str | tuple[str, int] | ItemDict | Mapping[str, Any]


class Report(TypedDict):
    """What doctor() returns."""

    ok: bool
    limits: int
    history_events: int
    aof_bytes: int
    snapshot_exists: bool
    format: str
    problems: list[str]
    notes: list[str]


class BackupReport(TypedDict):
    """What backup() returns: where the copy is, the bytes of its files, and the newest log record in it."""

    path: str
    bytes: int
    seq: int


# Sums over all keys whose limits have the same algorithms: the label `algorithm`; the rates, the tokens per period and
# the period in milliseconds that all their limits have in common, or None; the number of keys, the fewest remaining
# tokens, the latest reset in nanoseconds; and the totals of allowed and denied checks and of their costs.
Aggregate: TypeAlias = tuple[str, tuple[Rate, ...] | None, int | None, int | None, int, int, int, int, int, int, int]


class Distribution(TypedDict):
    """A histogram. `bounds` has the largest value of each bucket but the last; `counts` is not cumulative."""

    bounds: tuple[int, ...]
    counts: tuple[int, ...]
    sum: int


class Counters(TypedDict):
    """What counters() returns."""

    keys: int
    allowed: int
    denied: int
    seq: int
    durable_seq: int
    log_bytes: int
    syncs: int
    rotations: int
    compactions: int
    recovery_ns: int
    sync_ns: Distribution
    sync_records: Distribution
