"""What `import flint` brings along, and what the library never reads."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from tests.python.system.support import run

import flint


def test_import_flint_loads_nothing_but_the_standard_library() -> None:
    code = """
    import sys
    before = set(sys.modules)
    import flint, flint.testing
    print(*sorted({name.split(".")[0] for name in set(sys.modules) - before}))
    """
    # -I and -S: no site-packages to load anything from but the place that flint is in.
    place = str(Path(flint.__file__).parents[1])
    code = f"import sys\nsys.path.insert(0, {place!r})\n" + "\n".join(line[4:] for line in code.splitlines())
    loaded = set(run(code, flags=["-I", "-S"]).ok().out.split())
    assert "flint" in loaded
    assert loaded - {"flint"} <= set(sys.stdlib_module_names)
    # Modules that are slow to load, and of no use for limiting.
    assert not loaded & {"typing_extensions", "asyncio", "rich", "click", "ctypes", "multiprocessing"}


def test_the_library_reads_no_environment_variable(tmp_path: Path) -> None:
    # Every access from Python is seen here. What native code asks for is not, so what it might ask for is set to values
    # that would show.
    code = """
    import os, sys
    asked = []
    class Environment(type(os.environ)):
        def __getitem__(self, name):
            asked.append(name)
            return super().__getitem__(name)
        def get(self, name, default=None):
            asked.append(name)
            return super().get(name, default)
        def __contains__(self, name):
            asked.append(name)
            return super().__contains__(name)
    os.environ.__class__ = Environment
    getenv, os.getenv = os.getenv, lambda name, default=None: asked.append(name) or getenv(name, default)
    import flint
    with flint.Limiter(sys.argv[1], sync="always") as limiter:
        limiter.limit("a", "1/m")
        limiter.check("a"); limiter.check("a"); limiter.compact(); limiter.doctor()
        assert limiter.data_dir == sys.argv[1], limiter.data_dir
    with flint.Limiter() as limiter:
        assert limiter.data_dir == os.path.join(os.getcwd(), ".flint"), limiter.data_dir
    print(asked)
    """
    done = subprocess.run(
        [sys.executable, "-c", "if 1:" + code, str(tmp_path / "data")],
        env={
            "FLINT_DATA_DIR": "/nowhere",
            "FLINT_URL": "x",
            "FLINT_TOKEN": "x",
            "FLINT_SYNC": "never",
            "RUST_LOG": "trace",
            "RUST_BACKTRACE": "1",
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")
    assert not Path("/nowhere").exists()


@pytest.mark.system
def test_native_code_reads_no_environment_variable_either(tmp_path: Path) -> None:
    # Without any environment at all everything works the same.
    code = "import flint, sys; l = flint.Limiter(sys.argv[1]); l.limit('a', '1/m'); print(l.allow('a'), l.allow('a'))"
    done = subprocess.run(
        ["env", "-i", sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "True False\n", "")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_limiter_refuses_pickling_and_names_what_to_use(protocol: int, tmp_path: Path) -> None:
    with flint.Limiter(tmp_path) as limiter:
        with pytest.raises(TypeError, match="SharedLimiter"):
            pickle.dumps(limiter, protocol)
        with pytest.raises(TypeError, match="SharedLimiter"):
            pickle.dumps({"deep": [limiter]}, protocol)


def test_a_limiter_refuses_copies(tmp_path: Path) -> None:
    with flint.Limiter(tmp_path) as limiter:
        with pytest.raises(TypeError, match="SharedLimiter"):
            copy.copy(limiter)
        with pytest.raises(TypeError, match="SharedLimiter"):
            copy.deepcopy([limiter])


def test_a_limiter_is_not_sent_through_a_multiprocessing_pipe(tmp_path: Path) -> None:
    one, other = multiprocessing.Pipe()
    with one, other, flint.Limiter(tmp_path) as limiter, pytest.raises(TypeError, match="SharedLimiter"):
        one.send(limiter)


def test_every_exported_name_exists() -> None:
    for name in flint.__all__:
        assert hasattr(flint, name), name
    assert set(flint.__all__) <= set(dir(flint))
