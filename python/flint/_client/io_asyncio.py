"""The I/O of an exchange, by a coroutine of an asyncio event loop."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable
from typing import Any, TypeVar

from flint._client.address import QUEUE_PAUSE_S, no_address
from flint._client.connection import Connection
from flint._client.deadline import exceeded, remaining
from flint._client.endpoint import Endpoint
from flint._client.steps import TAKE, Steps

T = TypeVar("T")

_CHUNK = 65536


class _Waiter:
    """A coroutine that waits for a connection."""

    __slots__ = ("_event_loop", "_future", "connection")

    def __init__(self) -> None:
        self.connection: Connection | None = None
        self._event_loop = asyncio.get_running_loop()
        self._future: asyncio.Future[None] = self._event_loop.create_future()

    def receive(self, connection: Connection | None) -> None:
        self.connection = connection
        try:
            self._event_loop.call_soon_threadsafe(_resolve, self._future)
        except RuntimeError:
            # The loop was closed with the coroutine in it, which releases the connection when it is collected.
            return

    async def wait(self, seconds: float) -> None:
        alarm = self._event_loop.call_later(seconds, _resolve, self._future)
        try:
            await self._future
        finally:
            alarm.cancel()


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


async def run(endpoint: Endpoint, steps: Steps[T], deadline: float) -> T:
    """The result of `steps`, which end when the coroutine is cancelled."""
    try:
        step = next(steps)
        while True:
            try:
                value = await _do(endpoint, step, deadline)
            except BaseException as error:
                step = steps.throw(error)
            else:
                step = steps.send(value)
    except StopIteration as end:
        result: T = end.value
        return result
    finally:
        steps.close()


async def compute(function: Callable[..., T], *arguments: object) -> T:
    """What the function returns, called in a thread: the event loop goes on meanwhile."""
    return await asyncio.get_running_loop().run_in_executor(None, function, *arguments)


async def _do(endpoint: Endpoint, step: Any, deadline: float) -> Any:
    if type(step) is tuple:
        connection, data = step
        return await _talk(connection, data, deadline)
    if step is TAKE:
        return await _take(endpoint, deadline)
    if type(step) is Connection:
        await _connect(endpoint, step, deadline)
    elif callable(step):
        return await compute(step)
    else:
        await asyncio.sleep(step)
    return None


async def _talk(connection: Connection, data: bytes, deadline: float) -> bytes:
    """What arrives after `data` was sent; b"" at the end."""
    sock = connection.for_event_loop()
    unsent = memoryview(data)
    while unsent:
        try:
            unsent = unsent[sock.send(unsent) :]
        except BlockingIOError:
            await _ready(sock, deadline, writable=True)
    while True:
        # An answer is never there directly after its request: a recv() before the wait would be a wasted system call.
        await _ready(sock, deadline, writable=False)
        try:
            received: bytes = sock.recv(_CHUNK)
        except BlockingIOError:
            continue
        return received


async def _ready(sock: socket.socket, deadline: float, *, writable: bool) -> None:
    """Wait until the socket can be written to, or read from."""
    event_loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = event_loop.create_future()
    descriptor = sock.fileno()
    alarm = event_loop.call_later(remaining(deadline), _expire, future)
    watch, unwatch = (
        (event_loop.add_writer, event_loop.remove_writer)
        if writable
        else (event_loop.add_reader, event_loop.remove_reader)
    )
    watch(descriptor, _resolve, future)
    try:
        await future
    finally:
        alarm.cancel()
        unwatch(descriptor)


def _expire(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_exception(exceeded())


async def _take(endpoint: Endpoint, deadline: float) -> Connection:
    pool, waiter = endpoint.pool, _Waiter()
    connection = pool.take(waiter)
    if connection is not None:
        return connection
    try:
        await waiter.wait(remaining(deadline))
    except BaseException:
        pool.abandon(waiter)
        raise
    return pool.claim(waiter)


async def _connect(endpoint: Endpoint, connection: Connection, deadline: float) -> None:
    address = endpoint.address
    if address.path is not None:
        sock = await _open(socket.AF_UNIX, 0, address.path, deadline)
    else:
        sock = await _connect_tcp(address.host, address.port, deadline)
    connection.opened(sock)


async def _connect_tcp(host: str, port: int, deadline: float) -> socket.socket:
    event_loop = asyncio.get_running_loop()
    look_up = event_loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    try:
        found = await asyncio.wait_for(look_up, remaining(deadline))
    except asyncio.TimeoutError:
        raise exceeded() from None
    failure = no_address(host)
    for family, _, protocol, _, place in found:
        try:
            return await _open(family, protocol, place, deadline)
        except OSError as error:
            failure = error
    raise failure


async def _open(family: int, protocol: int, place: object, deadline: float) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM, protocol)
    try:
        sock.setblocking(False)
        code = sock.connect_ex(place)  # type: ignore[arg-type]
        if code == errno.EAGAIN and family == socket.AF_UNIX:
            # The accept queue of a Unix socket is full, and no event reports when it has room.
            while code == errno.EAGAIN:
                await asyncio.sleep(min(QUEUE_PAUSE_S, remaining(deadline)))
                code = sock.connect_ex(place)  # type: ignore[arg-type]
        if code in (errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EALREADY):
            await _ready(sock, deadline, writable=True)
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code not in (0, errno.EISCONN):
            raise OSError(code, os.strerror(code))
    except BaseException:
        sock.close()
        raise
    return sock
