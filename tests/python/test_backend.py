"""The protocols of flint._backend: both kinds of limiters have all of them, and the features need nothing else."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterable, Mapping
from typing import Any

import pytest
from tests.python.backends import EMBEDDED, KINDS, SHARED, Kind
from tests.python.contract.asgi_support import hello, statuses

import flint
from flint import _backend
from flint._backend import (
    Acquires,
    Administers,
    AdministersRemotely,
    Attempts,
    Checks,
    ChecksAsync,
    Inspects,
    Reports,
    Sums,
)
from flint._base import LimiterBase
from flint._native import _AttemptCall, _DenyCall, _ForecastCall
from flint._types import Item, LimitLike
from flint._waiting.queue import Queues
from flint.asgi import RateLimitMiddleware
from flint.testing import ManualClock

PROTOCOLS = [Acquires, Administers, Checks, ChecksAsync, Inspects, Reports]
# Those that a limiter may do without, and the kinds that have them.
OPTIONAL: dict[type, list[Kind]] = {Sums: [EMBEDDED], AdministersRemotely: [SHARED], Attempts: [SHARED]}
IMPLEMENTED = [
    *((kind, protocol) for kind in KINDS for protocol in PROTOCOLS),
    *((kind, protocol) for protocol, kinds in OPTIONAL.items() for kind in kinds),
]


def type_checkers_accept(embedded: flint.Limiter, shared: flint.SharedLimiter) -> None:
    """Checked by mypy alone."""
    _checks: tuple[Checks, ...] = (embedded, shared)
    _checks_async: tuple[ChecksAsync, ...] = (embedded, shared)
    _acquires: tuple[Acquires, ...] = (embedded, shared)
    _attempts: tuple[Attempts, ...] = (shared,)
    _reports: tuple[Reports, ...] = (embedded, shared)
    _inspects: tuple[Inspects, ...] = (embedded, shared)
    _administers: tuple[Administers, ...] = (embedded, shared)
    _administers_remotely: tuple[AdministersRemotely, ...] = (shared,)
    _sums: tuple[Sums, ...] = (embedded,)


def members(protocol: type) -> dict[str, Any]:
    """What a protocol requires, that of its bases included."""
    return {
        name: member
        for base in protocol.__mro__
        if base.__module__ == _backend.__name__
        for name, member in vars(base).items()
        if inspect.isfunction(member) or isinstance(member, property)
        if name not in ("__init__", "__subclasshook__")
    }


def test_every_protocol_is_tested() -> None:
    found = [value for value in vars(_backend).values() if getattr(value, "__module__", "") == _backend.__name__]
    assert {protocol.__name__ for protocol in found} == {protocol.__name__ for protocol in [*PROTOCOLS, *OPTIONAL]}


@pytest.mark.parametrize(
    ("kind", "protocol"),
    IMPLEMENTED,
    ids=[f"{kind.cls.__name__}-{protocol.__name__}" for kind, protocol in IMPLEMENTED],
)
def test_a_limiter_has_what_the_protocol_says(kind: Kind, protocol: type) -> None:
    required = members(protocol)
    assert required
    for name, member in required.items():
        found = inspect.getattr_static(kind.cls, name)
        if isinstance(member, property):
            assert inspect.isdatadescriptor(found), name
            continue
        assert inspect.iscoroutinefunction(found) == inspect.iscoroutinefunction(member), name
        given = [(each.name, each.default) for each in inspect.signature(found).parameters.values()]
        assert given == [(each.name, each.default) for each in inspect.signature(member).parameters.values()], name


class Minimal(LimiterBase):
    """A limiter that has the members of the protocols and no others; it decides as the one that it wraps."""

    def __init__(self, inner: flint.Limiter, clock: ManualClock) -> None:
        self._inner = inner
        self._own_queues = Queues(clock)

    def check(self, key: str, cost: int = 1, *, limit: LimitLike | None = None) -> flint.CheckResult:
        return self._inner.check(key, cost, limit=limit)

    def peek(self, key: str, cost: int = 1, *, limit: LimitLike | None = None) -> flint.CheckResult:
        return self._inner.peek(key, cost, limit=limit)

    async def acheck(self, key: str, cost: int = 1, *, limit: LimitLike | None = None) -> flint.CheckResult:
        return self._inner.check(key, cost, limit=limit)

    async def acheck_all(self, items: Iterable[Item]) -> flint.MultiCheckResult:
        return self._inner.check_all(items)

    @property
    def _queues(self) -> Queues:
        return self._own_queues

    def _attempt(self, key: str, cost: int, limit: LimitLike | None, /) -> flint.CheckResult:
        return self._inner._run(_AttemptCall(key, cost, limit))

    async def _aattempt(self, key: str, cost: int, limit: LimitLike | None, /) -> flint.CheckResult:
        return self._attempt(key, cost, limit)

    def _look_ahead(
        self, key: str, cost: int, limit: LimitLike | None, costs: list[int] | None, /
    ) -> flint.CheckResult:
        return self._inner._run(_ForecastCall(key, cost, limit, costs))

    async def _alook_ahead(
        self, key: str, cost: int, limit: LimitLike | None, costs: list[int] | None, /
    ) -> flint.CheckResult:
        return self._look_ahead(key, cost, limit, costs)

    def _count_denial(self, key: str, cost: int, limit: LimitLike | None, /) -> None:
        self._inner._run(_DenyCall(key, cost, limit))

    async def _acount_denial(self, key: str, cost: int, limit: LimitLike | None, /) -> None:
        self._count_denial(key, cost, limit)

    def list(
        self, prefix: str | None = None, limit: int | None = None, after: str | None = None
    ) -> list[flint.LimitStatus]:
        return self._inner.list(prefix, limit, after)

    def counters(self) -> Mapping[str, Any]:
        return self._inner.counters()


@pytest.fixture
def minimal(limiter: flint.Limiter, clock: ManualClock) -> Minimal:
    limiter.limit("k", "1/s")
    return Minimal(limiter, clock)


def test_waiting_needs_no_more_than_the_protocols(minimal: Minimal, clock: ManualClock) -> None:
    assert minimal.acquire("k").allowed
    with pytest.raises(flint.AcquireTimeout):
        minimal.acquire("k", timeout=0.5)

    async def main() -> None:
        waiting = asyncio.create_task(minimal.aacquire("k"))
        while not minimal._queues.length("k"):
            await asyncio.sleep(0)
        clock.advance(1)
        assert (await waiting).allowed
        with pytest.raises(flint.AcquireTimeout):
            await minimal.aacquire("k", timeout=0.5)

    asyncio.run(main())
    (status,) = minimal.list()
    assert (status.total_allowed, status.total_denied) == (2, 2)


def test_the_decorator_needs_no_more_than_the_protocols(minimal: Minimal) -> None:
    @minimal.rate_limit("k")
    def plain() -> int:
        return 1

    @minimal.rate_limit("k", wait=True, timeout=0.5)
    async def waiting() -> int:
        return 2

    assert plain() == 1
    with pytest.raises(flint.RateLimitExceeded):
        plain()
    with pytest.raises(flint.AcquireTimeout):
        asyncio.run(waiting())


def test_integrations_need_no_more_than_the_protocols(minimal: Minimal) -> None:
    app = RateLimitMiddleware(hello, minimal, key="k")
    assert statuses(app, "/", "/") == [200, 429]
    assert 'flint_limit_info{key="k",' in flint.prometheus_metrics(minimal)
