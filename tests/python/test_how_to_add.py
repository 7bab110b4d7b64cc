"""The lists of "How to add …" in ARCHITECTURE.md are short enough, their files exist, and no file is missing.

For each kind of change there are examples that the code has already. Every product file whose code mentions an example
has to be on the list: a file that is not is a place that a further change of this kind would have to touch as well.
"""

from __future__ import annotations

import io
import re
import tokenize
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
PRODUCT = ("crates/flint-core/src", "crates/flint-py/src", "crates/flint-server/src", "python/flint")
SUFFIXES = {".rs", ".py", ".pyi"}
# Files that exist in builds for tests only.
FOR_TESTS = re.compile(r"(^|/)(testing|tests|model|\w+_tests)(/|\.rs$)")


@dataclass(frozen=True)
class Example:
    """An instance of a kind of change that the code has: its name, and how code mentions it."""

    name: str
    mention: str
    # Directories in which it is looked for.
    roots: tuple[str, ...] = PRODUCT
    # Files that use the instance and are not part of adding one, each with the reason.
    uses: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Kind:
    """A kind of change: the title of its list and the greatest number of files on it, its own files left out or not."""

    title: str
    most: int
    owns: bool
    examples: tuple[Example, ...]


@dataclass(frozen=True)
class Listed:
    """One line of a list. `<name>` in the path stands for what is added."""

    path: str
    own: bool

    def pattern(self, name: str) -> re.Pattern[str]:
        parts = re.split(r"(<name>)", self.path)
        return re.compile("".join(re.escape(name) if part == "<name>" else re.escape(part) for part in parts))


COMMANDS = ("python/flint/cli",)

KINDS = (
    Kind(
        "An algorithm (at most 8 files)",
        most=8,
        owns=False,
        # Code that names token_bucket alone is about the default.
        examples=(
            Example("sliding_window_log", r"SlidingWindowLog|sliding_window_log"),
            Example(
                "fixed_window_counter",
                r"FixedWindowCounter|fixed_window_counter",
                uses={
                    "crates/flint-core/src/algorithm/sliding_window_log.rs": "a message suggests the other algorithm"
                },
            ),
        ),
    ),
    Kind(
        "A field of a result (at most 4 files)",
        most=4,
        owns=False,
        examples=(
            Example(
                "last_reset_at",
                r"\blast_reset_at",
                uses={
                    "crates/flint-core/src/legacy/snapshot.rs": "a field of old snapshots has the same name",
                    "python/flint/cli/describe.py": "shows it",
                },
            ),
            Example(
                "last_allowed_at",
                r"\blast_allowed_at",
                uses={
                    "crates/flint-core/src/legacy/snapshot.rs": "a field of old snapshots has the same name",
                    "python/flint/cli/describe.py": "shows it",
                },
            ),
        ),
    ),
    Kind(
        "A record kind (at most 7 files)",
        most=7,
        owns=False,
        examples=(
            Example("denials", r"\b(?:Op|Kind)::Denials\b"),
            Example(
                "configure",
                r"\b(?:Op|Kind)::Configure\b",
                uses={"crates/flint-core/src/store/configure.rs": "writes it where limits are set, instead of core.rs"},
            ),
        ),
    ),
    Kind(
        "A limiter backend (its own files and at most 2 others)",
        most=2,
        owns=True,
        examples=(Example("client", r"\bSharedLimiter\b|\bflint\._client\b", roots=("python/flint",)),),
    ),
    Kind(
        "A web integration (its own files and at most 3 others)",
        most=3,
        owns=True,
        examples=(
            Example("fastapi", r"\bfastapi\b", roots=("python/flint",)),
            Example(
                "asgi",
                r"\bflint\.asgi\b",
                roots=("python/flint",),
                uses={"python/flint/_fastapi/middleware.py": "FastAPI's middleware is built on this one"},
            ),
        ),
    ),
    Kind(
        "A command (its own file and at most 2 others)",
        most=2,
        owns=True,
        examples=(
            Example("peek", r'"peek"', COMMANDS),
            Example("top", r'"top"', COMMANDS),
            Example("status", r'"status"|\blimit\.status\b', COMMANDS),
        ),
    ),
)


def listed(kind: Kind) -> list[Listed]:
    """The lines of the list under the kind's title."""
    section = PAGE[PAGE.index("\n## How to add …\n") :]
    section = re.split(r"\n## (?!How)", section)[0]
    _, found, part = section.partition(f"\n### {kind.title}\n")
    assert found, f"ARCHITECTURE.md has no section {kind.title!r}"
    part = part.split("\n### ")[0]
    return [Listed(path, bool(own)) for own, path in re.findall(r"^\d+\. (own: )?`([^`]+)`", part, re.MULTILINE)]


def code(path: Path) -> str:
    """The text of a file without comments, docstrings and unit tests."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".rs":
        return re.sub(r"//.*", "", re.split(r"#\[cfg\((?:all\()?test\b", text)[0])
    lines = text.splitlines(keepends=True)
    statement_starts = True
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT or (token.type == tokenize.STRING and statement_starts):
            (first, start), (last, end) = token.start, token.end
            for number in range(first, last + 1):
                line = lines[number - 1]
                lines[number - 1] = (line[:start] if number == first else "") + (line[end:] if number == last else "")
        else:
            statement_starts = token.type in (tokenize.NEWLINE, tokenize.NL, tokenize.INDENT, tokenize.DEDENT)
    return "".join(lines)


def mentions(example: Example) -> set[str]:
    """The product files whose code mentions the example."""
    found = set()
    for root in example.roots:
        for path in (ROOT / root).rglob("*"):
            name = path.relative_to(ROOT).as_posix()
            if path.suffix in SUFFIXES and not FOR_TESTS.search(name) and re.search(example.mention, code(path)):
                found.add(name)
    return found


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.title)
def test_the_list_is_short_enough(kind: Kind) -> None:
    lines = listed(kind)
    counted = [line for line in lines if not (kind.owns and line.own)]
    assert len({line.path for line in lines}) == len(lines)
    assert len(counted) <= kind.most, counted


@pytest.mark.parametrize(
    ("kind", "example"),
    [pytest.param(kind, example, id=f"{kind.title}: {example.name}") for kind in KINDS for example in kind.examples],
)
def test_the_list_has_every_file_that_an_example_touches(kind: Kind, example: Example) -> None:
    found = mentions(example)
    assert found, f"nothing mentions {example.name}: {example.mention}"
    patterns = [line.pattern(example.name) for line in listed(kind)]
    unlisted = {name for name in found - example.uses.keys() if not any(pattern.match(name) for pattern in patterns)}
    assert not unlisted, f"{kind.title} needs these files, which its list lacks: {sorted(unlisted)}"
    assert example.uses.keys() <= found, f"{example.name} is not used there any more: {example.uses.keys() - found}"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.title)
def test_every_file_of_the_list_exists(kind: Kind) -> None:
    for line in listed(kind):
        paths = [line.path.replace("<name>", example.name) for example in kind.examples]
        exist = [(ROOT / path).exists() for path in paths]
        # Not every example needs each of its own files.
        assert any(exist) if line.own else all(exist), f"{kind.title}: {paths}"
