"""What is shipped: the wheel and what is in it, under which licence, and made of what."""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import re
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from tests.python import installed
from tests.python.installed import ROOT, output_of
from tests.python.served import serving

import flint


@pytest.fixture
def wheel() -> Path:
    return installed.wheel()


@pytest.fixture
def python() -> Path:
    """The interpreter of an environment with the wheel and nothing else in it."""
    return installed.python()


def test_the_wheel_is_for_every_supported_python_and_has_everything(wheel: Path) -> None:
    # A free-threaded interpreter before 3.15 has no stable ABI.
    abi = f"cp3{sys.version_info.minor}t" if sysconfig.get_config_var("Py_GIL_DISABLED") else "abi3"
    python = "cp310" if abi == "abi3" else abi.removesuffix("t")
    extension = "_native.abi3.so" if abi == "abi3" else f"_native{sysconfig.get_config_var('EXT_SUFFIX')}"
    assert wheel.name.startswith(f"flint_limiter-{flint.__version__}-{python}-{abi}-")
    package = ROOT / "python" / "flint"
    sources = {
        f"flint/{path.relative_to(package)}" for path in package.rglob("*.py*") if path.suffix in (".py", ".pyi")
    }
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        shipped = {name for name in names if name.startswith("flint/")}
        assert shipped == {*sources, "flint/py.typed", f"flint/{extension}"}
        assert "flint/_native.pyi" in shipped
        (licence,) = (name for name in names if name.endswith("/LICENSE"))
        assert archive.read(licence) == (ROOT / "LICENSE").read_bytes()
        (metadata,) = (name for name in names if name.endswith("/METADATA"))
        assert "License-Expression: BSD-3-Clause\n" in archive.read(metadata).decode()


def test_what_is_installed_works(python: Path, tmp_path: Path) -> None:
    program = (
        "import flint, sys; l = flint.Limiter('data'); print(l.check('k', limit='2/day').remaining, flint.__file__)"
    )
    remaining, file = output_of(python, "-c", program, cwd=tmp_path).split()
    assert remaining == "1"
    assert Path(file).is_relative_to(python.parents[1])
    # The command line needs what the package depends on.
    needed = sysconfig.get_path("purelib")
    shown = output_of(installed.flint(), "--version", cwd=tmp_path, PYTHONPATH=needed)
    assert shown == f"flint {flint.__version__}\n"


def test_the_server_that_is_installed_serves_and_ends(python: Path, tmp_path: Path) -> None:
    program = (
        "import flint, sys\n"
        "with flint.SharedLimiter(sys.argv[1]) as limiter:\n"
        "    print(limiter.check('k', limit='2/day').remaining, flint.__file__)\n"
    )
    # The path of a socket may not be long.
    with tempfile.TemporaryDirectory() as directory:
        place = f"{directory}/flint.sock"
        with serving(tmp_path / "data", "--unix", place) as served:
            assert served.urls == [f"unix://{place}"]
            loaded = Path(f"/proc/{served.process.pid}/maps")
            assert not loaded.exists() or str(python.parents[1]) in loaded.read_text()
            remaining, file = output_of(python, "-c", program, served.url, cwd=tmp_path).split()
            assert remaining == "1"
            assert Path(file).is_relative_to(python.parents[1])
            served.end()
    assert served.process.returncode == 0


def test_a_type_checker_finds_the_types_in_what_is_installed(python: Path, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text("import flint\n\nreveal_type(flint.Limiter('d').check('k').remaining)\nflint.Limiter(sync=1)\n")
    command = [sys.executable, "-m", "mypy", "--strict", "--python-executable", str(python), program.name]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=600)
    assert re.search(r'Revealed type is "(builtins\.)?int"', done.stdout), done.stdout + done.stderr
    assert 'Argument "sync" to "Limiter" has incompatible type "int"' in done.stdout
    assert done.stdout.endswith("Found 1 error in 1 file (checked 1 source file)\n")


def test_the_licence_is_bsd_with_three_clauses() -> None:
    text = " ".join((ROOT / "LICENSE").read_text(encoding="utf-8").split())
    assert re.match(r"BSD 3-Clause License Copyright \(c\) \d{4}, The Flint authors Redistribution and use ", text)
    assert re.findall(r" (\d)\. (\w+ \w+)", text) == [
        ("1", "Redistributions of"),
        ("2", "Redistributions in"),
        ("3", "Neither the"),
    ]
    assert "may be used to endorse or promote products derived from this software without specific prior" in text
    assert 'THIS SOFTWARE IS PROVIDED BY THE COPYRIGHT HOLDERS AND CONTRIBUTORS "AS IS" AND ANY EXPRESS OR' in text
    assert text.endswith("EVEN IF ADVISED OF THE POSSIBILITY OF SUCH DAMAGE.")


