"""The workflows build and test what pyproject.toml and the crates declare. Nothing here needs the network."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
WORKFLOWS = ROOT / ".github" / "workflows"
NAMES = sorted(path.name for path in WORKFLOWS.iterdir())

yaml: Any = importlib.import_module("yaml")
toml: Any = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def workflow(name: str) -> Any:
    loaded = yaml.safe_load((WORKFLOWS / name).read_text(encoding="utf-8"))
    # YAML 1.1 reads the key `on` as a boolean.
    loaded["on"] = loaded.pop(True)
    return loaded


def steps(name: str) -> Iterator[dict[str, Any]]:
    for job in workflow(name)["jobs"].values():
        yield from job.get("steps", [])


PROJECT = toml.loads(text("pyproject.toml"))["project"]
OLDEST = PROJECT["requires-python"].removeprefix(">=")
BINDING = toml.loads(text("crates/flint-py/Cargo.toml"))


def supported() -> list[str]:
    """The versions of Python that the package claims, oldest first."""
    found = [re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", line) for line in PROJECT["classifiers"]]
    return [match[1] for match in found if match]


def test_every_supported_python_is_tested_on_every_platform() -> None:
    matrix = workflow("test.yml")["jobs"]["test"]["strategy"]["matrix"]
    assert supported()[0] == OLDEST
    assert [version for version in matrix["python"] if not version.endswith("t")] == supported()
    assert "Programming Language :: Python :: Free Threading" in PROJECT["classifiers"]
    assert "3.14t" in matrix["python"]
    assert {re.sub(r"-[\d.]+", "", runner) for runner in matrix["runner"]} == {"ubuntu", "ubuntu-arm", "macos"}
    named = " ".join(line for line in PROJECT["classifiers"] if line.startswith("Operating System"))
    assert "Linux" in named
    assert "MacOS" in named


def test_the_tests_are_those_of_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z-]+):", text("Makefile"), re.MULTILINE))
    run = "\n".join(step.get("run", "") for step in steps("test.yml"))
    called = set(re.findall(r"^(?:sudo )?make (\S+)$", run, re.MULTILINE))
    assert called == {"check", "test", "system-tools"}
    assert called <= targets


def test_wheels_are_for_the_stable_abi_and_for_free_threaded_python() -> None:
    variables = workflow("wheels.yml")["env"]
    assert f"--interpreter python{OLDEST}" in variables["STABLE_ABI"]
    assert "--no-default-features" not in variables["STABLE_ABI"]
    assert "--interpreter python3.14t --no-default-features" in variables["FREE_THREADED"]
    # What the two sets of features mean.
    assert BINDING["features"] == {"default": ["abi3"], "abi3": [f"pyo3/abi3-py{OLDEST.replace('.', '')}"]}
    assert not isinstance(BINDING["dependencies"]["pyo3"], dict)
    for name in ("linux", "macos"):
        built = [
            step["with"]["args"]
            for step in workflow("wheels.yml")["jobs"][name]["steps"]
            if "target" in step.get("with", {})
        ]
        assert built == ["${{ env.STABLE_ABI }}", "${{ env.FREE_THREADED }}"], name
    maturin = re.search(r"^maturin==(.*)$", text("requirements-dev.txt"), re.MULTILINE)
    assert maturin is not None
    assert variables["MATURIN"] == f"v{maturin[1]}"


def test_wheels_are_for_every_platform() -> None:
    jobs = workflow("wheels.yml")["jobs"]
    linux = jobs["linux"]["strategy"]["matrix"]
    assert {libc.partition("_")[0] for libc in linux["libc"]} == {"manylinux", "musllinux"}
    assert linux["target"] == ["x86_64", "aarch64"]
    assert [each["target"] for each in jobs["macos"]["strategy"]["matrix"]["include"]] == ["x86_64", "aarch64"]


@pytest.mark.parametrize("job", ["linux", "macos"])
def test_each_wheel_is_installed_and_used_where_it_was_built(job: str) -> None:
    runs = [step["run"] for step in workflow("wheels.yml")["jobs"][job]["steps"] if "run" in step]
    installed = []
    for run in runs:
        (wheel,) = re.findall(r"pip install --quiet \S*dist/(\S+\.whl)", run)
        installed.append(wheel)
        assert re.search(r"flint --version$", run, re.MULTILINE)
        assert re.search(r"flint limit check smoke --rate 1/minute", run)
        # The Python that the wheel is for: python3.14t, and one that has the lock to give up.
        assert ("python3.14t" in run) == ("sys._is_gil_enabled()" in run) == ("cp314t" in wheel)
    assert installed == ["*-abi3-*.whl", "*-cp314t-*.whl"]


def test_a_pull_request_that_changes_the_build_builds_the_wheels() -> None:
    patterns = workflow("wheels.yml")["on"]["pull_request"]["paths"]
    members = toml.loads(text("Cargo.toml"))["workspace"]["members"]
    build = ["Cargo.toml", "Cargo.lock", "pyproject.toml", "rust-toolchain.toml", ".github/workflows/wheels.yml"]
    for changed in [*build, *(f"{member}/Cargo.toml" for member in members)]:
        assert (ROOT / changed).is_file()
        # In these patterns one star stands for a part of a name, without a slash.
        assert any(re.fullmatch(re.escape(each).replace(r"\*", "[^/]*"), changed) for each in patterns), changed
    for pattern in patterns:
        assert list(ROOT.glob(pattern)), pattern


def test_a_tag_publishes_by_trusted_publisher_after_tests_and_wheels() -> None:
    release = workflow("release.yml")
    assert release["on"] == {"push": {"tags": ["v*"]}}
    publish = release["jobs"]["publish"]
    assert publish["needs"] == ["test", "wheels"]
    assert publish["permissions"] == {"id-token": "write"}
    assert publish["environment"] == "release"
    for name in publish["needs"]:
        assert release["jobs"][name]["uses"] == f"./.github/workflows/{name}.yml"
        assert "workflow_call" in workflow(f"{name}.yml")["on"]
    assert "secrets." not in text(".github/workflows/release.yml")
    (download,) = (step for step in steps("release.yml") if "download-artifact" in step.get("uses", ""))
    uploads = [step["with"]["name"] for step in steps("wheels.yml") if "upload-artifact" in step.get("uses", "")]
    assert all(name.startswith(download["with"]["pattern"].removesuffix("*")) for name in uploads)


@pytest.mark.parametrize("name", NAMES)
def test_permissions_are_minimal_and_actions_are_pinned(name: str) -> None:
    assert workflow(name)["permissions"] == {"contents": "read"}
    for job, content in workflow(name)["jobs"].items():
        assert content.get("permissions", {}) in ({}, {"id-token": "write"}), job
        assert "uses" in content or content["timeout-minutes"] <= 60, job
    for line in (WORKFLOWS / name).read_text(encoding="utf-8").splitlines():
        if "uses:" in line and "./" not in line:
            assert re.search(r"uses: [\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$", line), line
    for step in steps(name):
        if "actions/checkout" in step.get("uses", ""):
            assert step["with"] == {"persist-credentials": False}


@pytest.mark.parametrize("name", NAMES)
def test_nothing_depends_on_one_machine(name: str) -> None:
    """The runners are the hosted ones, and no path of a home directory or of a private host appears."""
    content = (WORKFLOWS / name).read_text(encoding="utf-8")
    runners = {job["runs-on"] for job in workflow(name)["jobs"].values() if "runs-on" in job}
    runners |= set(re.findall(r"\b(?:ubuntu|macos)-[\w.-]+", content))
    assert all(re.match(r"(?:ubuntu|macos)-\d|\$\{\{ matrix\.runner \}\}", runner) for runner in runners), runners
    assert not re.search(r"self-hosted|/home/|/root/|/work/", content)


def test_commit_hooks_use_the_tools_of_the_makefile() -> None:
    (local,) = yaml.safe_load(text(".pre-commit-config.yaml"))["repos"]
    assert local["repo"] == "local"
    entries = {hook["id"]: hook["entry"] for hook in local["hooks"]}
    assert entries["check"] == "make check"
    assert next(hook for hook in local["hooks"] if hook["id"] == "check")["stages"] == ["pre-push"]
    makefile = text("Makefile")
    assert entries["clippy"] in makefile
    assert entries["cargo-fmt"] in makefile
    # The makefile names Python by a variable.
    python, words = entries["lint-words"].split(" ", 1)
    assert python == ".venv/bin/python"
    assert f"$(PY) {words}" in makefile
    assert "stages" not in next(hook for hook in local["hooks"] if hook["id"] == "lint-words")


def test_the_hook_for_words_gets_the_files_that_the_lint_reads() -> None:
    (local,) = yaml.safe_load(text(".pre-commit-config.yaml"))["repos"]
    (hook,) = (hook for hook in local["hooks"] if hook["id"] == "lint-words")
    assert hook.get("pass_filenames", True)
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.splitlines()
    matched = {name for name in listed if re.search(hook["files"], name)}
    # The script takes files as they are; without any it chooses by these names.
    script = text("scripts/lint_words.py")
    suffixes = set(re.findall(r'"(\.\w+)"', re.search(r"^SUFFIXES = \{(.*)\}$", script, re.MULTILINE)[1]))  # type: ignore[index]
    assert matched == {name for name in listed if Path(name).suffix in suffixes or Path(name).name == "Makefile"}


def test_the_toolchain_is_the_installed_one() -> None:
    """A channel in rust-toolchain.toml would make rustup download one where only another is installed."""
    assert toml.loads(text("rust-toolchain.toml"))["toolchain"] == {
        "profile": "minimal",
        "components": ["rustfmt", "clippy"],
    }
    assert re.search(r'^rust-version = "1\.\d+"$', text("Cargo.toml"), re.MULTILINE)


@pytest.mark.parametrize("path", sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("[a-z]*.yml")), ids=lambda p: p.name)
def test_issue_templates_are_forms(path: Path) -> None:
    form = yaml.safe_load(path.read_text(encoding="utf-8"))
    if path.name == "config.yml":
        assert set(form) <= {"blank_issues_enabled", "contact_links"}
        return
    assert form["name"]
    assert form["description"]
    identified = [part["id"] for part in form["body"] if part["type"] != "markdown"]
    assert len(identified) == len(set(identified))
    assert {part["type"] for part in form["body"]} <= {"markdown", "textarea", "input", "dropdown", "checkboxes"}
    assert any(part.get("validations", {}).get("required") for part in form["body"])
