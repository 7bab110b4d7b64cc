"""The limiter beside a naive reference in exact fractions: any sequence of calls, clock steps and ends of sessions."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import hypothesis
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

import flint
from flint.testing import ManualClock

from .evidence import record
from .model import Answer, Denials, Key, Limit, Model, MultiAnswer, Rate, Refused, Status, Timeline, capacity

T = TypeVar("T")

# Of each mode. Hypothesis ends some runs early, so that there are a few more of them than have to be.
RUNS = 1_000
STEPS = 50

MS = 1_000_000
SECOND = 1_000 * MS
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
START = datetime(2030, 1, 2, 3, 4, 5, 678_901, tzinfo=timezone.utc)

# A file system in memory makes opening quick; what a disk does with it is other tests' subject.
MEMORY = next((path for path in ("/dev/shm",) if os.access(path, os.W_OK)), None)


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

keys = st.sampled_from([*KEYS, *KEYS[:2], KEYS[0]])
limits = st.sampled_from(LIMITS)
maybe_limits = st.one_of(st.none(), limits)
# Zero and minus two are refused: nothing, and one above the capacity. Minus one is the capacity, minus three its half.
costs = st.sampled_from([*[1] * 12, *[2] * 6, *[3] * 3, 4, 5, 6, *[-1] * 3, *[-3] * 3, 0, -2])
on_changes = st.sampled_from(["keep", "keep", "reset"])
items = st.lists(st.tuples(keys, costs, maybe_limits), min_size=1, max_size=5)
advances = st.one_of(
    st.integers(0, 12).map(lambda ms: ms * MS),
    st.integers(0, 3 * MS),
    st.integers(0, 1_500 * MS),
    st.sampled_from(
        [1, MS - 1, MS + 1, 333_333_333, SECOND, SECOND + 1, MINUTE - 1, MINUTE, 17 * MINUTE, HOUR, 40 * DAY]
    ),
)
specs = st.lists(st.tuples(keys, limits, on_changes), max_size=4)
prefixes = st.sampled_from(["", "a", "key:", "zz"])
most = st.sampled_from([None, 0, 1, 3])
# Microseconds: the finest step that a datetime can tell.
wall_steps = st.sampled_from(
    [step * sign for step in (1, 400_000, 1_000_000, 1_500_000, 90_000_000, 3_600_000_000, 10**12) for sign in (1, -1)]
)
times_away = st.one_of(st.just(0), advances)
maybe_keys = st.one_of(st.none(), keys)
totals = st.sampled_from(["allowed", "denied", "allowed_cost", "denied_cost"])
maybe_wall_steps = st.one_of(st.just(0), st.just(0), wall_steps)


def answer_of(result: flint.CheckResult) -> Answer:
    return Answer(
        result.allowed,
        result.key,
        result.cost,
        result.limit,
        result.remaining,
        result.retry_after_ns,
        result.reset_after_ns,
    )


def status_of(status: flint.LimitStatus, offset: int) -> Status:
    """The status with its dates translated back to the engine's timeline, on which `now` is `wall - offset`."""

    def engine(at_ns: int | None) -> int | None:
        return None if at_ns is None else at_ns - offset

    assert not status.out_of_bounds
    assert (status.rate, status.per_millis, status.burst, status.algorithm) == (
        status.rates[status.binding].rate,
        status.rates[status.binding].per_millis,
        status.rates[status.binding].burst,
        status.rates[status.binding].algorithm,
    )
    return Status(
        status.key,
        tuple(Rate(rate.rate, rate.per_millis, rate.burst, rate.algorithm) for rate in status.rates),
        status.binding,
        status.origin,
        status.remaining,
        status.retry_after_ns,
        status.reset_at_ns - offset,
        status.total_allowed,
        status.total_denied,
        status.total_allowed_cost,
        status.total_denied_cost,
        engine(status.last_allowed_at_ns),
        engine(status.last_denied_at_ns),
        engine(status.last_reset_at_ns),
    )


