"""`on_error`: what a check returns when the server is unavailable."""

from __future__ import annotations

import logging
import math
from time import monotonic

from flint._errors import FlintConnectionError, FlintError, FlintServerError
from flint._validate import one_of

_log = logging.getLogger("flint")

# on_error, and whether checks are then allowed; None raises.
_DECISIONS = {"raise": None, "allow": True, "deny": False}
_WARN_EVERY_S = 60.0


class ErrorPolicy:
    """The policy of one client."""

    __slots__ = ("_decision", "_warned_at")

    def __init__(self, on_error: str) -> None:
        self._decision = _DECISIONS[one_of("on_error", on_error, _DECISIONS)]
        self._warned_at = -math.inf

    def decide(self, failure: FlintError) -> bool:
        """Whether a check that ended with `failure` is allowed. Raises `failure` where the policy does not cover it.

        It covers a server that cannot be reached or fails itself, not one that rejects the call.
        """
        covered = isinstance(failure, FlintConnectionError) or (
            isinstance(failure, FlintServerError) and failure.status >= 500
        )
        if self._decision is None or not covered:
            raise failure
        now = monotonic()
        if now - self._warned_at >= _WARN_EVERY_S:
            # Without this line an application whose limits are not enforced looks healthy to its operators.
            self._warned_at = now
            _log.warning(
                "checks are answered with %r without a server, which is logged once a minute: %s",
                "allow" if self._decision else "deny",
                failure,
            )
        return self._decision
