"""Where a middleware or dependency of FastAPI finds its limiter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from flint._errors import InvalidArgument
from flint._web.limiter import is_limiter

if TYPE_CHECKING:
    from flint._backend import ChecksAsync

# Where in a scope a middleware leaves its limiter for the dependencies of the route.
LIMITER = "flint.limiter"


def limiter_of(owner: str, given: ChecksAsync | None, scope: Mapping[str, Any]) -> ChecksAsync:
    """The limiter that was passed in, else the application's, else the one of the nearest middleware."""
    if given is not None:
        return given
    application = getattr(getattr(scope.get("app"), "state", None), "limiter", None)
    for limiter in (application, scope.get(LIMITER)):
        # Other libraries keep a limiter of theirs under the same name.
        if is_limiter(limiter):
            return limiter
    raise InvalidArgument(
        f"{owner} finds no limiter: give it limiter=..., or set app.state.limiter to a flint.Limiter, when the module "
        "is imported or in the lifespan"
    )


def accepted(owner: str, limiter: ChecksAsync | None) -> ChecksAsync | None:
    """The limiter, if it is one, or None."""
    if limiter is not None and not is_limiter(limiter):
        raise TypeError(f"{owner}: limiter is a flint.Limiter, not {limiter!r}")
    return limiter
