"""Alternate measurements and how they are shown."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import repeat
from typing import Any


@dataclass(frozen=True)
class Spread:
    """What became of a number of samples."""

    min: float
    median: float
    p99: float
    p999: float
    max: float
    samples: int

    @classmethod
    def of(cls, samples: Sequence[float]) -> Spread:
        ordered = sorted(samples)

        def at(share: float) -> float:
            return ordered[min(int(share * len(ordered)), len(ordered) - 1)]

        return cls(ordered[0], at(0.5), at(0.99), at(0.999), ordered[-1], len(ordered))


@dataclass(frozen=True)
class Line:
    """One budget and what was measured for it."""

    what: str
    flint: Spread
    unit: str
    yardstick: str
    beside: Spread | None
    ratio: Spread | None
    measured: str
    budget: str
    met: bool


def show(value: float, unit: str) -> str:
    """A number with its unit, times in the unit that suits them."""
    if unit != "ns":
        return f"{value:,.0f} {unit}" if value >= 100 else f"{value:.3g} {unit}"
    for size, name in ((1e9, "s"), (1e6, "ms"), (1e3, "us")):
        if value >= size:
            return f"{value / size:.3g} {name}"
    return f"{value:.0f} ns"


class Report:
    """Collects lines and prints each as it comes."""

    def __init__(self) -> None:
        self.lines: list[Line] = []

    def _add(self, line: Line) -> None:
        self.lines.append(line)

        def three(spread: Spread, unit: str) -> str:
            return " / ".join(show(value, unit) for value in (spread.min, spread.median, spread.p99))

        print(f"\n{line.what}")
        print(f"    flint      {three(line.flint, line.unit)}   ({line.flint.samples} samples)")
        if line.beside is not None:
            print(f"    yardstick  {three(line.beside, line.unit)}   {line.yardstick}")
        if line.ratio is not None:
            print(f"    ratio      {line.ratio.min:.2f}x / {line.ratio.median:.2f}x / {line.ratio.p99:.2f}x")
        print(f"    {'met   ' if line.met else 'MISSED'}     {line.measured}; budget: {line.budget}", flush=True)

    def ratio(
        self,
        what: str,
        flint: Sequence[float],
        yardstick: str,
        beside: Sequence[float],
        *,
        at_least: float | None = None,
        at_most: float | None = None,
        unit: str = "ns",
        also: tuple[bool, str] = (True, ""),
    ) -> None:
        """Paired samples. `at_least` so many times faster than the yardstick, or `at_most` so many times its time."""
        if at_least is not None:
            ratios = [other / own for own, other in zip(flint, beside, strict=True)]
            median = Spread.of(ratios).median
            met, measured, budget = median >= at_least, f"{median:.2f}x as fast", f"at least {at_least:g}x"
        else:
            assert at_most is not None
            ratios = [own / other for own, other in zip(flint, beside, strict=True)]
            median = Spread.of(ratios).median
            met, measured, budget = median <= at_most, f"{median:.2f}x the time", f"at most {at_most:g}x"
        if also[1]:
            measured += f", {also[1]}"
        line = Line(
            what,
            Spread.of(flint),
            unit,
            yardstick,
            Spread.of(beside),
            Spread.of(ratios),
            measured,
            budget,
            met and also[0],
        )
        self._add(line)

    def bound(
        self,
        what: str,
        flint: Sequence[float],
        yardstick: str,
        beside: Sequence[float] | None,
        *,
        value: Callable[[Spread], float],
        name: str,
        below: float | None = None,
        above: float | None = None,
        unit: str = "ns",
    ) -> None:
        """An absolute budget. The yardstick tells what this machine is like."""
        spread = Spread.of(flint)
        other = None if beside is None else Spread.of(beside)
        reached = value(spread)
        measured = f"{name} {show(reached, unit)}"
        if other is not None and value(other) > 0:
            measured += f" ({reached / value(other):.2f}x the yardstick)"
        if below is not None:
            met, budget = reached <= below, f"at most {show(below, unit)}"
        else:
            assert above is not None
            met, budget = reached >= above, f"at least {show(above, unit)}"
        paired = beside is not None and len(beside) == len(flint) <= 1000 and all(beside)
        ratio = Spread.of([a / b for a, b in zip(flint, beside, strict=True)]) if paired and beside else None
        self._add(Line(what, spread, unit, yardstick, other, ratio, measured, budget, met))

    def finish(self, path: str | None, settings: dict[str, Any]) -> None:
        missed = [line for line in self.lines if not line.met]
        print(f"\n{len(self.lines) - len(missed)} of {len(self.lines)} budgets met")
        for line in missed:
            print(f"MISSED  {line.what}: {line.measured}; budget: {line.budget}")
        if path is not None:
            machine = {"python": sys.version, "platform": platform.platform(), "cpus": os.cpu_count()}
            with open(path, "w", encoding="utf-8") as file:
                json.dump(
                    {**settings, "machine": machine, "lines": [asdict(line) for line in self.lines]}, file, indent=1
                )
                file.write("\n")


def per_call(call: Callable[..., object], *args: object, calls: int) -> float:
    """Nanoseconds a call, over `calls` of them."""
    start = time.perf_counter_ns()
    for _ in repeat(None, calls):
        call(*args)
    return (time.perf_counter_ns() - start) / calls


def each_call(call: Callable[..., object], *args: object, calls: int) -> list[float]:
    """Nanoseconds of each of `calls` calls, with what reading the clock costs."""
    clock = time.perf_counter_ns
    samples: list[float] = []
    for _ in repeat(None, calls):
        start = clock()
        call(*args)
        samples.append(clock() - start)
    return samples


def once(call: Callable[[], object]) -> float:
    """Nanoseconds of one call."""
    start = time.perf_counter_ns()
    call()
    return float(time.perf_counter_ns() - start)


def alternately(rounds: int, *measures: Callable[[], float]) -> list[list[float]]:
    """Runs the measures one after the other, `rounds` times, after one round that does not count."""
    for measure in measures:
        measure()
    columns: list[list[float]] = [[] for _ in measures]
    for _ in range(rounds):
        for column, measure in zip(columns, measures, strict=True):
            column.append(measure())
    return columns
