"""`flint backup` and `flint restore`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import flint
from flint import _native

if TYPE_CHECKING:
    from tests.python.cli.conftest import Cli


@pytest.fixture
def used(data_dir: Path) -> None:
    """A store in which a key has one token left, and a history of three events."""
    with flint.Limiter(data_dir) as limiter:
        limiter.limit("k", "3/10d")
        limiter.check("k")
        limiter.check("k")


def contents(path: Path) -> dict[str, bytes]:
    return {each.name: each.read_bytes() for each in path.iterdir()}


@pytest.mark.usefixtures("used")
def test_there_and_back(cli: Cli, data_dir: Path, tmp_path: Path) -> None:
    copy, back = tmp_path / "copy", tmp_path / "back"
    ran = cli("backup", copy)
    assert (ran.status, ran.err) == (0, "")
    assert str(copy) in ran.out
    assert "verified" in ran.out
    cli("limit", "check", "k")
    before = contents(copy)
    ran = cli("restore", copy, "--data-dir", back, "--json")
    assert (ran.status, ran.json["restored"]) == (0, str(back))
    assert contents(copy) == before
    with flint.Limiter(back) as limiter:
        assert [event.type for event in limiter.history("k")] == ["LIMIT_CONFIGURED", "ALLOW", "ALLOW"]
        assert limiter.check("k").remaining == 0
    assert cli("backup", tmp_path / "another", "--json").json["backup"] == str(tmp_path / "another")


@pytest.mark.usefixtures("used")
def test_a_restore_overwrites_nothing(cli: Cli, data_dir: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    cli("backup", copy)
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "notes.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for target in (data_dir, tmp_path / "theirs", tmp_path / "file", copy):
        before = target.read_text() if target.is_file() else contents(target)
        ran = cli("--data-dir", target, "restore", copy)
        assert (ran.status, ran.out) == (3, ""), target
        assert "overwrites nothing" in ran.err
        assert "mv" in ran.err
        assert before == (target.read_text() if target.is_file() else contents(target))


@pytest.mark.usefixtures("used")
def test_a_backup_beside_an_application(cli_process: Cli, data_dir: Path, tmp_path: Path) -> None:
    with flint.Limiter(data_dir) as limiter:
        limiter.check("k")
        assert cli_process("backup", tmp_path / "copy").status == 0
        denied = limiter.check("k")
        assert not denied.allowed
    with flint.Limiter(tmp_path / "copy", read_only=True) as copy:
        status = copy.status("k")
        assert status is not None
        assert (status.total_allowed, status.total_denied) == (3, 0)


@pytest.mark.parametrize(
    ("arguments", "status", "part"),
    [
        (("backup",), 2, "DEST"),
        (("backup", ""), 2, "is empty"),
        (("backup", "http://h"), 2, "is a URL"),
        (("backup", "none/copy"), 2, "does not exist: make it first"),
        (("backup", "data"), 2, "is not empty"),
        (("backup", "data/copy"), 2, "is inside the directory that is to be copied"),
        (("--data-dir", "none", "backup", "copy"), 3, "does not exist"),
        (("--data-dir", "empty", "backup", "copy"), 3, "there is no store in"),
        (("--data-dir", "new", "restore", "none"), 3, "there is no backup directory"),
        (("--data-dir", "new", "restore", "empty"), 3, "there is no store"),
        (("--data-dir", "new", "restore", "unix:/s"), 2, "is a URL"),
        (("--url", "http://127.0.0.1:1", "backup", "copy"), 2, "backup needs the data directory itself"),
        (("--url", "http://127.0.0.1:1", "restore", "copy"), 2, "restore needs the data directory itself"),
    ],
)
@pytest.mark.usefixtures("used")
def test_what_is_refused(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], status: int, part: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    ran = cli(*arguments)
    assert (ran.status, ran.out) == (status, "")
    assert part in ran.err
    assert {path.name for path in tmp_path.iterdir()} == {"data", "empty"}


def test_a_damaged_backup_is_not_restored(cli: Cli, data_dir: Path, tmp_path: Path) -> None:
    with flint.Limiter(tmp_path / "original") as limiter:
        limiter.limit("k", "3/10d")
        limiter.check("k")
        limiter.backup(tmp_path / "copy")
    (log,) = (tmp_path / "copy").glob("*.aof")
    content = bytearray(log.read_bytes())
    content[64 + 30] ^= 1
    log.write_bytes(content)
    ran = cli("restore", tmp_path / "copy")
    assert (ran.status, ran.out) == (3, "")
    assert "is damaged at byte" in ran.err
    assert not data_dir.exists()
    assert not _native.doctor(tmp_path / "copy")["ok"]


def test_a_server_does_not_write_copies(tmp_path: Path) -> None:
    remedy = r"where its directory is.*flint --data-dir DIR backup DEST"
    with flint.SharedLimiter("unix:///s") as limiter, pytest.raises(flint.FlintError, match=remedy):
        limiter.backup(tmp_path / "copy")
    assert list(tmp_path.iterdir()) == []
