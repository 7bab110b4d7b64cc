"""What a type checker makes of a limited function: mypy checks this file, and running it shows that mypy is right."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Generator, Iterator
from datetime import timedelta
from typing import Any, TypeVar, overload

import pytest
from typing_extensions import Self, assert_type

import flint
from flint._backend import Acquires

T = TypeVar("T")


@pytest.fixture(autouse=True)
def plenty(limiter: flint.Limiter) -> None:
    limiter.limit("k", "1000/minute")


def test_a_function_keeps_its_type(limiter: flint.Limiter) -> None:
    @limiter.rate_limit("k", rate=100, per="1m", cost=1)
    def function(n: int, *rest: str, flag: bool = False) -> float:
        return n / 2

    assert_type(function(1, "a", flag=True), float)
    assert type(function(1)) is float
    assert_type(function.__name__, str)
    with pytest.raises(TypeError):
        function("1")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        function(1, flags=True)  # type: ignore[call-arg]

    @limiter.rate_limit("k")
    def generic(one: T, many: list[T]) -> T:
        return one

    assert_type(generic(1, [2]), int)

    @overload
    def either(value: int) -> int: ...
    @overload
    def either(value: str) -> str: ...
    @limiter.rate_limit("k")
    def either(value: Any) -> Any:
        return value

    assert_type(either("a"), str)
    both = limiter.rate_limit("k")(either)
    assert_type(both(1), int)
    assert_type(both("a"), str)


def test_coroutines_and_generators_keep_theirs(limiter: flint.Limiter) -> None:
    @limiter.rate_limit("k")
    async def coroutine(n: int) -> str:
        return str(n)

    @limiter.rate_limit("k")
    def generator(n: int) -> Generator[int, str, bool]:
        yield n
        return True

    @limiter.rate_limit("k")
    async def async_generator(n: int) -> AsyncGenerator[int, str]:
        yield n

    @contextlib.contextmanager
    @limiter.rate_limit("k")
    def manager(n: int) -> Iterator[int]:
        yield n

    @contextlib.asynccontextmanager
    @limiter.rate_limit("k")
    async def async_manager(n: int) -> AsyncIterator[int]:
        yield n

    async def main() -> None:
        call: Coroutine[Any, Any, str] = coroutine(1)
        assert_type(await call, str)
        assert_type(async_generator(1), AsyncGenerator[int, str])
        async with async_manager(1) as inside:
            assert_type(inside, int)

    asyncio.run(main())
    assert_type(generator(1), Generator[int, str, bool])
    with manager(1) as inside:
        assert_type(inside, int)


def test_methods_keep_theirs(limiter: flint.Limiter) -> None:
    limited = limiter.rate_limit("k")

    class Account:
        @limited
        def method(self, n: int) -> float:
            return n / 2

        @classmethod
        @limited
        def above(cls, n: int) -> str:
            return cls.__name__

        @limited
        @classmethod
        def below(cls, n: int) -> str:
            return cls.__name__

        @staticmethod
        @limited
        def static_above(n: int) -> str:
            return str(n)

        @limited
        @staticmethod
        def static_below(n: int) -> str:
            return str(n)

        @property
        @limited
        def value(self) -> float:
            return 0.5

        @limited
        def itself(self) -> Self:
            return self

    account = Account()
    assert_type(account.method(n=1), float)
    assert_type(account.itself(), Account)
    assert_type(account.value, float)
    for each in (Account.above(1), account.above(1), Account.below(1), account.below(1)):
        assert_type(each, str)
        assert each == "Account"
    for each in (Account.static_above(1), account.static_above(1), Account.static_below(1), account.static_below(1)):
        assert_type(each, str)
        assert each == "1"
    with pytest.raises(TypeError):
        account.method()  # type: ignore[call-arg]


def half(n: int) -> float:
    return n / 2


def test_other_callables_become_functions(limiter: flint.Limiter) -> None:
    class Doubler:
        def __call__(self, n: int) -> float:
            return n * 2.0

    limited = limiter.rate_limit("k")
    assert_type(limited(Doubler())(n=1), float)
    assert_type(limited(functools.partial(half, 1))(), float)
    function: Callable[[int], float] = limited(Doubler())
    assert function.__name__ == "Doubler"


def test_arguments(limiter: flint.Limiter) -> None:
    def cost_of(n: int) -> int:
        return n

    for limited in (
        limiter.rate_limit(lambda n: f"user:{n}", "10/minute", cost=cost_of),
        limiter.rate_limit("k", 10, timedelta(minutes=1), burst=20),
        limiter.rate_limit("k", flint.Limit("10/minute"), wait=True, timeout=1),
        limiter.rate_limit("k", ["1/s", flint.Limit("9/h")], wait=True, timeout=2.5),
    ):
        assert limited(cost_of)(3) == 3
    with pytest.raises(TypeError):
        limiter.rate_limit(7)  # type: ignore[arg-type]
    with pytest.raises(flint.InvalidCost):
        limiter.rate_limit("k", cost="1")  # type: ignore[arg-type]


def test_a_limiter_is_what_the_decorator_asks_for(limiter: flint.Limiter) -> None:
    from flint._decorator import rate_limit

    asks: Acquires = limiter
    assert rate_limit(asks, "k")(str.upper)("a") == "A"
