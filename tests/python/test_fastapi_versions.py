"""The oldest FastAPI that pyproject.toml allows. The newest is the one that all other tests use."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
TESTS = sorted((ROOT / "tests" / "python" / "contract").glob("test_fastapi_*.py"))


def oldest() -> str:
    parser: Any = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    (requirement,) = parser.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["fastapi"]
    found = re.fullmatch(r"fastapi>=([\d.]+)", requirement)
    assert found is not None, requirement
    return found[1]


def test_the_oldest_version_passes_the_tests_of_fastapi(tmp_path: Path) -> None:
    version = f"{oldest()}.0"
    assert importlib.metadata.version("fastapi") != version
    packages = tmp_path / "packages"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*pip, "--target", str(packages), f"fastapi=={version}"], check=True, timeout=300)
    program = (
        "import importlib.metadata, pytest, sys; assert importlib.metadata.version('fastapi') == sys.argv[1]; "
        "sys.exit(pytest.main(sys.argv[2:]))"
    )
    options = ["-p", "no:cacheprovider", "-k", "embedded-batch or not embedded and not shared"]
    done = subprocess.run(
        [sys.executable, "-c", program, version, *options, *map(str, TESTS)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{packages}:{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
