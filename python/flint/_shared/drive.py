"""The I/O that an exchange asks for: `run` for a thread, `arun` for a coroutine.

Both leave a connection to the exchange, which closes it unless a whole answer came: also when the call is cancelled,
interrupted, or late.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import threading
import time
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

from flint._errors import ClosedError
from flint._shared.connection import Connection
from flint._shared.exchange import TAKE, Steps

if TYPE_CHECKING:
    from flint._shared.core import Core

T = TypeVar("T")

_CHUNK = 65536
_QUEUE_PAUSE_S = 0.001


def _late() -> TimeoutError:
    return TimeoutError("the timeout of the call is over")


def _remaining(deadline: float) -> float:
    left = deadline - monotonic()
    if left <= 0:
        raise _late()
    return left


class _ThreadTurn:
    """A thread that waits for a connection."""

    __slots__ = ("_bell", "connection")

    def __init__(self) -> None:
        self.connection: Connection | None = None
        self._bell = threading.Lock()
        self._bell.acquire()

    def give(self, connection: Connection | None) -> None:
        self.connection = connection
        self._bell.release()

    def wait(self, seconds: float) -> None:
        self._bell.acquire(timeout=min(seconds, threading.TIMEOUT_MAX))


class _LoopTurn:
    """A coroutine that waits for a connection."""

    __slots__ = ("_event_loop", "_future", "connection")

    def __init__(self) -> None:
        self.connection: Connection | None = None
        self._event_loop = asyncio.get_running_loop()
        self._future: asyncio.Future[None] = self._event_loop.create_future()

    def give(self, connection: Connection | None) -> None:
        self.connection = connection
        try:
            self._event_loop.call_soon_threadsafe(_resolve, self._future)
        except RuntimeError:
            # The loop was closed with the coroutine in it, which gives back what it was given when it is collected.
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


def _given(core: Core, turn: _ThreadTurn | _LoopTurn) -> Connection:
    """What `turn` got, now that it has waited."""
    if core.pool.leave(turn):
        raise TimeoutError("all connections of this client are at work")
    if turn.connection is None:
        raise ClosedError("this SharedLimiter was closed")
    return turn.connection


def _give_up(core: Core, turn: _ThreadTurn | _LoopTurn) -> None:
    """The caller does not want a connection any more."""
    if not core.pool.leave(turn) and turn.connection is not None:
        core.pool.give_back(turn.connection, usable=turn.connection.sock is not None)


def run(core: Core, steps: Steps[T], deadline: float) -> T:
    """What `steps` come to, in this thread."""
    try:
        step = next(steps)
        while True:
            try:
                value = _do(core, step, deadline)
            except BaseException as error:
                step = steps.throw(error)
            else:
                step = steps.send(value)
    except StopIteration as end:
        result: T = end.value
        return result
    finally:
        steps.close()


def _do(core: Core, step: Any, deadline: float) -> Connection | bytes | None:
    if type(step) is tuple:
        connection, data = step
        received: bytes = connection.for_thread().talk(data, _remaining(deadline))
        return received
    if step is TAKE:
        return _take(core, deadline)
    if type(step) is Connection:
        _connect(core, step, deadline)
    else:
        time.sleep(step)
    return None


def _take(core: Core, deadline: float) -> Connection:
    turn = _ThreadTurn()
    connection = core.pool.take(turn)
    if connection is not None:
        return connection
    try:
        turn.wait(_remaining(deadline))
    except BaseException:
        _give_up(core, turn)
        raise
    return _given(core, turn)


def _connect(core: Core, connection: Connection, deadline: float) -> None:
    address = core.address
    if address.path is not None:
        connection.opened(_open(socket.AF_UNIX, 0, address.path, deadline))
        return
    failure: OSError = _no_address(address.host)
    for family, _, protocol, _, place in socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM):
        try:
            connection.opened(_open(family, protocol, place, deadline))
        except OSError as error:
            failure = error
        else:
            return
    raise failure


def _no_address(host: str) -> OSError:
    return OSError(errno.EADDRNOTAVAIL, f"{host} has no address")


def _open(family: int, protocol: int, place: Any, deadline: float) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM, protocol)
    try:
        while True:
            sock.settimeout(_remaining(deadline))
            try:
                sock.connect(place)
            except BlockingIOError:
                # The queue of a Unix socket's listener is full, and nothing tells when it is not.
                time.sleep(min(_QUEUE_PAUSE_S, _remaining(deadline)))
            else:
                return sock
    except BaseException:
        sock.close()
        raise


async def arun(core: Core, steps: Steps[T], deadline: float) -> T:
    """What `steps` come to, in this coroutine."""
    try:
        step = next(steps)
        while True:
            try:
                value = await _ado(core, step, deadline)
            except BaseException as error:
                step = steps.throw(error)
            else:
                step = steps.send(value)
    except StopIteration as end:
        result: T = end.value
        return result
    finally:
        steps.close()


async def _ado(core: Core, step: Any, deadline: float) -> Connection | bytes | None:
    if type(step) is tuple:
        connection, data = step
        return await _atalk(connection, data, deadline)
    if step is TAKE:
        return await _atake(core, deadline)
    if type(step) is Connection:
        await _aconnect(core, step, deadline)
    else:
        await asyncio.sleep(step)
    return None


async def _atalk(connection: Connection, data: bytes, deadline: float) -> bytes:
    sock = connection.for_loop()
    unsent = memoryview(data)
    while unsent:
        try:
            unsent = unsent[sock.send(unsent) :]
        except BlockingIOError:
            await _ready(sock, deadline, writable=True)
    while True:
        # Nothing is there at once after a request: asking first would be a system call for nothing.
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
    alarm = event_loop.call_later(_remaining(deadline), _expire, future)
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
        future.set_exception(_late())


async def _atake(core: Core, deadline: float) -> Connection:
    turn = _LoopTurn()
    connection = core.pool.take(turn)
    if connection is not None:
        return connection
    try:
        await turn.wait(_remaining(deadline))
    except BaseException:
        _give_up(core, turn)
        raise
    return _given(core, turn)


async def _aconnect(core: Core, connection: Connection, deadline: float) -> None:
    address = core.address
    if address.path is not None:
        sock = await _aopen(socket.AF_UNIX, 0, address.path, deadline)
    else:
        sock = await _aconnect_tcp(address.host, address.port, deadline)
    connection.opened(sock)


async def _aconnect_tcp(host: str, port: int, deadline: float) -> socket.socket:
    event_loop = asyncio.get_running_loop()
    look_up = event_loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    try:
        found = await asyncio.wait_for(look_up, _remaining(deadline))
    except asyncio.TimeoutError:
        raise _late() from None
    failure = _no_address(host)
    for family, _, protocol, _, place in found:
        try:
            return await _aopen(family, protocol, place, deadline)
        except OSError as error:
            failure = error
    raise failure


async def _aopen(family: int, protocol: int, place: object, deadline: float) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM, protocol)
    try:
        sock.setblocking(False)
        begun = sock.connect_ex(place)  # type: ignore[arg-type]
        if begun == errno.EAGAIN and family == socket.AF_UNIX:
            # The queue of the listener is full, and nothing tells when it is not.
            while begun == errno.EAGAIN:
                await asyncio.sleep(min(_QUEUE_PAUSE_S, _remaining(deadline)))
                begun = sock.connect_ex(place)  # type: ignore[arg-type]
        if begun in (errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EALREADY):
            await _ready(sock, deadline, writable=True)
            begun = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if begun not in (0, errno.EISCONN):
            raise OSError(begun, os.strerror(begun))
    except BaseException:
        sock.close()
        raise
    return sock
