"""Alternating measurements, and the report on them."""

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
    """The distribution of a number of samples."""

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
    """One budget and the measurement for it."""

    what: str
    flint: Spread
    unit: str
    yardstick: str
    reference: Spread | None
    ratio: Spread | None
    measured: str
    budget: str
    met: bool


def show(value: float, unit: str) -> str:
    """A number with its unit; a time in the largest unit that leaves at least 1."""
    if unit != "ns":
        return f"{value:,.0f} {unit}" if value >= 100 else f"{value:.3g} {unit}"
    for size, name in ((1e9, "s"), (1e6, "ms"), (1e3, "us")):
        if value >= size:
            return f"{value / size:.3g} {name}"
    return f"{value:.0f} ns"


class Report:
    """Collects lines and prints each one when it is added."""

    def __init__(self) -> None:
        self.lines: list[Line] = []

    def _add(self, line: Line) -> None:
        self.lines.append(line)

        def three(spread: Spread, unit: str) -> str:
            return " / ".join(show(value, unit) for value in (spread.min, spread.median, spread.p99))

        print(f"\n{line.what}")
        print(f"    flint      {three(line.flint, line.unit)}   ({line.flint.samples} samples)")
        if line.reference is not None:
            print(f"    yardstick  {three(line.reference, line.unit)}   {line.yardstick}")
        if line.ratio is not None:
            print(f"    ratio      {line.ratio.min:.2f}x / {line.ratio.median:.2f}x / {line.ratio.p99:.2f}x")
        print(f"    {'met   ' if line.met else 'MISSED'}     {line.measured}; budget: {line.budget}", flush=True)

    def ratio(
        self,
        what: str,
        flint: Sequence[float],
        yardstick: str,
        reference: Sequence[float],
        *,
        at_least: float | None = None,
        at_most: float | None = None,
        unit: str = "ns",
        also: tuple[bool, str] = (True, ""),
    ) -> None:
        """Paired samples: at least `at_least` times as fast as the yardstick, or at most `at_most` times its time."""
        if at_least is not None:
            ratios = [other / own for own, other in zip(flint, reference, strict=True)]
            median = Spread.of(ratios).median
            met, measured, budget = median >= at_least, f"{median:.2f}x as fast", f"at least {at_least:g}x"
        else:
            assert at_most is not None
            ratios = [own / other for own, other in zip(flint, reference, strict=True)]
            median = Spread.of(ratios).median
            met, measured, budget = median <= at_most, f"{median:.2f}x the time", f"at most {at_most:g}x"
        if also[1]:
            measured += f", {also[1]}"
        line = Line(
            what,
            Spread.of(flint),
            unit,
            yardstick,
            Spread.of(reference),
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
        reference: Sequence[float] | None,
        *,
        value: Callable[[Spread], float],
        name: str,
        below: float | None = None,
        above: float | None = None,
        unit: str = "ns",
    ) -> None:
        """An absolute budget. The yardstick shows how fast this machine is."""
        spread = Spread.of(flint)
        other = None if reference is None else Spread.of(reference)
        reached = value(spread)
        measured = f"{name} {show(reached, unit)}"
        if other is not None and value(other) > 0:
            measured += f" ({reached / value(other):.2f}x the yardstick)"
        if below is not None:
            met, budget = reached <= below, f"at most {show(below, unit)}"
        else:
            assert above is not None
            met, budget = reached >= above, f"at least {show(above, unit)}"
        paired = reference is not None and len(reference) == len(flint) <= 1000 and all(reference)
        ratio = Spread.of([a / b for a, b in zip(flint, reference, strict=True)]) if paired and reference else None
        self._add(Line(what, spread, unit, yardstick, other, ratio, measured, budget, met))

    def finish(self) -> None:
        """Prints how many budgets are met, and which are missed."""
        missed = [line for line in self.lines if not line.met]
        print(f"\n{len(self.lines) - len(missed)} of {len(self.lines)} budgets met")
        for line in missed:
            print(f"MISSED  {line.what}: {line.measured}; budget: {line.budget}")

    def write_json(self, path: str, settings: dict[str, Any]) -> None:
        machine = {"python": sys.version, "platform": platform.platform(), "cpus": os.cpu_count()}
        content = {**settings, "machine": machine, "lines": [asdict(line) for line in self.lines]}
        with open(path, "w", encoding="utf-8") as file:
            json.dump(content, file, indent=1)
            file.write("\n")

    def write_table(self, path: str) -> None:
        """The rows of docs/benchmarks.md."""
        with open(path, "w", encoding="utf-8") as file:
            for line in self.lines:
                measured = line.measured if line.met else f"**missed**: {line.measured}"
                file.write(f"| {line.what} | {line.yardstick} | {line.budget} | {measured} |\n")


def per_call(call: Callable[..., object], *args: object, calls: int) -> float:
    """Nanoseconds per call, over `calls` of them."""
    start = time.perf_counter_ns()
    for _ in repeat(None, calls):
        call(*args)
    return (time.perf_counter_ns() - start) / calls


def each_call(call: Callable[..., object], *args: object, calls: int) -> list[float]:
    """Nanoseconds of each of `calls` calls, reading the clock included."""
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
    """Runs the measures in turns, `rounds` times, after a warm-up round."""
    for measure in measures:
        measure()
    columns: list[list[float]] = [[] for _ in measures]
    for _ in range(rounds):
        for column, measure in zip(columns, measures, strict=True):
            column.append(measure())
    return columns
