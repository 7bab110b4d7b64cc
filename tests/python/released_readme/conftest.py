from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import flint

SNIPPETS = Path(__file__).parent / "snippets"

Snippet = Callable[..., dict[str, Any]]
Shell = Callable[[str], "subprocess.CompletedProcess[str]"]


@pytest.fixture
def cwd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory: the snippets name their data directories relative to it."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def snippet(cwd: Path) -> Iterator[Snippet]:
    """Runs a snippet as it was published, with the names that it takes for granted; gives the names that it leaves."""
    made: list[flint.Limiter] = []

    def run(name: str, **names: Any) -> dict[str, Any]:
        namespace = {"flint": flint, **names}
        path = SNIPPETS / f"{name}.txt"
        exec(compile(path.read_text(encoding="utf-8"), path, "exec"), namespace)
        made.extend(value for value in namespace.values() if isinstance(value, flint.Limiter))
        return namespace

    yield run
    for limiter in made:
        limiter.close()


@pytest.fixture
def limiter(cwd: Path) -> Iterator[flint.Limiter]:
    with flint.Limiter() as made:
        yield made


@pytest.fixture
def shell(cwd: Path) -> Shell:
    """Runs a command line as it was published, in a shell, with the installed `flint` on the path."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {"PATH": path, "HOME": str(cwd), "LANG": "C.UTF-8"}

    def run(line: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            line,
            shell=True,
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done

    return run
