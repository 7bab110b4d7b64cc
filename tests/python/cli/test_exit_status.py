from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import flint
import flint.cli
from flint.cli import output

if TYPE_CHECKING:
    from tests.python.cli.conftest import Cli, Environment


READING = [
    ("limit", "list"),
    ("limit", "status", "k"),
    ("limit", "peek", "k"),
    ("limit", "history", "k"),
    ("limit", "top"),
    ("log", "dump"),
    ("log", "verify"),
    ("doctor",),
]
CHANGING = [
    ("limit", "check", "k"),
    ("limit", "check-all", "k"),
    ("limit", "reset", "k"),
    ("limit", "delete", "k"),
    ("log", "compact"),
]


@pytest.mark.parametrize("arguments", READING + CHANGING, ids=" ".join)
def test_a_missing_directory_is_an_error_and_stays_missing(
    cli: Cli, data_dir: Path, arguments: tuple[str, ...]
) -> None:
    ran = cli(*arguments)
    assert (ran.status, ran.out) == (3, "")
    assert str(data_dir) in ran.err
    assert "does not exist" in ran.err
    assert "--data-dir" in ran.err
    assert not data_dir.exists()


@pytest.mark.parametrize("arguments", CHANGING, ids=" ".join)
def test_a_directory_without_a_store_is_an_error_and_stays_without(
    cli: Cli, data_dir: Path, arguments: tuple[str, ...]
) -> None:
    data_dir.mkdir()
    ran = cli(*arguments)
    assert (ran.status, ran.out) == (3, "")
    assert f"there is no store in {data_dir}" in ran.err
    assert "--data-dir" in ran.err
    # Near misses, and a lock that was left before a store was made.
    for name in ("precious", "flint-1.aof", "flint-spare.tmp"):
        (data_dir / name).write_text("x")
    (data_dir / "flint.lock").write_text("12345\n")
    before = {path.name: path.read_bytes() for path in data_dir.iterdir()}
    assert cli(*arguments, "--json").json["error"]["exit_status"] == 3
    assert {path.name: path.read_bytes() for path in data_dir.iterdir()} == before


def test_what_makes_a_store_may_do_so_in_any_directory(cli: Cli, data_dir: Path, tmp_path: Path) -> None:
    for arguments in (("limit", "add", "k", "9/day"), ("limit", "check", "k", "--rate", "9/day")):
        there = tmp_path / arguments[1]
        there.mkdir()
        assert cli("--data-dir", there, *arguments).status == 0
        assert cli("--data-dir", there, "limit", "reset", "k").status == 0


def test_every_store_is_known_as_one(cli: Cli, data_dir: Path, tmp_path: Path) -> None:
    samples = Path(__file__).parents[2]
    stores = [*samples.glob("legacy-data/*/data"), *samples.glob("golden/*/*/data")]
    assert len(stores) >= 9
    for number, path in enumerate(stores):
        there = tmp_path / str(number)
        shutil.copytree(path, there)
        ran = cli("--data-dir", there, "limit", "reset", "a missing key")
        assert "there is no store" not in ran.err, path


@pytest.mark.parametrize("examine", ["doctor", "log verify"])
def test_a_directory_without_a_store_is_neither_damaged_nor_in_order(cli: Cli, data_dir: Path, examine: str) -> None:
    data_dir.mkdir()
    for _ in range(2):
        ran = cli(*examine.split())
        assert (ran.status, ran.err) == (0, "")
        assert ran.out.endswith("\nthere is no store in this directory\n")
        assert cli(*examine.split(), "--json").json["format"] == "none"
        (data_dir / "precious").write_text("x")


@pytest.mark.parametrize("arguments", [*READING, *CHANGING, ("limit", "add", "k", "1/s")], ids=" ".join)
def test_a_file_is_no_data_directory(cli: Cli, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    file = tmp_path / "file"
    file.write_text("precious")
    ran = cli("--data-dir", file, *arguments)
    assert (ran.status, ran.out) == (3, "")
    assert str(file) in ran.err
    assert file.read_text() == "precious"


@pytest.mark.parametrize("arguments", READING, ids=" ".join)
def test_reading_changes_nothing(cli: Cli, data_dir: Path, arguments: tuple[str, ...]) -> None:
    with flint.Limiter(data_dir) as limiter:
        limiter.limit("k", 10, "1d")
        limiter.check("k")

    def contents() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in data_dir.rglob("*") if path.is_file()}

    before = contents()
    assert cli(*arguments).status == 0
    assert contents() == before


