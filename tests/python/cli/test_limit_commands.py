from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import flint
from flint.cli import describe

if TYPE_CHECKING:
    from tests.python.cli.conftest import Cli


def test_commands_of_the_first_readme(cli: Cli) -> None:
    assert cli("limit", "add", "api:user-42", "--rate", "100", "--per", "1m", "--algorithm", "token_bucket").status == 0
    assert "api:user-42" in cli("limit", "list").out
    assert "100/minute" in cli("limit", "status", "api:user-42").out
    checked = cli("limit", "check", "api:user-42", "--cost", "5")
    assert (checked.status, checked.err) == (0, "")
    assert checked.out.startswith("allowed  api:user-42  cost 5  remaining 95 of 100")
    cli("limit", "add", "user:42", "10/minute")
    cli("limit", "add", "org:acme", "100/hour")
    both = cli("limit", "check-all", "user:42", "org:acme", "--cost", "org:acme=10", "--json")
    assert both.status == 0
    assert [(each["key"], each["cost"]) for each in both.json["results"]] == [("user:42", 1), ("org:acme", 10)]
    assert cli("limit", "reset", "api:user-42").status == 0
    assert "remaining     100" in cli("limit", "status", "api:user-42").out
    history = cli("limit", "history", "api:user-42").out
    assert history.index("LIMIT_CONFIGURED") < history.index("ALLOW") < history.index("RESET")
    assert cli("limit", "top", "--by", "denied", "--limit", "20").status == 0
    assert cli("log", "compact").status == 0
    assert cli("doctor").status == 0
    assert cli("limit", "status", "api:user-42", "--json").json["total_allowed_cost"] == 5


def test_data_dir_option_comes_before_the_environment(cli: Cli, tmp_path: Path) -> None:
    there = tmp_path / "my app" / "flint"
    there.parent.mkdir()
    assert cli("--data-dir", there, "limit", "add", "k", "1/s").status == 0
    assert cli("--data-dir", there, "limit", "status", "k").status == 0
    assert cli("limit", "status", "k").status == 3


def test_default_data_dir_is_dot_flint(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli("limit", "add", "k", "1/s", FLINT_DATA_DIR="").status == 0
    assert (tmp_path / ".flint").is_dir()


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["100/minute"], "100/minute"),
        (["10 per 2 hours"], "10/2h"),
        (["5/250ms"], "5/250ms"),
        (["100/m burst 200"], "100/minute burst 200"),
        (["10/s; 1000/day"], "10/s; 1000/day"),
        (["--rate", "1", "--per", "250ms"], "1/250ms"),
        (["--rate", "10", "--per", "1w", "--burst", "20"], "10/week burst 20"),
        (["7/s", "--algorithm", "sliding_window_log"], "7/s"),
        (["7/s", "--algorithm", "fixed_window_counter"], "7/s"),
    ],
)
def test_add_shows_the_limit_in_the_grammar(cli: Cli, arguments: list[str], shown: str) -> None:
    added = cli("limit", "add", "k", *arguments)
    assert (added.status, added.err) == (0, "")
    lines = dict(line.split("  ", 1) for line in added.out.splitlines())
    assert lines["limit"].strip() == shown
    # What is shown is accepted again, and means the same: nothing is written for it.
    again = cli("limit", "add", "k", shown, *(arguments[-2:] if "--algorithm" in arguments else []), "--json")
    assert [e["type"] for e in cli("limit", "history", "k", "--json").json] == ["LIMIT_CONFIGURED"], again.out


def test_on_change_says_what_becomes_of_what_was_used(cli: Cli) -> None:
    cli("limit", "add", "k", "10/day")
    cli("limit", "check", "k", "--cost", "6")
    assert cli("limit", "add", "k", "20/day", "--json").json["remaining"] == 14
    assert cli("limit", "add", "k", "30/day", "--on-change", "reset", "--json").json["remaining"] == 30


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["1/s", "--rate", "1", "--per", "1s"],
        ["--rate", "1"],
        ["--per", "1s"],
        ["--rate", "1.0", "--per", "1s"],
        ["--rate", "0", "--per", "1s"],
        ["--rate", "-1", "--per", "1s"],
        ["--rate", str(2**64), "--per", "1s"],
        ["--rate", "9" * 5000, "--per", "1s"],
        ["--rate", "1", "--per", "fortnight"],
        ["--rate", "1", "--per", "0s"],
        ["--rate", "1", "--per", "11y"],
        ["--rate", "1", "--per", "1s", "--burst", "0"],
        ["abc/minute"],
        ["10/fortnight"],
        ["1/s;2/s;3/s;4/s;5/s;6/s;7/s;8/s;9/s"],
        ["1/s", "--algorithm", "leaky"],
        ["1/s", "--on-change", "maybe"],
    ],
)
def test_add_refuses_nonsense_and_writes_nothing(cli: Cli, data_dir: Path, arguments: list[str]) -> None:
    refused = cli("limit", "add", "k", *arguments)
    assert (refused.status, refused.out) == (2, "")
    assert 1 <= len(refused.err.splitlines()) <= 2
    assert not data_dir.exists()


