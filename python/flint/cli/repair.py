"""`flint doctor --repair`: a repaired copy of a directory that does not open."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from flint import _native
from flint.cli import output
from flint.cli.errors import STORAGE
from flint.cli.session import Session

# With --json there is no bound.
_SHOWN_KEYS = 50
_SHOWN_PARTS = 200


def repair(session: Session, target: str | None) -> None:
    """Writes the copy and prints what it lacks. Exit status 3 if it lacks something."""
    session.require_directory()
    source = _native.absolute_path(session.data_dir)
    if target is not None:
        target = _native.absolute_path(target)
    else:
        # The name of the parent directory is that of no file.
        target = f"{os.path.realpath(source) if source.endswith('/..') else source}.repaired"
    with output.working(f"repairing {source}"):
        report: Mapping[str, Any] = _native.repair(source, target)
    if report["written"] and not report["complete"]:
        session.status = STORAGE
    if session.json:
        output.document({**report, "output": target if report["written"] else None})
        return
    if not report["written"]:
        output.line(f"nothing to repair: {output.printable(source)} opens as it is; no copy was made")
        return
    _describe(report, source, target)


def _describe(report: Mapping[str, Any], source: str, target: str) -> None:
    output.facts(
        [
            ("directory", output.printable(source)),
            ("problem", output.printable(report["problem"])),
            ("copy", output.printable(target)),
            ("limits", str(report["limits"])),
            ("history events", str(report["history_events"])),
            ("records read", str(report["records"])),
        ]
    )
    for note in report["notes"]:
        output.line(f"note: {output.printable(note)}")
    _lines([_dropped(part) for part in report["dropped"]], _SHOWN_PARTS)
    _lines([f"in doubt: {output.printable_key(doubt['key'])}: {_doubt(doubt)}" for doubt in report["doubts"]])
    _lines([f"lost: key {output.printable_key(key)}, of which only old history is left" for key in report["lost_keys"]])
    _lines(
        [
            f"lost: the key with id {unknown['id']}, whose name is not known any more, with {unknown['operations']} "
            "operation(s)"
            for unknown in report["unknown_ids"]
        ]
    )
    if report["complete"]:
        output.line("the copy is complete: nothing was lost; the original was not changed")
    else:
        output.line("the copy is written, but it lacks what is named above; the original was not changed")


def _lines(lines: Sequence[str], most: int = _SHOWN_KEYS) -> None:
    for text in lines[:most]:
        output.line(text)
    if len(lines) > most:
        output.line(f"... and {len(lines) - most} more; --json names all")


def _dropped(part: Mapping[str, Any]) -> str:
    file = output.printable(part["file"])
    place = f"{file} bytes {part['from_byte']} to {part['to_byte']}" if part["to_byte"] > part["from_byte"] else file
    first, last = part["first_record"], part["last_record"]
    if first is None:
        records = ""
    elif last is None:
        records = f", records from {first} on"
    elif last == first:
        records = f", record {first}"
    else:
        records = f", records {first} to {last}"
    costs = {"nothing": "costs nothing", "history": "costs history only", "state": "may cost limits or consumption"}
    return f"dropped: {place}{records}: {output.printable(part['reason'])}; {costs[part['loss']]}"


def _doubt(doubt: Mapping[str, Any]) -> str:
    parts = []
    if doubt["unverified"]:
        parts.append("it was read from a damaged snapshot")
    if doubt["limit"]:
        parts.append("its limit may have been changed, or the key deleted")
    if doubt["used_up"]:
        parts.append("what was used is not known, so that all of it counts as used")
    elif doubt["state"]:
        parts.append("consumption or a reset may be missing")
    if doubt["totals"]:
        parts.append("its totals may be too low")
    return "; ".join(parts)
