"""Scripts that run as root and act as several users."""

from __future__ import annotations

import os
from collections.abc import Sequence

from tests.python.system.support import run

# Each script runs as root. `as_user` calls a function in a process of another user, and returns what that returns, or
# its error.
PRELUDE = """
import json, os, shutil, stat, sys, tempfile
from pathlib import Path
import flint, flint._native

ALICE, MALLORY = 41001, 41002
base = Path(tempfile.mkdtemp(prefix="flint-owners-"))
base.chmod(0o755)
data = base / "data"

def as_user(uid, call):
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setgroups([])
        os.setgid(uid)
        os.setuid(uid)
        try:
            answer = call()
        except BaseException as error:
            answer = f"{type(error).__name__}: {error}"
        os.write(writing, json.dumps(answer).encode())
        os._exit(0)
    os.close(writing)
    with open(reading) as file:
        answer = json.load(file)
    assert os.waitpid(pid, 0)[1] == 0
    return answer

def own_directory(uid, mode=0o700):
    data.mkdir()
    os.chown(data, uid, uid)
    data.chmod(mode)

def owners(directory=None):
    return {path.name: path.stat().st_uid for path in (directory or data).iterdir()}

def refused(call):
    try:
        call()
    except flint.FlintError as error:
        return f"{type(error).__name__}: {error}"
    raise AssertionError("it was accepted")

def used(count=1, **options):
    with flint.Limiter(data, **options) as limiter:
        limiter.limit("a", "100/day")
        for _ in range(count):
            limiter.check("a")
        return limiter.status("a").total_allowed

def as_root():
    return used()

try:
    exec(compile(sys.argv[1], "scenario", "exec"))
finally:
    shutil.rmtree(base)
"""


def scenario(code: str) -> None:
    """Runs `code` behind the prelude, as root."""
    rights: Sequence[str] = () if os.geteuid() == 0 else ("sudo", "-n")
    run(PRELUDE, code, wrapper=rights).ok()
