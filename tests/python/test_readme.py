"""Every code block of the README and of docs/ runs, in the order of its page, and does what the page says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.python.page_server import START, PageServer

ROOT = Path(__file__).parents[2]
PAGES = [
    "README.md",
    "docs/cli.md",
    "docs/python-api.md",
    "docs/asyncio.md",
    "docs/decorators.md",
    "docs/fastapi.md",
    "docs/prometheus.md",
    "docs/deployment.md",
    "docs/shared-mode.md",
    "docs/security.md",
    "docs/http-api.md",
]
# Pages whose examples need curl.
OF_CURL = {"docs/http-api.md"}
# Pages whose examples are for a shell.
OF_SHELL = {"docs/cli.md", "docs/security.md", "docs/http-api.md"}
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
STATUS = re.compile(r"#\s*exit status (\d+)\s*$")
# Shell lines that are not run here, because the test checks them in another way.
MAKE = re.compile(r"make (\w+)\b")
INSTALL = re.compile(r"pip install ([\w-]+)$")


@dataclass(frozen=True)
class Block:
    line: int
    language: str
    code: str


def blocks(page: str) -> list[Block]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return [Block(text.count("\n", 0, match.start()) + 2, match[1], match[2]) for match in BLOCK.finditer(text)]


def environment(home: Path) -> dict[str, str]:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return {"PATH": path, "HOME": str(home), "LANG": "C.UTF-8"}


def targets_of(makefile: str) -> set[str]:
    return {target for line in re.findall(r"^([a-z][a-z -]*):(?!=)", makefile, re.MULTILINE) for target in line.split()}


MAKE_TARGETS = targets_of((ROOT / "Makefile").read_text(encoding="utf-8"))


def run_line(line: str, cwd: Path, server: PageServer) -> None:
    if make := MAKE.match(line):
        assert make[1] in MAKE_TARGETS
        return
    if install := INSTALL.match(line):
        assert f'name = "{install[1]}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
        return
    if START.match(line):
        server.start(line)
        return
    expected = STATUS.search(line)
    done = subprocess.run(
        ["sh", "-c", line],
        cwd=cwd,
        env=environment(cwd),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == (int(expected[1]) if expected else 0), done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout or " > " in line, "the command printed nothing"


def run_python(block: Block, code: str, page: str, cwd: Path) -> None:
    # Line numbers of a traceback are those of the page.
    script = cwd / f"line_{block.line}.py"
    script.write_text("\n" * (block.line - 1) + code, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script)],
        cwd=cwd,
        env=environment(cwd),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, ""), f"{page}, line {block.line}\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize(
    "page", [pytest.param(page, marks=[pytest.mark.system] if page in OF_CURL else []) for page in PAGES]
)
def test_every_block_runs(page: str, tmp_path: Path) -> None:
    found = blocks(page)
    with closing(PageServer(tmp_path, environment(tmp_path))) as server:
        for block in found:
            code = server.placed(block.code)
            match block.language:
                case "python":
                    run_python(block, code, page, tmp_path)
                case "sh":
                    for line in code.splitlines():
                        run_line(line, tmp_path, server)
                case language:
                    assert language == "text", f"{page}, line {block.line}: a block in {language!r} that nothing checks"
    assert {block.language for block in found} >= {"sh" if page in OF_SHELL else "python"}


def test_every_target_of_make_that_a_page_names_exists() -> None:
    for page in ("README.md", "CONTRIBUTING.md", "ARCHITECTURE.md"):
        text = (ROOT / page).read_text(encoding="utf-8")
        named = set(re.findall(r"`(?:\w+=\S+ )*make (\w+)`", text)) | set(
            re.findall(r"^    make (\w+)", text, re.MULTILINE)
        )
        assert named <= MAKE_TARGETS, page
        assert page != "CONTRIBUTING.md" or {"dev", "test", "demo", "bench", "fmt", "clean"} <= named


def test_every_file_that_a_page_names_exists() -> None:
    for page in (*PAGES, "CONTRIBUTING.md"):
        text = (ROOT / page).read_text(encoding="utf-8")
        named = re.findall(r"`([\w./-]+\.(?:md|py|toml|txt))`", text)
        named += re.findall(r"`((?:crates|python|tests|benchmarks|docs|contrib)/[\w./-]+)`", text)
        for name in {*named}:
            assert (ROOT / name).exists(), f"{page}: {name}"


def test_errors_are_drawn_as_they_are() -> None:
    """The tree of errors on the page is the one in the module, without its remarks."""
    import flint._errors

    drawn = next(block.code for block in blocks("docs/python-api.md") if block.language == "text")
    docstring = textwrap.dedent(flint._errors.__doc__ or "")
    names = re.compile(r"^[ │├└─]*(\w+(?: \(\w+\))?)", re.MULTILINE)
    tree = docstring[docstring.index("    FlintError") : docstring.index("An argument of")]
    assert names.findall(drawn) == names.findall(tree)


def test_fields_are_those_of_the_classes() -> None:
    import flint

    text = (ROOT / "docs/python-api.md").read_text(encoding="utf-8")
    for name in ("CheckResult", "RateState", "MultiCheckResult", "LimitStatus", "Event", "Recovery"):
        row = re.search(rf"^\| `{name}` \| (.*) \|$", text, re.MULTILINE)
        assert row is not None, name
        assert re.findall(r"`(\w+)`", row[1]) == list(getattr(flint, name)._fields), name


def test_every_method_is_on_the_page() -> None:
    import flint

    text = (ROOT / "docs/python-api.md").read_text(encoding="utf-8")
    for name in dir(flint.Limiter):
        if not name.startswith("_"):
            assert re.search(rf"`{name}\b", text), name


def test_every_command_is_run_on_the_page_of_the_command_line() -> None:
    from tests.python.command_tree import commands

    found = commands()
    assert ("server", "start") in found
    run = "\n".join(block.code for block in blocks("docs/cli.md") if block.language == "sh")
    for path in found:
        assert re.search(rf"^(?:if )?flint (?:--\S+ \S+ )*{' '.join(path)}\b", run, re.MULTILINE), path


def test_options_of_the_server_are_on_one_page() -> None:
    page = (ROOT / "docs/cli.md").read_text(encoding="utf-8")
    section = page[page.index("## The server\n") :].split("\n## ")[0]
    assert "`docs/shared-mode.md` has its options" in section
    assert set(re.findall(r"--[a-z][a-z-]+", section)) == {"--data-dir", "--unix", "--url"}


def test_every_argument_of_the_client_is_on_its_page() -> None:
    import inspect

    import flint

    page = (ROOT / "docs/shared-mode.md").read_text(encoding="utf-8")
    table = page[page.index("| argument |") :].split("\n\n", 1)[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(inspect.signature(flint.SharedLimiter).parameters)
