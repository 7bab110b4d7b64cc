"""Answers to requests that are not let through, and the error policy: what happens when the limiter itself fails."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from time import monotonic
from typing import Literal, TypeAlias

from flint._errors import FlintError, InvalidArgument, InvalidKey, InvalidLimit, LimitNotFound
from flint._web.headers import Header

OnError: TypeAlias = Literal["raise", "deny", "allow"]

# The strictest first.
ON_ERROR: tuple[OnError, ...] = ("raise", "deny", "allow")

_LOG_INTERVAL_S = 60.0

_log = logging.getLogger("flint")


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer in place of the application's."""

    status: int
    detail: str
    websocket_code: int
    headers: tuple[Header, ...] = ()

    def body(self) -> bytes:
        """The same JSON that FastAPI makes of an HTTPException."""
        return json.dumps({"detail": self.detail}, separators=(",", ":")).encode()

    def with_headers(self, headers: Iterable[Header]) -> Refusal:
        """The same answer with more headers."""
        return Refusal(self.status, self.detail, self.websocket_code, (*self.headers, *headers))


# Close codes of RFC 6455: policy violation, try again later.
DENIED = Refusal(429, "rate limit exceeded", 1008)
UNAVAILABLE = Refusal(503, "rate limiter unavailable", 1013)


class ErrorPolicy:
    """Decides what an error of the limiter means for a request, and logs each class of error at most once a minute.

    The classes are few, so what it remembers is bounded.
    """

    def __init__(self) -> None:
        self._logged_at_s: dict[type[Exception], float] = {}

    def log(self, level: int, text: str, error: Exception) -> None:
        """Logs `text` and the error, unless an error of its class was logged within the last minute."""
        now_s = monotonic()
        last_s = self._logged_at_s.get(type(error))
        if last_s is None or now_s - last_s >= _LOG_INTERVAL_S:
            self._logged_at_s[type(error)] = now_s
            _log.log(level, "%s; %s: %s (logged at most once a minute)", text, type(error).__name__, error)

    def cost_too_high(self, owner: str, error: Exception) -> Refusal:
        """A cost that can never succeed is denied, without a Retry-After, because waiting does not help."""
        self.log(logging.WARNING, f"{owner}: a request can never be allowed and was denied", error)
        return DENIED

    def decide(self, owner: str, error: FlintError, on_error: OnError) -> Refusal | None:
        """The answer where the limiter could not decide; None lets the request through.

        Raises:
            FlintError: the error itself, if the application caused it, or if `on_error` is "raise".
        """
        if isinstance(error, LimitNotFound):
            raise LimitNotFound(
                f"{owner}: no limit is set for key {error.key!r}; give {owner} a rate, or set the key's limit before "
                "with limiter.limit(key, ...)",
                key=error.key,
            ) from error
        if isinstance(error, (InvalidArgument, InvalidKey, InvalidLimit)):
            raise error
        if on_error == "raise":
            self.log(logging.ERROR, f"{owner}: the limiter failed, and so did the request (on_error='raise')", error)
            raise error
        if on_error == "deny":
            self.log(logging.ERROR, f"{owner}: the limiter failed, requests are refused (on_error='deny')", error)
            return UNAVAILABLE
        self.log(logging.ERROR, f"{owner}: the limiter failed, requests are not limited (on_error='allow')", error)
        return None
