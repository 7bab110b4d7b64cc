"""`rate_limit`, the decorator: the function checks its limiter before it runs.

There is one wrapper for each kind of function, so that `inspect`, and with it frameworks and `contextlib`, finds the
kind that the function had. The limiter's method imports this module when it is called, so that `import flint` does
without `inspect`.
"""

from __future__ import annotations

import functools
import inspect
import sys
import types
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar, cast, overload

from flint._errors import InvalidArgument, RateLimitExceeded
from flint._native import Limit, validate_key
from flint._validate import cost_of_calls, limit_of_calls, wait_timeout

if TYPE_CHECKING:
    from flint._backend import Acquires
    from flint._types import Period, RateLike

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

Function = Callable[..., Any]


class Decorator(Protocol):
    """Returns the function, limited, with its parameters, its result type and its kind."""

    @overload
    def __call__(self, function: classmethod[T, P, R], /) -> classmethod[T, P, R]: ...
    @overload
    def __call__(self, function: staticmethod[P, R], /) -> staticmethod[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> Callable[P, R]: ...


def rate_limit(
    limiter: Acquires,
    key: str | Callable[..., str],
    rate: RateLike | None = None,
    per: Period | None = None,
    *,
    cost: int | Callable[..., int] = 1,
    burst: int | None = None,
    algorithm: str = "token_bucket",
    wait: bool = False,
    timeout: float | None = None,
) -> Decorator:
    """A decorator for functions that `limiter` limits; `Limiter.rate_limit` describes the arguments.

    Raises InvalidKey, InvalidCost, InvalidLimit, InvalidArgument or TypeError for arguments that no call could succeed
    with.
    """
    limit = limit_of_calls(rate, per, burst, algorithm)
    if wait is not True and wait is not False:
        raise InvalidArgument(
            f"wait must be True or False, not {wait!r}; the seconds to wait go into timeout, as in wait=True, timeout=5"
        )
    gate = _Gate(limiter, _checked_key(key), _checked_cost(cost, limit), limit, wait, _checked_timeout(timeout, wait))

    def decorator(function: Any) -> Any:
        return _limited(gate, function)

    return cast(Decorator, decorator)


@dataclass(frozen=True)
class _Gate:
    """The check before each call."""

    limiter: Acquires
    key: str | Callable[..., str]
    cost: int | Callable[..., int]
    limit: Limit | None
    wait: bool
    timeout: float | None

    def enter(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Takes the call's cost. Raises RateLimitExceeded, and everything that check() or acquire() raises."""
        key, cost = self._key_and_cost(args, kwargs)
        if self.wait:
            self.limiter.acquire(key, cost, limit=self.limit, timeout=self.timeout)
        elif not (result := self.limiter.check(key, cost, limit=self.limit)).allowed:
            raise RateLimitExceeded(result)

    async def aenter(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """The same without blocking the event loop."""
        key, cost = self._key_and_cost(args, kwargs)
        if self.wait:
            await self.limiter.aacquire(key, cost, limit=self.limit, timeout=self.timeout)
        elif not (result := await self.limiter.acheck(key, cost, limit=self.limit)).allowed:
            raise RateLimitExceeded(result)

    def _key_and_cost(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[str, int]:
        key = self.key if isinstance(self.key, str) else self.key(*args, **kwargs)
        cost = self.cost if isinstance(self.cost, int) else self.cost(*args, **kwargs)
        return key, cost


def _limited(gate: _Gate, function: Any) -> Any:
    if isinstance(function, (classmethod, staticmethod)):
        return type(function)(_limited(gate, function.__func__))
    if isinstance(function, type):
        raise TypeError(
            f"rate_limit limits calls of functions, and {function.__qualname__} is a class: "
            "decorate those of its methods that are to be limited, or __init__ to limit the creation of instances"
        )
    if not callable(function):
        kind = type(function).__name__
        remedy = f"put it below @{kind}" if hasattr(function, "__get__") else "write @limiter.rate_limit(key, ...)"
        raise TypeError(f"rate_limit limits calls of functions, and this {kind} cannot be called: {remedy}")
    # The function behind a partial, or an instance with __call__, decides on the kind and on the wrapper's name.
    target = function
    while isinstance(target, functools.partial):
        target = target.func
    wrapper = _wrapper_for(target)(gate, function)
    wrapper.__annotations__ = {}
    if hasattr(target, "__name__"):
        functools.update_wrapper(wrapper, target)
    else:
        functools.update_wrapper(wrapper, type(target).__call__, updated=())
        functools.update_wrapper(wrapper, type(target), ("__module__", "__name__", "__qualname__", "__doc__"), ())
    # inspect.signature() follows this: a partial's signature lacks the arguments that it binds.
    wrapper.__wrapped__ = function  # type: ignore[attr-defined]
    return wrapper


def _wrapper_for(target: Function) -> Callable[[_Gate, Function], Function]:
    for has_kind, wrapper in (
        (inspect.isasyncgenfunction, _async_generator),
        (inspect.iscoroutinefunction, _coroutine),
        (_is_generator_based_coroutine, _generator_based_coroutine),
        (inspect.isgeneratorfunction, _generator),
    ):
        if has_kind(target) or has_kind(type(target).__call__):
            return wrapper
    return _plain


def _plain(gate: _Gate, function: Function) -> Function:
    def limited(*args: Any, **kwargs: Any) -> Any:
        gate.enter(args, kwargs)
        return function(*args, **kwargs)

    return limited


def _coroutine(gate: _Gate, function: Function) -> Callable[..., Coroutine[Any, Any, Any]]:
    async def limited(*args: Any, **kwargs: Any) -> Any:
        await gate.aenter(args, kwargs)
        return await function(*args, **kwargs)

    return limited


def _is_generator_based_coroutine(function: Any) -> bool:
    """Whether it is a generator function that types.coroutine() made awaitable."""
    function = getattr(function, "__func__", function)
    code = getattr(function, "__code__", None)
    return isinstance(code, types.CodeType) and bool(code.co_flags & inspect.CO_ITERABLE_COROUTINE)


def _generator_based_coroutine(gate: _Gate, function: Function) -> Callable[..., Any]:
    @types.coroutine
    def limited(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        yield from gate.aenter(args, kwargs).__await__()
        return (yield from function(*args, **kwargs))

    return limited


def _generator(gate: _Gate, function: Function) -> Callable[..., Generator[Any, Any, Any]]:
    def limited(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        gate.enter(args, kwargs)
        return (yield from function(*args, **kwargs))

    return limited


def _async_generator(gate: _Gate, function: Function) -> Callable[..., AsyncGenerator[Any, Any]]:
    async def limited(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        await gate.aenter(args, kwargs)
        inner = function(*args, **kwargs)
        step = _first_step(inner)
        try:
            while True:
                item = await step
                try:
                    sent = yield item
                except BaseException as error:
                    # GeneratorExit too, which aclose() throws: the step raises what `inner` ends with.
                    step = inner.athrow(error)
                else:
                    step = inner.asend(sent)
        except StopAsyncIteration:
            return
        finally:
            # It references what was thrown, whose traceback references this frame: a cycle.
            del step

    return limited


def _first_step(inner: AsyncGenerator[Any, Any]) -> Any:
    """The step to the first item, without registering `inner` with the event loop: the wrapper is registered already.

    A loop that shuts down closes all registered generators at the same time. It would close `inner` while the wrapper
    does, and the second of them would raise, because the generator is already running.
    """
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(None, None)
    try:
        return inner.__anext__()
    finally:
        sys.set_asyncgen_hooks(*hooks)


def _checked_key(key: str | Callable[..., str]) -> str | Callable[..., str]:
    if isinstance(key, str):
        validate_key(key)
    elif not callable(key):
        raise TypeError(
            f"key must be a str or a function of the call's arguments, not {type(key).__name__} {key!r}; "
            "an example is key=lambda user: f'user:{user}'"
        )
    elif inspect.iscoroutinefunction(key):
        raise TypeError("key must be a str or a function that returns one, not a coroutine function")
    return key


def _checked_cost(cost: int | Callable[..., int], limit: Limit | None) -> int | Callable[..., int]:
    if callable(cost):
        if inspect.iscoroutinefunction(cost):
            raise TypeError("cost must be an integer or a function that returns one, not a coroutine function")
        return cost
    return cost_of_calls(cost, limit)


def _checked_timeout(timeout: float | None, wait: bool) -> float | None:
    if timeout is None:
        return None
    if not wait:
        raise InvalidArgument(
            "timeout is how long to wait and needs wait=True; without it a denied call raises at once"
        )
    return wait_timeout(timeout)
