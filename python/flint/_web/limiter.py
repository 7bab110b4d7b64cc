"""What the web integrations accept as a limiter."""

from __future__ import annotations

from typing import TypeGuard

from flint._backend import ChecksAsync


def is_limiter(value: object) -> TypeGuard[ChecksAsync]:
    """Whether requests can be checked with the value."""
    # Integrations ask for every request. The answer about a class is cached once it is yes; until Python 3.12 an
    # isinstance() with a protocol examines each object anew, which takes 10 us. Of an object whose class has not all
    # methods, its own attributes decide.
    return value is not None and (issubclass(type(value), ChecksAsync) or isinstance(value, ChecksAsync))
