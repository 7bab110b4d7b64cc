"""A naive reference limiter in exact fractions.

Written from the documented semantics alone and in their words: a bucket is a number of tokens, a sliding window a list
of events, a fixed window a start and a count. It knows nothing of the package under test.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal, NamedTuple, Protocol, TypeAlias

NS_PER_MS = 1_000_000

Algorithm: TypeAlias = Literal["token_bucket", "sliding_window_log", "fixed_window_counter"]


class Rate(NamedTuple):
    """`limit` tokens every `per_ms` milliseconds; at most `burst` at once, which is `limit` but for token buckets."""

    limit: int
    per_ms: int
    burst: int
    algorithm: Algorithm

    @property
    def per_ns(self) -> int:
        return self.per_ms * NS_PER_MS


Limit: TypeAlias = tuple[Rate, ...]


def capacity(limit: Limit) -> int:
    """The highest cost that can ever succeed."""
    return min(rate.burst for rate in limit)


class State(Protocol):
    """What one rate remembers."""

    def used(self, now: int) -> Fraction:
        """How many tokens are in use."""

    def until(self, now: int, cost: int) -> int:
        """Nanoseconds from `now` to the first moment at which `cost` tokens are free."""

    def take(self, now: int, cost: int) -> None:
        """Use `cost` tokens, which are free."""


class TokenBucket:
    """Tokens come back continuously."""

    def __init__(self, rate: Rate, used: int, now: int) -> None:
        self.rate, self.tokens, self.at = rate, Fraction(rate.burst - used), now

    def _tokens(self, now: int) -> Fraction:
        refilled = Fraction((now - self.at) * self.rate.limit, self.rate.per_ns)
        return min(Fraction(self.rate.burst), self.tokens + refilled)

    def used(self, now: int) -> Fraction:
        return self.rate.burst - self._tokens(now)

    def until(self, now: int, cost: int) -> int:
        missing = max(Fraction(0), cost - self._tokens(now))
        return math.ceil(missing * self.rate.per_ns / self.rate.limit)

    def take(self, now: int, cost: int) -> None:
        self.tokens, self.at = self._tokens(now) - cost, now


class SlidingWindowLog:
    """At most `limit` in any period. Events are dated up to a whole millisecond, the present down."""

    def __init__(self, rate: Rate, used: int, now: int) -> None:
        self.rate = rate
        self.events: list[tuple[int, int]] = []
        if used:
            self.take(now, used)

    def _counted(self, now: int) -> list[tuple[int, int]]:
        now_ms = now // NS_PER_MS
        return [(at_ms, cost) for at_ms, cost in self.events if at_ms + self.rate.per_ms > now_ms]

    def used(self, now: int) -> Fraction:
        return Fraction(sum(cost for _, cost in self._counted(now)))

    def until(self, now: int, cost: int) -> int:
        counted = self._counted(now)
        wait = 0
        while sum(used for _, used in counted) + cost > self.rate.limit:
            oldest_ms, _ = counted.pop(0)
            wait = (oldest_ms + self.rate.per_ms) * NS_PER_MS - now
        return wait

    def take(self, now: int, cost: int) -> None:
        self.events = [*self._counted(now), (-(-now // NS_PER_MS), cost)]


class FixedWindowCounter:
    """At most `limit` in a window, which starts at the first consumption."""

    def __init__(self, rate: Rate, used: int, now: int) -> None:
        self.rate, self.start, self.count = rate, now, used

    def _count(self, now: int) -> int:
        return self.count if now < self.start + self.rate.per_ns else 0

    def used(self, now: int) -> Fraction:
        return Fraction(self._count(now))

    def until(self, now: int, cost: int) -> int:
        if self._count(now) + cost <= self.rate.limit:
            return 0
        return self.start + self.rate.per_ns - now

    def take(self, now: int, cost: int) -> None:
        if self._count(now) == 0:
            self.start, self.count = now, 0
        self.count += cost


ALGORITHMS: dict[Algorithm, type[TokenBucket | SlidingWindowLog | FixedWindowCounter]] = {
    "token_bucket": TokenBucket,
    "sliding_window_log": SlidingWindowLog,
    "fixed_window_counter": FixedWindowCounter,
}


class Answer(NamedTuple):
    """What a check of one key says."""

    allowed: bool
    key: str
    cost: int
    limit: int
    remaining: int
    retry_after_ns: int
    reset_after_ns: int


class MultiAnswer(NamedTuple):
    """What a check of several keys says."""

    allowed: bool
    denied_key: str | None
    retry_after_ns: int
    results: tuple[Answer, ...]


class Status(NamedTuple):
    """A key as people see it. Times are on the engine's timeline."""

    key: str
    rates: Limit
    binding: int
    origin: str
    remaining: int
    retry_after_ns: int
    reset_after_ns: int
    total_allowed: int
    total_denied: int
    total_allowed_cost: int
    total_denied_cost: int
    last_allowed: int | None
    last_denied: int | None
    last_reset: int | None


class Refused(Exception):
    """The call is not accepted. `errors` names every error that applies; which of them is raised is not promised."""

    def __init__(self, *errors: str) -> None:
        super().__init__(*errors)
        self.errors = errors


