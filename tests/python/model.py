"""A naive reference limiter in exact fractions.

Written from the documented semantics alone and in their words: a bucket is a number of tokens, a sliding window a list
of events, a fixed window a start and a count. It knows nothing of the package under test.
"""

from __future__ import annotations

import copy
import math
from collections import Counter as Multiset
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


class CounterStatus(NamedTuple):
    """One counter of a key as people see it. Times are on the engine's timeline."""

    rates: Limit
    binding: int
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


class Status(NamedTuple):
    """A key as people see it: its most recently used counter, with the totals of all."""

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
    counters: tuple[CounterStatus, ...]


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
class Counter:
    """One counter of a key: its limit, what each rate remembers, its totals."""

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

    def add(self, other: Counter) -> None:
        """Take over the totals of a counter that this one replaces."""
        self.allowed += other.allowed
        self.allowed_cost += other.allowed_cost
        self.last_allowed = latest(self.last_allowed, other.last_allowed)
        self.last_reset = latest(self.last_reset, other.last_reset)
        self.denials = both_denials(self.denials, other.denials)
        self.saved_denials = both_denials(self.saved_denials, other.saved_denials)


def latest(*times: int | None) -> int | None:
    return max((time for time in times if time is not None), default=None)


def both_denials(one: Denials, other: Denials) -> Denials:
    return Denials(one.count + other.count, one.cost + other.cost, latest(one.last, other.last))


# The most recently used first.
Counters: TypeAlias = list[Counter]
MOST_COUNTERS = 8


@dataclass
class Resolved:
    """An item of a call: the counter that decides, or the limit of a new one, and what the check says."""

    key: str
    cost: int
    limit: Limit
    states: list[State]
    stored: Counter | None
    replaced: Counter | None
    answer: Answer
    # What the counter takes from all items of the call.
    together: int


