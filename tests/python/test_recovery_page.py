"""docs/recovery.md speaks of errors that exist: its messages are in the sources, its classes in the package."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import flint

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "recovery.md").read_text()


def sources() -> str:
    """Everything that can be a message, without the line breaks inside of string literals, constants filled in."""
    text = "".join(path.read_text() for path in sorted((ROOT / "crates" / "flint-core" / "src").rglob("*.rs")))
    text = re.sub(r"\\\n\s*", "", text)
    return text.replace("although {} is there", "although flint.snapshot is there")


def rows() -> list[list[str]]:
    tables = [line for line in PAGE.splitlines() if line.startswith("|") and not line.startswith("|---")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in tables]


def quoted_messages() -> list[str]:
    """The code in "the message says", and what follows "Also" in the same row up to the end of the sentence."""
    found = []
    for header, row in _with_headers():
        column = header.index("the message says")
        found += re.findall(r"`([^`]+)`", row[column])
        for also in re.findall(r"Also ((?:`[^`]+`(?:, | and )?)+)", row[-1]):
            found += re.findall(r"`([^`]+)`", also)
    return found


def _with_headers() -> list[tuple[list[str], list[str]]]:
    paired = []
    header: list[str] = []
    for row in rows():
        if "the message says" in row or row[0] == "exit status":
            header = row
        elif "the message says" in header:
            paired.append((header, row))
    return paired


MESSAGES = quoted_messages()


def test_the_page_quotes_messages() -> None:
    assert len(MESSAGES) > 60, len(MESSAGES)


@pytest.mark.parametrize("message", MESSAGES)
def test_every_message_exists(message: str) -> None:
    assert message in sources()


def test_every_class_exists_and_every_storage_error_is_explained() -> None:
    words = set(re.findall(r"`(\w+)`", PAGE))
    named = {word for word in words if word.endswith(("Error", "Data", "Locked", "InvalidLimit"))}
    for name in named:
        assert issubclass(getattr(flint, name), flint.FlintError), name
    assert {"StorageError", "CorruptData", "DataDirLocked", "ClosedError", "ForkedError"} <= named


def test_every_sentence_that_tells_damage_is_on_the_page() -> None:
    """What recovery refuses with a fixed sentence, an operator finds there."""
    scan = (ROOT / "crates" / "flint-core" / "src" / "recovery" / "scan.rs").read_text()
    walker = (ROOT / "crates" / "flint-core" / "src" / "log" / "frame.rs").read_text()
    fixed = re.findall(r'self\.corrupt\(&file\.name, \d+, "([^"]+)"\)', scan)
    fixed += re.findall(r'return Err\("(the record[^"]+)"\)', walker)
    assert len(fixed) >= 7, fixed
    for sentence in fixed:
        assert sentence in PAGE or any(message in sentence for message in MESSAGES), sentence
