"""The key, the cost and the limit of a request: the arguments that all web integrations share."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, TypeVar

from flint._errors import InvalidArgument
from flint._native import Limit, validate_key
from flint._validate import cost_of_calls, limit_of_calls
from flint._web.client_address import ClientIp

if TYPE_CHECKING:
    from flint._types import Period, RateLike

T = TypeVar("T")

# A token of RFC 9110.
_METHOD = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


async def resolved(function: Callable[[Any], T | Awaitable[T]], argument: object) -> T:
    """The value that a plain or async function returns."""
    value = function(argument)
    return await value if isawaitable(value) else value


@dataclass(frozen=True, slots=True)
class Rule:
    """How the key and the cost of a request are found, and the limit that goes with them.

    `owner` is the name that error messages begin with.
    """

    owner: str
    key: str | None
    # Not every function has a hash.
    key_func: Callable[[Any], str | Awaitable[str]] | None = field(hash=False)
    limit: Limit | None
    cost: int | Callable[[Any], int | Awaitable[int]] = field(hash=False)

    @property
    def is_of_client(self) -> bool:
        """Whether the key is a client's bare address, which another layer may use as well without intending to."""
        return isinstance(self.key_func, ClientIp)

    async def key_and_cost(self, request: object, layer: str | None = None) -> tuple[str, int]:
        """The key and the cost of a request; the functions may be async.

        layer: a name that keeps the key apart from those of other layers, if it is a client's bare address.

        Raises:
            TypeError: the key is no str, or the cost no int.
            Exception: what the functions raise.
        """
        key = self.checked_key(self.key if self.key_func is None else await resolved(self.key_func, request))
        if layer is not None and self.is_of_client:
            key = f"{layer} {key}"
        return key, self.checked_cost(await resolved(self.cost, request) if callable(self.cost) else self.cost)

    def checked_key(self, key: object) -> str:
        """The key, if it is one."""
        if not isinstance(key, str):
            raise TypeError(
                f"{self.owner}: the key function returned {key!r}; a key is a str of 1 to 512 bytes in UTF-8, "
                "such as 'user:42'"
            )
        return key

    def checked_cost(self, cost: object) -> int:
        """The cost, if it is an integer; its range depends on the limit, which the limiter knows."""
        if type(cost) is not int:
            raise TypeError(
                f"{self.owner}: the cost function returned {cost!r}; a cost is an int from 1 to the limit's capacity"
            )
        return cost


def rule(
    owner: str,
    *,
    key: str | None,
    key_func: Callable[[Any], str | Awaitable[str]] | None,
    rate: RateLike | None,
    per: Period | None,
    algorithm: str,
    burst: int | None,
    cost: int | Callable[[Any], int | Awaitable[int]],
) -> Rule:
    """Check the arguments of `owner`, whose name the errors begin with."""
    if (key is None) == (key_func is None):
        found = "both are set" if key is not None else "neither is set"
        raise InvalidArgument(
            f"{owner} takes either key= (one for all requests) or key_func= (one for each request); {found}"
        )
    if key is not None:
        validate_key(key)
    elif not callable(key_func):
        raise InvalidArgument(
            f"{owner}: a key is a text, or a function such as flint.keys.client_ip(), not {key_func!r}"
        )
    limit = limit_of_calls(rate, per, burst, algorithm, owner=owner)
    if not callable(cost):
        cost = cost_of_calls(cost, limit, owner=owner)
    return Rule(owner, key, key_func, limit, cost)


def method_names(owner: str, methods: Iterable[str] | None) -> frozenset[str] | None:
    """HTTP methods in capitals; None means all. HEAD goes with GET: frameworks answer it with the handler of GET."""
    if methods is None:
        return None
    names = _texts(owner, "methods", methods, '{"GET", "POST"}')
    wrong = [name for name in names if not _METHOD.fullmatch(name)]
    if wrong or not names:
        raise InvalidArgument(
            f"{owner}: methods is a set of HTTP methods such as {{'GET', 'POST'}}, or None for all, not {wrong!r}"
        )
    capitals = frozenset(name.upper() for name in names)
    return capitals | {"HEAD"} if "GET" in capitals else capitals


def path_names(owner: str, paths: Iterable[str]) -> frozenset[str]:
    """Whole paths, which begin with a slash."""
    names = _texts(owner, "exempt_paths", paths, '{"/health"}')
    for name in names:
        if not name.startswith("/"):
            raise InvalidArgument(f"{owner}: a path in exempt_paths begins with '/', and {name!r} does not")
    return frozenset(names)


def _texts(owner: str, name: str, values: Iterable[str], example: str) -> list[str]:
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        raise InvalidArgument(f"{owner}: {name} is a set such as {example}, not {values!r}")
    texts = list(values)
    for text in texts:
        if not isinstance(text, str):
            raise InvalidArgument(f"{owner}: {name} contains texts such as {example}, not {text!r}")
    return texts
