"""The exceptions for a server that reports an error, answers something else, or cannot be reached."""

from __future__ import annotations

import json
from ssl import SSLCertVerificationError, SSLError

from flint._client.response import NotUnderstoodError
from flint._errors import (
    FlintConnectionError,
    FlintError,
    FlintServerError,
    InvalidArgument,
    InvalidCost,
    InvalidKey,
    InvalidLimit,
    LimitNotFound,
)

_SAME_AS_EMBEDDED: dict[tuple[int, str], type[FlintError]] = {
    (400, "invalid_key"): InvalidKey,
    (400, "invalid_limit"): InvalidLimit,
    (400, "invalid_cost"): InvalidCost,
    (400, "invalid_argument"): InvalidArgument,
    (400, "invalid_json"): InvalidArgument,
}

_REMEDIES = {
    "unauthorized": "give the server's token as token=",
    "forbidden": "use a token with the scope that is needed",
}
_MAX_DETAIL = 1_000
# A problem of a server is shorter. What is longer, or nested more deeply than any, is not parsed.
_MAX_PROBLEM = 64 * 1024


def of(url: str, status: int, content_type: str | None, body: bytes) -> FlintError:
    """The exception for an answer whose status is not 200: the one of the embedded limiter, where it has one."""
    code, detail = "", ""
    key: str | None = None
    if (content_type or "").partition(";")[0].strip().lower() == "application/problem+json":
        try:
            problem = json.loads(body) if len(body) <= _MAX_PROBLEM else None
        except (ValueError, RecursionError):
            problem = None
        if isinstance(problem, dict):
            code = _text(problem, "code") or ""
            detail = (_text(problem, "detail") or "")[:_MAX_DETAIL]
            key = _text(problem, "key")
    if (status, code) == (404, "limit_not_found"):
        return LimitNotFound(detail, key=key)
    embedded = _SAME_AS_EMBEDDED.get((status, code))
    if embedded is not None:
        return embedded(detail)
    if 300 <= status < 400:
        detail = "it is a redirect, and redirects are not followed: give the server's own URL"
    elif not code:
        detail = "the answer is not a Flint server's: look at what listens there"
    remedy = _REMEDIES.get(code)
    message = f"the server at {url} answered {status}" + (f" ({code})" if code else "")
    message += f": {detail}" if detail else ""
    return FlintServerError(message + (f"; {remedy}" if remedy else ""), status=status, code=code)


def _text(problem: dict[str, object], name: str) -> str | None:
    value = problem.get(name)
    # A lone surrogate is valid in JSON, and no stream can write it.
    return value.encode(errors="backslashreplace").decode() if isinstance(value, str) else None


class UntrustedServerError(FlintConnectionError):
    """A certificate was not accepted. Something answered, which may not be the server."""

    def __reduce__(self) -> tuple[type[FlintConnectionError], tuple[object, ...]]:
        """Another process has no use for the difference."""
        return FlintConnectionError, self.args


def _is_of_certificate(error: SSLError) -> bool:
    return isinstance(error, SSLCertVerificationError) or "CERTIFICATE" in (getattr(error, "reason", None) or "")


def not_understood(url: str, error: Exception) -> FlintServerError:
    """The exception for an answer with status 200 that is not what this version reads."""
    message = f"what answered at {url} is not a Flint server, or one of another version: {error}"
    return FlintServerError(message, status=200, code="not_understood")


def unreachable(url: str, error: Exception, *, sent: bool) -> FlintConnectionError:
    """The exception for I/O that failed. sent: whether the request was, or may have been, sent."""
    if isinstance(error, NotUnderstoodError):
        return FlintConnectionError(f"the answer of {url} is not understood: {error}; look at what listens there")
    if isinstance(error, TimeoutError):
        what = "answered" if sent else "accepted a connection"
        return FlintConnectionError(
            f"the server at {url} has not {what} in time ({error}); see how busy it is, or give a longer timeout="
        )
    if isinstance(error, SSLError):
        kind = UntrustedServerError if _is_of_certificate(error) else FlintConnectionError
        return kind(
            f"no TLS with {url} ({error.strerror or error}); see whether the server speaks TLS there, and whether its "
            "certificate is of an authority that ssl_context= (or SSL_CERT_FILE) knows and for that name"
        )
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or type(error).__name__
    if sent:
        return FlintConnectionError(
            f"the connection to {url} broke before the answer came ({reason}); see whether the server is running"
        )
    return FlintConnectionError(
        f"no connection to {url} ({reason}); see whether the server is running there: it is started with "
        "`flint --data-dir DIR server start`"
    )
