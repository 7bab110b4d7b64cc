"""Bad input: a typed error that says what was wrong and what is accepted, nothing written, no other key affected."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

import flint
from flint import InvalidArgument, InvalidCost, InvalidKey, InvalidLimit, LimitNotFound
from flint.testing import ManualClock

Call = Callable[[Any], object]


@pytest.fixture
def loose(limiter: flint.Limiter) -> Iterator[Any]:
    """A limiter as seen without type hints. Whatever is done to it must leave it as it is."""
    limiter.limit("ok", "10/minute")
    limiter.check("ok", 3)
    counters, statuses = limiter.counters(), limiter.list()
    yield limiter
    after = limiter.counters()
    assert (after["seq"], after["keys"], after["allowed"]) == (counters["seq"], counters["keys"], counters["allowed"])
    assert limiter.list() == statuses


BAD_KEYS: list[tuple[Any, type[Exception], str]] = [
    ("", InvalidKey, "empty.*1 to 512 bytes"),
    ("x" * 513, InvalidKey, "513 bytes.*1 to 512 bytes"),
    ("é" * 257, InvalidKey, "514 bytes.*1 to 512 bytes"),
    ("a\ud800", InvalidKey, "surrogate.*UTF-8"),
    (b"bytes", TypeError, "must be a str, .* not b.bytes"),
    (1, TypeError, "must be a str, such as .user-42., not 1"),
    (None, TypeError, "must be a str, .* not None"),
]

KEY_CALLS: dict[str, Callable[[Any, Any], object]] = {
    "check": lambda limiter, key: limiter.check(key),
    "check with limit": lambda limiter, key: limiter.check(key, limit="1/s"),
    "allow": lambda limiter, key: limiter.allow(key, limit="1/s"),
    "peek": lambda limiter, key: limiter.peek(key, limit="1/s"),
    "limit": lambda limiter, key: limiter.limit(key, "1/s"),
    "limit_many": lambda limiter, key: limiter.limit_many(
        [{"key": "fine", "rate": "1/s"}, {"key": key, "rate": "1/s"}]
    ),
    "check_all": lambda limiter, key: limiter.check_all(["ok", {"key": key, "limit": "1/s"}]),
    "check_all pair": lambda limiter, key: limiter.check_all(["ok", (key, 1)]),
    "allow_all": lambda limiter, key: limiter.allow_all(["ok", {"key": key, "limit": "1/s"}]),
    "status": lambda limiter, key: limiter.status(key),
    "history": lambda limiter, key: limiter.history(key),
    "reset": lambda limiter, key: limiter.reset(key),
    "delete": lambda limiter, key: limiter.delete(key),
}


@pytest.mark.parametrize("call", KEY_CALLS.values(), ids=KEY_CALLS)
@pytest.mark.parametrize(
    ("key", "error", "message"), BAD_KEYS, ids=["empty", "513", "514", "surrogate", "bytes", "int", "None"]
)
def test_keys(loose: Any, call: Callable[[Any, Any], object], key: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(loose, key)


def test_the_longest_key_is_accepted(limiter: flint.Limiter) -> None:
    for key in ("x" * 512, "é" * 256, "\0", "a b\n"):
        assert limiter.check(key, limit="1/s").key == key


NOT_A_COUNT: list[Any] = [0, -1, 1.0, 1.5, True, False, "1", None, 2**64, -(2**64), Fraction(1), float("nan")]

COST_CALLS: dict[str, Callable[[Any, Any], object]] = {
    "check": lambda limiter, cost: limiter.check("ok", cost),
    "keyword": lambda limiter, cost: limiter.check("ok", cost=cost),
    "allow": lambda limiter, cost: limiter.allow("ok", cost),
    "peek": lambda limiter, cost: limiter.peek("ok", cost),
    "pair": lambda limiter, cost: limiter.check_all([("ok", cost)]),
    "mapping": lambda limiter, cost: limiter.allow_all([{"key": "ok", "cost": cost}]),
}


@pytest.mark.parametrize("call", COST_CALLS.values(), ids=COST_CALLS)
@pytest.mark.parametrize("cost", NOT_A_COUNT)
def test_costs(loose: Any, call: Callable[[Any, Any], object], cost: Any) -> None:
    with pytest.raises(InvalidCost, match=r"from 1 to"):
        call(loose, cost)


@pytest.mark.parametrize("cost", [11, 2**63, 2**64 - 1])
def test_a_cost_above_the_capacity_could_never_succeed(loose: Any, cost: int) -> None:
    for call in COST_CALLS.values():
        with pytest.raises(InvalidCost, match=f"{cost} (takes nothing|is more than the limit ever holds).*10"):
            call(loose, cost)


def test_an_integer_of_another_type_is_a_cost(limiter: flint.Limiter) -> None:
    class Index:
        def __index__(self) -> int:
            return 2

    cost: Any = Index()
    assert limiter.check("k", cost, limit="5/s").cost == 2


RATE_CALLS: dict[str, Callable[..., object]] = {
    "limit": lambda limiter, *args, **kwargs: limiter.limit("new", *args, **kwargs),
    "Limit": lambda _limiter, *args, **kwargs: flint.Limit(*args, **kwargs),
    "limit_many": lambda limiter, rate, per=None, **kwargs: limiter.limit_many(
        [{"key": "fine", "rate": "1/s"}, {"key": "new", "rate": rate, "per": per, **kwargs}]
    ),
}
each_rate_call = pytest.mark.parametrize("call", RATE_CALLS.values(), ids=RATE_CALLS)


@each_rate_call
@pytest.mark.parametrize("rate", [rate for rate in NOT_A_COUNT if rate != "1"])
def test_rates(loose: Any, call: Callable[..., object], rate: Any) -> None:
    with pytest.raises(InvalidLimit, match=r"at least 1|from 1 to 2\*\*64 - 1"):
        call(loose, rate, "1m")


@each_rate_call
@pytest.mark.parametrize("burst", [burst for burst in NOT_A_COUNT if burst is not None])
def test_bursts(loose: Any, call: Callable[..., object], burst: Any) -> None:
    with pytest.raises(InvalidLimit, match=r"at least 1|from 1 to 2\*\*64 - 1"):
        call(loose, 10, "1m", burst=burst)


@each_rate_call
@pytest.mark.parametrize(
    "per",
    [
        *(per for per in NOT_A_COUNT if per is not None and per != "1"),
        *("", "1", "m1", "1x", "-1m", "1.5m", "0s", "1 fortnight", "٣m", "1m\0", "\ud800", "9" * 30 + "s"),
        *(timedelta(0), timedelta(seconds=-1), timedelta(microseconds=1500), timedelta.max),
        2**63,
    ],
)
def test_periods(loose: Any, call: Callable[..., object], per: Any) -> None:
    with pytest.raises(InvalidLimit):
        call(loose, 10, per)


@each_rate_call
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("abc/minute", "abc.*100/minute"),
        ("10/fortnight", "fortnight.*100/minute"),
        ("", "100/minute"),
        ("10", "10.*100/minute"),
        ("0/s", "at least 1"),
        ("-1/s", "100/minute"),
        ("1.5/s", "100/minute"),
        ("1/0s", "at least 1"),
        ("18446744073709551616/s", "18446744073709551616"),
        ("1/s burst 0", "at least 1"),
        ("1/s\n\x1b[31m", r"\\u\{1b\}|\\x1b|\\u001b"),
        (";".join(["1/s"] * 9), "9 rates.*1 to 8"),
        ("\ud800", "surrogate"),
    ],
)
def test_texts(loose: Any, call: Callable[..., object], text: str, message: str) -> None:
    with pytest.raises(InvalidLimit, match=message) as caught:
        call(loose, text)
    assert not re.search(r"[\x00-\x1f]", str(caught.value))


@each_rate_call
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"rate": 10, "per": "1m", "algorithm": "leaky"},
            "leaky.*token_bucket, sliding_window_log, fixed_window_counter",
        ),
        ({"rate": 10, "per": "1m", "algorithm": 1}, "algorithm must be text"),
        ({"rate": 10, "per": "1m", "algorithm": None}, "algorithm must be text"),
        ({"rate": 10, "per": "1m", "algorithm": "fixed_window_counter", "burst": 20}, "burst"),
        ({"rate": 10, "per": "1m", "algorithm": "sliding_window_log", "burst": 20}, "burst"),
        ({"rate": 10}, "needs per"),
        ({"rate": "10/m", "per": "1m"}, "per was given with .10/m.*leave per out"),
        ({"rate": "10/m burst 20", "burst": 30}, "ambiguous"),
        ({"rate": "1/s; 10/m", "burst": 30}, "ambiguous"),
        ({"rate": 1, "per": "11 years"}, "years"),
        ({"rate": 1, "per": timedelta(days=3651)}, "ten years"),
        ({"rate": 1, "per": "365d", "burst": 101}, "100 years"),
        ({"rate": 2_000_000, "per": "1d", "algorithm": "sliding_window_log"}, "1000000"),
        ({"rate": []}, "0 rates.*1 to 8"),
        ({"rate": ["1/s"] * 9}, "9 rates.*1 to 8"),
        ({"rate": ["1/s", 1]}, "neither a flint.Limit nor text"),
        ({"rate": flint.Limit("1/s"), "burst": 2}, "part of a flint.Limit"),
        ({"rate": flint.Limit("1/s"), "algorithm": "token_bucket"}, "part of a flint.Limit"),
        (
            {"rate": flint.Limit("1/s"), "per": "1m"},
            r"per was given with Limit\(.1/second.\), which has the period in it",
        ),
        ({"rate": None}, r"rate must be text such as .100/minute., a flint.Limit, or an integer .* not None"),
    ],
)
def test_combinations(loose: Any, call: Callable[..., object], arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidLimit, match=message):
        call(loose, **arguments)


def test_the_bounds_are_accepted(limiter: flint.Limiter) -> None:
    limiter.limit("decade", 1, timedelta(days=3650))
    limiter.limit("century", 1, "365d", burst=100)
    limiter.limit("widest", 2**64 - 1, "1d")
    limiter.limit("runs", 1_000_000, "1d", algorithm="sliding_window_log")
    limiter.limit("eight", "; ".join(["1/s"] * 8))
    assert limiter.check("widest", 2**64 - 1).remaining == 0


@pytest.mark.parametrize(
    ("limit", "error"), [("abc/minute", InvalidLimit), (10, TypeError), (1.0, TypeError), (["1/s"], TypeError)]
)
def test_limits_given_with_the_call(loose: Any, limit: Any, error: type[Exception]) -> None:
    for call in (loose.check, loose.allow, loose.peek):
        with pytest.raises(error, match="100/minute"):
            call("new", limit=limit)
    with pytest.raises(error, match="100/minute"):
        loose.check_all(["ok", {"key": "new", "limit": limit}])


@pytest.mark.parametrize(
    ("items", "error", "message"),
    [
        ([], InvalidArgument, "at least one"),
        ((), InvalidArgument, "at least one"),
        (["ok", "ok"], InvalidKey, '"ok" appears twice'),
        (["ok", ("ok", 2)], InvalidKey, "twice"),
        ([*(f"k{index}" for index in range(20)), "k3"], InvalidKey, '"k3" appears twice'),
        ([f"k{index}" for index in range(1001)], InvalidArgument, "1000"),
        ("ok", TypeError, "not a single str"),
        (b"ok", TypeError, "not a single bytes"),
        ({"key": "ok"}, TypeError, "not a single dict"),
        (None, TypeError, "items must be a list"),
        ([1], TypeError, "as in .*, not 1"),
        ([("ok",)], InvalidArgument, r"\(key, cost\)"),
        ([("ok", 1, 2)], InvalidArgument, r"\(key, cost\)"),
        ([{"cost": 1}], InvalidArgument, "needs a key"),
        ([{"key": "ok", "weight": 1}], InvalidArgument, "'weight'"),
        ([{"key": "ok", 1: 1}], InvalidArgument, "unknown name 1"),
        (["ok", "unknown"], LimitNotFound, "unknown"),
    ],
)
def test_items(loose: Any, items: Any, error: type[Exception], message: str) -> None:
    for call in (loose.check_all, loose.allow_all):
        with pytest.raises(error, match=message):
            call(items)


def test_an_endless_iterable_is_given_up(loose: Any) -> None:
    import itertools

    with pytest.raises(InvalidArgument, match="1000"):
        loose.check_all(itertools.repeat("ok"))
    with pytest.raises(InvalidArgument, match="100000"):
        loose.limit_many(itertools.repeat({"key": "new", "rate": "1/s"}))


def test_a_thousand_items_are_accepted(limiter: flint.Limiter) -> None:
    assert limiter.allow_all([{"key": f"k{index}", "limit": "1/s"} for index in range(1000)])


def test_an_unknown_key_is_named(loose: Any) -> None:
    for call in (loose.check, loose.allow, loose.peek, loose.reset, loose.delete):
        with pytest.raises(LimitNotFound, match='"unknown"') as caught:
            call("unknown")
        assert caught.value.key == "unknown"


@pytest.mark.parametrize(
    ("specs", "error", "message"),
    [
        ([{"key": "a", "rate": "1/s"}, {"key": "a", "rate": "2/s"}], InvalidKey, "twice"),
        ([{"rate": "1/s"}], InvalidArgument, r"specs\[0\].*key and rate"),
        ([{"key": "a"}], InvalidArgument, r"specs\[0\].*key and rate"),
        ([{"key": "a", "rate": "1/s", "weight": 2}], InvalidArgument, r"specs\[0\].*'weight'"),
        ([{"key": "a", "rate": "1/s"}, {"key": "b", "rate": "x"}], InvalidLimit, r"specs\[1\].*100/minute"),
        ([{"key": "a", "rate": "1/s"}, {"key": "\ud800", "rate": "1/s"}], InvalidKey, r"specs\[1\].*surrogate"),
        ([{"key": "a", "rate": "1/s", "on_change": "drop"}], InvalidArgument, '"keep" or "reset", not .drop'),
        ([{"key": "a", "rate": "1/s", "on_change": None}], InvalidArgument, '"keep" or "reset", not None'),
        ([{"key": "a", "rate": "1/s", "algorithm": None}], InvalidLimit, "algorithm must be text.*not None"),
        (["a"], TypeError, r"specs\[0\] must be a mapping .*, not .a."),
        (None, TypeError, "specs must be a list.* not None"),
    ],
)
def test_specs(loose: Any, specs: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        loose.limit_many(specs)


_COUNT = r"from 0 to 2\*\*64 - 1"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda limiter: limiter.limit("ok", "1/s", on_change="drop"), '"keep" or "reset"'),
        (lambda limiter: limiter.list(limit=-1), _COUNT),
        (lambda limiter: limiter.list(limit=True), _COUNT),
        (lambda limiter: limiter.list(limit=1.0), _COUNT),
        (lambda limiter: limiter.history("ok", -1), _COUNT),
        (lambda limiter: limiter.history("ok", limit=2**70), _COUNT),
        (lambda limiter: limiter.top(limit=2**64), _COUNT),
        (lambda limiter: limiter.top("remaining"), '"allowed" or "denied" or "allowed_cost" or "denied_cost"'),
        (lambda limiter: limiter.top(1), "by must be"),
        (lambda limiter: limiter.limit("ok", "1/s", on_change=None), '"keep" or "reset", not None'),
        (lambda limiter: limiter.top(by=None), "by must be .*, not None"),
    ],
)
def test_other_arguments(loose: Any, call: Call, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        call(loose)


@pytest.mark.parametrize("text", ["\ud800"])
def test_list_takes_no_surrogates(loose: Any, text: str) -> None:
    with pytest.raises(InvalidKey, match="surrogate"):
        loose.list(prefix=text)
    with pytest.raises(InvalidKey, match="surrogate"):
        loose.list(after=text)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"sync": "sometimes"}, InvalidArgument, '"always" or "batch", not .sometimes'),
        ({"sync": True}, InvalidArgument, '"always" or "batch", not True'),
        ({"sync": None}, InvalidArgument, '"always" or "batch", not None'),
        *(
            ({name: bad}, InvalidArgument, f"{name} must be an integer from 1")
            for name in ("flush_every_ms", "flush_every_events")
            for bad in (0, -1, 1.5, True, "1", 2**64)
        ),
        *(({"history_bytes": bad}, InvalidArgument, "from 0 to") for bad in (-1, 1.5, False, "1", 2**64)),
        ({"log_io": "mmap"}, InvalidArgument, 'log_io must be "auto" or "pwrite", not .mmap'),
        ({"log_io": None}, InvalidArgument, '"auto" or "pwrite", not None'),
        ({"read_only": 1}, InvalidArgument, "True or False"),
        ({"clock": 1}, TypeError, "ManualClock"),
        ({"data_dir": ""}, InvalidArgument, "must name a directory"),
        ({"data_dir": "a\0b"}, InvalidArgument, "must name a directory"),
        ({"data_dir": b"bytes"}, TypeError, "str or a Path"),
        ({"data_dir": 1}, TypeError, "int"),
        ({"data_dir": None, "sink": 1}, TypeError, "sink"),
    ],
)
def test_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], error: type[Exception], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        flint.Limiter(**settings)
    assert list(tmp_path.iterdir()) == []


def test_settings_are_keywords(tmp_path: Path) -> None:
    make: Any = flint.Limiter
    with pytest.raises(TypeError):
        make(tmp_path, "batch")


def test_a_data_dir_that_is_a_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("precious")
    for read_only in (False, True):
        with pytest.raises(flint.StorageError, match=re.escape(str(path))) as caught:
            flint.Limiter(path, read_only=read_only)
        assert caught.value.filename == str(path)
        assert caught.value.errno is not None
    assert path.read_text() == "precious"


def test_reading_a_data_dir_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(flint.StorageError):
        flint.Limiter(tmp_path / "none", read_only=True)
    assert list(tmp_path.iterdir()) == []


def test_a_data_dir_that_cannot_be_written(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        # Nothing is refused to root by permission; where no directory can be made serves as well.
        path = Path("/proc/flint")
    else:
        tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
        path = tmp_path / "data"
    with pytest.raises(flint.StorageError) as caught:
        flint.Limiter(path)
    assert caught.value.errno is not None
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("moment", [datetime(2026, 1, 1), 1, "2026", None, datetime(1960, 1, 1).astimezone()])
def test_a_manual_clock_wants_aware_times(moment: Any) -> None:
    clock: Any = ManualClock()
    before = clock.now()
    with pytest.raises(InvalidArgument, match="aware"):
        clock.set_wall(moment)
    if moment is not None:
        with pytest.raises(InvalidArgument, match="aware"):
            ManualClock(moment)
    assert clock.now() == before


@pytest.mark.parametrize("step", [-1, 1.5, True, "1", 2**64, timedelta(seconds=-1)])
def test_a_manual_clock_goes_forward(step: Any) -> None:
    clock: Any = ManualClock()
    before = clock.now()
    for name in ("seconds", "ms", "ns"):
        with pytest.raises(InvalidArgument):
            clock.advance(**{name: step})
    assert clock.now() == before


def test_a_data_dir_that_no_file_system_can_name() -> None:
    with pytest.raises(InvalidArgument, match="data_dir"):
        flint.Limiter("\ud800")


def test_items_that_are_no_list(limiter: flint.Limiter) -> None:
    for items in (None, 7):
        with pytest.raises(TypeError, match="items must be a list"):
            limiter.check_all(items)  # type: ignore[arg-type]
