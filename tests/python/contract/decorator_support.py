"""A call that may wait for ever if something is wrong, and must not take the test run with it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def in_time(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What the call gives or raises within 30 s, in a thread of its own, which ends when the limiter is closed."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(call(*args, **kwargs))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future.result(timeout=30)
