"""What `import flint` gives, and what it does not do."""

from __future__ import annotations

import inspect
import json
import types
from collections.abc import Mapping

import pytest

import flint
import flint.testing

from .conftest import Run

CLASSES = [
    value
    for module in (flint, flint.testing)
    for name in module.__all__
    if inspect.isclass(value := getattr(module, name))
]


def test_all_is_what_is_public() -> None:
    public = {
        name
        for name, value in vars(flint).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    }
    assert sorted(public | {"__version__"}) == flint.__all__
    assert set(flint.__all__) <= set(dir(flint))


def test_the_version_is_the_distribution_s() -> None:
    from importlib.metadata import version

    assert flint.__version__ == version("flint-limiter")


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_a_class_is_found_where_it_says(cls: type) -> None:
    module = flint.testing if cls.__module__ == "flint.testing" else flint
    assert cls.__module__ == module.__name__
    assert getattr(module, cls.__name__) is cls


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_everything_has_a_docstring(cls: type) -> None:
    assert cls.__doc__
    for name, member in inspect.getmembers(cls):
        if (
            not name.startswith("_")
            and not any(hasattr(base, name) for base in cls.__mro__ if base.__module__ == "builtins")
            and (callable(member) or inspect.isdatadescriptor(member))
        ):
            assert inspect.getdoc(member), f"{cls.__name__}.{name}"


def test_results_are_mappings() -> None:
    for cls in (
        flint.CheckResult,
        flint.MultiCheckResult,
        flint.LimitStatus,
        flint.Event,
        flint.Recovery,
        flint.Rate,
        flint.RateState,
    ):
        assert issubclass(cls, Mapping)
        with pytest.raises(TypeError):
            type("Sub", (cls,), {})


def test_signatures_are_those_of_the_documentation() -> None:
    expected = {
        "limit": "(self, /, key, rate, per=None, *, algorithm='token_bucket', burst=None, on_change='keep')",
        "limit_many": "(self, /, specs)",
        "check": "(self, /, key, cost=1, *, limit=None)",
        "allow": "(self, /, key, cost=1, *, limit=None)",
        "check_all": "(self, /, items)",
        "allow_all": "(self, /, items)",
        "peek": "(self, /, key, cost=1, *, limit=None)",
        "status": "(self, /, key)",
        "list": "(self, /, prefix=None, limit=None, after=None)",
        "top": "(self, /, by='denied', limit=10)",
        "history": "(self, /, key, limit=100)",
        "reset": "(self, /, key)",
        "delete": "(self, /, key)",
        "flush": "(self, /)",
        "compact": "(self, /)",
        "doctor": "(self, /)",
        "close": "(self, /)",
    }
    native = flint.Limiter.__mro__[1]
    assert {name: str(inspect.signature(getattr(native, name))) for name in expected} == expected
    assert str(inspect.signature(flint.Limiter)) == (
        "(data_dir='.flint', *, sync='always', flush_every_ms=100, flush_every_events=100, read_only=False, "
        "history_bytes=67108864, lock_timeout=0, log_io='auto', clock=None)"
    )
    assert str(inspect.signature(flint.Limit)) == "(rate, per=None, *, algorithm='token_bucket', burst=None)"


def parameters(method: object) -> list[tuple[str, object, object]]:
    """What is given to a method, without types, which only the stubs have for native methods."""
    assert callable(method)
    _, *given = inspect.signature(method).parameters.values()
    return [(each.name, each.kind, each.default) for each in given]


def test_the_shared_limiter_is_called_as_the_embedded_one() -> None:
    anywhere, by_name = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY
    assert parameters(flint.SharedLimiter.__init__) == [
        ("url", anywhere, inspect.Parameter.empty),
        ("token", anywhere, None),
        ("timeout", anywhere, 10.0),
        ("on_error", by_name, "raise"),
        ("retries", by_name, 1),
        ("ssl_context", by_name, None),
    ]
    public = {name for name in dir(flint.Limiter) if not name.startswith("_")}
    only_embedded = {"data_dir", "read_only", "recovery", "sync"}
    for name in sorted(public - only_embedded):
        embedded, shared = getattr(flint.Limiter, name), getattr(flint.SharedLimiter, name)
        if callable(embedded):
            assert parameters(shared) == parameters(embedded), name
            assert inspect.iscoroutinefunction(shared) == inspect.iscoroutinefunction(embedded), name
        else:
            assert inspect.isdatadescriptor(shared), name


def test_the_hot_methods_are_native() -> None:
    for name in ("check", "allow", "check_all", "allow_all", "peek"):
        assert isinstance(inspect.getattr_static(flint.Limiter, name), types.MethodDescriptorType)


def test_importing_loads_no_third_party_module(run: Run) -> None:
    done = run("""
        import json, sys
        before = set(sys.modules)
        import flint
        print(json.dumps(sorted(set(sys.modules) - before)))
    """)
    assert done.returncode == 0, done.stderr
    loaded = {name.partition(".")[0] for name in json.loads(done.stdout)}
    import sys

    assert loaded - set(sys.stdlib_module_names) == {"flint"}
    assert not {"asyncio", "typing", "inspect", "json"} & loaded


def test_importing_says_nothing_and_handles_logging(run: Run) -> None:
    done = run("""
        import logging, flint
        (handler,) = logging.getLogger("flint").handlers
        assert type(handler) is logging.NullHandler
    """)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