def test_damage_is_status_3(cli: Cli, data_dir: Path) -> None:
    with flint.Limiter(data_dir) as limiter:
        limiter.limit("k", 10, "1d")
    (log,) = data_dir.glob("*.aof")
    bytes_ = bytearray(log.read_bytes())
    bytes_[100] ^= 1
    log.write_bytes(bytes_)
    for arguments in (*READING, *CHANGING, ("limit", "add", "k", "1/s")):
        ran = cli(*arguments)
        assert ran.status == 3, arguments
        assert log.name in ran.err + ran.out, arguments
    assert log.read_bytes() == bytes_


def test_usage_errors_take_at_most_two_lines(cli: Cli) -> None:
    for arguments in (("limit",), ("log", "nothing"), ("--nothing",), ("limit", "check"), ("limit", "list", "extra")):
        ran = cli(*arguments)
        assert (ran.status, ran.out) == (2, "")
        first, second = ran.err.splitlines()
        assert first.startswith("flint: ")
        assert "--help" in second


def test_no_command_is_a_request_for_help(cli: Cli) -> None:
    ran = cli()
    assert (ran.status, ran.err) == (0, "")
    assert "Commands:" in ran.out
    assert "Exit status:" in ran.out


@pytest.mark.parametrize("group", [(), ("limit",), ("log",), ("limit", "add")])
def test_help(cli: Cli, group: tuple[str, ...]) -> None:
    ran = cli(*group, "--help")
    assert (ran.status, ran.err) == (0, "")
    assert "--help" in ran.out


def test_version(cli: Cli) -> None:
    assert cli("--version").out == f"flint {flint.__version__}\n"


def test_the_installed_command_is_the_same(environment: Environment) -> None:
    installed = Path(sys.executable).with_name("flint")
    if not installed.exists():
        pytest.fail(f"{installed} is missing: run `make dev`")
    done = subprocess.run([installed, "--version"], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == f"flint {flint.__version__}\n"


@pytest.mark.parametrize(
    "error", [RuntimeError("boom"), MemoryError(), OSError(5, "Input/output error"), BaseException()]
)
def test_an_unexpected_error_is_status_3(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], data_dir: Path, error: BaseException
) -> None:
    def fail(*_: object, **__: object) -> object:
        raise error

    data_dir.mkdir()
    monkeypatch.setattr(flint, "Limiter", fail)
    assert flint.cli.main(["--data-dir", os.fspath(data_dir), "limit", "list"]) == 3
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("flint: ")


def test_an_interrupt_is_status_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], data_dir: Path
) -> None:
    def fail(*_: object, **__: object) -> object:
        raise KeyboardInterrupt

    data_dir.mkdir()
    monkeypatch.setattr(flint, "Limiter", fail)
    assert flint.cli.main(["--data-dir", os.fspath(data_dir), "limit", "list"]) == 130
    assert capsys.readouterr().err == ""


def test_missing_third_party_modules_are_named(command: list[str], environment: Environment, tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text("raise ModuleNotFoundError('No module named click', name='click')")
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(tmp_path), environment.get("PYTHONPATH")]))
    done = subprocess.run([*command, "limit", "list"], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert done.stderr == "flint: the command line needs click: pip install --upgrade flint-limiter\n"


def test_tables_and_json_need_no_rich(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    cli("limit", "add", "k", "9/day")
    for name in [name for name in sys.modules if name.split(".")[0] == "rich"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "rich", None)
    monkeypatch.setattr(output, "is_terminal", lambda stream: stream is sys.stdout)
    assert cli("limit", "list", NO_COLOR="1").status == 0
    ran = cli("limit", "top", "--watch", "--rounds", "1")
    assert (ran.status, ran.out) == (3, "")
    assert ran.err == "flint: the command line needs rich: pip install --upgrade flint-limiter\n"


def test_the_library_does_not_load_the_command_line() -> None:
    script = "import flint, sys; print([m for m in sys.modules if m.split('.')[0] in ('rich', 'click')])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
