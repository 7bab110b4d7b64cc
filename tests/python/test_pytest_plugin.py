"""The fixtures that ship for users' tests, in a pytest run of their own."""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

USERS_TESTS = """
    from pathlib import Path

    import flint
    import flint.testing
    import pytest

    kept = []


    def test_the_limiter_is_empty_and_uses_the_clock(flint_limiter, flint_clock, tmp_path):
        assert type(flint_limiter) is flint.Limiter
        assert type(flint_clock) is flint.testing.ManualClock
        assert Path(flint_limiter.data_dir).parent == tmp_path
        assert flint_limiter.sync == "batch"
        assert flint_limiter.list() == []

        @flint_limiter.rate_limit("email", "1/hour")
        def send():
            return "sent"

        assert send() == "sent"
        with pytest.raises(flint.RateLimitExceeded):
            send()
        flint_clock.advance(3_600)
        assert send() == "sent"
        kept.append((flint_limiter, flint_clock))


    def test_it_was_closed_and_the_next_test_has_its_own(flint_limiter, flint_clock):
        before, clock_before = kept[0]
        assert before.closed and not flint_limiter.closed
        assert flint_clock is not clock_before
        assert flint_clock.now() < clock_before.now()
        assert flint_limiter.list() == []


    class TestOverriding:
        @pytest.fixture
        def flint_clock(self):
            import datetime
            return flint.testing.ManualClock(datetime.datetime(2031, 2, 3, tzinfo=datetime.timezone.utc))

        def test_a_clock_of_one_s_own(self, flint_limiter):
            assert flint_limiter.check("k", limit="1/s").reset_at.year == 2031
"""


GUIDE = Path(__file__).parents[2] / "docs/decorators.md"


def run_pytest(
    directory: Path, *options: str, tests: str = USERS_TESTS, **environment: str
) -> subprocess.CompletedProcess[str]:
    (directory / "test_users.py").write_text(textwrap.dedent(tests), encoding="utf-8")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", *options],
        cwd=directory,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_fixtures(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, "-p", "flint.pytest_plugin", PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert done.stdout.splitlines()[-1].startswith("3 passed in")


def test_pytest_finds_them_where_flint_is_installed(tmp_path: Path) -> None:
    (plugin,) = (each for each in importlib.metadata.entry_points(group="pytest11") if each.name == "flint")
    assert plugin.value == "flint.pytest_plugin"
    done = run_pytest(tmp_path)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert done.stdout.splitlines()[-1].startswith("3 passed in")
    without = run_pytest(tmp_path, "-p", "no:flint")
    assert "fixture 'flint_limiter' not found" in without.stdout


def test_the_guide_s_tests_pass(tmp_path: Path) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    (tests,) = (block for block in blocks if "def test_" in block)
    done = run_pytest(tmp_path, "-p", "flint.pytest_plugin", tests=tests, PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert done.stdout.splitlines()[-1].startswith("2 passed in")


def test_the_fixtures_explain_themselves(tmp_path: Path) -> None:
    options = ("-p", "flint.pytest_plugin", "--fixtures", "-k", "nothing")
    done = run_pytest(tmp_path, *options, PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
    for name, part in (("flint_clock", "until the test advances it"), ("flint_limiter", "Closed after the test")):
        assert name in done.stdout
        assert part in done.stdout


def test_the_plugin_imports_nothing_but_pytest_and_flint(tmp_path: Path) -> None:
    program = """
        import sys
        import pytest
        import flint, flint.testing
        before = set(sys.modules)
        import flint.pytest_plugin
        print(*sorted(set(sys.modules) - before))
    """
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "flint.pytest_plugin\n", "")
