"""A server that ends and comes again in mid-traffic: clients fail only while it is down, and are charged once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import pytest
import uvloop
from tests.python.server.support import Server, serving, short_directory

import flint

WORKERS = 4
DEATHS = 3
# Answers of each worker between two deaths, at least.
CALLS = 30


class Traffic:
    """Workers that check one key as fast as they can, and the answers that they got."""

    def __init__(self, client: flint.SharedLimiter) -> None:
        self.client = client
        self.answered = [0] * WORKERS
        self.failed = [0] * WORKERS
        self.failed_while_up = 0
        self.unexpected: list[BaseException] = []
        # Odd while a server is there all the time, even while one may be missing.
        self.era = 0
        self.over = False
        self.news = threading.Condition()

    def note(self, worker: int, failure: BaseException | None, era: int) -> None:
        with self.news:
            if failure is None:
                self.answered[worker] += 1
            elif not isinstance(failure, flint.FlintConnectionError):
                self.unexpected.append(failure)
            else:
                self.failed[worker] += 1
                self.failed_while_up += era == self.era and era % 2
            self.news.notify_all()

    def turn(self) -> None:
        """A server comes, or is about to go."""
        with self.news:
            self.era += 1

    def wait_for(self, numbers: list[int], more: int) -> None:
        """Until each worker has so many more."""
        with self.news:
            wanted = [number + more for number in numbers]
            while any(have < want for have, want in zip(numbers, wanted, strict=True)):
                assert self.news.wait(60), (self.answered, self.failed, self.unexpected)

    def in_thread(self, worker: int) -> None:
        while not self.over:
            era = self.era
            try:
                assert self.client.check("k").allowed
            except BaseException as failure:
                self.note(worker, failure, era)
            else:
                self.note(worker, None, era)

    async def in_loop(self, worker: int) -> None:
        while not self.over:
            era = self.era
            try:
                assert (await self.client.acheck("k")).allowed
            except BaseException as failure:
                self.note(worker, failure, era)
                await asyncio.sleep(0)
            else:
                self.note(worker, None, era)

    async def in_tasks(self) -> None:
        await asyncio.gather(*map(self.in_loop, range(WORKERS)))


def threads(traffic: Traffic) -> list[threading.Thread]:
    return [threading.Thread(target=traffic.in_thread, args=(worker,)) for worker in range(WORKERS)]


def asyncio_tasks(traffic: Traffic) -> list[threading.Thread]:
    return [threading.Thread(target=lambda: asyncio.run(traffic.in_tasks()))]


def uvloop_tasks(traffic: Traffic) -> list[threading.Thread]:
    return [threading.Thread(target=lambda: uvloop.run(traffic.in_tasks()))]


@contextmanager
def started(threads: list[threading.Thread], traffic: Traffic) -> Iterator[None]:
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        traffic.over = True
        for thread in threads:
            thread.join(60)


def killed(server: Server) -> None:
    server.process.kill()
    server.wait()


@pytest.mark.parametrize(("sync", "stop"), [("batch", Server.end), ("always", killed)])
@pytest.mark.parametrize("workers", [threads, asyncio_tasks, uvloop_tasks])
def test_clients_go_on_and_are_charged_once(
    tmp_path: Path,
    sync: str,
    stop: Callable[[Server], None],
    workers: Callable[[Traffic], list[threading.Thread]],
) -> None:
    data_dir = tmp_path / "data"
    with short_directory() as place:
        client = flint.SharedLimiter(f"unix://{place}/s", retries=1)
        traffic = Traffic(client)
        start = partial(serving, data_dir, "--sync", sync, "--unix", place / "s")
        with start() as server:
            client.limit("k", "1000000/day", algorithm="fixed_window_counter")
            server.end()
        with started(workers(traffic), traffic):
            for _ in range(DEATHS):
                with start() as server:
                    traffic.turn()
                    traffic.wait_for(traffic.answered, CALLS)
                    traffic.turn()
                    stop(server)
                traffic.wait_for(traffic.failed, 1)
        assert traffic.unexpected == []
        assert traffic.failed_while_up == 0
        with start():
            status = client.status("k")
            assert status is not None
            answered, failed = sum(traffic.answered), sum(traffic.failed)
            # The caller of a failed call does not know: each was charged once or not at all.
            assert answered <= status.total_allowed <= answered + failed


@pytest.mark.parametrize(("sync", "stop"), [("batch", Server.end), ("always", killed)])
@pytest.mark.parametrize("workers", [threads, asyncio_tasks])
def test_a_caller_that_retries_long_enough_notices_nothing_and_is_charged_once(
    tmp_path: Path,
    sync: str,
    stop: Callable[[Server], None],
    workers: Callable[[Traffic], list[threading.Thread]],
) -> None:
    data_dir = tmp_path / "data"
    with short_directory() as place:
        client = flint.SharedLimiter(f"unix://{place}/s", timeout=60, retries=100)
        traffic = Traffic(client)
        start = partial(serving, data_dir, "--sync", sync, "--unix", place / "s")
        with start():
            client.limit("k", "1000000/day", algorithm="fixed_window_counter")
        with ExitStack() as stack:
            server = stack.enter_context(start())
            with started(workers(traffic), traffic):
                for _ in range(DEATHS):
                    traffic.wait_for(traffic.answered, CALLS)
                    stop(server)
                    stack.close()
                    server = stack.enter_context(start())
                traffic.wait_for(traffic.answered, CALLS)
            assert traffic.unexpected == []
            assert traffic.failed == [0] * WORKERS
            status = client.status("k")
            assert status is not None
            assert status.total_allowed == sum(traffic.answered)
