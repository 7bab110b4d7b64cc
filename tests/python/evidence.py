"""Counts of what the tests really did; `scripts/check_evidence.py` compares them with their minimums."""

from __future__ import annotations

import os


def record(name: str, count: int) -> None:
    """Print the count, and append it to the file that FLINT_EVIDENCE names, if that is set."""
    print(f"evidence: {name} {count}")
    if path := os.environ.get("FLINT_EVIDENCE"):
        with open(path, "a", encoding="utf-8") as file:
            file.write(f"{name} {count}\n")
