"""The native half of `flint`; import `flint` instead."""

import builtins
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from os import PathLike
from types import TracebackType
from typing import Any, Generic, Literal, TypeVar, final, overload

from typing_extensions import Self, disjoint_base

from flint._types import Aggregate as _Aggregate
from flint._types import Algorithm as _Algorithm
from flint._types import BackupReport as _BackupReport
from flint._types import Counters as _Counters
from flint._types import Item as _Item
from flint._types import LimitLike as _LimitLike
from flint._types import Period as _Period
from flint._types import RateLike as _RateLike
from flint._types import Report as _Report

__all__ = [
    "CheckResult",
    "CounterStatus",
    "Event",
    "Limit",
    "LimitStatus",
    "Limiter",
    "ManualClock",
    "MultiCheckResult",
    "Rate",
    "RateState",
    "Record",
    "Recovery",
    "Server",
    "_AttemptCall",
    "_Call",
    "_CheckAllCall",
    "_CheckCall",
    "_Codec",
    "_CompactCall",
    "_CountersCall",
    "_DeleteCall",
    "_DenyCall",
    "_DoctorCall",
    "_FlushCall",
    "_ForecastCall",
    "_HistoryCall",
    "_LimitCall",
    "_LimitManyCall",
    "_Line",
    "_ListCall",
    "_LoopWaits",
    "_PeekCall",
    "_Place",
    "_RecordsCall",
    "_ResetCall",
    "_Specs",
    "_StatusCall",
    "_TopCall",
    "__version__",
    "_aggregates",
    "_close_all",
    "_head",
    "_limit_of",
    "absolute_path",
    "backup",
    "doctor",
    "dump",
    "repair",
    "url_scheme",
    "validate_key",
]

__version__: str

_T_co = TypeVar("_T_co", covariant=True)
_A = TypeVar("_A")
_R = TypeVar("_R")

@final
class _LoopWaits:
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...

@final
class _Place:
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...

class Record(Mapping[str, Any]):
    """Frozen fields, read as attributes (`r.allowed`) or as a mapping (`r["allowed"]`, `dict(r)`)."""

    def __getitem__(self, key: str, /) -> Any: ...
    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[str]: ...
    def __contains__(self, key: object, /) -> bool: ...
    def __eq__(self, value: object, /) -> bool: ...
    def __ne__(self, value: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __reduce__(self) -> tuple[Any, ...]: ...
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, _memo: object) -> Self: ...
    def get(self, key: str, default: Any = None, /) -> Any:
        """The value of the field, or `default` where there is no such field."""

    def to_dict(self) -> dict[str, Any]:
        """The fields as a dict that `json.dumps` accepts: times are RFC 3339 text ending in Z, tuples are lists."""

@final
class Rate(Record):
    """One rate: `rate` tokens every `per_millis` milliseconds."""

    def __new__(cls, rate: int, per_millis: int, burst: int, algorithm: str) -> Self: ...
    @property
    def rate(self) -> int: ...
    @property
    def per_millis(self) -> int: ...
    @property
    def burst(self) -> int: ...
    @property
    def algorithm(self) -> _Algorithm: ...

@final
class Limit:
    """A parsed limit: one to eight rates that are taken together or not at all. Frozen and reusable.

    Limits with the same rates are equal, in any order.
    """

    def __new__(
        cls, rate: _RateLike, per: _Period | None = None, *, algorithm: str = "token_bucket", burst: int | None = None
    ) -> Self: ...
    @property
    def rates(self) -> tuple[Rate, ...]: ...
    @property
    def capacity(self) -> int: ...
    def __eq__(self, value: object, /) -> bool: ...
    def __ne__(self, value: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, _memo: object) -> Self: ...

