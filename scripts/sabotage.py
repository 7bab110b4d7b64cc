"""Runs the Rust tests once for each deliberate defect in the engine and shows that each turns some test red.

The defects are in crates/flint-core/src/hooks.rs; the tests are built once, with the feature that lets the environment
variable FLINT_DEFECT choose one. Without a defect the same tests have to be green. That run also shows how long each
part of the tests takes: with a defect the part that noticed it last time runs first, then the others, the quickest
first, until one is red.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from scripts.run_rust_tests import AT_ONCE, LONGEST, ROOT, WORKSPACE, Program, Result, build, longest_first, run

HOOKS = ROOT / "crates/flint-core/src/hooks.rs"
# Which part noticed which defect; only the order of the next run depends on it.
NOTICED = ROOT / "target/sabotage.json"
# A defect may also make a test hang; no part takes this long otherwise.
TIMEOUT_S = 300
AT_LEAST = 15


def defects() -> list[str]:
    """The names of all defects."""
    names: list[str] = re.findall(r'^    [A-Z]\w+ = "([a-z-]+)",$', HOOKS.read_text(), re.MULTILINE)
    if len(names) < AT_LEAST:
        sys.exit(f"sabotage: only {len(names)} defects in {HOOKS}, at least {AT_LEAST} are required")
    return names


def parts(programs: Iterable[Program]) -> list[Program]:
    """The programs, the long ones divided by module or by test, so that a red part ends early."""
    divided: list[Program] = []
    for program in programs:
        if program.name not in LONGEST:
            divided.append(program)
            continue
        listed = subprocess.run([program.executable, "--list"], stdout=subprocess.PIPE, text=True, check=True).stdout
        tests = re.findall(r"^(\S+): test$", listed, re.MULTILINE)
        for module in sorted({"::".join(test.split("::")[:2]) for test in tests if test.count("::") > 1}):
            divided.append(replace(program, name=f"{program.name} {module}", arguments=[f"{module}::"]))
        for test in (test for test in tests if test.count("::") <= 1):
            divided.append(replace(program, name=f"{program.name} {test}", arguments=["--exact", test]))
    return divided


def environment(defect: str | None) -> dict[str, str]:
    """The environment of a run, without what would count its tests."""
    inherited = {name: value for name, value in os.environ.items() if name not in ("FLINT_DEFECT", "FLINT_EVIDENCE")}
    return inherited if defect is None else {**inherited, "FLINT_DEFECT": defect}


def failure(result: Result) -> str | None:
    """What failed, or None."""
    if result.status == 0:
        return None
    failed: list[str] = re.findall(r"^test (\S+) .*\bFAILED$", result.output, re.MULTILINE)
    hung = " (hung)" if result.seconds > TIMEOUT_S else ""
    return f"{result.program.name}: {failed[0] if failed else f'exit status {result.status}'}{hung}"


def sabotage(defect: str, tests: list[Program], seconds: dict[str, float], noticed: dict[str, str]) -> bool:
    """Runs the parts until one is red; says which, and remembers it."""
    began = time.monotonic()
    known = noticed.get(defect)
    for part in sorted(tests, key=lambda part: (part.name != known, seconds[part.name])):
        if (red := failure(run(part, environment(defect), TIMEOUT_S))) is not None:
            noticed[defect] = part.name
            print(f"{defect}: red in {red} ({time.monotonic() - began:.0f} s)", flush=True)
            return True
    print(f"{defect}: STAYS GREEN ({time.monotonic() - began:.0f} s)", flush=True)
    return False


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("defect", nargs="*", help="names of defects; all of them if none is given")
    chosen = parser.parse_args().defect
    known = defects()
    if unknown := sorted(set(chosen) - set(known)):
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(known)}")
    names = chosen or known
    tests = parts(longest_first(build(WORKSPACE)))
    print(f"{len(tests)} parts of the tests, {len(names)} defects", flush=True)
    noticed: dict[str, str] = json.loads(NOTICED.read_text()) if NOTICED.exists() else {}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        results = list(pool.map(lambda part: run(part, environment(None), TIMEOUT_S), tests))
        if red := [what for result in results if (what := failure(result)) is not None]:
            print(f"without any defect the tests are red: {'; '.join(red)}")
            return 1
        print("none: green, as it has to be", flush=True)
        seconds = {result.program.name: result.seconds for result in results}
        caught = sum(pool.map(lambda name: sabotage(name, tests, seconds, noticed), names))
    NOTICED.write_text(json.dumps(noticed, indent=1, sort_keys=True))
    print(f"{caught} of {len(names)} defects were noticed")
    return 0 if caught == len(names) else 1


if __name__ == "__main__":
    sys.exit(main())