@pytest.mark.parametrize("key", ["", "k" * 513, "\u20ac" * 171, b"k\xff"])
def test_bad_keys(cli: Cli, data_dir: Path, key: str | bytes) -> None:
    assert cli("limit", "add", key, "1/s").status == 2
    cli("limit", "add", "good", "1/s")
    for command in ("status", "check", "peek", "reset", "delete", "history"):
        assert cli("limit", command, key).status == 2, command


@pytest.mark.parametrize("cost", ["0", "-1", "11", "1.0", "1_0", "\u0661", "x", "", str(2**64)])
def test_bad_costs(cli: Cli, cost: str) -> None:
    cli("limit", "add", "k", "10/day")
    for command in ("check", "peek"):
        refused = cli("limit", command, "k", f"--cost={cost}")
        assert (refused.status, refused.out) == (2, "")
    assert cli("limit", "check-all", "k", "--cost", f"k={cost}").status == 2
    assert cli("limit", "status", "k", "--json").json["remaining"] == 10


def test_check_and_peek_answer_with_their_exit_status(cli: Cli) -> None:
    cli("limit", "add", "k", "2/day")
    assert cli("limit", "peek", "k", "--cost", "2").status == 0
    assert cli("limit", "check", "k").status == 0
    assert cli("limit", "check", "k").status == 0
    denied = cli("limit", "check", "k")
    assert denied.status == 1
    assert denied.out.startswith("denied  k  cost 1  remaining 0 of 2  retry after ")
    peeked = cli("limit", "peek", "k", "--json")
    assert (peeked.status, peeked.json["allowed"]) == (1, False)
    assert cli("limit", "status", "k", "--json").json["total_denied"] == 1


def test_each_limit_given_with_checks_is_shown(cli: Cli) -> None:
    cli("limit", "check", "k", "--rate", "3/day")
    cli("limit", "check", "k", "--rate", "5/minute")
    status = cli("limit", "status", "k").out.splitlines()
    assert status[1].split() == ["limit", "5/minute"]
    assert status[5].split()[:5] == ["checks", "2", "allowed", "(cost", "2),"]
    assert status[-1].startswith("another limit  3/day (token_bucket): remaining 2, full again ")
    assert status[-1].endswith(", 1 allowed, 0 denied")
    note = 'flint: calls brought further limits to the keys with "more"; flint limit status KEY shows each of them\n'
    listed, top = cli("limit", "list"), cli("limit", "top", "--by", "allowed")
    assert "5/minute (and 1 more)" in listed.out
    assert "5/minute (and 1 more)" in top.out
    assert listed.err == top.err == note
    assert cli("limit", "list", "--json").err == ""
    assert [each["rate"] for each in cli("limit", "status", "k", "--json").json["counters"]] == [5, 3]


def test_a_limit_given_with_the_check(cli: Cli) -> None:
    assert cli("limit", "check", "new", "--rate", "3/day", "--json").json["remaining"] == 2
    assert cli("limit", "peek", "other", "--rate", "3/day", "--json").json["allowed"] is True
    assert cli("limit", "status", "new").status == 0
    assert cli("limit", "status", "other").status == 2


def test_check_all_takes_everything_or_nothing(cli: Cli) -> None:
    cli("limit", "add", "a=b", "10/day")
    cli("limit", "add", "c", "3/day")
    assert cli("limit", "check-all", "a=b", "c", "--cost", "a=b=4", "--cost", "c=2").status == 0
    denied = cli("limit", "check-all", "a=b", "c", "--cost", "c=2")
    assert denied.status == 1
    assert denied.out.splitlines()[-1].startswith("denied by c, nothing taken  retry after ")
    assert cli("limit", "status", "a=b", "--json").json["remaining"] == 6


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["k", "k"],
        ["k", "--cost", "1"],
        ["k", "--cost", "other=1"],
        ["k", "--cost", "k=1", "--cost", "k=2"],
        ["k", *map(str, range(1000))],
        ["k", "unknown"],
    ],
)
def test_check_all_refuses_nonsense(cli: Cli, arguments: list[str]) -> None:
    cli("limit", "add", "k", "10/day")
    refused = cli("limit", "check-all", *arguments)
    assert (refused.status, refused.out) == (2, "")
    assert cli("limit", "status", "k", "--json").json["remaining"] == 10


