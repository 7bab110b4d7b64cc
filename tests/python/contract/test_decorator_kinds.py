"""`rate_limit` on every kind of function: it asks once for each call, and everything else is as it was."""

from __future__ import annotations

import abc
import asyncio
import contextlib
import functools
import inspect
import operator
import types
import typing
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest

import flint

from .decorator_support import in_time

Decorate = Callable[[Any], Any]
Call = Callable[[int], Any]


def a_function(limited: Decorate) -> Call:
    @limited
    def double(n: int) -> int:
        return 2 * n

    return lambda n: double(n)


def a_method(limited: Decorate) -> Call:
    class Doubler:
        @limited
        def double(self, n: int) -> int:
            assert type(self) is Doubler
            return 2 * n

    return lambda n: Doubler().double(n=n)


def a_class_method(limited: Decorate) -> Call:
    class Doubler:
        @classmethod
        @limited
        def double(cls, n: int) -> int:
            assert cls is Doubler
            return 2 * n

    return lambda n: Doubler.double(n) if n else Doubler().double(n)


def a_class_method_below(limited: Decorate) -> Call:
    class Doubler:
        @limited
        @classmethod
        def double(cls, n: int) -> int:
            assert cls is Doubler
            return 2 * n

    assert type(vars(Doubler)["double"]) is classmethod
    return lambda n: Doubler.double(n) if n else Doubler().double(n)


def a_static_method(limited: Decorate) -> Call:
    class Doubler:
        @staticmethod
        @limited
        def double(n: int) -> int:
            return 2 * n

    return lambda n: Doubler.double(n) if n else Doubler().double(n)


def a_static_method_below(limited: Decorate) -> Call:
    class Doubler:
        @limited
        @staticmethod
        def double(n: int) -> int:
            return 2 * n

    assert type(vars(Doubler)["double"]) is staticmethod
    return lambda n: Doubler.double(n) if n else Doubler().double(n)


def a_bound_method(limited: Decorate) -> Call:
    class Doubler:
        def double(self, n: int) -> int:
            return 2 * n

    double: Call = limited(Doubler().double)
    return double


def a_property(limited: Decorate) -> Call:
    class Number:
        n = 0

        @property
        @limited
        def double(self) -> int:
            return 2 * self.n

    def call(n: int) -> Any:
        number = Number()
        number.n = n
        return number.double

    return call


def a_partial(limited: Decorate) -> Call:
    def multiply(by: int, n: int) -> int:
        return by * n

    double: Call = limited(functools.partial(functools.partial(multiply), 2))
    return double


def an_instance(limited: Decorate) -> Call:
    class Doubler:
        def __call__(self, n: int) -> int:
            return 2 * n

    double: Call = limited(Doubler())
    return double


def a_cached_function(limited: Decorate) -> Call:
    double: Call = limited(functools.lru_cache(lambda n: 2 * n))
    return double


def a_builtin_function(limited: Decorate) -> Call:
    absolute = limited(abs)
    return lambda n: absolute(-2 * n)


def a_mock(limited: Decorate) -> Call:
    double: Call = limited(Mock(side_effect=lambda n: 2 * n))
    return double


def a_coroutine_function(limited: Decorate) -> Call:
    @limited
    async def double(n: int) -> int:
        await asyncio.sleep(0)
        return 2 * n

    return lambda n: asyncio.run(double(n))


def an_async_method(limited: Decorate) -> Call:
    class Doubler:
        @limited
        async def double(self, n: int) -> int:
            return 2 * n

    return lambda n: asyncio.run(Doubler().double(n))


def an_async_class_method(limited: Decorate) -> Call:
    class Doubler:
        @limited
        @classmethod
        async def double(cls, n: int) -> int:
            return 2 * n

    return lambda n: asyncio.run(Doubler.double(n))


def an_async_partial(limited: Decorate) -> Call:
    async def multiply(by: int, n: int) -> int:
        return by * n

    double = limited(functools.partial(multiply, 2))
    return lambda n: asyncio.run(double(n))


