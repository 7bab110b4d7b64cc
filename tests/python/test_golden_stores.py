"""Data directories of every format: each opens, shows what it held when it was made, and goes on."""

from __future__ import annotations

import importlib.util
import json
import shutil
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tests.python import evidence

import flint
from flint import _native
from flint.testing import ManualClock

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden"
STORES = sorted(path.parent for path in GOLDEN.glob("format-*/*/expected.json"))

each_store = pytest.mark.parametrize("store", STORES, ids=lambda store: f"{store.parent.name}-{store.name}")


def load_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_golden_store", ROOT / "scripts" / "make_golden_store.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


script = load_script()


def expected_of(store: Path) -> dict[str, Any]:
    expected: dict[str, Any] = json.loads((store / "expected.json").read_text(encoding="utf-8"))
    return expected


def moment_of(store: Path) -> ManualClock:
    return ManualClock(datetime.fromisoformat(expected_of(store)["moment"]))


def files_of(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


@pytest.fixture
def data(store: Path, tmp_path: Path) -> Path:
    """A copy: the original is never changed."""
    copy = tmp_path / "data"
    shutil.copytree(store / "data", copy)
    return copy


def assert_holds(limiter: flint.Limiter, expected: dict[str, Any]) -> None:
    """Whatever `expected` tells is so; a later version may tell more."""
    statuses = {status.key: status.to_dict() for status in limiter.list()}
    assert statuses.keys() == expected["limits"].keys()
    for key, status in expected["limits"].items():
        assert {name: statuses[key][name] for name in status} == status
    for key, events in expected["history"].items():
        found = [event.to_dict() for event in limiter.history(key, 10_000)]
        assert len(found) == len(events), key
        for event, wanted in zip(found, events, strict=True):
            assert {name: event[name] for name in wanted} == wanted, key


@each_store
def test_reads_as_it_was_and_changes_nothing(store: Path, data: Path) -> None:
    before = files_of(data)
    expected = expected_of(store)
    with flint.Limiter(data, read_only=True, clock=moment_of(store)) as limiter:
        assert limiter.recovery.clean == expected["clean"]
        assert limiter.recovery.cut_bytes == expected["cut_bytes"]
        assert_holds(limiter, expected)
    assert files_of(data) == before


@each_store
def test_doctor_finds_nothing_wrong_and_changes_nothing(store: Path, data: Path) -> None:
    before = files_of(data)
    expected = expected_of(store)
    report = _native.doctor(data)
    assert report["ok"], report["problems"]
    assert report["limits"] == len(expected["limits"])
    assert report["snapshot_exists"]
    assert bool(report["notes"]) == (expected["cut_bytes"] > 0)
    assert files_of(data) == before


@each_store
def test_opens_for_writing_as_it_was_and_goes_on(store: Path, data: Path) -> None:
    expected = expected_of(store)
    clock = moment_of(store)
    with flint.Limiter(data, clock=clock) as limiter:
        assert not limiter.recovery.created
        assert limiter.recovery.clean == expected["clean"]
        assert limiter.recovery.cut_bytes == expected["cut_bytes"]
        assert_holds(limiter, expected)
        open_keys = [status.key for status in limiter.list() if status.remaining]
        full_keys = [status.key for status in limiter.list() if not status.remaining]
        assert open_keys
        assert full_keys
        for key in open_keys:
            result = limiter.check(key)
            assert result.allowed
            assert result.remaining <= expected["limits"][key]["remaining"] - 1
        assert not any(limiter.allow(key) for key in full_keys)
        limiter.limit("a new key", "1/day")
        assert limiter.allow_all(["a new key", open_keys[0]])
        after = [status.to_dict() for status in limiter.list()]
        history = {key: limiter.history(key, 10_000) for key in expected["limits"]}
    for _ in range(2):
        with flint.Limiter(data, clock=clock) as again:
            assert again.recovery.clean
            assert again.recovery.cut_bytes == 0
            assert [status.to_dict() for status in again.list()] == after
            assert {key: again.history(key, 10_000) for key in expected["limits"]} == history
            for key in open_keys[1:]:
                assert again.history(key, 1)[0].type == "ALLOW"
            again.compact()
            assert [status.to_dict() for status in again.list()] == after
    assert _native.doctor(data)["ok"]
    newest = max(data.glob("flint-*.aof")).read_bytes()
    (snapshot,) = data.glob("flint-*.snapshot")
    assert (newest[8], json.loads(snapshot.read_text(encoding="utf-8").splitlines()[0])["version"]) == (2, 2)


def test_the_current_format_has_golden_stores(data_dir: Path) -> None:
    with flint.Limiter(data_dir, sync="batch") as limiter:
        limiter.limit("key", "1/day")
        limiter.compact()
    current = script.format_of(data_dir)
    made = {(store.parent.name, store.name) for store in STORES if expected_of(store)["format"] == current}
    assert {kind for _, kind in made} == {"closed", "crashed", "repeatable", "torn"}, (
        f"no golden stores of the format {current}: run scripts/make_golden_store.py and commit what it makes"
    )
    assert len({name for name, _ in made}) == 1


def test_golden_stores_are_what_they_say() -> None:
    for store in STORES:
        expected = expected_of(store)
        assert expected["kind"] == store.name
        assert script.format_of(store / "data") == expected["format"]
        segments = sorted((store / "data").glob("flint-*.aof"))
        sealed = [path.read_bytes()[-64:-56] == b"FLINTEND" for path in segments]
        assert sealed == [True, True, False], "one segment before the snapshot, one behind it, and the active one"
        statuses = expected["limits"].values()
        assert {rate["algorithm"] for status in statuses for rate in status["rates"]} >= {
            "token_bucket",
            "sliding_window_log",
            "fixed_window_counter",
        }
        assert {status["origin"] for status in statuses} == {"explicit", "call"}
        assert max(len(status["rates"]) for status in statuses) == 8
        assert max(len(key.encode()) for key in expected["limits"]) == 512
        assert any(status["total_denied"] for status in statuses)
        assert any(status["last_reset_at"] for status in statuses)
        types = {event["type"] for events in expected["history"].values() for event in events}
        assert types == {"LIMIT_CONFIGURED", "ALLOW", "ALLOW_ALL", "DENY", "RESET", "LIMIT_DELETED"}
    evidence.record("golden_stores", len(STORES))
    assert len(STORES) >= 3


@pytest.fixture
def golden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place for golden stores, and a script that makes those of format-1 instead of asking the engine."""
    monkeypatch.setattr(script, "make", lambda stores: shutil.copytree(GOLDEN / "format-1", stores, dirs_exist_ok=True))
    return tmp_path / "golden"


def test_the_script_makes_nothing_where_the_format_is_known(golden: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert script.main(golden) == 0
    before = files_of(golden)
    assert before == {f"format-1/{name}": content for name, content in files_of(GOLDEN / "format-1").items()}
    assert script.main(golden) == 1
    assert "nothing was made" in capsys.readouterr().err
    assert files_of(golden) == before


def test_the_script_puts_the_next_format_beside_the_others(golden: Path) -> None:
    assert script.main(golden) == 0
    for expected in golden.glob("format-1/*/expected.json"):
        older = json.loads(expected.read_text(encoding="utf-8"))
        older["format"]["snapshot_version"] = 0
        expected.write_text(json.dumps(older), encoding="utf-8")
    before = files_of(golden / "format-1")
    assert script.main(golden) == 0
    assert files_of(golden / "format-1") == before
    assert files_of(golden / "format-2") == files_of(GOLDEN / "format-1")