@dataclass(frozen=True)
class Denials:
    """Totals of what was denied."""

    count: int = 0
    cost: int = 0
    last: int | None = None


@dataclass
class Key:
    """One key: its limit, what each rate remembers, its totals."""

    origin: str
    limit: Limit
    states: list[State]
    allowed: int = 0
    allowed_cost: int = 0
    last_allowed: int | None = None
    last_reset: int | None = None
    denials: Denials = field(default_factory=Denials)
    # The denials that no death can take away any more.
    saved_denials: Denials = field(default_factory=Denials)


@dataclass
class Resolved:
    """An item of a call: the key as it would be with the limit that decides, and what the check says."""

    key: str
    cost: int
    limit: Limit
    states: list[State]
    stored: Key | None
    answer: Answer


def carried(old: Key | None, limit: Limit, now: int, *, afresh: bool = False) -> list[State]:
    """What the rates of a new limit start with: an unchanged one goes on, others start with the most in use."""
    if old is None or afresh:
        return [ALGORITHMS[rate.algorithm](rate, 0, now) for rate in limit]
    most = max(math.ceil(state.used(now)) for state in old.states)
    left = list(zip(old.limit, old.states, strict=True))
    states: list[State] = []
    for rate in limit:
        same = next((pair for pair in left if pair[0] == rate), None)
        if same is None:
            states.append(ALGORITHMS[rate.algorithm](rate, min(most, rate.burst), now))
        else:
            left.remove(same)
            states.append(copy.copy(same[1]))
    return states


def take(states: list[State], now: int, cost: int) -> list[State]:
    """The states after `cost` was taken of each."""
    after = [copy.copy(state) for state in states]
    for state in after:
        state.take(now, cost)
    return after


def look(key: str, limit: Limit, states: list[State], now: int, cost: int) -> tuple[Answer, int]:
    """What a check says, and which rate binds. A cost of zero only looks."""

    def remaining(rate: int, states: list[State]) -> int:
        return math.floor(limit[rate].burst - states[rate].used(now))

    waits = [state.until(now, cost) for state in states]
    wait = max(waits)
    if wait > 0:
        binding = waits.index(wait)
    else:
        if cost:
            states = take(states, now, cost)
        binding = min(range(len(limit)), key=lambda rate: remaining(rate, states))
    reset_after = states[binding].until(now, limit[binding].burst)
    answer = Answer(wait == 0, key, cost, limit[binding].limit, remaining(binding, states), wait, reset_after)
    return answer, binding


