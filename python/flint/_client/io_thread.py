"""The I/O of an exchange, by the calling thread."""

from __future__ import annotations

import socket
import threading
import time
from typing import Any, TypeVar

from flint._client.address import QUEUE_PAUSE_S, no_address
from flint._client.connection import Connection
from flint._client.deadline import remaining
from flint._client.endpoint import Endpoint
from flint._client.steps import TAKE, Steps

T = TypeVar("T")


class _Waiter:
    """A thread that waits for a connection."""

    __slots__ = ("_asleep", "connection")

    def __init__(self) -> None:
        self.connection: Connection | None = None
        self._asleep = threading.Lock()
        self._asleep.acquire()

    def receive(self, connection: Connection | None) -> None:
        self.connection = connection
        self._asleep.release()

    def wait(self, seconds: float) -> None:
        self._asleep.acquire(timeout=min(seconds, threading.TIMEOUT_MAX))


def run(endpoint: Endpoint, steps: Steps[T], deadline: float) -> T:
    """The result of `steps`, which end when the thread is interrupted."""
    try:
        step = next(steps)
        while True:
            try:
                value = _do(endpoint, step, deadline)
            except BaseException as error:
                step = steps.throw(error)
            else:
                step = steps.send(value)
    except StopIteration as end:
        result: T = end.value
        return result
    finally:
        steps.close()


def _do(endpoint: Endpoint, step: Any, deadline: float) -> Any:
    if type(step) is tuple:
        connection, data = step
        return connection.for_thread().talk(data, remaining(deadline))
    if step is TAKE:
        return _take(endpoint, deadline)
    if type(step) is Connection:
        _connect(endpoint, step, deadline)
    elif callable(step):
        return step()
    else:
        time.sleep(step)
    return None


def _take(endpoint: Endpoint, deadline: float) -> Connection:
    pool, waiter = endpoint.pool, _Waiter()
    connection = pool.take(waiter)
    if connection is not None:
        return connection
    try:
        waiter.wait(remaining(deadline))
    except BaseException:
        pool.abandon(waiter)
        raise
    return pool.claim(waiter)


def _connect(endpoint: Endpoint, connection: Connection, deadline: float) -> None:
    address = endpoint.address
    if address.path is not None:
        connection.opened(_open(socket.AF_UNIX, 0, address.path, deadline))
        return
    failure = no_address(address.host)
    for family, _, protocol, _, place in socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM):
        try:
            connection.opened(_open(family, protocol, place, deadline))
        except OSError as error:
            failure = error
        else:
            return
    raise failure


def _open(family: int, protocol: int, place: Any, deadline: float) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM, protocol)
    try:
        while True:
            sock.settimeout(remaining(deadline))
            try:
                sock.connect(place)
            except BlockingIOError:
                # The accept queue of a Unix socket is full, and no event reports when it has room.
                time.sleep(min(QUEUE_PAUSE_S, remaining(deadline)))
            else:
                return sock
    except BaseException:
        sock.close()
        raise