def an_async_instance(limited: Decorate) -> Call:
    class Doubler:
        async def __call__(self, n: int) -> int:
            return 2 * n

    double = limited(Doubler())
    return lambda n: asyncio.run(double(n))


def an_async_mock(limited: Decorate) -> Call:
    double = limited(AsyncMock(side_effect=lambda n: 2 * n))
    return lambda n: asyncio.run(double(n))


def a_generator_based_coroutine_function(limited: Decorate) -> Call:
    @limited
    @types.coroutine
    def double(n: int) -> Generator[Any, Any, int]:
        yield from asyncio.sleep(0).__await__()
        return 2 * n

    async def call(n: int) -> int:
        awaitable: Any = double(n)
        assert inspect.isawaitable(awaitable)
        result: int = await awaitable
        return result

    return lambda n: asyncio.run(call(n))


def a_generator_based_coroutine_method(limited: Decorate) -> Call:
    class Doubler:
        @classmethod
        @limited
        @types.coroutine
        def double(cls, n: int) -> Generator[Any, Any, int]:
            yield
            return 2 * n

    async def call(n: int) -> int:
        result: int = await Doubler.double(n)
        return result

    return lambda n: asyncio.run(call(n))


def a_generator_function(limited: Decorate) -> Call:
    @limited
    def double(n: int) -> Iterator[int]:
        yield n
        yield n

    return lambda n: sum(double(n))


def a_generator_method(limited: Decorate) -> Call:
    class Doubler:
        @limited
        def double(self, n: int) -> Iterator[int]:
            yield from (n, n)

    return lambda n: sum(Doubler().double(n))


def an_async_generator_function(limited: Decorate) -> Call:
    @limited
    async def double(n: int) -> AsyncIterator[int]:
        yield n
        await asyncio.sleep(0)
        yield n

    async def call(n: int) -> int:
        return sum([item async for item in double(n)])

    return lambda n: asyncio.run(call(n))


def an_async_generator_partial(limited: Decorate) -> Call:
    async def repeat(times: int, n: int) -> AsyncIterator[int]:
        for _ in range(times):
            yield n

    double = limited(functools.partial(repeat, 2))

    async def call(n: int) -> int:
        return sum([item async for item in double(n)])

    return lambda n: asyncio.run(call(n))


def a_context_manager(limited: Decorate) -> Call:
    @contextlib.contextmanager
    @limited
    def double(n: int) -> Iterator[int]:
        yield 2 * n

    def call(n: int) -> Any:
        with double(n) as result:
            return result

    return call


def a_context_manager_below(limited: Decorate) -> Call:
    @limited
    @contextlib.contextmanager
    def double(n: int) -> Iterator[int]:
        yield 2 * n

    def call(n: int) -> Any:
        with double(n) as result:
            return result

    return call


def an_async_context_manager(limited: Decorate) -> Call:
    @contextlib.asynccontextmanager
    @limited
    async def double(n: int) -> AsyncIterator[int]:
        yield 2 * n

    async def call(n: int) -> Any:
        async with double(n) as result:
            return result

    return lambda n: asyncio.run(call(n))


