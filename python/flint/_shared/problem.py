"""What a server says is wrong, as the exception that the embedded limiter raises for it."""

from __future__ import annotations

import json

from flint._errors import (
    FlintError,
    FlintServerError,
    InvalidArgument,
    InvalidCost,
    InvalidKey,
    InvalidLimit,
    LimitNotFound,
)

_OURS: dict[tuple[int, str], type[FlintError]] = {
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


def of(url: str, status: int, content_type: str | None, body: bytes) -> FlintError:
    """The exception for an answer whose status is not 200."""
    code, detail = "", ""
    key: str | None = None
    if (content_type or "").partition(";")[0].strip().lower() == "application/problem+json":
        try:
            problem = json.loads(body)
        except ValueError:
            problem = None
        if isinstance(problem, dict):
            code = _text(problem, "code") or ""
            detail = (_text(problem, "detail") or "")[:_MAX_DETAIL]
            key = _text(problem, "key")
    if (status, code) == (404, "limit_not_found"):
        return LimitNotFound(detail, key=key)
    ours = _OURS.get((status, code))
    if ours is not None:
        return ours(detail)
    if 300 <= status < 400:
        detail = "it sends elsewhere, and redirects are not followed: give the server's own URL"
    elif not code:
        detail = "the answer is not a Flint server's: look at what listens there"
    remedy = _REMEDIES.get(code)
    message = f"the server at {url} answered {status}" + (f" ({code})" if code else "")
    message += f": {detail}" if detail else ""
    return FlintServerError(message + (f"; {remedy}" if remedy else ""), status=status, code=code)


def _text(problem: dict[str, object], name: str) -> str | None:
    value = problem.get(name)
    return value if isinstance(value, str) else None
