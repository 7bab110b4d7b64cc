"""`rate_limit`, the decorator: keys, costs and limits, what a denied call raises, and what is refused at once."""

from __future__ import annotations

import pickle
import threading
from datetime import timedelta
from typing import Any

import pytest

import flint
from flint.testing import ManualClock

ALGORITHMS = ["token_bucket", "sliding_window_log", "fixed_window_counter"]


def taken(limiter: flint.Limiter, key: str) -> tuple[int, int]:
    """What was allowed and denied so far, in cost."""
    status = limiter.status(key)
    return (0, 0) if status is None else (status.total_allowed_cost, status.total_denied_cost)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_calls_run_until_the_limit_and_again_when_it_is_back(
    limiter: flint.Limiter, clock: ManualClock, algorithm: str
) -> None:
    sent: list[str] = []

    @limiter.rate_limit("email", rate=2, per="1m", algorithm=algorithm)
    def send(to: str) -> int:
        sent.append(to)
        return len(sent)

    assert [send("a"), send(to="b")] == [1, 2]
    with pytest.raises(flint.RateLimitExceeded) as caught:
        send("c")
    assert sent == ["a", "b"]
    clock.advance(ns=caught.value.result.retry_after_ns - 1)
    with pytest.raises(flint.RateLimitExceeded):
        send("c")
    clock.advance(ns=1)
    assert send("d") == 3
    status = limiter.status("email")
    assert status is not None
    assert status.algorithm == algorithm


def test_a_denied_call_tells_key_cost_remaining_and_when(limiter: flint.Limiter) -> None:
    @limiter.rate_limit("report", "5/minute", cost=4)
    def report() -> None: ...

    report()
    with pytest.raises(flint.RateLimitExceeded) as caught:
        report()
    error = caught.value
    assert (error.key, error.cost, error.limit, error.remaining) == ("report", 4, 5, 1)
    assert error.retry_after == 36.0
    assert error.result == pickle.loads(pickle.dumps(error)).result
    assert not error.result
    assert str(error).startswith("rate limit exceeded for 'report': 4 requested, 1 of 5 left")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"rate": 10, "per": "1m"}, flint.Limit("10/minute")),
        ({"rate": 10, "per": 60}, flint.Limit("10/minute")),
        ({"rate": 10, "per": timedelta(minutes=1), "burst": 20}, flint.Limit("10/minute burst 20")),
        ({"rate": "10/minute"}, flint.Limit("10/minute")),
        ({"rate": "10/minute", "burst": 20}, flint.Limit("10/minute burst 20")),
        ({"rate": "9/s; 50/m", "algorithm": ALGORITHMS[1]}, flint.Limit("9/s; 50/m", algorithm=ALGORITHMS[1])),
        ({"rate": flint.Limit("9/h", algorithm=ALGORITHMS[2])}, flint.Limit("9/h", algorithm=ALGORITHMS[2])),
        ({"rate": ["1/s", flint.Limit("9/h")]}, flint.Limit("1/s; 9/h")),
    ],
)
def test_the_forms_of_a_limit(limiter: flint.Limiter, given: dict[str, Any], expected: flint.Limit) -> None:
    limiter.rate_limit("k", **given)(print)()
    status = limiter.status("k")
    assert status is not None
    assert status.rates == expected.rates
    assert status.origin == "call"


def test_a_changed_rate_takes_effect_on_a_key_that_is_there(limiter: flint.Limiter) -> None:
    for rate in (2, 3):

        @limiter.rate_limit("email", rate=rate, per="1d")
        def send() -> None: ...

        send()
    status = limiter.status("email")
    assert status is not None
    assert (status.rate, status.remaining) == (3, 2), "with a counter of its own"


def test_without_a_rate_the_key_has_its_limit_already(limiter: flint.Limiter) -> None:
    @limiter.rate_limit("email", cost=2)
    def send() -> str:
        return "sent"

    with pytest.raises(flint.LimitNotFound):
        send()
    limiter.limit("email", "3/minute")
    assert send() == "sent"
    with pytest.raises(flint.RateLimitExceeded):
        send()


def test_a_limit_that_was_set_goes_before_the_decorator_s(limiter: flint.Limiter) -> None:
    limiter.limit("email", "1/minute")

    @limiter.rate_limit("email", "100/minute")
    def send() -> None: ...

    send()
    with pytest.raises(flint.RateLimitExceeded) as caught:
        send()
    assert caught.value.limit == 1


