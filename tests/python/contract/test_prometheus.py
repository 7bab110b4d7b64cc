"""The keys of any limiter as Prometheus series."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import prometheus_client
import pytest
from prometheus_client import Metric
from prometheus_client.exposition import generate_latest

import flint
from flint._metrics.text import text as exposed
from flint.prometheus import FlintCollector, prometheus_metrics
from flint.testing import ManualClock

from .prometheus_text import Labels, generate_openmetrics, parse, parse_openmetrics, read

PER_KEY = (
    "flint_limit_info",
    "flint_limit_rate",
    "flint_limit_per_millis",
    "flint_limit_remaining",
    "flint_limit_reset_at_seconds",
    "flint_requests_allowed_total",
    "flint_requests_denied_total",
    "flint_request_cost_allowed_total",
    "flint_request_cost_denied_total",
)


def of(*, key: str | None = None, algorithm: str = "token_bucket", rate: str | None = None) -> Labels:
    labels = {"key": key, "algorithm": algorithm, "rate": rate}
    return tuple(sorted((name, value) for name, value in labels.items() if value is not None))


def reset_at(limiter: flint.Limiter, key: str) -> float:
    status = limiter.status(key)
    assert status is not None
    return status.reset_at_ns / 1e9


def test_one_key(limiter: flint.Limiter) -> None:
    limiter.limit("api:user-42", "100/minute")
    limiter.check("api:user-42", cost=30)
    limiter.check("api:user-42", cost=5)
    limiter.check("api:user-42", cost=90)
    found = read(parse(prometheus_metrics(limiter)))
    assert {name: found[name] for name in PER_KEY} == {
        name: {of(key="api:user-42"): value}
        for name, value in zip(
            PER_KEY, (1, 100, 60_000, 65, reset_at(limiter, "api:user-42"), 2, 1, 35, 90), strict=True
        )
    }
    assert reset_at(limiter, "api:user-42") > 1e9


def test_labels_come_in_the_published_order_and_whole_numbers_without_a_point(limiter: flint.Limiter) -> None:
    limiter.limit("a", "10/s; 100/m")
    limiter.check("a")
    lines = prometheus_metrics(limiter).splitlines()
    assert 'flint_requests_allowed_total{key="a",algorithm="token_bucket"} 1' in lines
    assert 'flint_limit_rate{key="a",algorithm="token_bucket",rate="100/minute"} 100' in lines
    assert "# HELP flint_requests_allowed_total Total allowed checks." in lines
    assert "# TYPE flint_requests_allowed_total counter" in lines


def test_types(limiter: flint.Limiter) -> None:
    limiter.limit("a", "10/s")
    types = {family.name: family.type for family in parse(prometheus_metrics(limiter))}
    for name in PER_KEY:
        assert types[name.removesuffix("_total")] == ("counter" if name.endswith("_total") else "gauge")


def test_no_keys(limiter: flint.Limiter) -> None:
    found = read(parse(prometheus_metrics(limiter)))
    assert not set(found) & set(PER_KEY)
    assert found["flint_keys"] == found["flint_keys_left_out"] == {(): 0}


def test_another_prefix(limiter: flint.Limiter) -> None:
    limiter.limit("a", "10/s")
    found = read(parse(prometheus_metrics(limiter, prefix="my_app")))
    assert set(found) == {name.replace("flint_", "my_app_", 1) for name in read(parse(prometheus_metrics(limiter)))}


def test_several_rates_are_kept_apart(limiter: flint.Limiter) -> None:
    fixed = flint.Limit("1000/day", algorithm="fixed_window_counter")
    limiter.limit("mixed", [flint.Limit("10/s burst 20"), fixed])
    limiter.limit("same", "5/250ms; 7/m")
    limiter.check("mixed", cost=3)
    found = read(parse(prometheus_metrics(limiter)))
    rates = {
        of(key="mixed", rate="10/second burst 20"): (10, 1000),
        of(key="mixed", algorithm="fixed_window_counter", rate="1000/day"): (1000, 86_400_000),
        of(key="same", rate="5/250ms"): (5, 250),
        of(key="same", rate="7/minute"): (7, 60_000),
    }
    assert found["flint_limit_rate"] == {labels: rate for labels, (rate, _) in rates.items()}
    assert found["flint_limit_per_millis"] == {labels: per for labels, (_, per) in rates.items()}
    assert found["flint_limit_info"] == dict.fromkeys(rates, 1)
    both = of(key="mixed", algorithm="token_bucket,fixed_window_counter")
    assert found["flint_limit_remaining"] == {both: 17, of(key="same"): 5}
    assert found["flint_request_cost_allowed_total"] == {both: 3, of(key="same"): 0}


def test_labels_do_not_depend_on_which_rate_binds(limiter: flint.Limiter, clock: ManualClock) -> None:
    fixed = flint.Limit("4/day", algorithm="fixed_window_counter")
    limiter.limit("a", [flint.Limit("3/m"), fixed])
    before = {name: set(series) for name, series in read(parse(prometheus_metrics(limiter))).items()}
    limiter.check("a", cost=3)
    clock.advance(3600)
    status = limiter.status("a")
    assert status is not None
    assert status.algorithm == "fixed_window_counter"
    assert {name: set(series) for name, series in read(parse(prometheus_metrics(limiter))).items()} == before


def test_the_same_rate_twice_is_one(limiter: flint.Limiter) -> None:
    limiter.limit("a", "10/s; 10/s")
    limiter.limit("b", "10/s; 10/s; 20/m")
    found = read(parse(prometheus_metrics(limiter)))
    assert found["flint_limit_rate"] == {
        of(key="a"): 10,
        of(key="b", rate="10/second"): 10,
        of(key="b", rate="20/minute"): 20,
    }


def test_without_the_label_key(limiter: flint.Limiter, clock: ManualClock) -> None:
    limiter.limit("a", "10/m")
    limiter.limit("b", "20/m")
    limiter.limit("c", "20/h", algorithm="fixed_window_counter")
    limiter.check("a", cost=4)
    limiter.check("a", cost=9)
    clock.advance(1)
    limiter.check("b", cost=18)
    limiter.check("b", cost=7)
    limiter.check("b")
    found = read(parse(prometheus_metrics(limiter, include_key_label=False)))
    bucket, window = of(), of(algorithm="fixed_window_counter")
    assert {name: found[name] for name in PER_KEY} == {
        "flint_limit_info": {bucket: 1, window: 1},
        "flint_limit_rate": {window: 20},
        "flint_limit_per_millis": {bucket: 60_000, window: 3_600_000},
        "flint_limit_remaining": {bucket: 1, window: 20},
        "flint_limit_reset_at_seconds": {bucket: reset_at(limiter, "b"), window: reset_at(limiter, "c")},
        "flint_requests_allowed_total": {bucket: 3, window: 0},
        "flint_requests_denied_total": {bucket: 2, window: 0},
        "flint_request_cost_allowed_total": {bucket: 23, window: 0},
        "flint_request_cost_denied_total": {bucket: 16, window: 0},
    }
    assert reset_at(limiter, "b") > reset_at(limiter, "a")


@pytest.mark.parametrize("names", ["ab", "ba"])
def test_the_smallest_and_the_latest_do_not_depend_on_the_order(limiter: flint.Limiter, names: str) -> None:
    full, used = list(names)
    limiter.limit(full, "10/m")
    limiter.limit(used, "10/m")
    limiter.check(used, cost=9)
    found = read(parse(prometheus_metrics(limiter, include_key_label=False)))
    assert found["flint_limit_remaining"] == {of(): 1}
    assert found["flint_limit_reset_at_seconds"] == {of(): reset_at(limiter, used)}


@pytest.mark.parametrize(
    ("limits", "rate", "per_millis", "info"),
    [
        (["10/m", "10/m", "10/m"], {None: 10}, {None: 60_000}, {None}),
        (["10/m", "10/m burst 20"], {None: 10}, {None: 60_000}, {None}),
        (["10/m", "10/h", "10/m"], {None: 10}, {}, {None}),
        (["10/m", "20/m", "10/m"], {}, {None: 60_000}, {None}),
        (["10/m", "20/h", "10/m"], {}, {}, {None}),
        (
            ["10/s; 20/m", "10/s; 20/m"],
            {"10/second": 10, "20/minute": 20},
            {"10/second": 1000, "20/minute": 60_000},
            {"10/second", "20/minute"},
        ),
        (["10/s; 20/m", "10/s; 30/m"], {}, {}, {None}),
        (["10/s; 20/m", "20/m"], {}, {}, {None}),
        (["20/m", "10/s; 20/m"], {}, {}, {None}),
        (["20/m", "10/s; 20/m", "20/m"], {}, {}, {None}),
    ],
)
def test_what_keys_do_not_agree_on_is_left_out(
    limiter: flint.Limiter,
    limits: list[str],
    rate: dict[str | None, int],
    per_millis: dict[str | None, int],
    info: set[str | None],
) -> None:
    for number, limit in enumerate(limits):
        limiter.limit(f"key-{number}", limit)
    found = read(parse(prometheus_metrics(limiter, key_label_func=lambda key: key.split("-")[0])))
    assert found.get("flint_limit_rate", {}) == {of(key="key", rate=text): value for text, value in rate.items()}
    assert found.get("flint_limit_per_millis", {}) == {
        of(key="key", rate=text): value for text, value in per_millis.items()
    }
    assert found["flint_limit_info"] == {of(key="key", rate=text): 1 for text in info}
    assert set(found["flint_requests_allowed_total"]) == {of(key="key")}


def test_a_label_of_its_own_for_each_key(limiter: flint.Limiter) -> None:
    for key, cost in (("api:1", 1), ("api:2", 2), ("login:1", 4)):
        limiter.limit(key, "10/m")
        limiter.check(key, cost=cost)
    found = read(parse(prometheus_metrics(limiter, key_label_func=lambda key: key.split(":")[0])))
    assert found["flint_request_cost_allowed_total"] == {of(key="api"): 3, of(key="login"): 4}
    assert found["flint_limit_remaining"] == {of(key="api"): 8, of(key="login"): 6}


def test_keys_with_one_label_may_have_a_rate_in_common(limiter: flint.Limiter) -> None:
    fixed = flint.Limit("9/day", algorithm="fixed_window_counter")
    limiter.limit("x1", "5/s; 100/m")
    limiter.limit("x2", [flint.Limit("5/s"), fixed])
    found = read(parse(prometheus_metrics(limiter, key_label_func=lambda key: key[0])))
    assert found["flint_limit_rate"] == {
        of(key="x", rate="5/second"): 5,
        of(key="x", rate="100/minute"): 100,
        of(key="x", algorithm="fixed_window_counter", rate="9/day"): 9,
    }


@pytest.mark.parametrize("options", [{}, {"include_key_label": False}, {"key_label_func": lambda key: key[:2]}])
def test_no_series_comes_twice(limiter: flint.Limiter, options: dict[str, Any]) -> None:
    """`read` looks for it, in any mixture of limits; sums stay what they are."""
    chance = random.Random(5)
    algorithms = ["token_bucket", "sliding_window_log", "fixed_window_counter"]
    keys = [f"{number % 100:02}:{number}" for number in range(300)]
    limiter.limit_many(
        {
            "key": key,
            "rate": [
                flint.Limit(chance.choice([10, 20]), chance.choice(["1s", "1m"]), algorithm=chance.choice(algorithms))
                for _ in range(chance.randint(1, 3))
            ],
        }
        for key in keys
    )
    assert limiter.allow_all([(key, chance.randint(1, 10)) for key in keys])
    found = read(parse(prometheus_metrics(limiter, **options)))
    statuses = limiter.list()
    assert sum(found["flint_requests_allowed_total"].values()) == len(statuses) == 300
    assert sum(found["flint_request_cost_allowed_total"].values()) == sum(each.total_allowed_cost for each in statuses)
    assert read(parse_openmetrics(exposed(FlintCollector(limiter, **options).collect(), openmetrics=True)))


KEYS = [
    '"',
    "\\",
    "\n",
    '\\"\n\\n',
    "a\tb\r",
    " ",
    "{}=,#",
    "é€😀",
    "\u2028\u0085\x0b\x7f",
    "\x00",
    'x" 5\nflint_keys 7',
]


@pytest.mark.parametrize("openmetrics", [False, True])
def test_any_key_is_a_label(limiter: flint.Limiter, openmetrics: bool) -> None:
    for key in KEYS:
        limiter.limit(key, "10/m")
    text = exposed(FlintCollector(limiter).collect(), openmetrics=openmetrics)
    found = read((parse_openmetrics if openmetrics else parse)(text))
    assert set(found["flint_limit_remaining"]) == {of(key=key) for key in KEYS}
    assert found["flint_keys"] == {(): len(KEYS)}
    assert read(parse(prometheus_metrics(limiter, key_label_func=lambda key: key)))["flint_limit_remaining"].keys() == (
        found["flint_limit_remaining"].keys()
    )


def test_max_series_keeps_the_keys_with_the_most_checks(limiter: flint.Limiter) -> None:
    for number in range(20):
        limiter.limit(f"key-{number:02}", "5/day")
        for _ in range(number * 7 % 20):
            limiter.check(f"key-{number:02}")
    found = read(parse(prometheus_metrics(limiter, max_series=6)))
    checks = {f"key-{number:02}": number * 7 % 20 for number in range(20)}
    kept = {of(key=key) for key, count in checks.items() if count >= 14}
    for name in PER_KEY:
        assert set(found[name]) == kept, name
    assert found["flint_keys_left_out"] == {(): 14}
    assert found["flint_keys"] == {(): 20}


def test_what_is_left_out_is_in_the_sums_of_all_keys(limiter: flint.Limiter) -> None:
    for number in range(6):
        limiter.limit(f"key-{number}", "2/day")
        for _ in range(number):
            limiter.check(f"key-{number}")
    for max_series in (1, 6):
        found = read(parse(prometheus_metrics(limiter, max_series=max_series)))
        assert found["flint_checks_allowed_total"] == {(): 0 + 1 + 2 + 2 + 2 + 2}
        assert found["flint_checks_denied_total"] == {(): 0 + 0 + 0 + 1 + 2 + 3}


def test_of_equal_keys_the_first_are_kept_in_the_order_of_keys(limiter: flint.Limiter) -> None:
    for key in "dbface":
        limiter.limit(key, "5/day")
    limiter.check("e")
    lines = prometheus_metrics(limiter, max_series=3).splitlines()
    kept = [line for line in lines if line.startswith("flint_limit_remaining{")]
    assert [line.split('"')[1] for line in kept] == ["a", "b", "e"]


def test_a_key_takes_as_many_places_as_it_has_rates(limiter: flint.Limiter) -> None:
    for key, checks in (("a", 4), ("b", 3), ("c", 2), ("d", 1)):
        limiter.limit(key, "10/s; 20/m")
        for _ in range(checks):
            limiter.check(key)
    for bound, kept in ((8, "abcd"), (7, "abc"), (4, "ab"), (3, "a"), (2, "a"), (1, "")):
        found = read(parse(prometheus_metrics(limiter, max_series=bound)))
        assert set(found.get("flint_limit_remaining", {})) == {of(key=key) for key in kept}
        assert len(found.get("flint_limit_rate", {})) == 2 * len(kept) <= bound
        assert found["flint_keys_left_out"] == {(): 4 - len(kept)}


def test_max_series_bounds_merged_series_and_counts_the_keys_behind_them(limiter: flint.Limiter) -> None:
    for number in range(12):
        limiter.limit(f"{'abc'[number % 3]}:{number}", "5/day")
    limiter.check("b:1")
    limiter.check("c:2")
    limiter.check("c:5")
    found = read(parse(prometheus_metrics(limiter, max_series=2, key_label_func=lambda key: key[0])))
    assert found["flint_requests_allowed_total"] == {of(key="b"): 1, of(key="c"): 2}
    assert found["flint_keys_left_out"] == {(): 4}


def test_all_is_shown_where_it_fits_exactly(limiter: flint.Limiter) -> None:
    for number in range(50):
        limiter.limit(f"key-{number}", "5/day")
    found = read(parse(prometheus_metrics(limiter, max_series=50)))
    assert len(found["flint_limit_remaining"]) == 50
    assert found["flint_keys_left_out"] == {(): 0}


def test_between_any_500_keys_or_lines_other_threads_have_a_chance(
    limiter: flint.Limiter, monkeypatch: pytest.MonkeyPatch
) -> None:
    limiter.limit_many({"key": f"key-{number}", "rate": "7/h"} for number in range(2000))
    chances: list[float] = []
    monkeypatch.setattr("flint._metrics.collect.time.sleep", chances.append)
    prometheus_metrics(limiter)
    # When the statuses are read, when rows are made of them, and for each metric when its samples and its lines are.
    assert len(chances) >= (1 + 1 + 2 * len(PER_KEY)) * 2000 / 500


def of_keys(families: list[Metric]) -> list[tuple[str, str, str, set[tuple[str, Labels, float]]]]:
    """The part that does not change; the engine goes on with its fsyncs."""
    return [
        (
            family.name,
            family.type,
            family.documentation,
            {(each.name, tuple(sorted(each.labels.items())), each.value) for each in family.samples},
        )
        for family in families
        if family.name.startswith(("flint_limit", "flint_request"))
    ]


def test_a_registry_collects_the_same(limiter: flint.Limiter) -> None:
    for number in range(30):
        limiter.limit(f"key-{number}", "5/s; 100/m" if number % 2 else "7/h")
        limiter.check(f"key-{number}")
    registry = prometheus_client.CollectorRegistry()
    registry.register(FlintCollector(limiter))
    own, registered = prometheus_metrics(limiter), generate_latest(registry).decode()
    assert of_keys(parse(registered)) == of_keys(parse(own))
    own = exposed(FlintCollector(limiter).collect(), openmetrics=True)
    assert of_keys(parse_openmetrics(generate_openmetrics(registry))) == of_keys(parse_openmetrics(own))
    assert registry.get_sample_value("flint_limit_remaining", {"key": "key-0", "algorithm": "token_bucket"}) == 6


def test_a_registry_sees_each_time_how_it_is_now(limiter: flint.Limiter) -> None:
    registry = prometheus_client.CollectorRegistry()
    registry.register(FlintCollector(limiter))
    limiter.limit("a", "7/h")
    for allowed in range(1, 4):
        limiter.check("a")
        labels = {"key": "a", "algorithm": "token_bucket"}
        assert registry.get_sample_value("flint_requests_allowed_total", labels) == allowed


def test_two_collectors_in_one_registry_need_two_prefixes(limiter: flint.Limiter) -> None:
    registry = prometheus_client.CollectorRegistry()
    registry.register(FlintCollector(limiter))
    with pytest.raises(ValueError, match="flint_limit_remaining"):
        registry.register(FlintCollector(limiter))
    registry.register(FlintCollector(limiter, prefix="other"))
    names = Counter(metric.name for metric in registry.collect())
    assert {"flint_limit_remaining", "other_limit_remaining"} <= set(names)
    assert set(names.values()) == {1}


def test_what_is_collected_was_described(limiter: flint.Limiter) -> None:
    limiter.limit("a", "7/h")
    collector = FlintCollector(limiter)
    described = {metric.name: metric for metric in collector.describe()}
    for metric in collector.collect():
        description = described[metric.name]
        assert (metric.type, metric.documentation) == (description.type, description.documentation)
        assert not description.samples


def test_a_limiter_that_is_closed(limiter: flint.Limiter) -> None:
    collector = FlintCollector(limiter)
    limiter.close()
    assert list(collector.describe())
    with pytest.raises(flint.ClosedError):
        prometheus_metrics(limiter)


class Unfit(Exception):
    pass


def unfit(key: str) -> str:
    raise Unfit(f"not {key}")


def test_a_key_label_func_that_raises(limiter: flint.Limiter) -> None:
    limiter.limit("some key", "7/h")
    with pytest.raises(
        flint.InvalidArgument, match=r"key_label_func raised Unfit for the key 'some key': not some"
    ) as raised:
        prometheus_metrics(limiter, key_label_func=unfit)
    assert isinstance(raised.value.__cause__, Unfit)


@pytest.mark.parametrize("label", [None, 7, b"x"])
def test_a_key_label_func_that_gives_no_text(limiter: flint.Limiter, label: object) -> None:
    limiter.limit("some key", "7/h")
    with pytest.raises(TypeError, match=f"key_label_func must return a str, not {type(label).__name__}.*'some key'"):
        prometheus_metrics(limiter, key_label_func=lambda key: label)  # type: ignore[arg-type,return-value]


def test_a_key_label_func_that_gives_what_utf_8_cannot_hold(limiter: flint.Limiter) -> None:
    limiter.limit("some key", "7/h")
    with pytest.raises(flint.InvalidArgument, match=r"returned '\\ud800' for the key 'some key'"):
        prometheus_metrics(limiter, key_label_func=lambda key: "\ud800")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"prefix": ""}, flint.InvalidArgument, "prefix must be"),
        ({"prefix": "7up"}, flint.InvalidArgument, "'7up'"),
        ({"prefix": "my-app"}, flint.InvalidArgument, "'my-app'"),
        ({"prefix": "a\n"}, flint.InvalidArgument, "prefix must be"),
        ({"prefix": "é"}, flint.InvalidArgument, "prefix must be"),
        ({"prefix": None}, TypeError, "prefix must be of type str, not NoneType"),
        ({"include_key_label": "no"}, TypeError, "include_key_label must be of type bool, not str"),
        ({"include_key_label": 1}, TypeError, "include_key_label must be of type bool, not int"),
        ({"key_label_func": "user"}, TypeError, "key_label_func must be callable, not str"),
        ({"key_label_func": str, "include_key_label": False}, flint.InvalidArgument, "include_key_label=False"),
        ({"max_series": 0}, flint.InvalidArgument, "max_series must be at least 1, such as 10000, not 0"),
        ({"max_series": -1}, flint.InvalidArgument, "max_series must be at least 1"),
        ({"max_series": 1e4}, TypeError, "max_series must be of type int, not float"),
        ({"max_series": True}, TypeError, "max_series must be of type int, not bool"),
        ({"max_series": None}, TypeError, "max_series must be of type int, not NoneType"),
    ],
)
def test_arguments_that_are_not_accepted(
    limiter: flint.Limiter, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    for use in (prometheus_metrics, FlintCollector):
        with pytest.raises(error, match=message):
            use(limiter, **options)


@pytest.mark.parametrize("no_limiter", [None, "data", {}, []])
def test_what_is_no_limiter(no_limiter: object) -> None:
    with pytest.raises(TypeError, match=rf"limiter must have list\(\) and counters\(\).*{type(no_limiter).__name__}"):
        prometheus_metrics(no_limiter)  # type: ignore[arg-type]
