#!/usr/bin/env python3
"""Make the golden directories of the current format: `.venv/bin/python scripts/make_golden_store.py`.

Writes tests/golden/format-N, where N is the first number that is not taken, with one directory for each way in which a
session ends: `data` as the engine left it, and `expected.json` with what is in it. What is there already is never
changed: without a new format version there is nothing to make.
"""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import sys
import tempfile
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import flint
from flint.testing import ManualClock

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = ROOT / "tests" / "golden"


def format_of(data: Path) -> dict[str, int]:
    """The versions and feature bits in the files of a data directory; docs/storage-format.md says where they stand."""
    segment = min(data.glob("flint-*.aof")).read_bytes()
    segment_version, segment_features = struct.unpack_from("<8xI4xQ", segment)
    with min(data.glob("flint-*.snapshot")).open(encoding="utf-8") as file:
        header = json.loads(file.readline())
    return {
        "segment_version": segment_version,
        "segment_features": segment_features,
        "snapshot_version": header["version"],
        "snapshot_features": header["features"],
    }


def known_formats(golden: Path) -> dict[str, dict[str, int]]:
    """The formats of the golden directories that are there, by name."""
    return {
        path.name: json.loads(min(path.glob("*/expected.json")).read_text(encoding="utf-8"))["format"]
        for path in sorted(golden.glob("format-*"))
    }


def wall_time(ns: int) -> datetime:
    """A wall clock reading of whole microseconds."""
    microseconds, rest = divmod(ns, 1000)
    if rest:
        raise ValueError(f"{ns} ns is between two microseconds")
    return datetime.fromtimestamp(0, timezone.utc) + timedelta(microseconds=microseconds)


def content_of(data: Path, moment: datetime) -> dict[str, Any]:
    """Every key with its whole status and history, as seen at `moment`."""
    with flint.Limiter(data, read_only=True, clock=ManualClock(moment)) as limiter:
        statuses = limiter.list()
        return {
            "clean": limiter.recovery.clean,
            "cut_bytes": limiter.recovery.cut_bytes,
            "limits": {status.key: status.to_dict() for status in statuses},
            "history": {
                status.key: [event.to_dict() for event in limiter.history(status.key, 10_000)] for status in statuses
            },
        }


def make(stores: Path) -> None:
    """Lets the engine write a directory of each kind and writes `expected.json` beside each."""
    command = ["cargo", "run", "--quiet", "--locked", "--package", "flint-torture", "--example", "golden_store"]
    done = subprocess.run([*command, str(stores)], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    moment = wall_time(int(done.stdout))
    for store in sorted(stores.iterdir()):
        data = store / "data"
        data.mkdir()
        for path in store.iterdir():
            if path != data:
                path.rename(data / path.name)
        expected = {
            "kind": store.name,
            "made_by": f"flint {flint.__version__}",
            "format": format_of(data),
            "moment": moment.isoformat(),
            **content_of(data, moment),
        }
        text = json.dumps(expected, indent=1, ensure_ascii=False)
        (store / "expected.json").write_text(text + "\n", encoding="utf-8")


def main(golden: Path = GOLDEN) -> int:
    """Exit status 0 when a directory was made, 1 when the current format has one."""
    known = known_formats(golden)
    with tempfile.TemporaryDirectory() as temporary:
        stores = Path(temporary) / "stores"
        stores.mkdir()
        make(stores)
        current = format_of(min(stores.iterdir()) / "data")
        for name, made in known.items():
            if made == current:
                print(f"{golden / name} has the current format {current}; nothing was made", file=sys.stderr)
                return 1
        number = 1
        while (golden / f"format-{number}").exists():
            number += 1
        golden.mkdir(exist_ok=True)
        shutil.copytree(stores, golden / f"format-{number}")
    print(f"made {golden / f'format-{number}'}; look at it and commit it")
    return 0


if __name__ == "__main__":
    sys.exit(main())