def test_functions_with_one_key_share_it(limiter: flint.Limiter) -> None:
    limited = limiter.rate_limit("api", "2/minute")

    @limited
    def first() -> None: ...

    @limited
    def second() -> None: ...

    first()
    second()
    for function in (first, second):
        with pytest.raises(flint.RateLimitExceeded):
            function()


def test_a_function_can_have_several_limits(limiter: flint.Limiter) -> None:
    """The outer one is asked first; what it has taken stays taken."""

    @limiter.rate_limit("outer", "3/minute")
    @limiter.rate_limit("inner", "1/minute")
    def job() -> None: ...

    job()
    for _ in range(2):
        with pytest.raises(flint.RateLimitExceeded) as caught:
            job()
        assert caught.value.key == "inner"
    with pytest.raises(flint.RateLimitExceeded) as caught:
        job()
    assert caught.value.key == "outer"


def test_key_and_cost_of_the_call_s_arguments(limiter: flint.Limiter) -> None:
    seen: list[Any] = []

    def key_of(user: str, size: int, *, urgent: bool = False) -> str:
        seen.append((user, size, urgent))
        return f"user:{user}"

    @limiter.rate_limit(key_of, "10/minute", cost=lambda user, size, **rest: size)
    def upload(user: str, size: int, *, urgent: bool = False) -> None: ...

    upload("ann", 3)
    upload("bob", size=4, urgent=True)
    upload("ann", 5)
    assert seen == [("ann", 3, False), ("bob", 4, True), ("ann", 5, False)]
    assert taken(limiter, "user:ann") == (8, 0)
    assert taken(limiter, "user:bob") == (4, 0)
    with pytest.raises(flint.RateLimitExceeded) as caught:
        upload("ann", 3)
    assert (caught.value.key, caught.value.cost, caught.value.remaining) == ("user:ann", 3, 2)


def test_self_is_an_argument_like_the_others(limiter: flint.Limiter) -> None:
    class Account:
        def __init__(self, name: str) -> None:
            self.name = name

        @limiter.rate_limit(lambda self, amount: self.name, "5/minute", cost=lambda self, amount: amount)
        def pay(self, amount: int) -> str:
            return f"{self.name} pays {amount}"

    ann, bob = Account("ann"), Account("bob")
    assert [ann.pay(3), bob.pay(amount=5)] == ["ann pays 3", "bob pays 5"]
    with pytest.raises(flint.RateLimitExceeded) as caught:
        ann.pay(3)
    assert caught.value.key == "ann"


class Mine(Exception):
    pass


def failing(*args: Any, **kwargs: Any) -> Any:
    raise Mine