class Model:
    """All keys. Every call happens at `now`, nanoseconds on the engine's timeline, which the caller moves."""

    def __init__(self, now: int) -> None:
        self.now = now
        self.keys: dict[str, Key] = {}
        # Since opening.
        self.allowed = self.denied = 0

    # Calls

    def _resolve(self, key: str, cost: int, limit: Limit | None) -> Resolved:
        stored = self.keys.get(key)
        if stored is None and limit is None:
            raise Refused("LimitNotFound", *(["InvalidCost"] if cost < 1 else []))
        if stored is not None and (limit is None or stored.origin == "explicit" or stored.limit == limit):
            limit, states = stored.limit, stored.states
        else:
            assert limit is not None
            states = carried(stored, limit, self.now)
        if not 1 <= cost <= capacity(limit):
            raise Refused("InvalidCost")
        answer, _ = look(key, limit, states, self.now, cost)
        return Resolved(key, cost, limit, states, stored, answer)

    def _count(self, resolved: Resolved) -> None:
        """Take what was allowed, count what was denied."""
        cost = resolved.cost
        if resolved.answer.allowed:
            key = self.keys.setdefault(resolved.key, Key("call", resolved.limit, resolved.states))
            key.limit, key.states = resolved.limit, take(resolved.states, self.now, cost)
            key.allowed, key.allowed_cost, key.last_allowed = key.allowed + 1, key.allowed_cost + cost, self.now
            self.allowed += 1
        else:
            assert resolved.stored is not None, "a new key has everything left"
            old = resolved.stored.denials
            resolved.stored.denials = Denials(old.count + 1, old.cost + cost, self.now)
            self.denied += 1

    def peek(self, key: str, cost: int, limit: Limit | None) -> Answer:
        return self._resolve(key, cost, limit).answer

    def check(self, key: str, cost: int, limit: Limit | None) -> Answer:
        resolved = self._resolve(key, cost, limit)
        self._count(resolved)
        return resolved.answer

    def check_all(self, items: list[tuple[str, int, Limit | None]]) -> MultiAnswer:
        errors: list[str] = []
        resolved: list[Resolved] = []
        if len({key for key, _, _ in items}) < len(items):
            errors.append("InvalidKey")
        for key, cost, limit in items:
            try:
                resolved.append(self._resolve(key, cost, limit))
            except Refused as refused:
                errors.extend(refused.errors)
        if errors:
            raise Refused(*errors)
        denied = [item for item in resolved if not item.answer.allowed]
        results: list[Answer] = []
        for item in resolved:
            if denied and item.answer.allowed:
                # Nothing is taken, and what there is is told.
                looked, _ = look(item.key, item.limit, item.states, self.now, 0)
                results.append(looked._replace(cost=item.cost))
            else:
                results.append(item.answer)
                self._count(item)
        wait = max(item.answer.retry_after_ns for item in resolved)
        return MultiAnswer(not denied, denied[0].key if denied else None, wait, tuple(results))

    def limit(self, key: str, limit: Limit, on_change: str) -> bool:
        """Gives whether anything changed."""
        stored = self.keys.get(key)
        if stored is None:
            self.keys[key] = Key("explicit", limit, carried(None, limit, self.now))
            return True
        if stored.origin == "explicit" and stored.limit == limit:
            return False
        states = carried(stored, limit, self.now, afresh=on_change == "reset")
        stored.origin, stored.limit, stored.states = "explicit", limit, states
        return True

    def limit_many(self, specs: list[tuple[str, Limit, str]]) -> bool:
        if len({key for key, _, _ in specs}) < len(specs):
            raise Refused("InvalidKey")
        changed = [self.limit(*spec) for spec in specs]
        return any(changed)

    def reset(self, key: str) -> None:
        stored = self._known(key)
        stored.states = carried(None, stored.limit, self.now)
        stored.last_reset = self.now

    def delete(self, key: str) -> None:
        self._known(key)
        del self.keys[key]

    def _known(self, key: str) -> Key:
        if key not in self.keys:
            raise Refused("LimitNotFound")
        return self.keys[key]

    # Reads

    def status(self, key: str) -> Status | None:
        stored = self.keys.get(key)
        if stored is None:
            return None
        looked, binding = look(key, stored.limit, stored.states, self.now, 0)
        return Status(
            key,
            stored.limit,
            binding,
            stored.origin,
            looked.remaining,
            max(state.until(self.now, 1) for state in stored.states),
            looked.reset_after_ns,
            stored.allowed,
            stored.denials.count,
            stored.allowed_cost,
            stored.denials.cost,
            stored.last_allowed,
            stored.denials.last,
            stored.last_reset,
        )

    def statuses(self, prefix: str = "", limit: int | None = None, after: str | None = None) -> list[Status]:
        names = sorted(self.keys, key=str.encode)
        names = [key for key in names if key.startswith(prefix) and (after is None or key.encode() > after.encode())]
        return [status for key in names[:limit] if (status := self.status(key))]

    def top(self, by: str, limit: int) -> list[Status]:
        statuses = [status for status in self.statuses() if getattr(status, f"total_{by}") > 0]
        return sorted(statuses, key=lambda status: -getattr(status, f"total_{by}"))[:limit]

    # Ends

    def save_denials(self) -> None:
        for key in self.keys.values():
            key.saved_denials = key.denials

    def opened(self, now: int) -> None:
        """A session begins at `now`."""
        self.now = now
        self.allowed = self.denied = 0


class Timeline:
    """The rules of time: what the engine's timeline may be after an end, and which dates people may be shown.

    `wall - engine` is called the offset. The store's anchors keep it; a step of the wall clock changes it.
    """

    def __init__(self, wall: int) -> None:
        self.wall = wall
        self.start(wall)

    def start(self, engine: int) -> None:
        """A session begins, and writes an anchor."""
        self.engine = engine
        # What the newest anchor may say, the time of the newest record at least, whether one followed the last step.
        self.anchored = {self.offset}
        self.newest_record = engine
        self.written_since_step = True
        # Offsets that were in force, with the time at which they ceased to be.
        self.left: list[tuple[int, int]] = []

    @property
    def offset(self) -> int:
        return self.wall - self.engine

    def advance(self, ns: int) -> None:
        self.wall += ns
        self.engine += ns

    def step(self, wall: int) -> None:
        """The wall clock alone is set, while running."""
        self.left.append((self.engine, self.offset))
        self.wall = wall
        self.anchored.add(self.offset)
        self.written_since_step = False

    def wrote(self, *, synced: bool) -> None:
        """A call that writes returned."""
        self.newest_record = self.engine
        self.written_since_step = True
        if synced:
            self.synced()

    def synced(self) -> None:
        """A sync covered the newest record: it also wrote an anchor if the offset moved by over a second."""
        if self.written_since_step:
            self.anchored = {offset for offset in self.anchored if abs(offset - self.offset) <= 1_000_000_000}

    def shown(self) -> set[int]:
        """The offsets by which a result may be dated: a step is noticed within a second."""
        return {self.offset} | {offset for until, offset in self.left if self.engine - until <= 1_000_000_000}

    def end(self) -> None:
        """The session is closed, with a last anchor."""
        self.anchored, self.newest_record = {self.offset}, self.engine

    def resumed(self, wall: int) -> list[tuple[int, int]]:
        """Where the timeline may go on when the wall clock reads `wall`: ranges, both ends included.

        The wall clock tells how much time passed since the newest record, and never that time went back. After close()
        the newest record is the last anchor; after a death it is one between the newest acknowledged one and the end.
        """
        return [(max(self.newest_record, wall - offset), max(self.engine, wall - offset)) for offset in self.anchored]