def carried(limit: Limit, now: int, counters: Counters, kept: Counter | None) -> list[State]:
    """What the rates of a new limit start with.

    An unchanged one of the kept counter goes on, unless another counter has more of the same in use; others start with
    the most in use.
    """
    if kept is None:
        return [ALGORITHMS[rate.algorithm](rate, 0, now) for rate in limit]

    def most(counters: Counters, rate: Rate | None = None) -> int:
        pairs = [pair for counter in counters for pair in zip(counter.limit, counter.states, strict=True)]
        return max((math.ceil(state.used(now)) for same, state in pairs if rate in (None, same)), default=0)

    others = [counter for counter in counters if counter is not kept]
    left = list(zip(kept.limit, kept.states, strict=True))
    states: list[State] = []
    for rate in limit:
        same = next((pair for pair in left if pair[0] == rate), None)
        if same is None or math.ceil(same[1].used(now)) < most(others, rate):
            states.append(ALGORITHMS[rate.algorithm](rate, min(most(counters), rate.burst), now))
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
        self.keys: dict[str, Counters] = {}
        # Since opening.
        self.allowed = self.denied = 0

    # Calls

    def newest(self, key: str) -> Counter | None:
        """The most recently used counter."""
        return self.keys[key][0] if key in self.keys else None

    def _counter(self, key: str, limit: Limit | None) -> Counter | None:
        """The counter that decides on a call; None where it has to be made."""
        newest = self.newest(key)
        if newest is None or newest.origin == "explicit" or limit is None:
            return newest
        same = [counter for counter in self.keys[key] if sorted(counter.limit) == sorted(limit)]
        return same[0] if same else None

    def _replaced(self, key: str, used: Counters, created: int) -> Counter | None:
        """The counter that makes room for a new one."""
        counters = self.keys.get(key, [])
        if len(counters) + created < MOST_COUNTERS:
            return None
        for counter in reversed(counters):
            if not any(counter is other for other in used) and not any(s.used(self.now) for s in counter.states):
                return counter
        raise Refused("InvalidLimit")

    def _resolve_all(self, items: list[tuple[str, int, Limit | None]]) -> list[Resolved]:
        errors: list[str] = []
        resolved: list[Resolved] = []
        stored = [self._counter(key, limit) for key, _, limit in items]
        used = [counter for counter in stored if counter is not None]
        created = dict.fromkeys((key for key, _, _ in items), 0)
        for (key, cost, limit), counter in zip(items, stored, strict=True):
            together = sum(c for (_, c, _), other in zip(items, stored, strict=True) if other is counter)
            replaced = None
            if counter is not None:
                limit, states = counter.limit, counter.states
            elif limit is None:
                errors.extend(["LimitNotFound", *(["InvalidCost"] if cost < 1 else [])])
                continue
            else:
                together, states = cost, carried(limit, self.now, [], None)
            if not 1 <= cost <= capacity(limit) or together > capacity(limit):
                errors.append("InvalidCost")
            if counter is None:
                try:
                    replaced = self._replaced(key, used, created[key])
                except Refused as refused:
                    errors.extend(refused.errors)
                    continue
                if replaced is None:
                    created[key] += 1
                else:
                    used.append(replaced)
            if not errors:
                answer, _ = look(key, limit, states, self.now, together)
                answer = answer._replace(cost=cost)
                resolved.append(Resolved(key, cost, limit, states, counter, replaced, answer, together))
        if errors:
            raise Refused(*errors)
        return resolved

    def _deny(self, resolved: Resolved) -> None:
        assert resolved.stored is not None, "a new counter has everything left"
        old = resolved.stored.denials
        resolved.stored.denials = Denials(old.count + 1, old.cost + resolved.cost, self.now)
        self.denied += 1

    def _take(self, resolved: list[Resolved]) -> None:
        """Take what was allowed: of a counter once, however many items share it."""
        self.allowed += len(resolved)
        taken: Counters = []
        for item in resolved:
            if any(item.stored is counter for counter in taken):
                continue
            counter = item.stored or Counter("call", item.limit, item.states)
            counters = self.keys.setdefault(item.key, [])
            counters[:] = [other for other in counters if other is not counter and other is not item.replaced]
            if item.replaced is not None:
                counter.add(item.replaced)
            counters.insert(0, counter)
            counter.states = take(counter.states, self.now, item.together)
            counter.allowed += 1
            counter.allowed_cost += item.together
            counter.last_allowed = self.now
            taken.append(counter)

    def peek(self, key: str, cost: int, limit: Limit | None) -> Answer:
        return self._resolve_all([(key, cost, limit)])[0].answer

    def check(self, key: str, cost: int, limit: Limit | None) -> Answer:
        (resolved,) = self._resolve_all([(key, cost, limit)])
        if resolved.answer.allowed:
            self._take([resolved])
        else:
            self._deny(resolved)
        return resolved.answer

    def check_all(self, items: list[tuple[str, int, Limit | None]]) -> MultiAnswer:
        named = {(key, None if limit is None else tuple(sorted(limit))) for key, _, limit in items}
        errors = ["InvalidKey"] if len(named) < len(items) else []
        try:
            resolved = self._resolve_all(items)
        except Refused as refused:
            errors.extend(refused.errors)
        if errors:
            raise Refused(*errors)
        denied = [item for item in resolved if not item.answer.allowed]
        results: list[Answer] = []
        for item in resolved:
            if denied and item.answer.allowed:
                # Nothing is taken, and what there is is reported.
                looked, _ = look(item.key, item.limit, item.states, self.now, 0)
                results.append(looked._replace(cost=item.cost))
            else:
                results.append(item.answer)
        if not denied:
            self._take(resolved)
        for item in denied:
            self._deny(item)
        wait = max(item.answer.retry_after_ns for item in resolved)
        return MultiAnswer(not denied, denied[0].key if denied else None, wait, tuple(results))

    def limit(self, key: str, limit: Limit, on_change: str) -> bool:
        """Gives whether anything changed."""
        counters = self.keys.get(key, [])
        if counters and counters[0].origin == "explicit" and counters[0].limit == limit:
            return False

        def shared(counter: Counter) -> int:
            return (Multiset(counter.limit) & Multiset(limit)).total()

        kept = max(counters, key=shared) if counters else None
        states = carried(limit, self.now, counters, None if on_change == "reset" else kept)
        explicit = Counter("explicit", limit, states)
        for counter in counters:
            explicit.add(counter)
        if len(counters) > 1:
            explicit.saved_denials = explicit.denials
        self.keys[key] = [explicit]
        return True

    def limit_many(self, specs: list[tuple[str, Limit, str]]) -> bool:
        if len({key for key, _, _ in specs}) < len(specs):
            raise Refused("InvalidKey")
        changed = [self.limit(*spec) for spec in specs]
        return any(changed)

    def reset(self, key: str) -> None:
        for counter in self._known(key):
            counter.states = carried(counter.limit, self.now, [], None)
            counter.last_reset = self.now

    def delete(self, key: str) -> None:
        self._known(key)
        del self.keys[key]

    def _known(self, key: str) -> Counters:
        if key not in self.keys:
            raise Refused("LimitNotFound")
        return self.keys[key]

    # Reads

    def _shown(self, counter: Counter) -> CounterStatus:
        looked, binding = look("", counter.limit, counter.states, self.now, 0)
        return CounterStatus(
            counter.limit,
            binding,
            looked.remaining,
            max(state.until(self.now, 1) for state in counter.states),
            looked.reset_after_ns,
            counter.allowed,
            counter.denials.count,
            counter.allowed_cost,
            counter.denials.cost,
            counter.last_allowed,
            counter.denials.last,
            counter.last_reset,
        )

    def status(self, key: str) -> Status | None:
        if key not in self.keys:
            return None
        newest, *others = self.keys[key]
        whole = copy.copy(newest)
        for counter in others:
            whole.add(counter)
        shown = self._shown(whole)
        counters = tuple(self._shown(counter) for counter in self.keys[key])
        return Status(key, shown.rates, shown.binding, newest.origin, *shown[2:], counters)

    def statuses(self, prefix: str = "", limit: int | None = None, after: str | None = None) -> list[Status]:
        names = sorted(self.keys, key=str.encode)
        names = [key for key in names if key.startswith(prefix) and (after is None or key.encode() > after.encode())]
        return [status for key in names[:limit] if (status := self.status(key))]

    def top(self, by: str, limit: int) -> list[Status]:
        statuses = [status for status in self.statuses() if getattr(status, f"total_{by}") > 0]
        return sorted(statuses, key=lambda status: -getattr(status, f"total_{by}"))[:limit]

    # Ends

    def save_denials(self) -> None:
        for counters in self.keys.values():
            for counter in counters:
                counter.saved_denials = counter.denials

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
