"""The algorithm that a limit has unless one is named."""

from __future__ import annotations


class _Unnamed(str):
    """Text that says that nobody gave it."""

    __slots__ = ()


# A default of "token_bucket" that can be told from the same word of a caller: beside a flint.Limit none may be named.
TOKEN_BUCKET = _Unnamed("token_bucket")


def named(algorithm: str) -> tuple[str, ...]:
    """The algorithm as a last argument, if a caller named it."""
    return () if algorithm is TOKEN_BUCKET else (algorithm,)
