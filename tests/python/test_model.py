"""The limiter beside a naive reference in exact fractions: any sequence of calls, clock steps and ends of sessions."""

from __future__ import annotations

import os
import random
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from fractions import Fraction
from pathlib import Path
from typing import ClassVar

import pytest

import flint
from flint.testing import ManualClock

from .evidence import record
from .model import Limit, Model, Rate, capacity
from .model_machine import Machine, answer_of
from .model_steps import (
    EPOCH,
    GIVEN,
    KEYS,
    LIMITS,
    MINUTE,
    MS,
    SECOND,
    START,
    STEP_KINDS,
    Step,
    bucket,
    fewest,
    fixed,
    given,
    random_steps,
    sliding,
)

# Of each mode.
RUNS = 1_000
STEPS = 50

# A file system in memory makes opening quick; what a disk does with it is other tests' subject.
MEMORY = next((path for path in ("/dev/shm",) if os.access(path, os.W_OK)), None)


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


def play(run: type[Machine], steps: list[Step]) -> None:
    """Makes the steps from nothing; an assertion fails where the limiter and the reference differ."""
    machine = run()
    try:
        machine.compare_keys()
        for step in steps:
            machine.step(step)
    finally:
        machine.close()


def fails(run: type[Machine], steps: list[Step]) -> bool:
    try:
        play(run, steps)
    except Exception:
        return True
    return False


@pytest.mark.parametrize("mode", ["always", "batch"])
def test_every_answer_is_the_reference_s(mode: str, memory: Path) -> None:
    class Run(Machine):
        sync = mode
        done: ClassVar[Counter[str]] = Counter()
        directory = memory

    dice = random.Random(seed_of_this_run())
    for _ in range(RUNS):
        steps = random_steps(dice, STEPS)
        try:
            play(Run, steps)
        except Exception:
            for step in (fewer := fewest(steps, lambda steps: fails(Run, steps))):
                print(step)
            play(Run, fewer)
            raise
    done = Run.done
    print(dict(sorted(done.items())))
    record(f"model_{mode}_runs", done["runs"])
    record(f"model_{mode}_steps", done["steps"])
    assert done["runs"] >= RUNS
    assert done["steps"] >= STEPS * RUNS
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


def test_denied_just_before_and_allowed_at_the_time_reported(memory: Path) -> None:
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


def test_no_other_limit_admits_more(memory: Path) -> None:
    """A limit answers as if calls with it were the only ones, whatever limits other calls bring to its key."""
    dice = random.Random(seed_of_this_run())
    done: Counter[str] = Counter()
    for case in range(120):
        clock = ManualClock(START)
        model = Model((START - EPOCH) // timedelta(microseconds=1) * 1_000)
        path = memory / f"{case} counters"
        limiter = flint.Limiter(path, sync="batch", clock=clock)
        limit, *others = dice.sample(LIMITS, 8)
        turned = given(limit[::-1])
        for _ in range(60):
            match dice.randrange(20):
                case 0 | 1 | 2 | 3 | 4 | 5:
                    cost = dice.randint(1, min(3, capacity(limit)))
                    got = limiter.check("k", cost, limit=dice.choice([GIVEN[limit], turned]))
                    alone = model.check("k", cost, limit)
                    assert (got.allowed, got.retry_after_ns) == (alone.allowed, alone.retry_after_ns)
                    assert not got or got.remaining == alone.remaining
                    done["allowed" if got else "denied"] += 1
                case 6 | 7:
                    several = [{"key": "k", "limit": GIVEN[each]} for each in [limit, *dice.sample(others, 2)]]
                    if limiter.check_all(several):
                        assert model.check("k", 1, limit).allowed
                        done["together"] += 1
                case 8:
                    limiter.compact()
                case 9:
                    limiter.close()
                    limiter = flint.Limiter(path, sync="batch", clock=clock)
                case 10 | 11 | 12:
                    pause = dice.choice(PAUSES)
                    clock.advance(ns=pause)
                    model.now += pause
                case _:
                    other = dice.choice(others)
                    limiter.check("k", dice.randint(1, capacity(other)), limit=GIVEN[other])
        limiter.close()
    print(dict(done))
    assert min(done.values()) > 100


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
        # A key has room for eight, and a read brings one.
        few = dice.sample(LIMITS, 7)
        for key in KEYS[:3]:
            limit = GIVEN[dice.choice(few)]
            for limiter in limiters:
                limiter.limit(key, limit)
        for _ in range(100):
            key, limit = dice.choice(KEYS), GIVEN[dice.choice(few)]
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
