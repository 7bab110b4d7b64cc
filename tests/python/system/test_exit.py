"""Calls while the interpreter ends: an error of Flint's, whatever is gone by then."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.python.system.support import run

# Every call, when modules can no longer be imported.
LATE = """
import os, sys
import flint

class Late:
    def __init__(self, limiter):
        self.limiter = limiter
        self.write, self.name = os.write, lambda error: type(error).__name__
        self.calls = {
            "check": lambda: limiter.check("k"),
            "check with a limit": lambda: limiter.check("k", limit="5/minute"),
            "allow": lambda: limiter.allow("k"),
            "check_all": lambda: limiter.check_all(["k"]),
            "peek": lambda: limiter.peek("k"),
            "acquire": lambda: limiter.acquire("k"),
            "acheck": lambda: limiter.acheck("k").send(None),
            "alimit_many": lambda: limiter.alimit_many([{"key": "k", "rate": "1/s"}]).send(None),
            "limit": lambda: limiter.limit("k", "5/minute"),
            "limit_many": lambda: limiter.limit_many([{"key": "k", "rate": "1/s"}]),
            "reset": lambda: limiter.reset("k"),
            "delete": lambda: limiter.delete("k"),
            "status": lambda: limiter.status("k"),
            "list": lambda: limiter.list(),
            "top": lambda: limiter.top(),
            "history": lambda: limiter.history("k"),
            "flush": lambda: limiter.flush(),
            "backup": lambda: limiter.backup("/nowhere/copy"),
            "abackup": lambda: limiter.abackup("/nowhere/copy").send(None),
            "alist": lambda: limiter.alist().send(None),
            "compact": lambda: limiter.compact(),
            "counters": lambda: limiter.counters(),
            "doctor": lambda: limiter.doctor(),
            "rate_limit": lambda: limiter.rate_limit("k", "5/minute")(lambda: None)(),
            "decorated": limiter.rate_limit("k", "5/minute")(lambda: None),
            "decorated and waiting": limiter.rate_limit("k", "5/minute", wait=True)(lambda: None),
        }
    def __call__(self):
        for name, call in self.calls.items():
            try:
                call()
            except BaseException as error:
                self.write(1, f"{name}: {self.name(error)}\\n".encode())
            else:
                self.write(1, f"{name}: returned\\n".encode())
    def __del__(self):
        self()
        self.write(1, b"end\\n")
"""


def outcomes(out: str) -> dict[str, str]:
    *lines, end = out.splitlines()
    assert end == "end"
    # The totals of a closed limiter can still be read.
    found = dict(line.split(": ") for line in lines)
    assert found.pop("counters") in ("returned", "FlintConnectionError")
    return found


@pytest.mark.parametrize("kept", ["global", "cycle", "module", "class attribute"])
def test_a_destructor_at_the_very_end_gets_closed_errors(tmp_path: Path, kept: str) -> None:
    code = """
    late = Late(flint.Limiter(sys.argv[1]))
    late.limiter.check("k", limit="5/minute")
    if sys.argv[2] == "cycle":
        late.me = late
    elif sys.argv[2] == "module":
        sys.modules["another"] = late
    elif sys.argv[2] == "class attribute":
        Late.held = late
    if sys.argv[2] != "global":
        del late
    """
    ran = run(LATE + "if 1:" + code, tmp_path, kept).ok()
    assert ran.err == ""
    assert set(outcomes(ran.out).values()) == {"ClosedError"}, outcomes(ran.out)


def test_a_handler_that_runs_after_flint_has_closed_gets_closed_errors(tmp_path: Path) -> None:
    code = """
    import atexit, sys
    late = []
    def handler():
        import asyncio
        try:
            asyncio.run(late[0].limiter.aacquire("k"))
        except flint.ClosedError:
            late.pop()
    atexit.register(handler)
    """
    more = "late.append(Late(flint.Limiter(sys.argv[1])))\nlate[0].limiter.check('k', limit='5/minute')\n"
    ran = run("if 1:" + code + LATE + more, tmp_path).ok()
    assert ran.err == ""
    assert set(outcomes(ran.out).values()) == {"ClosedError"}, outcomes(ran.out)


def test_a_client_of_a_server_goes_on_working_or_raises_an_error_of_flint(tmp_path: Path) -> None:
    """It has nothing to close: what it needs of the interpreter may be gone, though."""
    code = """
    late = Late(flint.SharedLimiter("unix://" + sys.argv[1], timeout=0.1))
    for name in ("acheck", "alimit_many", "alist", "abackup", "backup"):
        del late.calls[name]
    """
    ran = run(LATE + "if 1:" + code, tmp_path / "none").ok()
    assert set(outcomes(ran.out).values()) <= {"FlintConnectionError", "ClosedError"}, outcomes(ran.out)
