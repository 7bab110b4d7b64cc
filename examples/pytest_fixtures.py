"""The pytest plugin brings a limiter for each test and the clock that it reads."""

import subprocess
import sys
from collections.abc import Callable

import pytest

import flint
from flint.testing import ManualClock


def mailer(limiter: flint.Limiter) -> Callable[[str], str]:
    @limiter.rate_limit("email", "2/hour")
    def send(to: str) -> str:
        return f"sent to {to}"

    return send


def test_the_third_mail_has_to_wait(flint_limiter: flint.Limiter, flint_clock: ManualClock) -> None:
    send = mailer(flint_limiter)
    send("ada")
    send("bob")
    with pytest.raises(flint.RateLimitExceeded):
        send("eve")
    flint_clock.advance(1800)
    assert send("eve") == "sent to eve"


if __name__ == "__main__":
    command = [sys.executable, "-m", "pytest", "--quiet", "-p", "no:cacheprovider", __file__]
    passed = subprocess.call(command, stdout=subprocess.DEVNULL) == 0
    print("passed" if passed else "failed")

# Output:
#   passed
