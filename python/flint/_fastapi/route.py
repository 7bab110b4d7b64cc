"""What FastAPI knows of the route that a request came to: its path and the tree of its dependencies.

FastAPI keeps this in the scope: `route`, and for a route of an included router the context that joins the router's
prefix and dependencies to it. What is not found there counts as missing and is never guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any

from flint._errors import InvalidArgument


def route_of(scope: Mapping[str, Any]) -> Any:
    """The route, or the context that represents it; None before routing."""
    route = scope.get("route")
    context = scope.get("fastapi", {}).get("effective_route_context")
    # A context is left in the scope when the route of a mounted application is found.
    if context is not None and route in (None, context.original_route):
        return context
    return route


def name_of(scope: MutableMapping[str, Any]) -> str:
    """The route's methods and path template: "GET /items/{id}".

    Raises:
        InvalidArgument: the request came to no route.
    """
    route = route_of(scope)
    if route is None:
        raise InvalidArgument(
            "per_route() makes keys for dependencies; a middleware runs before routing and needs another key_func, "
            "such as flint.keys.client_ip()"
        )
    methods = ",".join(sorted(getattr(route, "methods", None) or ["WEBSOCKET"]))
    mounted_at = scope.get("root_path", "").removeprefix(scope.get("app_root_path", scope.get("root_path", "")))
    return f"{methods} {mounted_at}{route.path_format}"


def calls_of(scope: Mapping[str, Any]) -> Iterator[Callable[..., Any]]:
    """Every dependency that will run for the request, in its order, without those that are overridden."""
    dependant = getattr(route_of(scope), "dependant", None)
    if dependant is not None:
        yield from _calls(dependant, getattr(scope.get("app"), "dependency_overrides", {}))


def _calls(dependant: Any, overrides: Mapping[Callable[..., Any], Callable[..., Any]]) -> Iterator[Callable[..., Any]]:
    for each in dependant.dependencies:
        if each.call not in overrides:
            yield from _calls(each, overrides)
            yield each.call