def toml(name: str) -> Any:
    parser = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    return parser.loads((ROOT / name).read_text(encoding="utf-8"))


def deny() -> Any:
    return toml("deny.toml")


def test_what_pip_installs_along_with_the_package() -> None:
    found: set[str] = set()
    waiting = list(toml("pyproject.toml")["project"]["dependencies"])
    while waiting:
        requirement = Requirement(waiting.pop())
        name = canonicalize_name(requirement.name)
        if name not in found and (requirement.marker is None or requirement.marker.evaluate({"extra": ""})):
            found.add(name)
            waiting += importlib.metadata.requires(requirement.name) or []
    assert found == {"click", "rich", "markdown-it-py", "mdurl", "pygments", "prometheus-client"}


def allows(allowed: list[str], expression: str) -> bool:
    """Whether licences that are allowed fulfil the SPDX expression; a slash is how OR was written once."""
    tokens = iter([*re.findall(r"[()]|[^\s()]+(?: WITH [^\s()]+)?", expression.replace("/", " OR ")), ")"])

    def alternatives() -> bool:
        fulfilled, both = False, True
        while True:
            token = next(tokens)
            both &= alternatives() if token == "(" else token in allowed
            token = next(tokens)
            if token != "AND":
                fulfilled |= both
                both = True
            if token == ")":
                return fulfilled
            assert token in ("AND", "OR"), expression

    fulfilled = alternatives()
    assert next(tokens, None) is None, expression
    return fulfilled


@pytest.mark.parametrize(
    ("expression", "fulfilled"),
    [
        ("MIT", True),
        ("GPL-3.0", False),
        ("GPL-3.0/MIT", True),
        ("MIT AND GPL-3.0", False),
        ("GPL-3.0 AND MIT OR MIT", True),
        ("MIT OR GPL-3.0 AND MIT", True),
        ("(GPL-3.0 OR MIT) AND Zlib", True),
        ("(GPL-3.0 OR MIT) AND GPL-3.0", False),
        ("MIT AND (GPL-3.0 AND Zlib OR LGPL-2.1)", False),
        ("Apache-2.0 WITH LLVM-exception", True),
        ("Apache-2.0", False),
    ],
)
def test_licence_expressions(expression: str, fulfilled: bool) -> None:
    assert allows(["MIT", "Zlib", "Apache-2.0 WITH LLVM-exception"], expression) is fulfilled


def packages() -> Iterator[dict[str, Any]]:
    """Every crate of the lock file that this machine's builds and tests use."""
    (host,) = re.findall(r"host: (\S+)", output_of("rustc", "-vV"))
    options = ["--locked", "--all-features", "--filter-platform", host, "--format-version", "1"]
    yield from json.loads(output_of("cargo", "metadata", *options))["packages"]


def test_every_crate_has_a_licence_that_is_allowed_and_comes_from_the_registry() -> None:
    allowed = deny()["licenses"]["allow"]
    found = list(packages())
    assert len(found) > 100
    refused = {each["name"]: each["license"] for each in found if not allows(allowed, each["license"] or "none")}
    assert refused == {}
    ours = {each["name"] for each in found if each["source"] is None}
    assert ours == {"flint-core", "flint-py", "flint-server", "flint-torture"}
    registry = "registry+https://github.com/rust-lang/crates.io-index"
    assert {each["source"] for each in found} == {None, registry}
    assert {each["license"] for each in found if each["name"] in ours} == {"BSD-3-Clause"}


RUNTIMES = {"tokio", "async-std", "smol", "async-executor", "async-global-executor", "futures-executor"}


def reached_from(crate: str) -> set[str]:
    tree = output_of("cargo", "tree", "--locked", "-p", crate, "--all-features", "--prefix", "none")
    return {line.split()[0] for line in tree.splitlines() if line}


def test_the_engine_reaches_no_runtime_and_none_is_allowed() -> None:
    assert {each["crate"] for each in deny()["bans"]["deny"]} >= RUNTIMES
    reached = reached_from("flint-core")
    assert {"flint-core", "crc32c", "criterion"} <= reached
    assert not reached & RUNTIMES


def test_the_server_reaches_one_runtime_and_no_python() -> None:
    reached = reached_from("flint-server")
    assert reached & RUNTIMES == {"tokio"}
    assert "flint-core" in reached
    assert not reached & {"pyo3", "flint-py"}
