"""The registry of backends: the kinds of limiters that the contract tests run against.

A contract test uses nothing but the public API, which all kinds have. A new kind of limiter is one more entry in
BACKENDS, and in KINDS where it is a class of its own.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flint
from flint._native import Server
from flint.testing import ManualClock

# Of another class than flint.Limiter perhaps, with the same API: that is what the tests show.
Make = Callable[[Path, ManualClock, ExitStack], flint.Limiter]


@dataclass(frozen=True)
class Kind:
    """What tests have to know of a class of limiters."""

    cls: type
    # Whether a call decides in this process before it returns an awaitable: in the order of the calls, whether or not
    # the await is then cancelled, and with a worker thread for what takes long.
    in_process: bool
    # How many of its calls wait for an answer from elsewhere.
    requests_in_flight: Callable[[Any], int]
    # How many callers wait in acquire() for a key.
    waiting: Callable[[Any, str], int]


@dataclass(frozen=True)
class Backend:
    """One way to make a limiter."""

    name: str
    kind: Kind
    make: Make


EMBEDDED = Kind(
    flint.Limiter,
    in_process=True,
    requests_in_flight=lambda _limiter: 0,
    waiting=lambda limiter, key: int(limiter._waiting(key)),
)
SHARED = Kind(
    flint.SharedLimiter,
    in_process=False,
    requests_in_flight=lambda limiter: int(limiter._core.endpoint.pool.in_use),
    waiting=lambda limiter, key: int(limiter._queues.length(key)),
)
KINDS = (EMBEDDED, SHARED)


def kind_of(limiter: object) -> Kind:
    """The kind that `limiter` is of."""
    return next(kind for kind in KINDS if isinstance(limiter, kind.cls))


def embedded_batch(data_dir: Path, clock: ManualClock, stack: ExitStack) -> flint.Limiter:
    return stack.enter_context(flint.Limiter(data_dir, sync="batch", clock=clock))


def embedded_always(data_dir: Path, clock: ManualClock, stack: ExitStack) -> flint.Limiter:
    return stack.enter_context(flint.Limiter(data_dir, sync="always", clock=clock))


@contextmanager
def running(server: Server) -> Iterator[str]:
    """The URL of `server`, which serves in a thread of this process."""
    thread = threading.Thread(target=server.serve)
    thread.start()
    try:
        (url,) = server.urls
        yield url
    finally:
        server.stop()
        thread.join()


def shared(url: str, clock: ManualClock, stack: ExitStack) -> flint.Limiter:
    """A client. Both sides have the test's clock: the server decides by it, and acquire() waits by it."""
    client = stack.enter_context(flint.SharedLimiter(url))
    client._queues.clock = clock
    return client  # type: ignore[return-value]


def shared_unix_batch(data_dir: Path, clock: ManualClock, stack: ExitStack) -> flint.Limiter:
    # The path of a socket has at most about 100 bytes.
    place = stack.enter_context(tempfile.TemporaryDirectory())
    server = Server(embedded_batch(data_dir, clock, stack), unix=os.path.join(place, "s"))
    return shared(stack.enter_context(running(server)), clock, stack)


def shared_tcp_always(data_dir: Path, clock: ManualClock, stack: ExitStack) -> flint.Limiter:
    server = Server(embedded_always(data_dir, clock, stack), bind="127.0.0.1:0")
    return shared(stack.enter_context(running(server)), clock, stack)


BACKENDS = (
    Backend("embedded-always", EMBEDDED, embedded_always),
    Backend("embedded-batch", EMBEDDED, embedded_batch),
    Backend("shared-tcp-always", SHARED, shared_tcp_always),
    Backend("shared-unix-batch", SHARED, shared_unix_batch),
)