def without_denials(status: Status) -> Status:
    return status._replace(total_denied=0, total_denied_cost=0, last_denied=None)


# What a step is, how often, and with what. One rule with weights of its own: Hypothesis would leave whole rules out of
# a run, and a run without limits says little.
STEP_KINDS: dict[str, tuple[int, tuple[st.SearchStrategy[Any], ...]]] = {
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
    "wait_as_told": (5, (keys, costs)),
    "step_the_wall_clock": (2, (wall_steps,)),
    "reopen": (2, (times_away, maybe_wall_steps, st.booleans())),
    "die": (1, (times_away, maybe_wall_steps)),
    "look_beside": (1, ()),
    "doctor": (1, ()),
    "read": (1, (prefixes, most, maybe_keys, totals)),
}
STEP_OF_KIND = {name: st.tuples(st.just(name), *drawn) for name, (_, drawn) in STEP_KINDS.items()}
steps = st.sampled_from([name for name, (weight, _) in STEP_KINDS.items() for _ in range(weight)]).flatmap(
    STEP_OF_KIND.__getitem__
)


class Machine(RuleBasedStateMachine):
    """One limiter in a directory of its own, the reference, and the rules of time."""

    sync: ClassVar[str]
    # What all runs did together.
    done: ClassVar[Counter[str]]
    directory: ClassVar[Path]

    def __init__(self) -> None:
        super().__init__()
        self.home = Path(tempfile.mkdtemp(dir=self.directory))
        self.generation = 0
        self.clock = ManualClock(START)
        self.time = Timeline((START - EPOCH) // timedelta(microseconds=1) * 1_000)
        self.model = Model(self.time.engine)
        self.steps = 0
        self.limiter = self.open()
        assert self.limiter.recovery.created
        # Its date tells where the engine's timeline is, where the rules leave that open.
        self.limit(CLOCK_KEY, LIMITS[0], "keep")
        self.reset(CLOCK_KEY)

    def teardown(self) -> None:
        self.limiter.close()
        shutil.rmtree(self.home)
        self.done["runs"] += 1
        self.done["steps"] += self.steps

    @property
    def data_dir(self) -> Path:
        return self.home / str(self.generation)

    def open(self, *, read_only: bool = False) -> flint.Limiter:
        return flint.Limiter(
            self.data_dir,
            sync=self.sync,
            clock=self.clock,
            read_only=read_only,
            flush_every_events=7,
            flush_every_ms=1,
        )

    @initialize(explicit=limits, brought=limits)
    def begin(self, explicit: Limit, brought: Limit) -> None:
        self.limit(KEYS[0], explicit, "keep")
        self.check(KEYS[1], 1, brought)

    @rule(drawn=steps)
    def step(self, drawn: tuple[Any, ...]) -> None:
        name, *arguments = drawn
        getattr(self, name)(*arguments)
        self.done[name] += 1

    # Comparing

    def expected(self, status: Status, now: int) -> Status:
        return status._replace(reset_after_ns=now + status.reset_after_ns)

    @invariant()
    def every_key_is_the_reference_s(self) -> None:
        self.steps += 1
        self.model.now = self.time.engine
        got = [status_of(status, self.time.offset) for status in self.limiter.list()]
        assert got == [self.expected(status, self.model.now) for status in self.model.statuses()]
        counters = self.limiter.counters()
        assert (counters["keys"], counters["allowed"], counters["denied"]) == (
            len(self.model.keys),
            self.model.allowed,
            self.model.denied,
        )

    def both(self, model: Callable[[], T], call: Callable[[], Any]) -> tuple[T, Any] | None:
        """Makes the call on both; gives both answers, or None if both refuse it for the same reason."""
        self.model.now = self.time.engine
        try:
            answer = model()
        except Refused as refused:
            self.done["refused"] += 1
            with pytest.raises(tuple(getattr(flint, error) for error in refused.errors)):
                call()
            return None
        return answer, call()

    def same_answer(self, got: flint.CheckResult, answer: Answer) -> None:
        assert answer_of(got) == answer
        assert got.reset_at_ns - self.time.engine - answer.reset_after_ns in self.time.shown()
        assert bool(got) is answer.allowed

    def cost(self, key: str, code: int, limit: Limit | None) -> int:
        """The cost that a code means under the limit that decides."""
        stored = self.model.keys.get(key)
        if stored is not None and (stored.origin == "explicit" or limit is None):
            limit = stored.limit
        most = 10 if limit is None else capacity(limit)
        return {-1: most, -2: most + 1, -3: (most + 1) // 2}.get(code, min(code, most))

    def wrote(self) -> None:
        self.time.wrote(synced=self.sync == "always")

    def count(self, *, allowed: bool) -> None:
        self.done["allowed" if allowed else "denied"] += 1
        if allowed:
            self.wrote()

    # Calls

    def check(self, key: str, code: int, limit: Limit | None) -> None:
        cost = self.cost(key, code, limit)
        brought = None if limit is None else GIVEN[limit]
        if both := self.both(
            lambda: self.model.check(key, cost, limit), lambda: self.limiter.check(key, cost, limit=brought)
        ):
            self.same_answer(both[1], both[0])
            self.count(allowed=both[0].allowed)

    def check_again(self, key: str, code: int) -> None:
        for _ in range(3):
            self.check(key, code, None)

    def allow(self, key: str, code: int, limit: Limit | None) -> None:
        cost = self.cost(key, code, limit)
        brought = None if limit is None else GIVEN[limit]
        if both := self.both(
            lambda: self.model.check(key, cost, limit), lambda: self.limiter.allow(key, cost, limit=brought)
        ):
            assert both[1] is both[0].allowed
            self.count(allowed=both[0].allowed)

    def peek(self, key: str, code: int, limit: Limit | None) -> None:
        cost = self.cost(key, code, limit)
        brought = None if limit is None else GIVEN[limit]
        if both := self.both(
            lambda: self.model.peek(key, cost, limit), lambda: self.limiter.peek(key, cost, limit=brought)
        ):
            self.same_answer(both[1], both[0])

    def several(
        self, drawn: list[tuple[str, int, Limit | None]], call: Callable[[list[Any]], T]
    ) -> tuple[MultiAnswer, T] | None:
        chosen = [(key, self.cost(key, code, limit), limit) for key, code, limit in drawn]
        if drawn[0][1] != 0:
            # Else a key that stands twice is left in.
            chosen = list({item[0]: item for item in chosen}.values())
        given: list[Any] = []
        for key, cost, limit in chosen:
            if limit is not None:
                given.append({"key": key, "cost": cost, "limit": GIVEN[limit]})
            else:
                given.append(key if cost == 1 else (key, cost))
        both = self.both(lambda: self.model.check_all(chosen), lambda: call(given))
        if both:
            self.count(allowed=both[0].allowed)
        return both

    def check_all(self, drawn: list[tuple[str, int, Limit | None]]) -> None:
        if both := self.several(drawn, lambda given: self.limiter.check_all(given)):
            answer, got = both
            assert (got.allowed, got.denied_key, got.retry_after_ns) == answer[:3]
            assert len(got.results) == len(answer.results)
            for one, other in zip(got.results, answer.results, strict=True):
                self.same_answer(one, other)

    def allow_all(self, drawn: list[tuple[str, int, Limit | None]]) -> None:
        if both := self.several(drawn, lambda given: self.limiter.allow_all(given)):
            assert both[1] is both[0].allowed

    def limit(self, key: str, limit: Limit, on_change: str) -> None:
        changed = self.both(
            lambda: self.model.limit(key, limit, on_change),
            lambda: self.limiter.limit(key, GIVEN[limit], on_change=on_change),
        )
        assert changed
        self.configured(changed=changed[0])

    def limit_many(self, specs: list[tuple[str, Limit, str]]) -> None:
        given = [{"key": key, "rate": GIVEN[limit], "on_change": on_change} for key, limit, on_change in specs]
        if changed := self.both(lambda: self.model.limit_many(specs), lambda: self.limiter.limit_many(given)):
            self.configured(changed=changed[0])

    def configured(self, *, changed: bool) -> None:
        self.done["limits set" if changed else "limits set again"] += 1
        if changed:
            self.wrote()

    def reset(self, key: str) -> None:
        if self.both(lambda: self.model.reset(key), lambda: self.limiter.reset(key)):
            self.wrote()

    def delete(self, key: str) -> None:
        if self.both(lambda: self.model.delete(key), lambda: self.limiter.delete(key)):
            self.wrote()

    def flush(self) -> None:
        self.limiter.flush()
        self.time.synced()

    def compact(self) -> None:
        self.limiter.compact()
        self.model.save_denials()

    # Time

    def advance(self, ns: int) -> None:
        self.clock.advance(ns=ns)
        self.time.advance(ns)

    def wait_as_told(self, key: str, code: int) -> None:
        """Denied just before, allowed then."""
        stored = self.model.keys.get(key)
        cost = self.cost(key, code, None)
        if stored is None or not 1 <= cost <= capacity(stored.limit):
            return
        denied = self.limiter.peek(key, cost)
        if denied.allowed:
            return
        self.advance(denied.retry_after_ns - 1)
        self.peek(key, cost, None)
        assert self.limiter.peek(key, cost).retry_after_ns == 1
        self.advance(1)
        self.check(key, cost, None)
        self.done["waits"] += 1

    def step_the_wall_clock(self, step: int) -> None:
        """By microseconds, to a whole one."""
        wall_us = self.time.wall // 1_000 + step
        self.clock.set_wall(EPOCH + timedelta(microseconds=wall_us))
        self.time.step(wall_us * 1_000)

    def away(self, ns: int, step: int) -> int:
        """What the wall clock reads after this time without a limiter, in which it was stepped too."""
        self.clock.advance(ns=ns)
        wall = self.time.wall + ns
        if step:
            wall = (wall // 1_000 + step) * 1_000
            self.clock.set_wall(EPOCH + timedelta(microseconds=wall // 1_000))
        return wall

    # Ends

    def reopen(self, ns: int, step: int, drop: bool) -> None:
        if drop:
            del self.limiter
        else:
            self.limiter.close()
            self.limiter.close()
        self.model.save_denials()
        self.time.end()
        wall = self.away(ns, step)
        ((engine, latest),) = self.time.resumed(wall)
        assert engine == latest, "after close() there is nothing to guess"
        self.limiter = self.open()
        assert self.limiter.recovery.clean
        assert not self.limiter.recovery.created
        self.resume(wall, engine)

    def die(self, ns: int, step: int) -> None:
        """The files as they are at this moment are what a killed process leaves. A limiter opens a copy of them."""
        left = self.data_dir
        self.generation += 1
        shutil.copytree(left, self.data_dir)
        self.limiter.close()
        shutil.rmtree(left)
        wall = self.away(ns, step)
        self.limiter = self.open()
        assert not self.limiter.recovery.created
        statuses = self.limiter.list()
        engine = self.resumed_at(statuses, wall)
        self.adopt_denials([status_of(status, wall - engine) for status in statuses])
        self.resume(wall, engine)

    def resume(self, wall: int, engine: int) -> None:
        self.time.wall = wall
        self.time.start(engine)
        self.model.opened(engine)

    def resumed_at(self, statuses: list[flint.LimitStatus], wall: int) -> int:
        """Engine time when the wall clock reads `wall`; one of those that the rules of time leave open."""
        open_to = self.time.resumed(wall)
        if len(open_to) == 1 and open_to[0][0] == open_to[0][1]:
            return open_to[0][0]
        self.done["times inferred"] += 1
        (shown,) = [status.last_reset_at_ns for status in statuses if status.key == CLOCK_KEY]
        meant = self.model.keys[CLOCK_KEY].last_reset
        assert shown is not None
        assert meant is not None
        engine = meant + wall - shown
        assert any(earliest <= engine <= latest for earliest, latest in open_to)
        return engine

    def adopt_denials(self, statuses: list[Status]) -> None:
        """A death may cost the newest denials, nothing else."""
        assert [status.key for status in statuses] == sorted(self.model.keys, key=str.encode)
        for status in statuses:
            known = self.model.keys[status.key]
            left = Denials(status.total_denied, status.total_denied_cost, status.last_denied)
            self.same_or_older(left, known)
            known.denials = known.saved_denials = left

    def same_or_older(self, left: Denials, known: Key) -> None:
        newest, saved = known.denials, known.saved_denials
        if left not in (newest, saved):
            # Saved meanwhile, as happens once a minute.
            assert saved.count < left.count < newest.count
            assert saved.cost < left.cost < newest.cost
            assert left.last is not None
            assert newest.last is not None
            assert (saved.last or 0) <= left.last <= newest.last

    # Reads

    def look_beside(self) -> None:
        """A read-only limiter shows what was acknowledged, and disturbs nothing."""
        names = sorted(os.listdir(self.data_dir))
        with self.open(read_only=True) as viewer:
            statuses = viewer.list()
            engine = self.resumed_at(statuses, self.time.wall)
            self.model.now = engine
            got = [without_denials(status_of(status, self.time.wall - engine)) for status in statuses]
            assert got == [without_denials(self.expected(status, engine)) for status in self.model.statuses()]
            for status in statuses:
                told = status_of(status, self.time.wall - engine)
                left = Denials(told.total_denied, told.total_denied_cost, told.last_denied)
                self.same_or_older(left, self.model.keys[told.key])
            for key in KEYS:
                with pytest.raises(flint.StorageError):
                    viewer.check(key)
        assert sorted(os.listdir(self.data_dir)) == names

    def read(self, prefix: str, limit: int | None, after: str | None, by: str) -> None:
        self.model.now = now = self.time.engine
        offset = self.time.offset
        got = [status_of(status, offset) for status in self.limiter.list(prefix, limit, after)]
        assert got == [self.expected(status, now) for status in self.model.statuses(prefix, limit, after)]
        most = 10 if limit is None else limit
        top = [status_of(status, offset) for status in self.limiter.top(by, most)]
        assert top == [self.expected(status, now) for status in self.model.top(by, most)]
        for key in KEYS:
            status, known = self.limiter.status(key), self.model.status(key)
            assert (status and status_of(status, offset)) == (known and self.expected(known, now))

    def doctor(self) -> None:
        report = self.limiter.doctor()
        assert report["ok"], report["problems"]
        assert report["limits"] == len(self.model.keys)


def seed_of_this_run() -> int:
    """From FLINT_TEST_SEED if set; printed, so that a failure can be run again."""
    text = os.environ.get("FLINT_TEST_SEED")
    seed = int(text) if text else random.SystemRandom().randrange(2**32)
    print(f"FLINT_TEST_SEED={seed}")
    return seed


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=MEMORY or tmp_path, prefix="flint-model-") as home:
        yield Path(home)


@pytest.mark.parametrize("mode", ["always", "batch"])
def test_every_answer_is_the_reference_s(mode: str, memory: Path) -> None:
    class Run(Machine):
        sync = mode
        done: ClassVar[Counter[str]] = Counter()
        directory = memory

    settings = hypothesis.settings(
        max_examples=RUNS + RUNS // 6,
        stateful_step_count=STEPS,
        phases=[hypothesis.Phase.generate, hypothesis.Phase.shrink],
        deadline=None,
        database=None,
        print_blob=True,
        report_multiple_bugs=False,
        # A run is fifty calls and several openings of a store.
        suppress_health_check=[hypothesis.HealthCheck.too_slow],
    )
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        hypothesis.seed(seed_of_this_run())(Run), settings=settings
    )
    done = Run.done
    print(dict(sorted(done.items())))
    record(f"model_{mode}_runs", done["runs"])
    record(f"model_{mode}_steps", done["steps"])
    assert done["runs"] >= RUNS
    assert done["steps"] >= STEPS * RUNS, "the runs were cut short"
    rare = {name: done[name] for name in [*STEP_KINDS, "allowed", "denied", "waits"] if done[name] < RUNS // 3}
    assert not rare, "the runs missed what they are for"


def settled(rate: Rate) -> list[list[tuple[int, int]]]:
    """Ways to have used a limit: pauses in nanoseconds, each with what is taken then."""
    full, half = rate.burst, (rate.burst + 1) // 2
    most = rate.per_ns * 3 // 4
    return [
        [(0, full)],
        [(0, 1), (rate.per_ns // 3 + 1, full - 1)],
        [(MS // 2, half), (most // 2, full - half)],
        [(1, 1)] + [(most // full, 1)] * (full - 1),
    ]


SMALL_RATES = [
    make(limit, per_ms)
    for make in (bucket, sliding, fixed)
    for limit in (1, 2, 3, 5, 7)
    for per_ms in (1, 2, 3, 7, 10, 1_000, 61_000)
] + [bucket(limit, per_ms, burst) for limit, burst in ((1, 5), (3, 2), (7, 3), (2, 7)) for per_ms in (1, 7, 1_000)]
SMALL_LIMITS: list[Limit] = [(rate,) for rate in SMALL_RATES] + [
    (one, other)
    for one in (bucket(3, 7), bucket(2, 1_000, 5), sliding(4, 10), fixed(4, 10))
    for other in (bucket(4, 9), sliding(3, 13), sliding(5, 1_000), fixed(5, 11), fixed(3, 1_000))
]


def test_denied_just_before_and_allowed_when_told(memory: Path) -> None:
    """Every algorithm, several rates, every cost, several ways to get there, at several places within a millisecond."""
    clock = ManualClock(START)
    probes = 0
    with flint.Limiter(memory / "data", sync="batch", clock=clock) as limiter:
        model = Model((START - EPOCH) // timedelta(microseconds=1) * 1_000)

        def advance(ns: int) -> None:
            clock.advance(ns=ns)
            model.now += ns

        for limit in SMALL_LIMITS:
            brought = given(limit)
            for way in settled(limit[0]):
                for cost in range(1, capacity(limit) + 1):
                    for phase in (0, 1, MS - 1):
                        advance(-model.now % MS + phase)
                        limiter.limit("k", brought)
                        model.limit("k", limit, "keep")
                        for pause, taken in way:
                            advance(pause)
                            taken = min(taken, capacity(limit))
                            if taken:
                                assert limiter.allow("k", taken) is model.check("k", taken, None).allowed
                        denied = limiter.check("k", cost)
                        assert answer_of(denied) == model.check("k", cost, None)
                        if not denied:
                            probes += 1
                            several = limiter.check_all([("k", cost), {"key": "free", "limit": "9/s"}])
                            assert several.retry_after_ns == denied.retry_after_ns > 0
                            seconds = Fraction(denied.retry_after)
                            assert 0 <= seconds - Fraction(denied.retry_after_ns, SECOND) < Fraction(1, SECOND)
                            advance(denied.retry_after_ns - 1)
                            before = limiter.check("k", cost)
                            assert (before.allowed, before.retry_after_ns) == (False, 1)
                            assert answer_of(before) == model.check("k", cost, None)
                            assert not limiter.allow_all([("k", cost), {"key": "free", "limit": "9/s"}])
                            advance(1)
                            then = limiter.check("k", cost)
                            assert then
                            assert answer_of(then) == model.check("k", cost, None)
                        limiter.delete("k")
                        model.delete("k")
    record("retry_after_probes", probes)
    assert probes >= 5_000


PAUSES = [*[0] * 6, 1, MS, 40 * MS, 333 * MS, SECOND, 20 * SECOND, 2 * MINUTE]
READS: list[Callable[[flint.Limiter, str], object]] = [
    lambda limiter, key: limiter.status(key),
    lambda limiter, _: limiter.list(),
    lambda limiter, key: limiter.list(prefix=key[0], limit=2, after="a"),
    lambda limiter, _: limiter.top("denied", 2),
    lambda limiter, _: limiter.top("allowed_cost"),
    lambda limiter, key: limiter.history(key),
    lambda limiter, key: limiter.status(key) and limiter.peek(key),
    lambda limiter, key: limiter.peek(key, limit="3/250ms"),
    lambda limiter, _: limiter.counters(),
    lambda limiter, _: (limiter.recovery, limiter.closed, repr(limiter)),
]
SLOW_READS: list[Callable[[flint.Limiter, str], object]] = [
    lambda limiter, _: limiter.doctor(),
    lambda limiter, _: flint.Limiter(limiter.data_dir, read_only=True, clock=ManualClock()).list(),
]


# What is decided: the limiter, a key, a cost, and a limit to bring along.
DECISIONS: list[Callable[[flint.Limiter, str, int, flint.Limit], object]] = [
    *[lambda limiter, key, _, limit: limiter.check(key, 1, limit=limit)] * 5,
    lambda limiter, key, _, limit: limiter.allow(key, 1, limit=limit),
    lambda limiter, key, cost, limit: limiter.check("own " + key, cost, limit=limit),
    lambda limiter, _, __, limit: limiter.check_all([{"key": key, "limit": limit} for key in KEYS]),
    lambda limiter, _, __, limit: limiter.allow_all([{"key": key, "limit": limit} for key in KEYS[1:]]),
    lambda limiter, key, _, limit: limiter.limit(key, limit),
]


@pytest.mark.parametrize("mode", ["always", "batch"])
def test_reading_changes_no_decision(mode: str, memory: Path) -> None:
    """Two limiters get the same calls; one is read between any two of them, seldom or at a high rate."""
    dice = random.Random(seed_of_this_run())
    done: Counter[str] = Counter()
    for case in range(60):
        clocks = [ManualClock(START), ManualClock(START)]
        paths = [memory / f"{case} quiet", memory / f"{case} watched"]
        quiet, watched = limiters = [
            flint.Limiter(path, sync=mode, clock=clock) for path, clock in zip(paths, clocks, strict=True)
        ]
        often = dice.choice([2, 5, 40])
        for key in KEYS[:3]:
            limit = GIVEN[dice.choice(LIMITS)]
            for limiter in limiters:
                limiter.limit(key, limit)
        for _ in range(100):
            key, limit = dice.choice(KEYS), GIVEN[dice.choice(LIMITS)]
            cost, pause = dice.randint(1, min(6, limit.capacity)), dice.choice(PAUSES)
            for clock in clocks:
                clock.advance(ns=pause)
            decide = dice.choice(DECISIONS)
            decision, other = (decide(limiter, key, cost, limit) for limiter in limiters)
            assert decision == other
            done["decisions"] += 1
            done["denied"] += not decision and decision is not None
            for _ in range(dice.randrange(often)):
                dice.choice(READS)(watched, dice.choice(KEYS))
                done["reads"] += 1
            if dice.randrange(20) == 0:
                dice.choice(SLOW_READS)(watched, key)
                done["reads"] += 1
        assert quiet.list() == watched.list()
        for limiter in limiters:
            limiter.close()
        again = [flint.Limiter(path, sync=mode, clock=clock) for path, clock in zip(paths, clocks, strict=True)]
        assert again[0].list() == again[1].list()
        for limiter in again:
            limiter.close()
    print(dict(done))
    record(f"read_beside_{mode}_decisions", done["decisions"])
    record(f"read_beside_{mode}_reads", done["reads"])
    assert done["decisions"] >= 6_000
    assert done["denied"] >= 300
    assert done["reads"] >= 10_000
