"""Arguments that are not accepted are refused when the middleware is made, and the error has the remedy."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from tests.python.contract.asgi_support import get, hello

import flint
from flint._web.limiter import is_limiter
from flint.asgi import RateLimitMiddleware


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({}, flint.InvalidArgument, r"either key= .* or key_func= .*; neither is set"),
        (
            {"key": "k", "key_func": lambda scope: "k"},
            flint.InvalidArgument,
            r"either key= .* or key_func= .*; both are set",
        ),
        ({"key": ""}, flint.InvalidKey, "empty"),
        ({"key": "k" * 513}, flint.InvalidKey, "513"),
        ({"key": 7}, TypeError, "str"),
        ({"key_func": "client"}, flint.InvalidArgument, "'client'"),
        ({"key": "k", "rate": "10/fortnight"}, flint.InvalidLimit, "fortnight"),
        ({"key": "k", "rate": 10}, flint.InvalidLimit, "per"),
        ({"key": "k", "rate": 0, "per": "1m"}, flint.InvalidLimit, "rate"),
        ({"key": "k", "per": "1m"}, flint.InvalidLimit, "given without rate"),
        ({"key": "k", "burst": 5}, flint.InvalidLimit, "given without rate"),
        ({"key": "k", "algorithm": "fixed_window_counter"}, flint.InvalidLimit, "given without rate"),
        ({"key": "k", "rate": "5/m", "algorithm": "leaky"}, flint.InvalidLimit, "leaky"),
        ({"key": "k", "cost": 0}, flint.InvalidCost, "integer from 1"),
        ({"key": "k", "cost": -1}, flint.InvalidCost, "integer from 1"),
        ({"key": "k", "cost": True}, flint.InvalidCost, "integer from 1"),
        ({"key": "k", "cost": "1"}, flint.InvalidCost, "integer from 1"),
        ({"key": "k", "cost": 6, "rate": "5/m"}, flint.InvalidCost, "capacity of 5"),
        ({"key": "k", "headers": "all"}, flint.InvalidArgument, "'both', 'x', 'ietf' or 'none', not 'all'"),
        ({"key": "k", "headers": None}, flint.InvalidArgument, "headers must be 'both', "),
        ({"key": "k", "headers": []}, flint.InvalidArgument, "headers must be 'both', "),
        ({"key": "k", "on_error": "ignore"}, flint.InvalidArgument, "on_error must be 'raise'.*, not 'ignore'"),
        ({"key": "k", "methods": "GET"}, flint.InvalidArgument, r"methods is a set such as"),
        ({"key": "k", "methods": []}, flint.InvalidArgument, "methods"),
        ({"key": "k", "methods": ["GET "]}, flint.InvalidArgument, "'GET '"),
        ({"key": "k", "methods": [1]}, flint.InvalidArgument, "methods contains texts"),
        ({"key": "k", "methods": 1}, flint.InvalidArgument, "methods"),
        ({"key": "k", "exempt_paths": "/health"}, flint.InvalidArgument, "exempt_paths is a set such as"),
        ({"key": "k", "exempt_paths": {"health"}}, flint.InvalidArgument, "begins with '/'"),
        ({"key": "k", "exempt_paths": [None]}, flint.InvalidArgument, "exempt_paths contains texts"),
        ({"key": "k", "exempt": "/health"}, flint.InvalidArgument, "exempt is a function"),
    ],
)
def test_an_argument_that_is_not_accepted(
    limiter: flint.Limiter, arguments: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        RateLimitMiddleware(hello, limiter, **arguments)


class OneMethod:
    """Lacks `acheck_all`, which the dependencies of a route call."""

    async def acheck(self, key: str, cost: int = 1, *, limit: object = None) -> None: ...


@pytest.mark.parametrize("limiter", [None, "limiter", object(), OneMethod()])
def test_what_is_no_limiter_is_refused(limiter: Any) -> None:
    assert not is_limiter(limiter)
    with pytest.raises(TypeError, match=r"limiter is a flint\.Limiter"):
        RateLimitMiddleware(hello, limiter, key="k")


def test_an_object_with_both_methods_is_a_limiter(limiter: flint.Limiter) -> None:
    """Methods of the object itself count, as those of test doubles are."""
    double = SimpleNamespace(acheck=limiter.acheck, acheck_all=limiter.acheck_all)
    assert is_limiter(double)
    assert is_limiter(limiter)
    assert get(RateLimitMiddleware(hello, double, key="k", rate="5/minute")).status_code == 200


def test_the_error_names_the_middleware(limiter: flint.Limiter) -> None:
    class Mine(RateLimitMiddleware):
        pass

    for middleware in (RateLimitMiddleware, Mine):
        with pytest.raises(flint.InvalidArgument, match=f"^{middleware.__name__} takes either"):
            middleware(hello, limiter)


def test_starlette_makes_it_at_the_first_request_and_the_error_is_the_same(limiter: flint.Limiter) -> None:
    from starlette.applications import Starlette

    app = Starlette()
    app.add_middleware(RateLimitMiddleware, limiter=limiter)
    for _ in range(2):
        with pytest.raises(flint.InvalidArgument, match=r"^RateLimitMiddleware takes either key="):
            get(app)