@final
class RateState(Record):
    """One of a limit's rates as an answer found it."""

    def __new__(
        cls,
        rate: int,
        per_millis: int,
        burst: int,
        algorithm: str,
        remaining: int,
        retry_after_ns: int,
        reset_after_ns: int,
    ) -> Self: ...
    @property
    def rate(self) -> int: ...
    @property
    def per_millis(self) -> int: ...
    @property
    def burst(self) -> int: ...
    @property
    def algorithm(self) -> _Algorithm: ...
    @property
    def remaining(self) -> int: ...
    @property
    def retry_after_ns(self) -> int: ...
    @property
    def retry_after(self) -> float: ...
    @property
    def reset_after_ns(self) -> int: ...
    @property
    def reset_after(self) -> float: ...

@final
class CheckResult(Record):
    """The answer to one check. True when the check was allowed."""

    def __new__(
        cls,
        allowed: bool,
        key: str,
        cost: int,
        limit: int,
        remaining: int,
        retry_after_ns: int = 0,
        reset_after_ns: int = 0,
        reset_at_ns: int = 0,
        rates: Iterable[RateState] = (),
        degraded: bool = False,
    ) -> Self: ...
    def __bool__(self) -> bool: ...
    @property
    def allowed(self) -> bool: ...
    @property
    def key(self) -> str: ...
    @property
    def rates(self) -> tuple[RateState, ...]: ...
    @property
    def degraded(self) -> bool: ...
    @property
    def cost(self) -> int: ...
    @property
    def limit(self) -> int: ...
    @property
    def remaining(self) -> int: ...
    @property
    def retry_after_ns(self) -> int: ...
    @property
    def retry_after(self) -> float: ...
    @property
    def reset_after_ns(self) -> int: ...
    @property
    def reset_after(self) -> float: ...
    @property
    def reset_at_ns(self) -> int: ...
    @property
    def reset_at(self) -> datetime: ...

@final
class MultiCheckResult(Record):
    """The answer to a check of several keys. True when all of them were allowed."""

    def __new__(
        cls,
        allowed: bool,
        denied_key: str | None,
        retry_after_ns: int,
        results: Iterable[CheckResult],
        degraded: bool = False,
    ) -> Self: ...
    def __bool__(self) -> bool: ...
    @property
    def allowed(self) -> bool: ...
    @property
    def denied_key(self) -> str | None: ...
    @property
    def retry_after_ns(self) -> int: ...
    @property
    def retry_after(self) -> float: ...
    @property
    def results(self) -> tuple[CheckResult, ...]: ...
    @property
    def degraded(self) -> bool: ...

@final
class CounterStatus(Record):
    """One of the counters of a key: each limit that calls bring has one of its own."""

    def __new__(
        cls,
        rates: Iterable[Rate],
        binding: int,
        remaining: int,
        retry_after_ns: int,
        reset_at_ns: int,
        total_allowed: int,
        total_denied: int,
        total_allowed_cost: int,
        total_denied_cost: int,
        last_allowed_at_ns: int | None,
        last_denied_at_ns: int | None,
        last_reset_at_ns: int | None,
    ) -> Self: ...
    @property
    def rate(self) -> int: ...
    @property
    def per_millis(self) -> int: ...
    @property
    def burst(self) -> int: ...
    @property
    def algorithm(self) -> _Algorithm: ...
    @property
    def rates(self) -> tuple[Rate, ...]: ...
    @property
    def binding(self) -> int: ...
    @property
    def remaining(self) -> int: ...
    @property
    def retry_after_ns(self) -> int: ...
    @property
    def retry_after(self) -> float: ...
    @property
    def reset_at_ns(self) -> int: ...
    @property
    def reset_at(self) -> datetime: ...
    @property
    def total_allowed(self) -> int: ...
    @property
    def total_denied(self) -> int: ...
    @property
    def total_allowed_cost(self) -> int: ...
    @property
    def total_denied_cost(self) -> int: ...
    @property
    def last_allowed_at_ns(self) -> int | None: ...
    @property
    def last_denied_at_ns(self) -> int | None: ...
    @property
    def last_reset_at_ns(self) -> int | None: ...
    @property
    def last_allowed_at(self) -> datetime | None: ...
    @property
    def last_denied_at(self) -> datetime | None: ...
    @property
    def last_reset_at(self) -> datetime | None: ...

