"""Attacks that are held open: the honest client is served all the while, and the attackers are dropped."""

from __future__ import annotations

import resource
from collections.abc import Iterator

import pytest
from tests.python.server.attacks import ATTACKS, HONEST, Outcome, all_at_once

# Most connections that a server keeps.
ROOM = 512
TOO_LATE = b"HTTP/1.1 408"


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Outcome]]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 16_384), hard))
    yield all_at_once(tmp_path_factory.mktemp("attacks"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("name", ATTACKS)
def test_the_honest_client_is_served_while_the_attack_lasts(outcomes: dict[str, Outcome], name: str) -> None:
    outcome = outcomes[name]
    assert outcome.served == HONEST
    # Connections without a token were refused and closed: there is nothing to hold.
    assert outcome.held > 0 or name == "without a token", "the attack was over before the honest client was done"


@pytest.mark.parametrize("name", ATTACKS)
def test_the_connection_of_the_honest_client_stays(outcomes: dict[str, Outcome], name: str) -> None:
    # Among many that had a request answered, the one that was silent for longest goes.
    assert outcomes[name].lost <= (1 if name == "idling" else 0)


@pytest.mark.parametrize("name", [name for name, attack in ATTACKS.items() if attack.is_dropped])
def test_the_attackers_are_dropped(outcomes: dict[str, Outcome], name: str) -> None:
    outcome = outcomes[name]
    assert len(outcome.received) == ATTACKS[name].connections
    assert None not in outcome.received


@pytest.mark.parametrize("name", ["silence", "slow head", "slow request line", "endless headers"])
def test_a_head_that_does_not_come_is_not_answered(outcomes: dict[str, Outcome], name: str) -> None:
    assert set(outcomes[name].received) == {b""}
    assert outcomes[name].timed_out + outcomes[name].evicted == ATTACKS[name].connections


@pytest.mark.parametrize("name", ["slow body", "no body", "slow chunks", "slow limit-many"])
def test_a_body_that_does_not_come_is_answered(outcomes: dict[str, Outcome], name: str) -> None:
    for received in outcomes[name].received:
        assert received
        assert received.startswith(TOO_LATE), received
        assert b'"code":"request_timeout"' in received


def test_the_second_head_has_the_same_time(outcomes: dict[str, Outcome]) -> None:
    for received in outcomes["slow second head"].received:
        assert received
        assert received.startswith(b"HTTP/1.1 200")
        assert received.count(b"HTTP/1.1") == 1
    assert outcomes["slow second head"].timed_out == ATTACKS["slow second head"].connections


@pytest.mark.parametrize("name", ["silence", "idling"])
def test_more_than_there_is_room_for(outcomes: dict[str, Outcome], name: str) -> None:
    outcome = outcomes[name]
    assert outcome.held < ROOM
    # One more for the first of the honest client's new connections.
    assert outcome.evicted > ATTACKS[name].connections - ROOM


def test_without_a_token_nothing_is_waited_for(outcomes: dict[str, Outcome]) -> None:
    for received in outcomes["without a token"].received:
        assert received is not None
        assert received == b"" or received.startswith(b"HTTP/1.1 401"), received
    assert outcomes["without a token"].evicted == 0
