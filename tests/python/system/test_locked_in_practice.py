"""How a developer meets a locked directory: under a reloader, in a shell beside the application, in a notebook."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from tests.python.server.support import refused, serving, short_directory
from tests.python.system.support import TIMEOUT_S, environment, worker

import flint

# The reloader of Flask is Werkzeug's; that of Django works alike.
RELOADED = """
import functools, os, flint
from werkzeug.serving import run_simple

@functools.cache
def limiter():
    return flint.Limiter("data")

def app(environ, start_response):
    allowed = limiter().allow("all", limit="1/day")
    start_response("200 OK" if allowed else "429 Too Many Requests", [("content-type", "text/plain")])
    return [str(os.getpid()).encode()]

if AT_IMPORT:
    limiter()
print("imported by", os.getpid(), flush=True)
run_simple("127.0.0.1", 0, app, use_reloader=True)
"""
MANAGE = """
import sys, flint
limiter = flint.Limiter("data")
print("open", flush=True)
sys.stdin.readline()
"""


def ended(arguments: list[str], base: Path) -> str:
    """The last line of what a program that fails says."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=base,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode != 0, done.stdout
    return done.stderr.splitlines()[-1]


def test_under_a_reloader_the_error_says_that_the_parent_has_it(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(RELOADED.replace("AT_IMPORT", "True"))
    message = ended(["app.py"], tmp_path)
    data = re.escape(f"{tmp_path}/data")
    assert re.match(
        rf"flint\.DataDirLocked: {data} is held by process \d+ \(.*app\.py\), which started this process: a "
        r"reloader or multiprocessing imports a module in both\. Create the Limiter when it is first used",
        message,
    ), message
    for remedy in ("@functools.cache", "--no-reload", "--noreload", "server start --unix", "read_only=True"):
        assert remedy in message, message
    assert "one worker" not in message


def test_a_limiter_that_is_created_when_it_is_first_used_works_under_a_reloader(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(RELOADED.replace("AT_IMPORT", "False"))
    with worker("import os, sys; os.execv(sys.executable, [sys.executable, '-u', 'app.py'])", cwd=tmp_path) as reloader:
        parent, child = (int(reloader.line().removeprefix("imported by ")) for _ in range(2))
        assert parent == reloader.pid
        assert reloader.process.stderr is not None
        log = iter(reloader.process.stderr.readline, b"")
        address = next(found[0] for line in log if (found := re.search(rb"http://127\.0\.0\.1:\d+", line)))
        with urllib.request.urlopen(address.decode(), timeout=TIMEOUT_S) as answer:
            assert int(answer.read()) == child
        with pytest.raises(urllib.error.HTTPError, match="429"):
            urllib.request.urlopen(address.decode(), timeout=TIMEOUT_S)
        os.kill(child, 9)
        assert reloader.process.wait(TIMEOUT_S) != 0


def test_a_command_beside_the_application_is_not_taken_for_a_stranger(tmp_path: Path) -> None:
    (tmp_path / "manage.py").write_text(MANAGE)
    code = "import os, sys; os.execv(sys.executable, [sys.executable, '-X', 'dev', './manage.py', 'runserver'])"
    with worker(code, cwd=tmp_path) as holder:
        assert holder.line() == "open"
        message = ended(["manage.py", "shell"], tmp_path)
        held = f"is held by process {holder.pid} ({sys.executable} -X dev ./manage.py runserver), "
        assert held + "which runs the same program as this one (manage.py): run one worker" in message
        assert "for a shell or another command of the application (manage.py shell), create the Limiter when" in message
        (tmp_path / "other.py").write_text(MANAGE)
        assert "same program" not in ended(["other.py", "manage.py"], tmp_path)
        assert "same program" not in ended(["-c", MANAGE, "manage.py"], tmp_path)


# What a kernel does: the code of each cell in one namespace, which keeps the objects of the first run.
KERNEL = """
cell = compile("import flint; limiter = flint.Limiter('data')", "cell", "exec")
namespace = {}
exec(cell, namespace)
exec(cell, namespace)
"""


@pytest.mark.parametrize("name", ["ipykernel_launcher.py", "colab_kernel_launcher.py", "program.py"])
def test_a_cell_that_runs_again(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(KERNEL)
    message = ended([name, "-f", "kernel.json"], tmp_path)
    assert "data is already open for writing in this process (pid " in message
    in_notebook = "a cell that runs again opens it again: create the Limiter in a cell of its own" in message
    assert in_notebook == ("kernel" in name), message
    assert ("imported twice" in message) == (not in_notebook)


def test_in_this_process_under_another_name(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "data")
    with flint.Limiter(tmp_path / "data"):
        with pytest.raises(flint.DataDirLocked) as other:
            flint.Limiter(tmp_path / "link")
        assert f"link is already open for writing in this process (pid {os.getpid()}) as {tmp_path}/data: share" in str(
            other.value
        )
        with pytest.raises(flint.DataDirLocked) as same:
            flint.Limiter(tmp_path / "data")
        assert f"in this process (pid {os.getpid()}): share that Limiter" in str(same.value)


def test_the_socket_that_is_proposed_can_be_made(tmp_path: Path) -> None:
    """What the error proposes for a path of any length is one that a server can listen on and a client can use."""
    with short_directory() as base:
        proposed = {}
        for length in (60, 90, 150):
            data = base / ("d" * (length - len(str(base)) - 1))
            with flint.Limiter(data), pytest.raises(flint.DataDirLocked) as caught:
                flint.Limiter(data)
            assert "--unix" not in str(caught.value)
            with worker(MANAGE.replace("'data'", "sys.argv[1]").replace('"data"', "sys.argv[1]"), data) as holder:
                assert holder.line() == "open"
                with pytest.raises(flint.DataDirLocked) as caught:
                    flint.Limiter(data)
            found = re.search(r"`(.*)--unix (\S+)`, and flint\.SharedLimiter\(\"unix://(\S+)\"\)", str(caught.value))
            assert found, caught.value
            assert found[2] == found[3]
            proposed[length] = found[2]
            assert found[1].startswith("mkdir -m 700 /tmp/flint && ") == (found[2] == "/tmp/flint/flint.sock")
        assert proposed[60].endswith("d/flint.sock")
        assert proposed[150] == "/tmp/flint/flint.sock"
        # The longest that a server takes, and one byte more.
        longest = base / ("s" * (99 - len(str(base)) - 1))
        with serving(base / "data", "--unix", longest), flint.SharedLimiter(f"unix://{longest}") as limiter:
            assert limiter.check("a", limit="1/m")
        too_long = Path(f"{base}/{'s' * (108 - len(str(base)) - 1)}")
        assert "its path has 108 bytes, name one of at most 99" in refused(base / "data", "--unix", too_long)
        with pytest.raises(flint.InvalidArgument, match=r"has a path of 108 bytes, and that of .* has at most 107"):
            flint.SharedLimiter(f"unix://{too_long}", on_error="allow")