@final
class LimitStatus(Record):
    """One key: its limit, what is left of it, and its totals."""

    def __new__(
        cls,
        key: str,
        rates: Iterable[Rate],
        binding: int,
        origin: str,
        out_of_bounds: bool,
        remaining: int,
        retry_after_ns: int,
        reset_at_ns: int,
        total_allowed: int,
        total_denied: int,
        total_allowed_cost: int,
        total_denied_cost: int,
        last_allowed_at_ns: int | None,
        last_denied_at_ns: int | None,
        last_reset_at_ns: int | None,
        counters: Iterable[CounterStatus] = ...,
    ) -> Self: ...
    @property
    def key(self) -> str: ...
    @property
    def rate(self) -> int: ...
    @property
    def per_millis(self) -> int: ...
    @property
    def burst(self) -> int: ...
    @property
    def algorithm(self) -> _Algorithm: ...
    @property
    def rates(self) -> tuple[Rate, ...]: ...
    @property
    def binding(self) -> int: ...
    @property
    def origin(self) -> Literal["explicit", "call"]: ...
    @property
    def out_of_bounds(self) -> bool: ...
    @property
    def remaining(self) -> int: ...
    @property
    def retry_after_ns(self) -> int: ...
    @property
    def retry_after(self) -> float: ...
    @property
    def reset_at_ns(self) -> int: ...
    @property
    def reset_at(self) -> datetime: ...
    @property
    def total_allowed(self) -> int: ...
    @property
    def total_denied(self) -> int: ...
    @property
    def total_allowed_cost(self) -> int: ...
    @property
    def total_denied_cost(self) -> int: ...
    @property
    def last_allowed_at_ns(self) -> int | None: ...
    @property
    def last_denied_at_ns(self) -> int | None: ...
    @property
    def last_reset_at_ns(self) -> int | None: ...
    @property
    def last_allowed_at(self) -> datetime | None: ...
    @property
    def last_denied_at(self) -> datetime | None: ...
    @property
    def last_reset_at(self) -> datetime | None: ...
    @property
    def counters(self) -> tuple[CounterStatus, ...]: ...

@final
class Event(Record):
    """One event of a key's history."""

    def __new__(
        cls,
        type: str,
        at_ns: int,
        cost: int,
        count: int,
        remaining: int | None,
        rates: Iterable[Rate] | None = None,
    ) -> Self: ...
    @property
    def type(self) -> str: ...
    @property
    def at_ns(self) -> int: ...
    @property
    def at(self) -> datetime: ...
    @property
    def cost(self) -> int: ...
    @property
    def count(self) -> int: ...
    @property
    def remaining(self) -> int | None: ...
    @property
    def rates(self) -> tuple[Rate, ...] | None: ...

@final
class Recovery(Record):
    """What opening the directory found and did."""

    def __new__(
        cls,
        created: bool,
        clean: bool,
        snapshot_seq: int,
        records: int,
        segments: int,
        cut_bytes: int,
        cut_file: str | None,
        cut_offset: int | None,
        migrated_from: str | None,
    ) -> Self: ...
    @property
    def created(self) -> bool: ...
    @property
    def clean(self) -> bool: ...
    @property
    def snapshot_seq(self) -> int: ...
    @property
    def records(self) -> int: ...
    @property
    def segments(self) -> int: ...
    @property
    def cut_bytes(self) -> int: ...
    @property
    def cut_file(self) -> str | None: ...
    @property
    def cut_offset(self) -> int | None: ...
    @property
    def migrated_from(self) -> str | None: ...

@disjoint_base
class ManualClock:
    """A clock that moves only when it is advanced. Pass it as `Limiter(clock=...)`."""

    def __new__(cls, start: datetime | None = None) -> Self: ...
    def advance(self, seconds: int | timedelta = 0, *, ms: int = 0, ns: int = 0) -> None:
        """Let time pass: `seconds` plus `ms` milliseconds plus `ns` nanoseconds."""

    def set_wall(self, when: datetime) -> None:
        """Step the wall clock alone; no time passes for running limiters."""

    def now(self) -> datetime:
        """The wall clock's reading, an aware UTC datetime."""

    def _monotonic_ns(self) -> int: ...

