"""Test files in parallel, as a pytest plugin: which tests stay together, what starts first, what each file took.

With `-n`, each file is one group, which one worker runs from its first test to its last, so that fixtures of a module
are made once. A file whose tests need minutes and share nothing is a group for each test. Groups start in the order of
`LONGEST`.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest

# Groups that take longest start first, or the last one would run alone while the other workers have nothing left.
LONGEST = [
    "test_model.py",
    "system/test_full_disk.py",
    "released_readme/test_shared_mode.py",
    "cli/test_remote.py",
    "test_distribution.py",
]
EACH_TEST_ALONE = {"test_model.py"}
# A directory for what all workers of a run share; see `installed.py`.
SHARED = "FLINT_TEST_RUN"

_seconds: defaultdict[str, float] = defaultdict(float)
_cpu_seconds: defaultdict[str, float] = defaultdict(float)


def _file_of(nodeid: str) -> str:
    return nodeid.partition("::")[0].removeprefix("tests/python/")


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        directory = tempfile.mkdtemp(prefix="flint-tests-")
        os.environ[SHARED] = directory
        maker = os.getpid()

        def remove() -> None:
            # Not at the end of a forked child.
            if os.getpid() == maker:
                shutil.rmtree(directory, ignore_errors=True)
                os.environ.pop(SHARED, None)

        config.add_cleanup(remove)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if "PYTEST_XDIST_WORKER" in os.environ:
        rank = {name: place for place, name in enumerate(LONGEST)}
        items.sort(key=lambda item: rank.get(_file_of(item.nodeid), len(rank)))


def _group_of(nodeid: str) -> str:
    """What one worker runs from its first test to its last."""
    return nodeid if _file_of(nodeid) in EACH_TEST_ALONE else _file_of(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

    # In the order of collection.
    config.option.loadscopereorder = False
    scheduler = LoadScopeScheduling(config, log)
    scheduler._split_scope = _group_of
    return scheduler


def _cpu() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    began, cpu = time.monotonic(), _cpu()
    try:
        return (yield)
    finally:
        _seconds[_file_of(item.nodeid)] += time.monotonic() - began
        _cpu_seconds[_file_of(item.nodeid)] += _cpu() - cpu


def pytest_sessionfinish() -> None:
    """Appends what each file took to the file that FLINT_TIMES names; scripts/slowest_parts.py reads it."""
    if path := os.environ.get("FLINT_TIMES"):
        lines = [f"{_seconds[name]:.2f} {_cpu_seconds[name]:.2f} tests/python/{name}\n" for name in sorted(_seconds)]
        with open(path, "a", encoding="utf-8") as file:
            file.write("".join(lines))
