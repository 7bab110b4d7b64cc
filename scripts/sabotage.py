"""Runs the Rust tests once for each deliberate defect in the engine and shows that each turns some test red.

The defects are in crates/flint-core/src/hooks.rs; the tests are built once, with the feature that lets the environment
variable FLINT_DEFECT choose one. Without a defect the same tests have to be green.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HOOKS = ROOT / "crates/flint-core/src/hooks.rs"
# A defect may also make a test hang; nothing takes this long otherwise.
PATIENCE_S = 300
AT_LEAST = 15


def defects() -> list[str]:
    """The names of all defects."""
    names: list[str] = re.findall(r'^    [A-Z]\w+ = "([a-z-]+)",$', HOOKS.read_text(), re.MULTILINE)
    if len(names) < AT_LEAST:
        sys.exit(f"sabotage: only {len(names)} defects in {HOOKS}, at least {AT_LEAST} are wanted")
    return names


def build() -> list[tuple[str, Path, Path]]:
    """Builds the tests; gives name, executable and working directory of each, in the order in which cargo runs them."""
    command = ["cargo", "test", "--workspace", "--locked", "--no-run", "--message-format=json"]
    built = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if built.returncode != 0:
        sys.exit("sabotage: the tests do not build")
    found = []
    for line in built.stdout.splitlines():
        message = json.loads(line)
        if message.get("reason") == "compiler-artifact" and message["profile"]["test"] and message["executable"]:
            manifest = Path(message["manifest_path"])
            found.append((message["target"]["name"], Path(message["executable"]), manifest.parent))
    return found


def first_red(tests: list[tuple[str, Path, Path]], defect: str | None) -> str | None:
    """The first test that fails, or None."""
    environment = {name: value for name, value in os.environ.items() if name not in ("FLINT_DEFECT", "FLINT_EVIDENCE")}
    if defect is not None:
        environment["FLINT_DEFECT"] = defect
    for name, executable, directory in tests:
        try:
            ran = subprocess.run(
                [executable], cwd=directory, env=environment, capture_output=True, timeout=PATIENCE_S, check=False
            )
        except subprocess.TimeoutExpired:
            return f"{name} (hung)"
        if ran.returncode != 0:
            output = ran.stdout.decode(errors="replace")
            failed: list[str] = re.findall(r"^test (\S+) .*\bFAILED$", output, re.MULTILINE)
            return f"{name}: {failed[0] if failed else f'exit status {ran.returncode}'}"
    return None


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("defect", nargs="*", help="names of defects; all of them if none is given")
    chosen = parser.parse_args().defect
    known = defects()
    if unknown := sorted(set(chosen) - set(known)):
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(known)}")
    names = chosen or known
    # The slow ones last: most defects do not need them.
    slow = ("crash_states", "kill_points", "fuzz", "corruption", "linearizability")
    tests = sorted(build(), key=lambda test: test[0] in slow)
    print(f"{len(tests)} test programs, {len(names)} defects", flush=True)
    red = first_red(tests, None)
    if red is not None:
        print(f"without any defect the tests are red: {red}")
        return 1
    print("none: green, as it has to be", flush=True)
    caught = 0
    for name in names:
        began = time.monotonic()
        red = first_red(tests, name)
        caught += red is not None
        print(
            f"{name}: {'STAYS GREEN' if red is None else 'red in ' + red} ({time.monotonic() - began:.0f} s)",
            flush=True,
        )
    print(f"{caught} of {len(names)} defects were noticed")
    return 0 if caught == len(names) else 1


if __name__ == "__main__":
    sys.exit(main())
