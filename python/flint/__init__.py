"""Flint: rate limits that survive restarts, crashes and power cuts, inside the Python process.

import flint

limiter = flint.Limiter(data_dir=".flint")
limiter.limit("api:user-42", "100/minute")
if limiter.allow("api:user-42"):
    ...
"""

# Layers, lowest first. A module imports only from its own package and from the lines above its own, for type checkers
# too; tests/python/test_layers.py reads this list. `flint` is this file.
#
#   _native
#   _types, _errors
#   testing, _validate
#   _waiting.queue, _waiting.waiters
#   _backend
#   _decorator
#   _waiting
#   _base
#   _limiter, _client
#   _connect
#   _metrics, _web
#   prometheus, keys, asgi
#   _fastapi
#   fastapi, flint
#   cli, pytest_plugin
#   __main__

import atexit as _atexit
import logging as _logging

try:
    from flint import _native as _native
except ImportError as error:
    # The interpreter's own refusal, for one with a lock of its own. Others are refused by the native half.
    if "subinterpreters" in str(error) and not isinstance(error, ModuleNotFoundError) and "%{GLOBAL}" not in str(error):
        import os

        raise ImportError(
            f"flint cannot be imported in this subinterpreter of process {os.getpid()}, which has an interpreter lock "
            "of its own: it works in one interpreter of a process, the main one or one that shares its lock. With "
            "mod_wsgi, set WSGIApplicationGroup %{GLOBAL} for every application that uses flint; with jep, use "
            "SharedInterpreter in place of SubInterpreter; elsewhere, use processes or threads in place of "
            f"subinterpreters ({error})"
        ) from None
    raise

from flint._client.limiter import SharedLimiter
from flint._connect import connect
from flint._errors import (
    AcquireTimeout,
    ClosedError,
    CorruptData,
    DataDirLocked,
    FlintConnectionError,
    FlintError,
    FlintServerError,
    ForkedError,
    InvalidArgument,
    InvalidCost,
    InvalidKey,
    InvalidLimit,
    LimitNotFound,
    RateLimitExceeded,
    StorageError,
)
from flint._limiter import Limiter
from flint._native import (
    CheckResult,
    CounterStatus,
    Event,
    Limit,
    LimitStatus,
    MultiCheckResult,
    Rate,
    RateState,
    Recovery,
    __version__,
    _close_all,
)
from flint.prometheus import add_prometheus_route, prometheus_metrics

__all__ = [
    "AcquireTimeout",
    "CheckResult",
    "ClosedError",
    "CorruptData",
    "CounterStatus",
    "DataDirLocked",
    "Event",
    "FlintConnectionError",
    "FlintError",
    "FlintServerError",
    "ForkedError",
    "InvalidArgument",
    "InvalidCost",
    "InvalidKey",
    "InvalidLimit",
    "Limit",
    "LimitNotFound",
    "LimitStatus",
    "Limiter",
    "MultiCheckResult",
    "Rate",
    "RateLimitExceeded",
    "RateState",
    "Recovery",
    "SharedLimiter",
    "StorageError",
    "__version__",
    "add_prometheus_route",
    "connect",
    "prometheus_metrics",
]

_logging.getLogger("flint").addHandler(_logging.NullHandler())

# Before the interpreter is taken down: flush, unlock and join native threads, none of which touches Python afterwards.
_atexit.register(_close_all)
