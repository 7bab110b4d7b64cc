"""SIGKILL at random moments, with everything under way: what was acknowledged is there, exactly."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import pytest
from tests.python.evidence import record
from tests.python.system.support import seed, state, worker

import flint

# Each thread walks through steps whose effect depends on their number alone, and acknowledges each by its own letter.
# The numbers to go on from come from the store. compact() and the volume make segments and snapshots come and go.
WORKER = """
import flint, os, sys, threading
limiter = flint.Limiter(sys.argv[1], sync=sys.argv[2], flush_every_ms=5, flush_every_events=50)
done = dict(zip("spcm", map(int, sys.argv[3:]), strict=True))
os.write(1, b"open\\n")
TEN_YEARS = "520w"

def single(n):
    limiter.check("single", 1 + n % 5, limit=flint.Limit(10**9, TEN_YEARS, algorithm="fixed_window_counter"))

def pair(n):
    limit = flint.Limit(10**9, TEN_YEARS, algorithm="fixed_window_counter")
    log = flint.Limit(100_000, TEN_YEARS, algorithm="sliding_window_log")
    limiter.check_all([{"key": "left", "cost": 2, "limit": limit}, {"key": "right", "limit": log if n < 0 else limit}])

def configure(n):
    # 40 keys that come and go, each with a rate that tells when it was set.
    key = f"config:{n // 2 % 40}"
    if n % 2 == 0:
        limiter.limit(key, n + 1, "1h")
    elif n // 2 % 3 == 0:
        limiter.delete(key)
    else:
        limiter.reset(key)

def many(n):
    limiter.limit_many([{"key": f"many:{n % 7}:{i}", "rate": n + 1, "per": "1h"} for i in range(25)])

def walk(letter, step):
    n = done[letter]
    while True:
        step(n)
        os.write(1, letter.encode() + b"\\n")
        n += 1

for letter, step in zip("spcm", (single, pair, configure, many), strict=True):
    threading.Thread(target=walk, args=(letter, step), daemon=True).start()
while True:
    limiter.compact()
"""
LETTERS = "spcm"


def configured(steps: int) -> dict[str, int]:
    """The rates of the keys that come and go after that many steps."""
    rates: dict[str, int] = {}
    for n in range(steps):
        key = f"config:{n // 2 % 40}"
        if n % 2 == 0:
            rates[key] = n + 1
        elif n // 2 % 3 == 0:
            del rates[key]
    return rates


def steps_in(limiter: flint.Limiter, acknowledged: Counter[str]) -> Counter[str]:
    """How many steps of each thread the store holds. Each must be what was acknowledged, or one more."""
    found: Counter[str] = Counter()
    statuses = {status.key: status for status in limiter.list()}

    def pick(letter: str, count: int) -> None:
        assert acknowledged[letter] <= count <= acknowledged[letter] + 1, (
            f"{letter}: {acknowledged[letter]} acknowledged, {count} found"
        )
        found[letter] = count

    totals = {key: statuses[key].total_allowed if key in statuses else 0 for key in ("single", "left", "right")}
    costs = {key: statuses[key].total_allowed_cost if key in statuses else 0 for key in totals}
    pick("s", totals["single"])
    assert costs["single"] == sum(1 + n % 5 for n in range(totals["single"]))
    pick("p", totals["left"])
    assert totals["right"] == totals["left"], "half of a check_all"
    assert (costs["left"], costs["right"]) == (2 * totals["left"], totals["right"])
    for key, cost in costs.items():
        if key in statuses:
            assert statuses[key].remaining == 10**9 - cost

    rates = {key: status.rate for key, status in statuses.items() if key.startswith("config:")}
    pick("c", next((n for n in (acknowledged["c"], acknowledged["c"] + 1) if configured(n) == rates), -1))

    sets = Counter(int(key.split(":")[1]) for key in statuses if key.startswith("many:"))
    newest = max((status.rate for key, status in statuses.items() if key.startswith("many:")), default=0)
    pick("m", newest)
    assert set(sets.values()) <= {25}, "half of a limit_many"
    for key, status in statuses.items():
        if key.startswith("many:"):
            group = int(key.split(":")[1])
            assert status.rate == max(n + 1 for n in range(newest) if n % 7 == group)
    return found


# Opens what a killed process left, compacts it, and is killed meanwhile; it takes no steps.
RECOVERING = """
import flint, os, sys
limiter = flint.Limiter(sys.argv[1], sync=sys.argv[2])
os.write(1, b"open\\n")
while True:
    limiter.compact()
"""
# At least; and how many of them have to hit a process at work.
ROUNDS, AT_WORK = 100, 65
# Acknowledgements after which a process is killed, within another two milliseconds.
AFTER = (0, 1, 2, 5, 20, 100, 300, 1000)


@pytest.mark.parametrize("sync", ["always", "batch"])
def test_what_was_acknowledged_before_sigkill_is_there(sync: str, tmp_path: Path) -> None:
    dice = seed()
    data_dir = tmp_path / "data"
    acknowledged: Counter[str] = Counter()
    kills: Counter[str] = Counter()
    number = 0
    while number < ROUNDS or kills["at work"] < AT_WORK or min(acknowledged[letter] for letter in LETTERS) < ROUNDS:
        number += 1
        assert number <= 10 * ROUNDS, kills
        with worker(WORKER, data_dir, sync, *(acknowledged[letter] for letter in LETTERS)) as process:
            if number % 4 == 0:
                # While it starts, opens and recovers: there is nothing to wait for, so chance decides.
                time.sleep(dice.uniform(0, 0.06))
                seen = []
            else:
                assert process.line() == "open", process.end().err
                seen = [process.line() for _ in range(dice.choice(AFTER))]
                time.sleep(dice.uniform(0, 0.002))
            assert process.kill() == -9, process.end().err
            seen += [line.decode().rstrip("\n") for line in process.lines()]
        acknowledged.update(letter for letter in seen if letter in LETTERS)
        kills["at work" if any(letter in LETTERS for letter in seen) else "elsewhere"] += 1
        while dice.random() < 0.3:
            # What was left is met by another process first, which does not live long either.
            with worker(RECOVERING, data_dir, sync) as process:
                if dice.random() < 0.5:
                    assert process.line() == "open", process.end().err
                time.sleep(dice.uniform(0, 0.04))
                assert process.kill() == -9, process.end().err
            kills["recovering"] += 1
        with flint.Limiter(data_dir, sync=sync) as limiter:
            acknowledged = steps_in(limiter, acknowledged)
            # It can be written to again, and what was recovered and what is new are still there afterwards.
            limiter.limit("after", 10**9, "1h", algorithm="fixed_window_counter")
            limiter.check("after", number)
            before = state(limiter)
            assert limiter.doctor()["problems"] == []
        with flint.Limiter(data_dir, sync=sync) as limiter:
            assert limiter.recovery.clean
            assert state(limiter) == before
            assert steps_in(limiter, acknowledged) == acknowledged
            limiter.delete("after")
    print(f"{sync}: {dict(kills)}, {acknowledged.total()} steps: {dict(acknowledged)}")
    record("kills", kills.total())
    record("kills_at_work", kills["at work"])
    assert kills.total() >= ROUNDS
