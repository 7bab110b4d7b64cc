"""What an exchange asks of its driver: a generator yields one of these, and is sent the answer.

    TAKE                a connection, as soon as there is one
    connection          nothing, when its socket is connected
    connection, bytes   what was received after these were sent
    a float             nothing, after that many seconds
    a function          what it returns, which takes noticeable time to compute

An exception that the I/O raises is thrown into the generator.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, TypeVar

T = TypeVar("T")
Steps = Generator[Any, Any, T]

TAKE = object()
