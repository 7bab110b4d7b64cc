"""The default of the argument `algorithm`."""

from __future__ import annotations


class _Unnamed(str):
    """The text of a default, distinct from an equal str of a caller."""

    __slots__ = ()


# The default of `algorithm`. The native half refuses an algorithm together with a flint.Limit, which has its own, also
# when it is "token_bucket"; so a default has to be left out.
TOKEN_BUCKET = _Unnamed("token_bucket")


def named(algorithm: str) -> tuple[str, ...]:
    """The algorithm as a last positional argument, unless it is the default."""
    return () if algorithm is TOKEN_BUCKET else (algorithm,)