def test_unknown_keys_are_named(cli: Cli) -> None:
    cli("limit", "add", "k", "1/s")
    for command in ("status", "check", "peek", "reset", "delete", "history"):
        unknown = cli("limit", command, "missing?")
        assert (unknown.status, unknown.out) == (2, "")
        assert "missing?" in unknown.err
        assert len(unknown.err.splitlines()) == 1


def test_delete_forgets(cli: Cli) -> None:
    cli("limit", "add", "k", "1/s")
    assert cli("limit", "delete", "k").status == 0
    assert cli("limit", "status", "k").status == 2
    assert cli("limit", "list").out == "no limits\n"


def test_list_in_parts(cli: Cli, data_dir: Path) -> None:
    with flint.Limiter(data_dir) as limiter:
        limiter.limit_many({"key": f"k{number:05}", "rate": 1, "per": "1d"} for number in range(2500))
        limiter.limit("other", "1/s")

    def keys(*arguments: str) -> list[str]:
        return [status["key"] for status in cli("limit", "list", "--json", *arguments).json]

    assert len(keys()) == 2501
    assert keys("--limit", "1001") == [f"k{number:05}" for number in range(1001)]
    assert keys("--after", "k02498") == ["k02499", "other"]
    assert keys("--prefix", "oth") == ["other"]
    assert keys("--prefix", "none") == []
    assert keys("--prefix", "k", "--after", "k02497", "--limit", "1") == ["k02498"]
    lines = cli("limit", "list").out.splitlines()
    assert sum(line.startswith("k0") for line in lines) == 2500


def test_top_sorts(cli: Cli) -> None:
    cli("limit", "add", "many", "3/day")
    cli("limit", "add", "costly", "10/day")
    for _ in range(5):
        cli("limit", "check", "many")
    cli("limit", "check", "costly", "--cost", "9")
    cli("limit", "check", "costly", "--cost", "10")

    def keys(by: str) -> list[str]:
        return [status["key"] for status in cli("limit", "top", "--by", by, "--json").json]

    assert keys("allowed") == ["many", "costly"]
    assert keys("allowed_cost") == ["costly", "many"]
    assert keys("denied") == ["many", "costly"]
    assert keys("denied_cost") == ["costly", "many"]
    assert len(cli("limit", "top", "--limit", "1", "--json").json) == 1
    assert cli("limit", "top", "--by", "luck").status == 2


def test_history_is_cut_to_the_newest(cli: Cli) -> None:
    cli("limit", "add", "k", "10/day")
    for _ in range(3):
        cli("limit", "check", "k", "--cost", "2")
    events = cli("limit", "history", "k", "--limit", "2", "--json").json
    assert [(event["type"], event["cost"], event["remaining"]) for event in events] == [
        ("ALLOW", 2, 6),
        ("ALLOW", 2, 4),
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        ["add", "", "10/m"],
        ["add", "k" * 513, "10/m"],
        ["check", "", "--rate", "5/m"],
        ["check", "k", "--rate", "zz"],
        ["check", "k", "--rate", "5/m", "--cost", "9"],
    ],
)
def test_nonsense_makes_no_directory(cli: Cli, data_dir: Path, arguments: list[str]) -> None:
    ran = cli("limit", *arguments)
    assert ran.status == 2, ran
    assert not data_dir.exists()


def test_an_empty_data_dir_is_refused(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ran = cli("--data-dir", "", "limit", "add", "k", "1/m")
    assert (ran.status, "--data-dir" in ran.err) == (2, True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.0004, "0.001 s"), (28.9481, "28.949 s"), (0.25, "0.25 s"), (59.9999, "60 s"), (60.1, "1 min 1 s")],
)
def test_waiting_times_are_rounded_up(value: float, shown: str) -> None:
    assert describe.seconds(value) == shown


@pytest.mark.parametrize("arguments", [("limit", "list"), ("limit", "history", "k"), ("limit", "top")], ids=" ".join)
def test_a_number_of_lines_has_a_range(cli: Cli, arguments: tuple[str, ...]) -> None:
    assert cli("limit", "add", "k", "9/day").status == 0
    assert cli(*arguments, "--limit", str(2**64 - 1)).status == 0
    for refused in ("0", "-1", str(2**64), "9" * 23):
        ran = cli(*arguments, "--limit", refused)
        assert (ran.status, ran.out) == (2, "")
        assert f"{refused} is out of range" in ran.err


def test_doctor_verify_and_dump_see_that_everything_is_lost(cli: Cli, data_dir: Path) -> None:
    assert cli("limit", "add", "k", "1/m").status == 0
    for path in data_dir.iterdir():
        if path.name != "flint.lock":
            path.unlink()
    for command in (["doctor"], ["log", "verify"], ["log", "dump"], ["limit", "list"], ["limit", "add", "k", "1/m"]):
        ran = cli(*command)
        assert ran.status == 3, (command, ran)
        assert "flint.lock" in ran.err + ran.out
