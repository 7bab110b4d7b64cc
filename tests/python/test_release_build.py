"""The extension that is shipped holds nothing of the tests' machinery: no simulated disk, no defects, no deaths."""

from __future__ import annotations

import re
from pathlib import Path

import flint._native

CORE = Path(__file__).parents[2] / "crates/flint-core/src"
# Short words may occur for other reasons; a unit test's texts are in no build but its own.
LITERAL = re.compile(r'"((?:[^"\\]|\\.){9,})"')


def literals(path: Path) -> set[str]:
    """The string literals of a source file, cut where a value is inserted."""
    code = path.read_text(encoding="utf-8").split("#[cfg(test)]")[0]
    lines = [line for line in code.splitlines() if not line.lstrip().startswith(("//", "#["))]
    texts = [text for line in lines for text in LITERAL.findall(line)]
    pieces = {piece for text in texts for piece in re.split(r"\{[^}]*\}|\\.", text)}
    return {piece for piece in pieces if len(piece) > 8}


def test_the_extension_holds_no_test_machinery() -> None:
    sources = [CORE / "hooks.rs", *sorted((CORE / "testing").rglob("*.rs"))]
    texts = set().union(*map(literals, sources))
    assert {"FLINT_DEFECT", "FLINT_KILL_AT_STORE", "skip-directory-sync"} <= texts
    assert len(texts) > 30
    extension = Path(flint._native.__file__).read_bytes()
    assert b"cannot open" in extension
    found = sorted(text for text in texts if text.encode() in extension)
    assert found == []
