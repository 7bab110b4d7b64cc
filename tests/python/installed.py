"""The wheel, as a release builds it, and an environment with it installed: servers of the tests are started from it.

Both are made once, when the first test asks for them, and what `make dev` compiled is used again.
"""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

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
    """`make` in a directory of its own, which stays until this process ends."""
    made: list[Path] = []

    @functools.wraps(make)
    def once() -> Path:
        with _LOCK:
            if not made:
                directory = Path(tempfile.mkdtemp(prefix="flint-installed-"))
                atexit.register(_remove, directory, os.getpid())
                made.append(make(directory))
            return made[0]

    return once


def _remove(directory: Path, maker: int) -> None:
    """Not at the end of a forked child."""
    if os.getpid() == maker:
        shutil.rmtree(directory)


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
