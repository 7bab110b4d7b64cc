"""The data directory is the one that the system finds under the path."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.python.system.support import run

import flint


@pytest.fixture
def linked(tmp_path: Path) -> Path:
    """`x/link` leads to `elsewhere/deep`: the parent of `x/link` is `elsewhere`."""
    (tmp_path / "x").mkdir()
    (tmp_path / "elsewhere" / "deep").mkdir(parents=True)
    (tmp_path / "x" / "link").symlink_to(tmp_path / "elsewhere" / "deep")
    return tmp_path


@pytest.mark.parametrize("absolute", [True, False])
def test_the_parent_of_a_link_is_that_of_what_it_leads_to(
    linked: Path, absolute: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(linked)
    given = f"{linked if absolute else '.'}//x/./link/../data/"
    for path in (given, Path(given)):
        with flint.Limiter(path) as limiter:
            limiter.check("k", limit="5/day")
            assert limiter.data_dir == f"{linked}/x/link/../data"
            assert os.path.samefile(limiter.data_dir, linked / "elsewhere" / "data")
            with flint.Limiter(given, read_only=True) as reader:
                assert reader.data_dir == limiter.data_dir
    assert not (linked / "x" / "data").exists()
    with flint.Limiter(linked / "elsewhere" / "data") as limiter:
        status = limiter.status("k")
        assert status is not None
        assert status.total_allowed == 2


def test_a_parent_that_is_the_one_that_the_path_shows_is_left_out(linked: Path) -> None:
    with flint.Limiter(f"{linked}/x/../elsewhere/deep/../../x/..//data") as limiter:
        assert limiter.data_dir == f"{linked}/data"
    with flint.Limiter(f"{linked}/x/link/../deep/../more") as limiter:
        assert limiter.data_dir == f"{linked}/x/link/../more"


def test_a_directory_under_two_paths_is_one(linked: Path) -> None:
    limiter = flint.connect(f"{linked}/x/link/../data")
    assert flint.connect(linked / "elsewhere" / "data") is limiter
    with pytest.raises(flint.DataDirLocked):
        flint.Limiter(linked / "elsewhere" / "data")
    limiter.close()


def command(cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "flint", *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )


def test_commands_find_the_same_directory(linked: Path) -> None:
    place = "x/link/../data"
    added = command(linked, "--data-dir", place, "limit", "add", "k", "5/day")
    assert added.returncode == 0, added.stderr
    assert (linked / "elsewhere" / "data").is_dir()
    shown = command(linked, "--json", "--data-dir", "x/link/../none", "limit", "list")
    assert f"{linked}/x/link/../none does not exist" in json.loads(shown.stdout)["error"]["message"]
    # In place of a directory that opens as it is, nothing is written.
    repaired = command(linked, "--data-dir", place, "doctor", "--repair")
    assert repaired.returncode == 0, repaired.stderr
    assert sorted(path.name for path in (linked / "elsewhere").iterdir()) == ["data", "deep"]


def test_a_removed_working_directory_is_an_error_of_flint(tmp_path: Path) -> None:
    code = """
    import os, sys
    import flint, flint.testing
    from flint import _native
    gone = os.path.join(sys.argv[1], "gone")
    os.mkdir(gone)
    os.chdir(gone)
    os.rmdir(gone)
    calls = [
        flint.Limiter, lambda: flint.Limiter("data"), lambda: flint.Limiter("data", read_only=True),
        lambda: flint.connect("data"), lambda: _native.doctor("data"),
    ]
    for call in calls:
        try:
            call()
        except flint.StorageError as error:
            print(error.errno, error)
    with flint.Limiter(os.path.join(sys.argv[1], "data")) as limiter:
        print(limiter.check("k", limit="5/day").allowed)
    """
    ran = run(code, tmp_path).ok()
    *lines, worked = ran.out.splitlines()
    said = "the working directory cannot be found; change to another one, or give an absolute path instead of"
    assert lines == [
        f"2 {said} {name}: No such file or directory (os error 2)"
        for name in (".flint", "data", "data", "data", "data")
    ]
    assert worked == "True"


def test_a_command_in_a_removed_working_directory(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    script = 'cd "$1" && rmdir "$1" && exec "$2" -m flint --json limit add k 5/day'
    place = str(Path(flint.__file__).parents[1])
    done = subprocess.run(
        ["sh", "-c", script, "sh", str(gone), sys.executable],
        env={**os.environ, "PYTHONPATH": place},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3, done.stderr
    assert "the working directory cannot be found" in json.loads(done.stdout)["error"]["message"]
