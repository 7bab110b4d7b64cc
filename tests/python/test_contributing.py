"""The first change that CONTRIBUTING.md works through: its diffs apply to the tree, and its test fails without them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
DIFFS = re.findall(r"^```diff\n# (\S+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
(COMMAND,) = re.findall(r"^    \.venv/bin/python -m pytest (tests/python/cli -k quiet)$", PAGE, re.MULTILINE)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the package and of its tests."""
    for name in ("python/flint", "tests/python"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def apply(checkout: Path, name: str, diff: str) -> None:
    """Replaces the context and the removed lines, which must occur once; appends a diff of added lines alone."""
    lines = diff.splitlines(keepends=True)
    old = "".join(line[1:] for line in lines if line[0] in " -")
    new = "".join(line[1:] for line in lines if line[0] in " +")
    path = checkout / name
    text = path.read_text(encoding="utf-8")
    if not old:
        path.write_text(text + new, encoding="utf-8")
        return
    assert text.count(old) == 1, f"{name} has no such lines any more:\n{old}"
    path.write_text(text.replace(old, new), encoding="utf-8")


def run(checkout: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(checkout / "python")}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *COMMAND.split()]
    return subprocess.run(
        command, cwd=checkout, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def test_the_first_change_works_as_written(checkout: Path) -> None:
    (test_file, test_diff), *changes = DIFFS
    apply(checkout, test_file, test_diff)
    failed = run(checkout)
    assert failed.returncode == 1, failed.stdout + failed.stderr
    assert "test_a_quiet_check_prints_nothing" in failed.stdout
    for name, diff in changes:
        apply(checkout, name, diff)
    passed = run(checkout)
    assert passed.returncode == 0, passed.stdout + passed.stderr
