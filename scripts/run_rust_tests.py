#!/usr/bin/env python3
"""Build the Rust tests and run them, two programs at a time, the longest first.

    run_rust_tests.py [--unit]

`cargo test` runs one program after the other, and the last test of each leaves a core idle. --unit runs what `make
check` needs: the tests beside the code and the engine's scenarios, but not the proofs of flint-torture, nor those that
explore schedules. How long each program took is appended to the file that FLINT_TIMES names.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
AT_ONCE = 2
# Programs that take longest start first, the others in the order in which cargo names them.
LONGEST = ["kill_points", "corruption", "crash_states", "all", "shuttle", "io_errors", "linearizability"]
WORKSPACE = ["--workspace", "--bins", "--lib", "--tests"]
UNIT = ["--workspace", "--lib", "--test", "all", "--test", "fork"]
# A program of its own: it replaces every lock, atomic and thread of the engine.
SHUTTLE = ["-p", "flint-core", "--features", "shuttle", "--lib", "--test", "shuttle"]


@dataclass
class Program:
    """A test program: its name, its file, the directory it runs in, which of its tests run."""

    name: str
    executable: Path
    directory: Path
    arguments: list[str] = field(default_factory=list)


@dataclass
class Result:
    """How a program ended."""

    program: Program
    status: int
    output: str
    seconds: float
    cpu_seconds: float


def build(selection: list[str]) -> list[Program]:
    """Builds test programs, and returns them in the order in which cargo runs them."""
    command = ["cargo", "test", *selection, "--locked", "--no-run", "--message-format=json-render-diagnostics"]
    built = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if built.returncode != 0:
        sys.exit(f"{Path(sys.argv[0]).name}: the tests do not build")
    programs = []
    for line in built.stdout.splitlines():
        message = json.loads(line)
        if message.get("reason") == "compiler-artifact" and message["profile"]["test"] and message["executable"]:
            directory = Path(message["manifest_path"]).parent
            programs.append(Program(message["target"]["name"], Path(message["executable"]), directory))
    return programs


def longest_first(programs: list[Program]) -> list[Program]:
    """The order in which programs start."""
    rank = {name: place for place, name in enumerate(LONGEST)}
    return sorted(programs, key=lambda program: rank.get(program.name, len(rank)))


def run(program: Program, environment: dict[str, str] | None = None, timeout_s: float | None = None) -> Result:
    """Runs a program to its end. After `timeout_s` it is killed, and its status is that of the signal."""
    began = time.monotonic()
    process = subprocess.Popen(
        [program.executable, *program.arguments],
        cwd=program.directory,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    killer = None if timeout_s is None else threading.Timer(timeout_s, process.kill)
    if killer is not None:
        killer.start()
    assert process.stdout is not None
    with process.stdout as stream:
        output = stream.read()
    _, status, usage = os.wait4(process.pid, 0)
    if killer is not None:
        killer.cancel()
    process.returncode = os.waitstatus_to_exitcode(status)
    cpu_seconds = usage.ru_utime + usage.ru_stime
    return Result(program, process.returncode, output, time.monotonic() - began, cpu_seconds)


def main() -> int:
    """Runs the tests; the exit status is 1 if any program failed."""
    parser = argparse.ArgumentParser(description="Build the Rust tests and run them.")
    parser.add_argument("--unit", action="store_true", help="only tests beside the code and the engine's scenarios")
    options = parser.parse_args()
    programs = build(UNIT if options.unit else WORKSPACE)
    if not options.unit:
        for program in build(SHUTTLE):
            if program.name != "shuttle":
                program.arguments = ["shuttle_tests"]
                program.name += " (shuttle)"
            programs.append(program)
    failed: list[str] = []
    times = []
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for result in pool.map(run, longest_first(programs)):
            name = result.program.name
            summary = [line for line in result.output.splitlines() if line.startswith("test result: ")]
            print(f"{name}: {summary[-1] if summary else f'exit status {result.status}'}", flush=True)
            times.append(f"{result.seconds:.2f} {result.cpu_seconds:.2f} {name}\n")
            if result.status != 0:
                failed.append(name)
                print(result.output, flush=True)
    if path := os.environ.get("FLINT_TIMES"):
        with open(path, "a", encoding="utf-8") as file:
            file.write("".join(times))
    if failed:
        print(f"run_rust_tests: failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
