"""Every file of examples/ runs without arguments, prints what it says that it prints, and leaves nothing behind."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

DIRECTORY = Path(__file__).parents[2] / "examples"
EXAMPLES = sorted(path for path in DIRECTORY.iterdir() if path.suffix in (".py", ".sh"))
MAX_LINES = 40
INTERPRETERS = {".py": [sys.executable, "-W", "error"], ".sh": ["sh"]}


def expected_output(text: str) -> re.Pattern[str]:
    """The comment at the end of an example, in which `...` stands for anything within a line."""
    _, found, comment = text.partition("\n# Output:\n")
    assert found, "an example ends with the comment `# Output:`"
    lines = [line.removeprefix("#   ") for line in comment.splitlines()]
    assert all(line.startswith("#   ") for line in comment.splitlines()), comment
    return re.compile("".join(re.escape(line).replace(r"\.\.\.", ".*") + "\n" for line in lines))


@pytest.fixture
def short_dir() -> Iterator[Path]:
    """The path of a socket has at most 107 bytes, which pytest's own directories may use up."""
    with tempfile.TemporaryDirectory() as directory:
        yield Path(directory)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_example_prints_what_it_says(example: Path, tmp_path: Path, short_dir: Path) -> None:
    text = example.read_text(encoding="utf-8")
    temporary = short_dir
    working = tmp_path / "working"
    working.mkdir()
    done = subprocess.run(
        [*INTERPRETERS[example.suffix], str(example)],
        cwd=working,
        env={
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "HOME": str(working),
            "LANG": "C.UTF-8",
            "TMPDIR": str(temporary),
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    assert expected_output(text).fullmatch(done.stdout), done.stdout
    assert [*working.iterdir(), *temporary.rglob("data*")] == [], "an example removes what it wrote"
    assert len(text.splitlines()) <= MAX_LINES, "an example shows one idea"


def test_the_table_of_examples_is_complete() -> None:
    table = (DIRECTORY / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| \[([\w.]+)\]\(\1\) \|", table, re.MULTILINE)
    assert sorted(re.findall(r"^\| \[([\w.]+)\]", table, re.MULTILINE)) == [path.name for path in EXAMPLES]