KINDS = [
    a_function,
    a_method,
    a_class_method,
    a_class_method_below,
    a_static_method,
    a_static_method_below,
    a_bound_method,
    a_property,
    a_partial,
    an_instance,
    a_cached_function,
    a_builtin_function,
    a_mock,
    a_coroutine_function,
    an_async_method,
    an_async_class_method,
    an_async_partial,
    an_async_instance,
    an_async_mock,
    a_generator_based_coroutine_function,
    a_generator_based_coroutine_method,
    a_generator_function,
    a_generator_method,
    an_async_generator_function,
    an_async_generator_partial,
    a_context_manager,
    a_context_manager_below,
    an_async_context_manager,
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("wait", [False, True])
def test_each_call_asks_once(limiter: flint.Limiter, kind: Callable[[Decorate], Call], wait: bool) -> None:
    timeout = 0 if wait else None
    call = kind(limiter.rate_limit("k", "2/minute", wait=wait, timeout=timeout))
    assert [in_time(call, n) for n in (0, 5)] == [0, 10]
    error = flint.AcquireTimeout if wait else flint.RateLimitExceeded
    with pytest.raises(error) as caught:
        in_time(call, 7)
    assert type(caught.value) is error
    assert (caught.value.key, caught.value.cost, caught.value.remaining) == ("k", 1, 0)
    status = limiter.status("k")
    assert status is not None
    assert status.total_allowed == 2


# What inspect and frameworks see


def plain(one: int, /, two: str = "2", *rest: bytes, three: float, **more: None) -> list[int]:
    """Says what it is."""
    raise AssertionError


async def coroutine(one: int) -> str:
    """Says what it is."""
    raise AssertionError


def generator(one: int) -> Generator[int, str, bool]:
    """Says what it is."""
    got = yield one
    return got == "got"


async def async_generator(one: int) -> AsyncGenerator[int, str]:
    """Says what it is."""
    yield one


KIND_TESTS = (
    inspect.isfunction,
    inspect.iscoroutinefunction,
    inspect.isgeneratorfunction,
    inspect.isasyncgenfunction,
)


@pytest.mark.parametrize("function", [plain, coroutine, generator, async_generator], ids=lambda each: each.__name__)
def test_name_signature_and_kind_stay(limiter: flint.Limiter, function: Any) -> None:
    function.mark = object()
    limited = limiter.rate_limit("k", "1/minute")(function)
    assert limited is not function
    for name in ("__name__", "__qualname__", "__module__", "__doc__", "__annotations__", "mark"):
        assert getattr(limited, name) == getattr(function, name), name
    assert limited.__wrapped__ is function
    assert inspect.signature(limited) == inspect.signature(function)
    assert typing.get_type_hints(limited) == typing.get_type_hints(function)
    for has_kind in KIND_TESTS:
        assert has_kind(limited) is has_kind(function), has_kind.__name__


def test_methods_are_what_they_were(limiter: flint.Limiter) -> None:
    class Base(abc.ABC):
        @limiter.rate_limit("k", "1/minute")
        @classmethod
        def make(cls, n: int) -> int:
            """Makes one."""
            return n

        @limiter.rate_limit("k", "1/minute")
        @staticmethod
        async def fetch(n: int) -> int:
            return n

        @limiter.rate_limit("k", "1/minute")
        @abc.abstractmethod
        def work(self) -> None: ...

    assert Base.make.__doc__ == "Makes one."
    assert Base.make.__qualname__.endswith("Base.make")
    assert str(inspect.signature(Base.make)) == "(n: 'int') -> 'int'"
    assert inspect.iscoroutinefunction(Base.fetch)
    assert Base.__abstractmethods__ == {"work"}


def test_a_partial_and_an_instance_are_named_after_what_they_call(limiter: flint.Limiter) -> None:
    class Doubler:
        """Doubles."""

        factor: int = 2

        def __call__(self, n: int) -> int:
            return self.factor * n

    limited = limiter.rate_limit("k", "1/minute")
    part = limited(functools.partial(plain, 1, three=3.0))
    assert (part.__name__, part.__doc__) == ("plain", "Says what it is.")
    assert list(inspect.signature(part).parameters) == ["two", "rest", "three", "more"]
    instance = limited(Doubler())
    assert (instance.__name__, instance.__module__, instance.__doc__) == ("Doubler", __name__, "Doubles.")
    assert str(inspect.signature(instance)) == "(n: 'int') -> 'int'"
    assert typing.get_type_hints(instance) == {"n": int, "return": int}
    assert typing.get_type_hints(limited(operator.itemgetter(0))) == {}
    assert not hasattr(instance, "factor")


@pytest.mark.parametrize("function", [plain, coroutine, generator, async_generator], ids=lambda each: each.__name__)
def test_a_partial_and_an_instance_are_of_the_kind_that_they_call(limiter: flint.Limiter, function: Any) -> None:
    limited = limiter.rate_limit("k", "1/minute")
    instance = type("Instance", (), {"__call__": function})()
    for each in (limited(functools.partial(function, 1)), limited(instance), limited(functools.partial(instance))):
        for has_kind in KIND_TESTS:
            assert has_kind(each) is has_kind(function), has_kind.__name__