def test_a_function_that_raises_has_consumed(limiter: flint.Limiter) -> None:
    limited = limiter.rate_limit("k", "2/minute")(failing)
    for _ in range(2):
        with pytest.raises(Mine):
            limited()
    with pytest.raises(flint.RateLimitExceeded):
        limited()
    assert taken(limiter, "k") == (2, 1)


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"key": failing}, Mine),
        ({"key": "k", "cost": failing}, Mine),
        ({"key": lambda: None}, TypeError),
        ({"key": lambda: 7}, TypeError),
        ({"key": lambda: ""}, flint.InvalidKey),
        ({"key": lambda: "k" * 513}, flint.InvalidKey),
        ({"key": "k", "cost": lambda: 0}, flint.InvalidCost),
        ({"key": "k", "cost": lambda: 6}, flint.InvalidCost),
        ({"key": "k", "cost": lambda: "1"}, flint.InvalidCost),
        ({"key": "k", "cost": lambda: None}, flint.InvalidCost),
        ({"key": lambda one: "k"}, TypeError),
    ],
)
def test_a_key_or_cost_that_is_none_is_raised_and_takes_nothing(
    limiter: flint.Limiter, given: dict[str, Any], error: type[Exception]
) -> None:
    ran: list[int] = []
    limited = limiter.rate_limit(rate="5/minute", **given)(lambda: ran.append(1))
    with pytest.raises(error):
        limited()
    assert ran == []
    assert limiter.list() == []


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"key": ""}, flint.InvalidKey, "it is empty"),
        ({"key": "k" * 513}, flint.InvalidKey, "513 bytes"),
        ({"key": "\ud800"}, flint.InvalidKey, "surrogate"),
        ({"key": None}, TypeError, "key must be a str or a function of the call's arguments, not NoneType"),
        ({"key": b"k"}, TypeError, "not bytes"),
        ({"rate": 0, "per": "1m"}, flint.InvalidLimit, "rate"),
        ({"rate": 10}, flint.InvalidLimit, "needs per"),
        ({"rate": "10/fortnight"}, flint.InvalidLimit, "fortnight"),
        ({"rate": "10/minute", "per": "1m"}, flint.InvalidLimit, "per was given"),
        ({"rate": "10/minute", "algorithm": "leaky"}, flint.InvalidLimit, "leaky"),
        ({"rate": "10/minute", "burst": 0}, flint.InvalidLimit, "burst"),
        ({"rate": "9/m", "burst": 5, "algorithm": "sliding_window_log"}, flint.InvalidLimit, "burst"),
        ({"rate": flint.Limit("9/m"), "burst": 5}, flint.InvalidLimit, "with it"),
        ({"per": "1m"}, flint.InvalidLimit, "per was given without rate"),
        ({"burst": 5}, flint.InvalidLimit, "burst was given without rate"),
        ({"algorithm": "sliding_window_log"}, flint.InvalidLimit, "algorithm was given without rate"),
        (
            {"cost": 0},
            flint.InvalidCost,
            "0 is not accepted; a cost is an integer from 1 to the limit's capacity, such as 1$",
        ),
        ({"cost": -1}, flint.InvalidCost, "-1 is not accepted"),
        ({"cost": True}, flint.InvalidCost, "True is not accepted"),
        ({"cost": 1.0}, flint.InvalidCost, "1.0 is not accepted"),
        ({"cost": "1"}, flint.InvalidCost, "'1' is not accepted"),
        ({"cost": None}, flint.InvalidCost, "None is not accepted"),
        ({"cost": 2**64}, flint.InvalidCost, "is not accepted"),
        (
            {"cost": 11, "rate": "10/minute"},
            flint.InvalidCost,
            "11 is not accepted.* limit's capacity of 10, such as 1$",
        ),
        ({"cost": 6, "rate": "10/minute burst 5"}, flint.InvalidCost, "capacity of 5, such as 1$"),
        ({"timeout": 5}, flint.InvalidArgument, "wait=True"),
        ({"timeout": 5, "wait": False}, flint.InvalidArgument, "wait=True"),
        ({"timeout": -1, "wait": True}, flint.InvalidArgument, "timeout must be None or a number of seconds, 0"),
        ({"timeout": float("nan"), "wait": True}, flint.InvalidArgument, "not nan"),
        ({"timeout": float("inf"), "wait": True}, flint.InvalidArgument, "not inf"),
        ({"timeout": "5", "wait": True}, flint.InvalidArgument, "not '5'"),
        ({"timeout": True, "wait": True}, flint.InvalidArgument, "not True"),
        ({"wait": 5}, flint.InvalidArgument, "wait must be True or False, not 5; the seconds to wait go into timeout"),
        ({"wait": None}, flint.InvalidArgument, "not None"),
    ],
)
def test_what_could_never_work_is_refused_before_there_is_a_function(
    limiter: flint.Limiter, given: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        limiter.rate_limit(**{"key": "k", **given})
    assert limiter.list() == []


def test_a_coroutine_function_cannot_give_the_key_or_the_cost(limiter: flint.Limiter) -> None:
    async def give() -> Any: ...

    for given in ({"key": give}, {"key": "k", "cost": give}):
        with pytest.raises(TypeError, match=r"not a coroutine function"):
            limiter.rate_limit(**given)


def test_a_class_is_refused_and_its_methods_named(limiter: flint.Limiter) -> None:
    class Mailer: ...

    with pytest.raises(TypeError, match=r"Mailer is a class: decorate those of its methods .* __init__"):
        limiter.rate_limit("k", "1/minute")(Mailer)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (property(lambda self: 1), "put it below @property"),
        (7, "this int cannot be called: write @limiter.rate_limit"),
        (None, "this NoneType cannot be called"),
        (classmethod(property(lambda self: 1)), "put it below @property"),  # type: ignore[arg-type]
        (staticmethod(int), "int is a class"),
    ],
)
def test_what_cannot_be_called_is_refused(limiter: flint.Limiter, target: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        limiter.rate_limit("k", "1/minute")(target)


def test_threads_get_what_the_limit_allows_and_no_more(limiter: flint.Limiter) -> None:
    limited = limiter.rate_limit("k", "20/minute")(lambda: None)
    allowed: list[int] = []

    def work() -> None:
        for _ in range(10):
            try:
                limited()
            except flint.RateLimitExceeded:
                continue
            allowed.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(allowed) == 20


def test_a_closed_limiter_says_so(limiter: flint.Limiter) -> None:
    limited = limiter.rate_limit("k", "1/minute")(lambda: None)
    limiter.close()
    with pytest.raises(flint.ClosedError):
        limited()
