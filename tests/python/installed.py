"""The wheel, as a release builds it, and an environment with it installed: servers of the tests are started from it.

Both are made once in a run of the tests, when the first test of any worker needs them, from what `make dev` compiled.
"""

from __future__ import annotations

import fcntl
import functools
import os
import subprocess
import sys
import sysconfig
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

from tests.python import parallel

ROOT = Path(__file__).parents[2]
TOOLS = Path(sys.executable).parent
_LOCK = threading.RLock()


def output_of(*command: str | Path, cwd: Path = ROOT, **variables: str) -> str:
    """What a command says, which has to succeed."""
    # The interpreter that `make dev` builds for, or cargo would compile everything anew.
    environment = {**os.environ, "PYO3_PYTHON": sys.executable, "VIRTUAL_ENV": str(TOOLS.parent), **variables}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _once(make: Callable[[Path], Path]) -> Callable[[], Path]:
    """`make` in a directory of its own, once for all workers of the run; the plugin `parallel` removes it."""

    @functools.cache
    def once() -> Path:
        shared = Path(os.environ[parallel.SHARED])
        made = shared / f"{make.__name__}.made"
        with _LOCK, open(shared / f"{make.__name__}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not made.exists():
                directory = Path(tempfile.mkdtemp(dir=shared))
                made.write_text(os.fspath(make(directory)), encoding="utf-8")
            return Path(made.read_text(encoding="utf-8"))

    return once


@_once
def wheel(directory: Path) -> Path:
    """The file."""
    output_of(TOOLS / "maturin", "build", "--release", "--locked", "--interpreter", sys.executable, "--out", directory)
    (found,) = directory.iterdir()
    return found


@_once
def python(directory: Path) -> Path:
    """The interpreter of an environment with the wheel and nothing else in it."""
    output_of(sys.executable, "-m", "venv", "--without-pip", directory)
    interpreter = directory / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", interpreter, "install", "--quiet", "--no-deps", "--no-index")
    output_of(*pip, wheel())
    return interpreter


def flint() -> Path:
    """The command line that is installed there."""
    return python().with_name("flint")


def environment() -> dict[str, str]:
    """As bare as a service's, and where that command line finds what Flint depends on."""
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    # Not Flint itself, which is there as a link that only an environment of its own follows.
    return {**kept, "LANG": "C.UTF-8", "PYTHONPATH": sysconfig.get_path("purelib")}
