"""One interpreter of a process can import flint; the error in any other names the one that has it, and what to do."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from tests.python.system.support import run

import flint

# Interpreters of mod_wsgi and jep share the lock of the main one ("legacy"). From Python 3.12 on, those of the standard
# library have a lock of their own ("isolated").
HAS_ISOLATED = sys.version_info >= (3, 12)
KINDS = ["legacy", "isolated"] if HAS_ISOLATED else ["legacy"]
START = """
import os, sys
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters

def create(kind):
    if sys.version_info >= (3, 13):
        return interpreters.create(kind)
    return interpreters.create(isolated=kind == "isolated") if sys.version_info >= (3, 12) else interpreters.create()

def execute(interpreter, code):
    # Some versions raise, others return what the code raised.
    raised = getattr(interpreters, "exec", getattr(interpreters, "run_string", None))(interpreter, code)
    assert raised is None, raised

USE = '''
import os
try:
    import flint
    with flint.Limiter(%r) as limiter:
        limiter.check("a", limit="5/day")
    said = "works"
except ImportError as error:
    said = str(error)
os.write(1, said.encode() + b"\\\\n")
''' % (sys.argv[1] + "/inner")
"""
MAIN_HAS_IT = """
import flint
limiter = flint.Limiter(sys.argv[1])
limiter.limit("a", "100/hour")
one = create(sys.argv[2])
execute(one, USE)
interpreters.destroy(one)
limiter.check("a")
os.write(1, b"done")
"""
SUBINTERPRETER_HAS_IT = """
if sys.version_info >= (3, 12):
    execute(create("isolated"), USE)
one, other = create("legacy"), create("legacy")
os.write(1, b"one, other: %d, %d\\n" % (one, other))
execute(one, USE)
execute(other, USE)
try:
    import flint
except ImportError as error:
    os.write(1, str(error).encode() + b"\\n")
execute(one, USE)
"""
HAS = r"flint was imported by (.*) of process \d+ before, and this is (.*): it works in one interpreter of a process\. "
OWN_LOCK = r"flint cannot be imported in this subinterpreter of process \d+, which has an interpreter lock of its own: "


def has_remedies(message: str) -> bool:
    remedies = ("WSGIApplicationGroup %{GLOBAL}", "SharedInterpreter", "processes or threads in place of subinterp")
    return all(remedy in message for remedy in remedies)


@pytest.mark.parametrize("kind", KINDS)
def test_a_subinterpreter_is_refused_with_the_remedy(kind: str, tmp_path: Path) -> None:
    ran = run(START + MAIN_HAS_IT, tmp_path, kind).ok()
    inner, done = ran.out.splitlines()
    if kind == "legacy":
        named = re.match(HAS, inner)
        assert named, inner
        assert named.groups() == ("the main interpreter", "subinterpreter 1")
    else:
        assert re.match(OWN_LOCK, inner), inner
    assert has_remedies(inner), inner
    assert (done, ran.err) == ("done", "")
    assert not (tmp_path / "inner").exists()
    with flint.Limiter(tmp_path) as limiter:
        assert limiter.recovery.clean
        status = limiter.status("a")
        assert status is not None
        assert status.total_allowed == 1


def test_the_interpreter_that_has_it_is_named(tmp_path: Path) -> None:
    """Also the main one is refused, where a subinterpreter came first, as under mod_wsgi."""
    said = run(START + SUBINTERPRETER_HAS_IT, tmp_path).ok().out.splitlines()
    if HAS_ISOLATED:
        assert re.match(OWN_LOCK, said.pop(0)), said
    numbers, first, other, main, again = said
    one, two = numbers.removeprefix("one, other: ").split(", ")
    assert (first, again) == ("works", "works")
    named = [match.groups() for message in (other, main) if (match := re.match(HAS, message))]
    assert named == [
        (f"subinterpreter {one}", f"subinterpreter {two}"),
        (f"subinterpreter {one}", "the main interpreter"),
    ]
    assert has_remedies(other)
    assert has_remedies(main)
