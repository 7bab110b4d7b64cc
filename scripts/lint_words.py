"""Refuses words for which the project has a more exact one: `python scripts/lint_words.py [--counts] [FILE...]`.

Without files, every source and documentation file of the repository is read. Identifiers are split at underscores and
capital letters, so that `wakeNobody`, `WAKE_NOBODY` and "wake nobody" are the same find. Prints
`file:line: word: what to write` and exits with 1 if there is anything to print.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

NAME_THE_ACTOR = "name what acts: the caller, the client, the waiter, the thread, the process"

# What is refused, and what to write instead.
REFUSED = {
    "who": NAME_THE_ACTOR,
    "whoever": NAME_THE_ACTOR,
    "somebody": NAME_THE_ACTOR,
    "nobody": NAME_THE_ACTOR,
    "everybody": NAME_THE_ACTOR,
    "anybody": NAME_THE_ACTOR,
    "twin": "async variant, async counterpart; of two stores or values: the other, the copy",
    "twins": "async variants, async counterparts; of two stores or values: the others, the copies",
    "patience": "wait policy",
    "receipt": "idempotency record",
    "receipts": "idempotency records",
    "told": "returned, reported, passed to",
    "begun": "started; of a request: in-flight request",
    "troubles": "error policy",
    "ledger": "expected state",
}

SUFFIXES = {".rs", ".py", ".pyi", ".toml", ".sh", ".md", ".yml", ".yaml"}
NAMES = {"Makefile"}


@dataclass(frozen=True)
class Allowed:
    """Lines of some files in which some words may occur."""

    files: str
    words: frozenset[str]
    lines: str
    reason: str

    def covers(self, file: str, word: str, line: str) -> bool:
        """Whether the word may occur in this line of the file."""
        return word in self.words and bool(re.search(self.files, file)) and bool(re.search(self.lines, line))


ALLOWED = (
    Allowed(r"^(scripts|tests/python)/(test_)?lint_words\.py$", frozenset(REFUSED), "", "they list the words"),
    Allowed(
        "",
        frozenset({"receipt", "receipts"}),
        r'\\?["`]receipts?\\?["`]',
        "the names of fields in files and in the dump",
    ),
    Allowed(
        r"^(docs/storage-format\.md|tests/python/test_storage_format\.py)$",
        frozenset({"receipt"}),
        "",
        "the file format's name of a record kind",
    ),
)

# Words of a text, and the parts of an identifier: HTTPServer is HTTP and Server, nobody_waits is nobody and waits.
WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


def files() -> list[str]:
    """Every file of the repository that is source or documentation, those not yet committed included."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
    wanted = {name for name in listed if Path(name).suffix in SUFFIXES or Path(name).name in NAMES}
    return sorted(name for name in wanted if (ROOT / name).is_file())


def find(file: str, lines: Iterable[str]) -> Iterator[tuple[int, str]]:
    """Yields the line number and the word of each refused word that is not allowed in that place, once per line."""
    for number, line in enumerate(lines, 1):
        words = dict.fromkeys(match.group().lower() for match in WORD.finditer(line))
        for word in words:
            if word in REFUSED and not any(allowed.covers(file, word, line) for allowed in ALLOWED):
                yield number, word


def main(arguments: list[str] | None = None) -> int:
    """Prints what is refused and returns the exit status."""
    parser = argparse.ArgumentParser(description="Refuses words for which the project has a more exact one.")
    parser.add_argument("files", nargs="*", metavar="FILE", help="relative to the repository; without any, all of it")
    parser.add_argument("--counts", action="store_true", help="print how many there are in each directory instead")
    options = parser.parse_args(arguments)
    counts: Counter[str] = Counter()
    for file in options.files or files():
        text = (ROOT / file).read_text(encoding="utf-8", errors="replace")
        for number, word in find(file, text.splitlines()):
            counts[str(Path(file).parent)] += 1
            if not options.counts:
                print(f"{file}:{number}: {word}: write {REFUSED[word]}")
    if options.counts:
        for directory, count in counts.most_common():
            print(f"{count:5} {directory}")
    return 1 if counts else 0


if __name__ == "__main__":
    sys.exit(main())