class _Call(Generic[_T_co]):
    """A parsed call, which returns a `_T_co`."""

@final
class _CheckCall(_Call[CheckResult]):
    def __new__(cls, key: str, cost: int, limit: _LimitLike | None, /) -> Self: ...
    @property
    def key(self) -> str: ...
    @property
    def cost(self) -> int: ...

@final
class _AttemptCall(_Call[CheckResult]):
    """A check whose denial is not counted."""

    def __new__(cls, key: str, cost: int, limit: _LimitLike | None, /) -> Self: ...
    @property
    def key(self) -> str: ...
    @property
    def cost(self) -> int: ...

@final
class _CheckAllCall(_Call[MultiCheckResult]):
    def __new__(cls, items: Iterable[_Item], /) -> Self: ...
    @property
    def keys(self) -> list[str]: ...
    @property
    def costs(self) -> list[int]: ...

@final
class _PeekCall(_Call[CheckResult]):
    def __new__(cls, key: str, cost: int, limit: _LimitLike | None, /) -> Self: ...

@final
class _ForecastCall(_Call[CheckResult]):
    """A denied result that waits until the last of `costs` was taken, each in its turn."""

    def __new__(cls, key: str, cost: int, limit: _LimitLike | None, costs: list[int] | None, /) -> Self: ...
    @property
    def key(self) -> str: ...
    @property
    def cost(self) -> int: ...

@final
class _DenyCall(_Call[Literal[True]]):
    """Counts a denial of an acquire() that gave up."""

    def __new__(cls, key: str, cost: int, limit: _LimitLike | None, /) -> Self: ...

@final
class _LimitCall(_Call[Literal[True]]):
    def __new__(
        cls,
        key: str,
        rate: _RateLike,
        per: _Period | None,
        burst: int | None,
        on_change: str,
        algorithm: str = ...,
        /,
    ) -> Self: ...

@final
class _LimitManyCall(_Call[Literal[True]]):
    def __new__(cls, specs: Iterable[Mapping[str, Any]], /) -> Self: ...

@final
class _Specs:
    """The arguments of limit_many(), parsed some at a time."""

    def __new__(cls, specs: Iterable[Mapping[str, Any]], /) -> Self: ...
    def parse(self, count: int, /) -> _LimitManyCall | None:
        """Parse up to `count` more; the call when there are no more."""

@final
class _ResetCall(_Call[Literal[True]]):
    def __new__(cls, key: str, /) -> Self: ...

@final
class _DeleteCall(_Call[Literal[True]]):
    def __new__(cls, key: str, /) -> Self: ...

@final
class _StatusCall(_Call[LimitStatus | None]):
    def __new__(cls, key: str, /) -> Self: ...

@final
class _ListCall(_Call[list[LimitStatus]]):
    """Returns all statuses from the engine of this process, and one page of them from a server."""

    def __new__(cls, prefix: str | None, limit: int | None, after: str | None, /) -> Self: ...
    def rest(self, page: list[LimitStatus], /) -> _ListCall | None:
        """The call for what follows `page`, a server's answer to this one; None when nothing does."""

@final
class _TopCall(_Call[list[LimitStatus]]):
    def __new__(cls, by: str, limit: int, /) -> Self: ...

@final
class _HistoryCall(_Call[list[Event]]):
    def __new__(cls, key: str, limit: int, /) -> Self: ...

@final
class _FlushCall(_Call[Literal[True]]):
    def __new__(cls) -> Self: ...

@final
class _CompactCall(_Call[Literal[True]]):
    def __new__(cls) -> Self: ...

@final
class _DoctorCall(_Call[_Report]):
    def __new__(cls) -> Self: ...

@final
class _CountersCall(_Call[_Counters]):
    def __new__(cls) -> Self: ...

@final
class _RecordsCall(_Call[tuple[list[dict[str, Any]], int]]):
    """Records of a server's log above `after`, and the newest number among them."""

    def __new__(cls, after: int, limit: int, /) -> Self: ...

