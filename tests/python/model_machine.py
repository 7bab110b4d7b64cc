"""A limiter and the reference, driven by the same steps and compared after each."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pytest

import flint
from flint.testing import ManualClock

from .model import (
    Answer,
    CounterStatus,
    Denials,
    Limit,
    Model,
    MultiAnswer,
    Rate,
    Refused,
    Status,
    Timeline,
    capacity,
)
from .model import Counter as ModelCounter
from .model_steps import CLOCK_KEY, EPOCH, GIVEN, KEYS, LIMITS, START, Step

T = TypeVar("T")


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

    def shown(found: flint.LimitStatus | flint.CounterStatus) -> CounterStatus:
        return CounterStatus(
            tuple(Rate(rate.rate, rate.per_millis, rate.burst, rate.algorithm) for rate in found.rates),
            found.binding,
            found.remaining,
            found.retry_after_ns,
            found.reset_at_ns - offset,
            found.total_allowed,
            found.total_denied,
            found.total_allowed_cost,
            found.total_denied_cost,
            engine(found.last_allowed_at_ns),
            engine(found.last_denied_at_ns),
            engine(found.last_reset_at_ns),
        )

    whole = shown(status)
    counters = tuple(shown(counter) for counter in status.counters)
    return Status(status.key, whole.rates, whole.binding, status.origin, *whole[2:], counters)


def without_denials(status: Status) -> Status:
    counters = tuple(
        counter._replace(total_denied=0, total_denied_cost=0, last_denied=None) for counter in status.counters
    )
    return status._replace(total_denied=0, total_denied_cost=0, last_denied=None, counters=counters)


def denials_of(counter: CounterStatus) -> Denials:
    return Denials(counter.total_denied, counter.total_denied_cost, counter.last_denied)


class Machine:
    """One limiter in a directory of its own, the reference, and the rules of time."""

    sync: ClassVar[str]
    # What all runs did together.
    done: ClassVar[Counter[str]]
    directory: ClassVar[Path]

    def __init__(self) -> None:
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

    def close(self) -> None:
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

    def begin(self, explicit: Limit, brought: Limit) -> None:
        self.limit(KEYS[0], explicit, "keep")
        self.check(KEYS[1], 1, brought)

    def step(self, drawn: Step) -> None:
        """Makes the step on both, and compares every key."""
        name, *arguments = drawn
        getattr(self, name)(*arguments)
        self.done[name] += 1
        self.compare_keys()

    # Comparing

    def expected(self, status: Status, now: int) -> Status:
        counters = tuple(counter._replace(reset_after_ns=now + counter.reset_after_ns) for counter in status.counters)
        return status._replace(reset_after_ns=now + status.reset_after_ns, counters=counters)

    def compare_keys(self) -> None:
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
        stored = self.model.newest(key)
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
            # Else a key that occurs twice with one limit is left in.
            chosen = list(
                {(key, limit and tuple(sorted(limit))): (key, cost, limit) for key, cost, limit in chosen}.values()
            )
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

    def wait_as_reported(self, key: str, code: int) -> None:
        """Denied just before, allowed then."""
        stored = self.model.newest(key)
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
        meant = self.model.keys[CLOCK_KEY][0].last_reset
        assert shown is not None
        assert meant is not None
        engine = meant + wall - shown
        assert any(earliest <= engine <= latest for earliest, latest in open_to)
        return engine

    def adopt_denials(self, statuses: list[Status]) -> None:
        """A death may cost the newest denials, nothing else."""
        assert [status.key for status in statuses] == sorted(self.model.keys, key=str.encode)
        for status in statuses:
            for counter, known in zip(status.counters, self.model.keys[status.key], strict=True):
                left = denials_of(counter)
                self.same_or_older(left, known)
                known.denials = known.saved_denials = left

    def same_or_older(self, left: Denials, known: ModelCounter) -> None:
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
                reported = status_of(status, self.time.wall - engine)
                for counter, known in zip(reported.counters, self.model.keys[reported.key], strict=True):
                    self.same_or_older(denials_of(counter), known)
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
