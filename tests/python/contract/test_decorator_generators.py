"""`rate_limit` on generators: checks when the first item is requested, once, and passes everything else through."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from typing import Any

import pytest

import flint


class Mine(Exception):
    pass


def raise_it(error: type[BaseException]) -> None:
    raise error


def taken(limiter: flint.Limiter) -> int:
    status = limiter.status("k")
    return 0 if status is None else status.total_allowed


# A generator that answers each thing that can be done to it differently, and what is done to it.


def talk(said: list[Any]) -> Generator[int, Any, str]:
    item = 0
    try:
        while True:
            try:
                got = yield item
            except KeyError as error:
                got = error
            except IndexError:
                return "index"
            except TypeError:
                raise Mine from None
            said.append(got)
            item += 1
    finally:
        said.append("end")


async def atalk(said: list[Any]) -> AsyncGenerator[int, Any]:
    item = 0
    try:
        while True:
            try:
                got = yield item
            except KeyError as error:
                got = error
            except IndexError:
                return
            except TypeError:
                raise Mine from None
            await asyncio.sleep(0)
            said.append(got)
            item += 1
    finally:
        await asyncio.sleep(0)
        said.append("end")


Step = tuple[str, Any]
STORIES: dict[str, list[Step]] = {
    "items": [("next", None), ("next", None), ("next", None)],
    "send": [("next", None), ("send", "a"), ("send", "b"), ("next", None)],
    "send first": [("send", "too early"), ("next", None)],
    "close": [("next", None), ("close", None), ("next", None), ("close", None)],
    "close at once": [("close", None), ("next", None)],
    "throw at once": [("throw", Mine()), ("next", None)],
    "throw and go on": [("next", None), ("throw", KeyError("k")), ("send", "a")],
    "throw and end": [("next", None), ("throw", IndexError()), ("next", None)],
    "throw and turn": [("next", None), ("throw", TypeError()), ("next", None)],
    "throw through": [("next", None), ("throw", Mine()), ("next", None)],
    "throw what ends iterations": [("next", None), ("throw", StopIteration("s"))],
    "throw what ends async iterations": [("next", None), ("throw", StopAsyncIteration("s"))],
    "throw what closes": [("next", None), ("throw", GeneratorExit("g")), ("next", None)],
    "throw what interrupts": [("next", None), ("throw", KeyboardInterrupt())],
}


def outcome(error: BaseException) -> tuple[Any, ...]:
    cause, context = error.__cause__, error.__context__
    return (type(error), str(error), getattr(error, "value", None), type(cause), type(context))


def transcript(generator: Generator[int, Any, str], said: list[Any], story: list[Step]) -> list[Any]:
    lines: list[Any] = []
    for what, value in story:
        try:
            if what == "next":
                lines.append(next(generator))
            else:
                lines.append(getattr(generator, what)(*([] if what == "close" else [value])))
        except BaseException as error:
            lines.append(outcome(error))
        lines.append([str(each) for each in said])
    return lines


async def atranscript(generator: AsyncGenerator[int, Any], said: list[Any], story: list[Step]) -> list[Any]:
    lines: list[Any] = []
    for what, value in story:
        try:
            if what == "next":
                lines.append(await generator.__anext__())
            else:
                lines.append(await getattr(generator, f"a{what}")(*([] if what == "close" else [value])))
        except BaseException as error:
            lines.append(outcome(error))
        lines.append([str(each) for each in said])
    return lines


@pytest.mark.parametrize("story", STORIES)
def test_a_generator_answers_as_it_did(limiter: flint.Limiter, story: str) -> None:
    limited = limiter.rate_limit("k", "2/minute")(talk)
    said: list[Any] = []
    expected = transcript(talk(said), said, STORIES[story])
    said = []
    assert transcript(limited(said), said, STORIES[story]) == expected
    assert taken(limiter) == (0 if "at once" in story else 1)


@pytest.mark.parametrize("story", STORIES)
def test_an_async_generator_answers_as_it_did(limiter: flint.Limiter, story: str) -> None:
    limited = limiter.rate_limit("k", "2/minute")(atalk)

    async def main() -> None:
        said: list[Any] = []
        expected = await atranscript(atalk(said), said, STORIES[story])
        said = []
        assert await atranscript(limited(said), said, STORIES[story]) == expected

    asyncio.run(main())
    assert taken(limiter) == (0 if "at once" in story else 1)


def test_a_generator_asks_for_its_first_item_only(limiter: flint.Limiter) -> None:
    """Once, whatever is done with it; a generator that is not started takes nothing."""

    @limiter.rate_limit(lambda start: "k", "2/minute")
    def count(start: int) -> Iterator[int]:
        yield from range(start, start + 3)

    first, second, third = count(1), count(10), count(20)
    assert taken(limiter) == 0
    assert next(first) == 1
    assert taken(limiter) == 1
    assert [*first, *second] == [2, 3, 10, 11, 12]
    with pytest.raises(flint.RateLimitExceeded):
        next(third)
    assert list(third) == []
    assert taken(limiter) == 2


def test_an_async_generator_asks_for_its_first_item_only(limiter: flint.Limiter) -> None:
    @limiter.rate_limit(lambda start: "k", "2/minute")
    async def count(start: int) -> AsyncIterator[int]:
        for item in range(start, start + 3):
            yield item

    async def main() -> None:
        first, second, third = count(1), count(10), count(20)
        assert taken(limiter) == 0
        assert await anext(first) == 1
        assert taken(limiter) == 1
        assert [item async for item in first] == [2, 3]
        assert [item async for item in second] == [10, 11, 12]
        with pytest.raises(flint.RateLimitExceeded):
            await anext(third)
        assert [item async for item in third] == []
        assert taken(limiter) == 2

    asyncio.run(main())


def test_a_context_manager_sees_what_happens_inside(limiter: flint.Limiter) -> None:
    seen: list[str] = []

    @contextlib.contextmanager
    @limiter.rate_limit("k", "3/minute")
    def connection() -> Iterator[str]:
        try:
            yield "open"
        except KeyError:
            seen.append("handled")
        finally:
            seen.append("closed")

    with connection() as state:
        assert state == "open"
    with connection():
        raise_it(KeyError)
    with pytest.raises(Mine), connection():
        raise_it(Mine)
    assert seen == ["closed", "handled", "closed", "closed"]
    with pytest.raises(flint.RateLimitExceeded), connection():
        raise_it(AssertionError)


def test_an_async_context_manager_sees_what_happens_inside(limiter: flint.Limiter) -> None:
    seen: list[str] = []

    @contextlib.asynccontextmanager
    @limiter.rate_limit("k", "4/minute")
    async def connection() -> AsyncIterator[str]:
        try:
            yield "open"
        except KeyError:
            seen.append("handled")
        finally:
            await asyncio.sleep(0)
            seen.append("closed")

    async def main() -> None:
        async with connection() as state:
            assert state == "open"
        async with connection():
            raise_it(KeyError)
        for error in (Mine, StopAsyncIteration):
            with pytest.raises(error):
                async with connection():
                    raise_it(error)
        with pytest.raises(flint.RateLimitExceeded):
            async with connection():
                raise_it(AssertionError)

    asyncio.run(main())
    assert seen == ["closed", "handled", "closed", "closed", "closed"]


def test_cancelling_reaches_the_async_generator(limiter: flint.Limiter) -> None:
    seen: list[str] = []

    @limiter.rate_limit("k", "3/minute")
    async def items(started: asyncio.Event) -> AsyncIterator[int]:
        try:
            yield 1
            started.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    async def main() -> None:
        started = asyncio.Event()

        async def consume() -> None:
            async for item in items(started):
                seen.append(f"item {item}")

        task = asyncio.create_task(consume())
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert seen == ["item 1", "cancelled"]


@pytest.mark.parametrize("let_go", [True, False])
def test_the_loop_closes_what_was_left_open_without_a_complaint(limiter: flint.Limiter, let_go: bool) -> None:
    """When it is not referenced any more, and when the loop shuts down."""
    seen: list[Any] = []
    left: list[AsyncIterator[int]] = []

    @limiter.rate_limit("k", "9/minute")
    async def items() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            for _ in range(3):
                await asyncio.sleep(0)
            seen.append("closed")

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: seen.append(context))
        for _ in range(4):
            left.append(items())
            assert await anext(left[-1]) == 1
        if let_go:
            left.clear()
            while len(seen) < 4:
                await asyncio.sleep(0)

    asyncio.run(asyncio.wait_for(main(), 60))
    assert seen == ["closed"] * 4


def test_nothing_holds_what_was_thrown(limiter: flint.Limiter) -> None:
    """No cycle keeps an exception, and with it the frames of its traceback, until the garbage collector comes by."""

    @limiter.rate_limit("k", "2/minute")
    async def items() -> AsyncGenerator[int, None]:
        yield 1

    async def main() -> weakref.ref[Mine]:
        left = items()
        await anext(left)
        thrown = Mine()
        with contextlib.suppress(Mine):
            await left.athrow(thrown)
        reference = weakref.ref(thrown)
        del thrown  # or this frame, which the traceback holds, would hold it
        return reference

    gc.collect()
    gc.disable()
    try:
        assert asyncio.run(main())() is None
    finally:
        gc.enable()
