"""scripts/lint_words.py finds each refused word, in prose and in names, and nothing else."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "lint_words.py"


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("lint_words", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


lint_words = load()


@pytest.mark.parametrize("word", sorted(lint_words.REFUSED))
def test_a_word_is_found_in_prose_and_in_names(word: str) -> None:
    capital = word.capitalize()
    lines = [
        f"# A sentence with {word} in it.",
        f"{capital} begins a sentence.",
        f"def wake_{word}_up() -> None:",
        f"{word.upper()}_IS_WOKEN = 1",
        f"struct Wake{capital};",
        f"wake{capital}Up()",
        f"HTTP{capital}",
        f"- `{word}.rs`, and {word}'s",
    ]
    assert list(lint_words.find("a.rs", lines)) == [(number, word) for number in range(1, len(lines) + 1)]


@pytest.mark.parametrize("line", ["whole", "anywho", "twine", "whose key", "Whom", "patient", "receiptless", "windows"])
def test_longer_and_other_words_are_left_alone(line: str) -> None:
    assert list(lint_words.find("a.py", [line])) == []


def test_two_words_of_one_line_are_two_finds() -> None:
    assert list(lint_words.find("a.md", ["nobody or somebody, nobody"])) == [(1, "nobody"), (1, "somebody")]


def test_the_field_of_the_snapshot_file_keeps_its_name() -> None:
    lines = [r'b",\"receipts\":1"', '"receipts": 1', r'"{\"receipt\":\"01"', "let receipts = 1;", "let receipt = 1;"]
    assert list(lint_words.find("a.rs", lines)) == [(4, "receipts"), (5, "receipt")]
    assert list(lint_words.find("docs/storage-format.md", ["A Receipt comes last"])) == []


def test_every_allowance_is_used() -> None:
    used = set()
    for file in lint_words.files():
        for line in (lint_words.ROOT / file).read_text(encoding="utf-8", errors="replace").splitlines():
            for allowed in lint_words.ALLOWED:
                if any(allowed.covers(file, match.group().lower(), line) for match in lint_words.WORD.finditer(line)):
                    used.add(allowed)
    assert used == set(lint_words.ALLOWED)


def test_the_script_names_the_place_and_the_better_word(tmp_path: Path) -> None:
    (tmp_path / "good.py").write_text("# The caller waits.\n")
    (tmp_path / "bad.py").write_text("# fine\n# Nobody waits.\n")

    def run(name: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, SCRIPT, tmp_path / name], capture_output=True, text=True)

    bad, good = run("bad.py"), run("good.py")
    assert (good.returncode, good.stdout) == (0, "")
    assert bad.returncode == 1
    assert bad.stdout == f"{tmp_path}/bad.py:2: nobody: write {lint_words.REFUSED['nobody']}\n"
