"""What the metrics bring along, and when."""

from __future__ import annotations

import pytest

from ..conftest import Run


def test_nothing_slow_is_loaded_before_it_is_used(run: Run) -> None:
    done = run(
        """
        import sys
        before = set(sys.modules)
        import flint.prometheus
        print(*sorted({name.split(".")[0] for name in set(sys.modules) - before}))
        with flint.Limiter(DIR) as limiter:
            flint.prometheus.prometheus_metrics(limiter)
        print("prometheus_client" in sys.modules, "starlette" in sys.modules)
        """
    )
    assert (done.returncode, done.stderr) == (0, "")
    loaded, later = done.stdout.splitlines()
    assert not set(loaded.split()) & {"asyncio", "typing", "dataclasses", "prometheus_client", "starlette"}
    assert later == "True False"


@pytest.mark.parametrize(
    ("missing", "call", "message"),
    [
        ("prometheus_client", "prometheus_metrics(limiter)", "prometheus_client: pip install --upgrade flint-limiter"),
        ("prometheus_client", "FlintCollector(limiter)", "prometheus_client: pip install --upgrade flint-limiter"),
        ("starlette", "add_prometheus_route(None, limiter)", 'Starlette: pip install "flint-limiter[fastapi]"'),
    ],
)
def test_what_is_missing_is_named_with_the_remedy(run: Run, missing: str, call: str, message: str) -> None:
    done = run(
        f"""
        import sys
        sys.modules[{missing!r}] = None
        import flint
        from flint.prometheus import *
        with flint.Limiter(DIR) as limiter:
            try:
                {call}
            except ImportError as error:
                print(error)
        """
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert message in done.stdout