@disjoint_base
class Limiter:
    """Rate limits that survive restarts, kept in the directory `data_dir`."""

    def __init__(
        self,
        data_dir: str | PathLike[str] = ".flint",
        *,
        sync: str = "always",
        flush_every_ms: int = 100,
        flush_every_events: int = 100,
        read_only: bool = False,
        history_bytes: int = 67108864,
        lock_timeout: float = 0,
        log_io: str = "auto",
        clock: ManualClock | None = None,
    ) -> None: ...
    def limit(
        self,
        key: str,
        rate: _RateLike,
        per: _Period | None = None,
        *,
        algorithm: str = "token_bucket",
        burst: int | None = None,
        on_change: str = "keep",
    ) -> None:
        """Set the limit of `key`."""

    def limit_many(self, specs: Iterable[Mapping[str, Any]]) -> None:
        """Set many limits: all of them, or none."""

    def check(self, key: str, cost: int = 1, *, limit: _LimitLike | None = None) -> CheckResult:
        """Take `cost` tokens of `key` if it has them."""

    def allow(self, key: str, cost: int = 1, *, limit: _LimitLike | None = None) -> bool:
        """The decision of check() alone."""

    def check_all(self, items: Iterable[_Item]) -> MultiCheckResult:
        """Take tokens of several keys, all or nothing."""

    def allow_all(self, items: Iterable[_Item]) -> bool:
        """The decision of check_all() alone."""

    def peek(self, key: str, cost: int = 1, *, limit: _LimitLike | None = None) -> CheckResult:
        """What check() would return now; consumes nothing."""

    def status(self, key: str) -> LimitStatus | None:
        """The limit of `key`, what is left of it and its totals."""

    def list(
        self, prefix: str | None = None, limit: int | None = None, after: str | None = None
    ) -> builtins.list[LimitStatus]:
        """The statuses of all keys in the order of their UTF-8 bytes."""

    def top(self, by: str = "denied", limit: int = 10) -> builtins.list[LimitStatus]:
        """The statuses of the keys with the largest total, largest first."""

    def history(self, key: str, limit: int = 100) -> builtins.list[Event]:
        """The newest `limit` events of `key`, oldest first."""

    def reset(self, key: str) -> None:
        """Restore the full limit of `key`."""

    def delete(self, key: str) -> None:
        """Remove `key`: its limit, state and totals."""

    def flush(self) -> None:
        """Return when everything that was acknowledged so far is on disk."""

    def compact(self) -> None:
        """Write a snapshot and drop the log that it replaces."""

    def backup(self, path: str | PathLike[str]) -> _BackupReport:
        """Copy the store to the directory `path` while checks go on."""

    def doctor(self) -> _Report:
        """Verify the files; changes nothing."""

    def counters(self) -> _Counters:
        """Totals since opening."""

    def close(self) -> None:
        """Flush, unlock the directory and end the background threads."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None: ...
    def _run(self, call: _Call[_T_co], /) -> _T_co: ...
    @overload
    def _start(self, call: _FlushCall | _CompactCall, /) -> Awaitable[Literal[True]]: ...
    @overload
    def _start(self, call: _ListCall | _TopCall, /) -> Awaitable[builtins.list[LimitStatus]]: ...
    @overload
    def _start(self, call: _HistoryCall, /) -> Awaitable[builtins.list[Event]]: ...
    @overload
    def _start(self, call: _DoctorCall, /) -> Awaitable[_Report]: ...
    @overload
    def _start(self, call: _Call[_T_co], /) -> _T_co | Awaitable[_T_co]: ...
    def _start_check(
        self, key: str, cost: int, limit: _LimitLike | None, /
    ) -> CheckResult | Awaitable[CheckResult]: ...
    def _start_check_all(self, items: Iterable[_Item], /) -> MultiCheckResult | Awaitable[MultiCheckResult]: ...
    def _in_thread(self, function: Callable[[_A], _R], argument: _A, /) -> Awaitable[_R]: ...
    def _acquire(
        self, key: str, cost: int, limit: _LimitLike | None, timeout: float | None, /
    ) -> CheckResult | tuple[CheckResult, int]: ...
    def _start_acquire(
        self, key: str, cost: int, limit: _LimitLike | None, timeout: float | None, /
    ) -> CheckResult | tuple[CheckResult, int] | Awaitable[CheckResult | tuple[CheckResult, int]]: ...
    def _waiting(self, key: str, /) -> int: ...
    @property
    def _clock(self) -> ManualClock | None: ...
    @property
    def recovery(self) -> Recovery: ...
    @property
    def data_dir(self) -> str: ...
    @property
    def sync(self) -> Literal["always", "batch"]: ...
    @property
    def read_only(self) -> bool: ...
    @property
    def closed(self) -> bool: ...

@final
class Server:
    """A server that answers from a limiter, listening from its construction on."""

    def __new__(
        cls,
        limiter: Limiter | Callable[[], Limiter],
        *,
        bind: str | None = None,
        unix: str | PathLike[str] | None = None,
        activated: bool = False,
        token: str | None = None,
        token_visible: bool = False,
        token_file: str | PathLike[str] | None = None,
        tls_cert: str | PathLike[str] | None = None,
        tls_key: str | PathLike[str] | None = None,
        require_tls: bool = False,
        allowed_hosts: builtins.list[str] | tuple[str, ...] = ...,
        log_format: str | None = None,
        metrics: Callable[[], str] | None = None,
        **limits: int,
    ) -> Self: ...
    def serve(self, *, signals: bool = False) -> None:
        """Answer requests in this thread until stop() is called."""

    def stop(self) -> None:
        """Have serve() return."""

    @property
    def scraping(self) -> bool:
        """Whether a thread is still in `metrics` after serve() has returned."""

    @property
    def urls(self) -> builtins.list[str]: ...

def doctor(path: str | PathLike[str]) -> _Report:
    """Verify the files of a directory without opening it."""

def backup(path: str | PathLike[str], output: str | PathLike[str]) -> _BackupReport:
    """Copy the store in the directory `path`, which may be in use, to `output`, and read the copy back."""

def url_scheme(text: str) -> str | None:
    """The scheme of a URL, in lower case; None for a path."""

def repair(path: str | PathLike[str], output: str | PathLike[str]) -> dict[str, Any]:
    """Write a repaired copy of the directory `path` to `output`, and say what it lacks."""

def dump(
    path: str | PathLike[str],
    after: int,
    callback: Callable[[dict[str, Any]], object],
    idle: Callable[[], object] | None = None,
) -> int:
    """Call `callback` with each log record above the sequence number `after`, until it returns False.

    `idle` is called at the end of the log; while it returns something true, the dump goes on with the records
    written since.
    """

def absolute_path(path: str | PathLike[str]) -> str:
    """The absolute form of a data directory, as Limiter.data_dir has it."""

def validate_key(key: str) -> None:
    """Reject a key that no call would accept."""

def _close_all() -> None: ...
def _aggregates(limiter: Limiter, /) -> list[_Aggregate]: ...
def _limit_of(rates: Iterable[Rate]) -> Limit: ...

@final
class _Codec:
    """Makes the requests of one client."""

    def __new__(cls, headers: bytes, seed: bytes) -> Self: ...
    def encode(self, call: _Call[Any], /) -> bytes:
        """The bytes of the call's request, with an idempotency key where it needs one."""

    def decode(self, call: _Call[_T_co], data: bytes, start: int, /) -> _T_co:
        """The result of `call`, from an answer whose body begins at `start` of `data`. Raises ValueError."""

    def is_repeatable(self, call: _Call[Any], /) -> bool:
        """Whether the request may be sent again when the answer was lost."""

    def reseed(self, seed: bytes, /) -> None: ...

@final
class _Line:
    """A connected socket in blocking mode, for the calling thread."""

    def __new__(cls, descriptor: int) -> Self: ...
    def talk(self, data: bytes, seconds: float, /) -> bytes: ...
    def call(self, request: bytes, call: _Call[_T_co], seconds: float, /) -> _T_co | bytes: ...

def _head(data: bytes, /) -> tuple[int, int, int, bool, str | None, int | None] | None: ...
