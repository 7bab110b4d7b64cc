"""Authentication: tokens, their scopes, where they may come from, and the messages about them."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.python.server.support import STRONG, Client, Server, answers, refused, request, serving

TOKENS = {scope: f"{scope}-{STRONG}" for scope in ("check", "configure", "admin", "metrics")}
PEEPHOLE = f"two-{STRONG}"


def token_file(path: Path, lines: list[str], mode: int = 0o600) -> Path:
    path.write_text("\n".join(lines) + "\n")
    path.chmod(mode)
    return path


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("guarded")
    lines = ["# scopes of the tests", "", *(f"{token} {scope}" for scope, token in TOKENS.items())]
    file = token_file(directory / "tokens", [*lines, f"{PEEPHOLE}\tcheck, metrics"])
    with serving(directory / "data", "--token-file", file) as server:
        configure = server.client(TOKENS["configure"])
        configure.post("/v1/limits", {"key": "k", "rate": "1000000/s"})
        yield server


ROUTES = {
    ("GET", "/v1/health"): None,
    ("GET", "/v1/openapi.json"): None,
    ("GET", "/v1/limits"): "check",
    ("GET", "/v1/limits/k"): "check",
    ("POST", "/v1/check"): "check",
    ("POST", "/v1/peek"): "check",
    ("POST", "/v1/deny"): "check",
    ("POST", "/v1/check-all"): "check",
    ("GET", "/v1/top"): "check",
    ("GET", "/v1/history?key=k"): "check",
    ("POST", "/v1/limits"): "configure",
    ("POST", "/v1/limit-many"): "configure",
    ("POST", "/v1/reset"): "configure",
    ("DELETE", "/v1/limits/unknown"): "configure",
    ("DELETE", "/v1/limits?key=unknown"): "configure",
    ("POST", "/v1/log/flush"): "admin",
    ("POST", "/v1/log/compact"): "admin",
    ("GET", "/v1/log/records"): "admin",
    ("GET", "/v1/doctor"): "admin",
    ("GET", "/v1/counters"): "metrics",
    ("GET", "/metrics"): "metrics",
}


@pytest.mark.parametrize("presented", [*TOKENS, "two"])
def test_scopes(guarded: Server, presented: str) -> None:
    has = {"check", "metrics"} if presented == "two" else {presented}
    client = guarded.client(PEEPHOLE if presented == "two" else TOKENS[presented])
    for (method, path), scope in ROUTES.items():
        answer = client.ask(method, path)
        if scope is None or scope in has:
            assert answer.status not in (401, 403), (method, path, answer)
        else:
            assert scope in answer.problem(403, "forbidden"), (method, path)


def test_every_route_needs_a_token(guarded: Server) -> None:
    known = Client(guarded.client().connection, TOKENS["check"]).get("/v1/openapi.json")["paths"]
    routes = {(method.upper(), path) for path, methods in known.items() for method in methods}
    assert len(routes) == len(ROUTES)
    client = guarded.client()
    for method, path in ROUTES:
        answer = client.ask(method, path)
        answer.problem(401, "unauthorized")
        assert answer.headers["WWW-Authenticate"] == "Bearer"


BAD = [
    "",
    "Bearer",
    "Bearer ",
    "Bearer wrong",
    f"Bearer {TOKENS['check'][:-1]}",
    f"Bearer {TOKENS['check']}x",
    f"Bearer {TOKENS['check'].upper()}",
    f"Basic {TOKENS['check']}",
    TOKENS["check"],
    f"Bearer\t{TOKENS['check']}",
    f"Bearer {TOKENS['check']}, Bearer x",
    "Bearer \xff\xfe",
    "Bearer " + "x" * 8000,
]


@pytest.mark.parametrize("header", BAD, ids=range(len(BAD)))
def test_a_client_without_a_token_learns_nothing(guarded: Server, header: str) -> None:
    """Whatever else is wrong with the request, and whatever is there, the answer is the same."""
    asked = [
        ("GET", "/v1/health", None, {}),
        ("GET", "/metrics", None, {}),
        ("GET", "/v1/limits/k", None, {}),
        ("GET", "/v1/limits/unknown", None, {}),
        ("GET", "/nothing/here", None, {}),
        ("BREW", "/v1/check", None, {}),
        ("GET", "/v1/limits/%FF?colour=red", None, {}),
        ("POST", "/v1/check", b"rubbish \xff", {}),
        ("POST", "/v1/check", b"rubbish", {"Content-Type": "text/plain"}),
        ("POST", "/v1/check", b"{}", {"Idempotency-Key": "no good"}),
        ("GET", "/v1/health", None, {"Origin": "http://evil.example"}),
        ("GET", "/v1/health", None, {"Host": "evil.example"}),
    ]
    seen = set()
    for method, path, body, headers in asked:
        client = guarded.client()
        answer = client.ask(method, path, body, {"Authorization": header, **headers})
        answer.problem(401, "unauthorized")
        seen.add(answer.body)
    assert len(seen) == 1


def test_a_body_is_not_waited_for(guarded: Server) -> None:
    """The answer comes although the body never does, however large it is said to be."""
    for length in ("Content-Length: 10", "Content-Length: 99999999999", "Transfer-Encoding: chunked"):
        connection = guarded.connect(request("POST", "/v1/limit-many", "Content-Type: application/json", length))
        (answer,) = answers(connection)
        answer.problem(401, "unauthorized")
        assert answer.headers["Connection"] == "close"


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR"])
def test_the_scheme_has_no_case(guarded: Server, scheme: str) -> None:
    client = guarded.client()
    assert client.ask("GET", "/v1/health", headers={"Authorization": f"{scheme} {TOKENS['metrics']}"}).status == 200


def test_two_authorization_headers(guarded: Server) -> None:
    lines = [f"Authorization: Bearer {TOKENS['check']}", "Authorization: Bearer wrong"]
    (answer,) = answers(guarded.connect(request("GET", "/v1/health", "Connection: close", *reversed(lines))))
    answer.problem(401, "unauthorized")


# --- token files -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o644, 0o660])
def test_a_token_file_is_for_its_owner(tmp_path: Path, mode: int) -> None:
    file = token_file(tmp_path / "tokens", [f"{STRONG} check"], mode)
    said = refused(tmp_path / "data", "--bind", "127.0.0.1:0", "--token-file", file)
    assert f"{mode:04o}" in said
    assert "chmod 600" in said


@pytest.mark.parametrize(
    ("lines", "what"),
    [
        (["short check"], "line 1: the token is too weak"),
        (["", "a" * 40 + " check"], "line 2: the token is too weak"),
        ([STRONG], "at least one scope"),
        ([f"{STRONG} chekc"], "is not a scope"),
        ([f"{STRONG} check", f"{STRONG} admin"], "line 2: the token appears twice"),
        ([f"{STRONG}é check"], "which no Authorization header can hold"),
        (["# nothing"], "no token"),
        ([f"# {'x' * 70_000}"], "larger than 65536"),
    ],
)
def test_token_files_that_are_not_accepted(tmp_path: Path, lines: list[str], what: str) -> None:
    file = token_file(tmp_path / "tokens", lines)
    said = refused(tmp_path / "data", "--bind", "127.0.0.1:0", "--token-file", file)
    assert what in said
    assert STRONG not in said
    assert str(file) in said.replace("\n", "")


def test_a_token_file_that_is_none(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing", tmp_path, Path(os.devnull)):
        assert str(path) in refused(tmp_path / "data", "--bind", "127.0.0.1:0", "--token-file", path)


def test_a_pipe_in_place_of_a_token_file_holds_nothing_up(tmp_path: Path) -> None:
    file = token_file(tmp_path / "tokens", [f"{STRONG} check"])
    os.mkfifo(tmp_path / "pipe", 0o600)
    assert "is no regular file" in refused(tmp_path / "data", "--token-file", tmp_path / "pipe")
    with serving(tmp_path / "data", "--token-file", file) as server:
        client = server.client(STRONG)
        (tmp_path / "pipe").rename(file)
        server.send(signal.SIGHUP)
        assert "is no regular file" in server.until("error: token file .*; the tokens stay as they were").string
        assert client.ask("GET", "/v1/health").status == 200


def test_tokens_are_read_again(tmp_path: Path) -> None:
    old, new = f"old-{STRONG}", f"new-{STRONG}"
    file = token_file(tmp_path / "tokens", [f"{old} check metrics"])
    with serving(tmp_path / "data", "--token-file", file) as server:
        before, after = server.client(old), server.client(new)
        assert [before.ask("GET", "/v1/health").status, after.ask("GET", "/v1/health").status] == [200, 401]
        token_file(file, [f"{new} check"])
        server.send(signal.SIGHUP)
        server.until("read the tokens again")
        # On connections that were open before, too.
        assert [before.ask("GET", "/v1/health").status, after.ask("GET", "/v1/health").status] == [401, 200]
        since = len(server.log)
        for lines, mode in ((["weak check"], 0o600), ([f"{old} check"], 0o644)):
            token_file(file, lines, mode)
            server.send(signal.SIGHUP)
            server.until("error: token file .*; the tokens stay as they were", since)
            since = len(server.log)
            assert [before.ask("GET", "/v1/health").status, after.ask("GET", "/v1/health").status] == [401, 200]
        file.unlink()
        server.send(signal.SIGHUP)
        server.until("error: token file .*; the tokens stay as they were", since)
        assert after.ask("GET", "/v1/health").status == 200


# --- one token -------------------------------------------------------------------------------------------------------


def test_a_token_of_the_command_line_has_all_scopes_and_is_warned_of(tmp_path: Path) -> None:
    with serving(tmp_path / "data", "--token", "dev-secret") as server:
        assert server.client().ask("GET", "/v1/health").status == 401
        client = server.client("dev-secret")
        for method, path in ROUTES:
            assert client.ask(method, path).status not in (401, 403), path
        said = "\n".join(server.log)
        assert "ps" in said
        assert "guessed" in said
        assert "in the clear" in said
        assert "dev-secret" not in said


def test_a_token_of_the_environment_is_not_in_the_command_line(tmp_path: Path) -> None:
    with serving(tmp_path / "data", env={"FLINT_TOKEN": STRONG}) as server:
        assert server.client().ask("GET", "/v1/health").status == 401
        assert server.client(STRONG).ask("GET", "/v1/doctor").status == 200
        warnings = [line for line in server.log if "warning" in line]
        assert len(warnings) == 1
        assert "in the clear" in warnings[0]
    with serving(tmp_path / "data", "--token", "other", env={"FLINT_TOKEN": STRONG}) as server:
        assert server.client(STRONG).ask("GET", "/v1/health").status == 401
        assert server.client("other").ask("GET", "/v1/health").status == 200
    file = token_file(tmp_path / "tokens", [f"file-{STRONG} check"])
    with serving(tmp_path / "data", "--token-file", file, env={"FLINT_TOKEN": STRONG}) as server:
        assert server.client(STRONG).ask("GET", "/v1/health").status == 401
        assert server.client(f"file-{STRONG}").ask("GET", "/v1/health").status == 200


def test_nothing_to_warn_of(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as server:
        assert not [line for line in server.log if "warning" in line]


def test_tokens_that_are_not_accepted(tmp_path: Path) -> None:
    file = token_file(tmp_path / "tokens", [f"{STRONG} check"])
    for options, what in [
        (("--token", ""), "empty"),
        (("--token", "with space"), "which no Authorization header can hold"),
        (("--token", STRONG, "--token-file", file), "exclude each other"),
    ]:
        assert what in refused(tmp_path / "data", "--bind", "127.0.0.1:0", *options)
    assert "empty" in refused(tmp_path / "data", "--bind", "127.0.0.1:0", "--token", "", env={"FLINT_TOKEN": STRONG})


# --- where others can reach it ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0", "192.0.2.1:7878"])
def test_other_machines_need_a_strong_token(tmp_path: Path, address: str) -> None:
    assert "no token is set" in refused(tmp_path / "data", "--bind", address)
    assert "too weak" in refused(tmp_path / "data", "--bind", address, "--token", "dev-secret")
    for weak in ("a" * 64, STRONG[:31]):
        assert "too weak" in refused(tmp_path / "data", "--bind", address, env={"FLINT_TOKEN": weak})


def test_a_strong_token_may_go_anywhere_with_a_warning(tmp_path: Path) -> None:
    with serving(tmp_path / "data", "--bind", "0.0.0.0:0", env={"FLINT_TOKEN": STRONG}) as server:
        assert [line for line in server.log if "warning" in line and "in the clear at 0.0.0.0" in line]
        assert server.client(STRONG).ask("GET", "/v1/health").status == 200


def test_tls_can_be_required(tmp_path: Path) -> None:
    for env in ({}, {"FLINT_TOKEN": STRONG}):
        said = refused(tmp_path / "data", "--bind", "127.0.0.1:0", "--require-tls", env=env)
        assert "--tls-cert" in said
