"""Random steps for the comparison of a limiter with the reference: which limits, which calls, how often, with what."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any, TypeAlias

import flint

from .model import Limit, Rate

MS = 1_000_000
SECOND = 1_000 * MS
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
START = datetime(2030, 1, 2, 3, 4, 5, 678_901, tzinfo=timezone.utc)


def bucket(limit: int, per_ms: int, burst: int | None = None) -> Rate:
    return Rate(limit, per_ms, limit if burst is None else burst, "token_bucket")


def sliding(limit: int, per_ms: int) -> Rate:
    return Rate(limit, per_ms, limit, "sliding_window_log")


def fixed(limit: int, per_ms: int) -> Rate:
    return Rate(limit, per_ms, limit, "fixed_window_counter")


# Many have rates in common, so that redefinitions keep some; the periods are mixed with what the clock advances by.
LIMITS: list[Limit] = [
    (bucket(3, 1_000),),
    (sliding(3, 1_000),),
    (fixed(3, 1_000),),
    (bucket(5, 250),),
    (bucket(3, 7),),
    (bucket(1, 1),),
    (bucket(7, 60_000, 3),),
    (bucket(2, 1_000, 10),),
    (bucket(1_000_003, 3_600_000, 10**9),),
    (sliding(5, 10),),
    (sliding(2, 1),),
    (sliding(100, 60_000),),
    (sliding(2**40, 90_000),),
    (fixed(4, 10),),
    (fixed(1, 86_400_000),),
    (fixed(2**40, 60_000),),
    (bucket(3, 1_000), fixed(6, 60_000)),
    (sliding(3, 1_000), sliding(100, 60_000)),
    (fixed(6, 60_000), bucket(3, 1_000), bucket(3, 1_000)),
    (bucket(3, 1_000), bucket(3, 1_000)),
    # Ties, of waits and of what remains.
    (fixed(3, 1_000), fixed(2, 1_000)),
    (bucket(7, 60_000, 3), fixed(3, 1_000)),
    (sliding(5, 10), fixed(4, 10), sliding(5, 10)),
    (fixed(4, 10), sliding(5, 10), bucket(5, 250)),
    (sliding(9, 1_000), fixed(9, 1_000), bucket(9, 1_000)),
    (
        bucket(3, 1_000),
        sliding(3, 1_000),
        fixed(3, 1_000),
        bucket(5, 250),
        fixed(6, 60_000),
        sliding(100, 60_000),
        fixed(20, 86_400_000),
        bucket(7, 60_000, 3),
    ),
]


def given(limit: Limit) -> flint.Limit:
    """The limit as callers give it."""
    return flint.Limit(
        [
            flint.Limit(
                rate.limit,
                timedelta(milliseconds=rate.per_ms),
                algorithm=rate.algorithm,
                burst=rate.burst if rate.algorithm == "token_bucket" else None,
            )
            for rate in limit
        ]
    )


GIVEN = {limit: given(limit) for limit in LIMITS}

CLOCK_KEY = "~"
KEYS = ["a", "key:b", "ключ", "a\n\0"]

# A name of a method of `Machine`, and its arguments.
Step: TypeAlias = tuple[Any, ...]
Draw: TypeAlias = Callable[[random.Random], Any]


def one_of(values: list[Any]) -> Draw:
    """One of these values; a value that occurs twice is drawn twice as often."""
    return lambda dice: dice.choice(values)


def any_of(*draws: Draw) -> Draw:
    """What one of these draws."""
    return lambda dice: dice.choice(draws)(dice)


def whole(least: int, most: int, unit: int = 1) -> Draw:
    """A whole number of units, both bounds included."""
    return lambda dice: dice.randint(least, most) * unit


def several(least: int, most: int, *draws: Draw) -> Draw:
    """A list of tuples of what these draw."""
    return lambda dice: [tuple(draw(dice) for draw in draws) for _ in range(dice.randint(least, most))]


keys = one_of([*KEYS, *KEYS[:2], KEYS[0]])
limits = one_of(LIMITS)
maybe_limits = any_of(one_of([None]), limits)
# Zero and minus two are refused: nothing, and one above the capacity. Minus one is the capacity, minus three its half.
costs = one_of([*[1] * 12, *[2] * 6, *[3] * 3, 4, 5, 6, *[-1] * 3, *[-3] * 3, 0, -2])
on_changes = one_of(["keep", "keep", "reset"])
items = several(1, 5, keys, costs, maybe_limits)
advances = any_of(
    whole(0, 12, MS),
    whole(0, 3 * MS),
    whole(0, 1_500 * MS),
    one_of([1, MS - 1, MS + 1, 333_333_333, SECOND, SECOND + 1, MINUTE - 1, MINUTE, 17 * MINUTE, HOUR, 40 * DAY]),
)
specs = several(0, 4, keys, limits, on_changes)
prefixes = one_of(["", "a", "key:", "zz"])
most = one_of([None, 0, 1, 3])
# Microseconds: the finest step that a datetime can tell.
WALL_STEPS = [
    step * sign for step in (1, 400_000, 1_000_000, 1_500_000, 90_000_000, 3_600_000_000, 10**12) for sign in (1, -1)
]
wall_steps = one_of(WALL_STEPS)
times_away = any_of(whole(0, 0), advances)
maybe_keys = any_of(one_of([None]), keys)
totals = one_of(["allowed", "denied", "allowed_cost", "denied_cost"])
maybe_wall_steps = any_of(whole(0, 0), whole(0, 0), wall_steps)
flags = one_of([False, True])

# What a step is, how often, and with what.
STEP_KINDS: dict[str, tuple[int, tuple[Draw, ...]]] = {
    "check": (9, (keys, costs, maybe_limits)),
    "check_again": (4, (keys, costs)),
    "allow": (3, (keys, costs, maybe_limits)),
    "peek": (3, (keys, costs, maybe_limits)),
    "check_all": (7, (items,)),
    "allow_all": (2, (items,)),
    "limit": (4, (keys, limits, on_changes)),
    "limit_many": (1, (specs,)),
    "reset": (1, (keys,)),
    "delete": (1, (keys,)),
    "flush": (1, ()),
    "compact": (1, ()),
    "advance": (8, (advances,)),
    "wait_as_reported": (5, (keys, costs)),
    "step_the_wall_clock": (2, (wall_steps,)),
    "reopen": (2, (times_away, maybe_wall_steps, flags)),
    "die": (1, (times_away, maybe_wall_steps)),
    "look_beside": (1, ()),
    "doctor": (1, ()),
    "read": (1, (prefixes, most, maybe_keys, totals)),
}
NAMES = list(STEP_KINDS)
WEIGHTS = [weight for weight, _ in STEP_KINDS.values()]


def random_steps(dice: random.Random, count: int) -> list[Step]:
    """`count` steps after the first, which sets an explicit limit and lets a call bring one."""
    drawn: list[Step] = [("begin", limits(dice), limits(dice))]
    for name in dice.choices(NAMES, WEIGHTS, k=count):
        drawn.append((name, *(draw(dice) for draw in STEP_KINDS[name][1])))
    return drawn


def fewest(steps: list[Step], fails: Callable[[list[Step]], bool], tries: int = 400) -> list[Step]:
    """Steps that still fail after as many as possible were left out, in at most `tries` tries."""
    size = len(steps) // 2
    while size:
        start = 1
        while start < len(steps) and tries:
            tries -= 1
            fewer = steps[:start] + steps[start + size :]
            if fails(fewer):
                steps = fewer
            else:
                start += size
        size //= 2
    return steps
