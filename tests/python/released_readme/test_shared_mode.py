"""The section "Shared Mode" of release 0.2.1's README: its command lines, endpoints and sentences, on real servers.

The published port may be taken where the tests run; they put a free one in its place.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import select
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.python import installed
from tests.python.certificates import Files
from tests.python.served import TOKEN, Served, environment, serving

import flint

Snippet = Callable[..., dict[str, Any]]
Shell = Callable[[str], "subprocess.CompletedProcess[str]"]

SNIPPETS = Path(__file__).parent / "snippets"
PORT = "7878"
HEADER = (SNIPPETS / "shared_header.txt").read_text(encoding="utf-8").strip()
ENDPOINTS = [line.rsplit(" ", 1) for line in (SNIPPETS / "shared_endpoints.txt").read_text().splitlines()]
COMMANDS = [
    (SNIPPETS / "server_start.txt").read_text(encoding="utf-8"),
    *(SNIPPETS / "server_commands.txt").read_text(encoding="utf-8").splitlines(),
]
BODIES: dict[tuple[str, str], object] = {
    ("POST", "/v1/limits"): {"key": "api:user-42", "rate": 100, "per": "1m"},
    ("POST", "/v1/check"): {"key": "api:user-42"},
    ("POST", "/v1/check-all"): {"items": ["api:user-42", {"key": "org:acme", "cost": 10}]},
    ("POST", "/v1/reset"): {"key": "api:user-42"},
}


@contextmanager
def started(line: str, cwd: Path) -> Iterator[Served]:
    """Runs a command line as it was published, but for its port, until the end of the block."""
    path = os.pathsep.join([str(installed.flint().parent), os.environ["PATH"]])
    assert PORT in line
    with subprocess.Popen(
        # Without the shell in between, which a signal would end alone.
        ["/bin/sh", "-c", "exec " + line.replace(PORT, "0")],
        cwd=cwd,
        env={**environment(), "PATH": path},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        served = Served(process)
        try:
            served.listen(1)
            yield served
            served.end()
        finally:
            process.kill()


@dataclass
class Api:
    """The HTTP API, spoken with the standard library."""

    url: str
    token: str | None = "dev-secret"

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        headers = {}
        if self.token is not None:
            name, value = HEADER.replace("<token>", self.token).split(": ")
            headers[name] = value
        if body is not None:
            headers["Content-Type"] = "application/json"
        connection = http.client.HTTPConnection(self.url.removeprefix("http://"), timeout=30)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def ok(self, method: str, path: str, body: object = None) -> Any:
        status, answer = self.ask(method, path, body)
        assert status == 200, answer
        return answer


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path / "data", "--sync", "batch", "--token", "dev-secret") as server:
        yield server


@pytest.fixture
def api(server: Served) -> Api:
    return Api(server.url)


def test_start_the_server_and_use_it_from_python(cwd: Path, snippet: Snippet) -> None:
    calls: list[None] = []
    with started(COMMANDS[0], cwd) as server:
        text = (SNIPPETS / "shared.txt").read_text(encoding="utf-8")
        url = f"http://127.0.0.1:{PORT}"
        assert url in text
        names: dict[str, Any] = {"process_request": lambda: calls.append(None)}
        exec(compile(text.replace(url, server.url), "shared.txt", "exec"), names)
        assert len(calls) == 1
        limiter = names["limiter"]
        assert isinstance(limiter, flint.SharedLimiter)
        assert limiter.list()[0].total_allowed == 1
        limiter.close()
    with flint.Limiter(cwd / ".flint-shared") as embedded:
        status = embedded.status("api:user-42")
        assert status is not None
        assert (status.rate, status.per_millis, status.total_allowed) == (100, 60_000, 1)


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_line_starts_a_server(line: str, cwd: Path) -> None:
    with started(line, cwd) as server:
        api = Api(server.url)
        assert api.ok("GET", "/v1/health")["status"] == "ok"
        assert api.ok("POST", "/v1/limits", BODIES["POST", "/v1/limits"])["key"] == "api:user-42"
    assert (cwd / (".flint-shared" if ".flint-shared" in line else ".flint")).is_dir()


def test_every_endpoint(api: Api) -> None:
    api.ok("POST", "/v1/limits", {"key": "org:acme", "rate": 100, "per": "10d"})
    api.ok("POST", "/v1/limits", {"key": "api:user-42", "rate": 100, "per": "10d"})
    for path, method in ENDPOINTS:
        answer = api.ok(method, path.replace("{key}", "api%3Auser-42"), BODIES.get((method, path)))
        assert isinstance(answer, dict), path


def test_health_check(api: Api) -> None:
    assert api.ok("GET", "/v1/health") == {"status": "ok", "version": flint.__version__}


def test_list_limits_configure_a_limit_and_limit_status(api: Api) -> None:
    assert api.ok("GET", "/v1/limits") == {"limits": []}
    made = api.ok(
        "POST",
        "/v1/limits",
        {"key": "a/b c", "rate": 10, "per": "1d", "algorithm": "token_bucket", "burst": 20},
    )
    assert (made["rate"], made["per_millis"], made["burst"], made["remaining"]) == (10, 86_400_000, 20, 20)
    assert [status["key"] for status in api.ok("GET", "/v1/limits")["limits"]] == ["a/b c"]
    again = api.ok("GET", "/v1/limits/a%2Fb%20c")
    # Nothing was taken: it is full at the moment of the question.
    moments = dict.fromkeys(("reset_at", "counters"))
    assert {**again, **moments} == {**made, **moments}
    status, problem = api.ask("GET", "/v1/limits/unknown")
    assert (status, problem["code"]) == (404, "limit_not_found")


def test_check_consume_one_limit(api: Api) -> None:
    api.ok("POST", "/v1/limits", {"key": "k", "rate": 10, "per": "10d"})
    taken = api.ok("POST", "/v1/check", {"key": "k", "cost": 7})
    assert (taken["allowed"], taken["cost"], taken["remaining"]) == (True, 7, 3)
    denied = api.ok("POST", "/v1/check", {"key": "k", "cost": 7})
    assert (denied["allowed"], denied["remaining"]) == (False, 3)


def test_atomic_multi_limit_check(api: Api) -> None:
    for key in ("a", "b"):
        api.ok("POST", "/v1/limits", {"key": key, "rate": 10, "per": "10d"})
    assert api.ok("POST", "/v1/check-all", {"items": ["a", {"key": "b", "cost": 10}]})["allowed"] is True
    denied = api.ok("POST", "/v1/check-all", {"items": ["a", {"key": "b", "cost": 10}]})
    assert (denied["allowed"], denied["denied_key"]) == (False, "b")
    # All or nothing.
    assert api.ok("GET", "/v1/limits/a")["remaining"] == 9


def test_reset_a_limit(api: Api) -> None:
    api.ok("POST", "/v1/limits", {"key": "k", "rate": 10, "per": "10d"})
    api.ok("POST", "/v1/check", {"key": "k", "cost": 10})
    assert api.ok("GET", "/v1/limits/k")["remaining"] == 0
    assert api.ok("POST", "/v1/reset", {"key": "k"}) == {"reset": True}
    assert api.ok("GET", "/v1/limits/k")["remaining"] == 10


def test_force_pending_batch_writes_to_disk(tmp_path: Path) -> None:
    """With an hour between two of its own accord, the fsync that `counters` sees is that of the request."""
    waiting = ("--sync", "batch", "--flush-every-ms", "3600000", "--flush-every-events", "1000000")
    with serving(tmp_path / "data", *waiting, "--token", "dev-secret") as server:
        api = Api(server.url)
        api.ok("POST", "/v1/check", {"key": "k", "limit": "100/minute"})
        before = api.ok("GET", "/v1/counters")
        assert api.ok("POST", "/v1/log/flush") == {"flushed": True}
        after = api.ok("GET", "/v1/counters")
    assert after["durable_seq"] >= before["seq"] > before["durable_seq"]


def test_compact_the_log_into_a_snapshot(api: Api, tmp_path: Path) -> None:
    api.ok("POST", "/v1/check", {"key": "k", "limit": "100/minute"})
    assert not list((tmp_path / "data").glob("*.snapshot"))
    assert api.ok("POST", "/v1/log/compact") == {"compacted": True}
    assert len(list((tmp_path / "data").glob("*.snapshot"))) == 1


def test_storage_and_runtime_health(api: Api) -> None:
    api.ok("POST", "/v1/check", {"key": "k", "limit": "100/minute"})
    report = api.ok("GET", "/v1/doctor")
    assert (report["ok"], report["limits"], report["snapshot_exists"], report["problems"]) == (True, 1, False, [])
    assert report["history_events"] >= 1
    assert report["aof_bytes"] > 0


def test_every_request_must_include_the_token(api: Api) -> None:
    for token in (None, "dev-secre", "dev-secret2", TOKEN):
        stranger = Api(api.url, token)
        for path, method in [*ENDPOINTS, ("/metrics", "GET"), ("/nothing", "GET")]:
            status, problem = stranger.ask(method, path.replace("{key}", "k"), BODIES.get((method, path)))
            assert (status, problem["code"]) == (401, "unauthorized"), path
    assert HEADER == "Authorization: Bearer <token>"


@pytest.mark.parametrize("bind", ["0.0.0.0:0", "[::]:0"])
def test_it_refuses_other_machines_unless_a_token_is_configured(shell: Shell, cwd: Path, bind: str) -> None:
    refused = shell(f"flint server start --bind {bind}")
    assert refused.returncode == 2
    assert "no token is set" in refused.stderr
    assert not (cwd / ".flint").exists()


def test_it_takes_other_machines_with_a_token(tmp_path: Path) -> None:
    with serving(tmp_path / "data", "--bind", "0.0.0.0:0", FLINT_TOKEN=TOKEN) as server:
        here = Api(server.url.replace("0.0.0.0", "127.0.0.1"), TOKEN)
        assert here.ok("GET", "/v1/health")["status"] == "ok"


def test_persistent_writes_do_not_block_the_runtime(tmp_path: Path) -> None:
    """One blocking worker, with more work than it can take at once: checks are answered all the same."""
    with serving(tmp_path / "data", "--sync", "always", "--max-blocking", "1", "--token", "dev-secret") as server:
        api = Api(server.url)
        api.ok("POST", "/v1/limits", {"key": "k", "rate": 1_000_000, "per": "10d"})
        done: list[int] = []
        workers = [
            threading.Thread(target=lambda: done.append(api.ask("POST", "/v1/log/compact")[0])) for _ in range(4)
        ]
        for worker in workers:
            worker.start()
        for number in range(1, 51):
            assert api.ok("POST", "/v1/check", {"key": "k"})["remaining"] == 1_000_000 - number
        for worker in workers:
            worker.join()
        assert set(done) <= {200, 503}
        assert 200 in done


@pytest.mark.parametrize("sync", ["always", "batch"])
def test_the_same_sync_modes_as_embedded(tmp_path: Path, sync: str) -> None:
    seldom = ("--flush-every-ms", "3600000", "--flush-every-events", "1000000")
    with serving(tmp_path / "data", "--sync", sync, *seldom, "--token", "dev-secret") as server:
        api = Api(server.url)
        api.ok("POST", "/v1/check", {"key": "k", "limit": "100/10d", "cost": 60})
        counters = api.ok("GET", "/v1/counters")
        assert (counters["durable_seq"] == counters["seq"]) == (sync == "always")
        # Killed, not ended: what was acknowledged is there in either mode.
        server.process.kill()
        server.process.wait()
    with flint.Limiter(tmp_path / "data") as embedded:
        status = embedded.status("k")
        assert status is not None
        assert status.remaining == 40


def test_processes_share_the_same_persistent_limits(server: Served) -> None:
    """Workers, a command line and this process see the same counters, and none of them opens the directory."""
    with flint.SharedLimiter(server.url, token="dev-secret") as limiter:
        limiter.limit("quota", 10, per="10d")
        program = (
            "import flint, sys\n"
            'limiter = flint.SharedLimiter(sys.argv[1], token="dev-secret")\n'
            'print(sum(limiter.allow("quota") for _ in range(4)))\n'
        )
        with ExitStack() as stack:
            command = [sys.executable, "-c", program, server.url]
            workers = [
                stack.enter_context(subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True))
                for _ in range(3)
            ]
            allowed = [int(worker.communicate(timeout=60)[0]) for worker in workers]
        assert sum(allowed) == 10
        status = limiter.status("quota")
        assert status is not None
        assert (status.total_allowed, status.total_denied) == (10, 2)
    looked = subprocess.run(
        [sys.executable, "-m", "flint", "--url", server.url, "limit", "status", "quota", "--json"],
        env=environment(FLINT_TOKEN="dev-secret"),
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert json.loads(looked.stdout)["total_denied"] == 2


def forwarded(outer: socket.socket, context: ssl.SSLContext, path: str) -> None:
    """What a reverse proxy does with one connection: TLS outside, the same bytes on the Unix socket inside."""
    with (
        suppress(OSError),
        outer,
        context.wrap_socket(outer, server_side=True) as tls,
        socket.socket(socket.AF_UNIX) as inner,
    ):
        inner.connect(path)
        while True:
            for ready in select.select([tls, inner], [], [])[0]:
                data = ready.recv(65536)
                if not data:
                    return
                (inner if ready is tls else tls).sendall(data)


@contextmanager
def reverse_proxy(context: ssl.SSLContext, path: str) -> Iterator[int]:
    """The port of a reverse proxy that terminates TLS in front of the Unix socket at `path`."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threads: list[threading.Thread] = []

        def accept() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    threads.append(threading.Thread(target=forwarded, args=(connection, context, path)))
                    threads[-1].start()

        accepting = threading.Thread(target=accept)
        accepting.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            for thread in (accepting, *threads):
                thread.join(60)


def test_a_reverse_proxy_terminates_tls_before_the_unix_socket(tmp_path: Path) -> None:
    files = Files(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(files.cert, files.key)
    with ExitStack() as stack:
        # The path of a socket may not be long.
        path = str(Path(stack.enter_context(tempfile.TemporaryDirectory())) / "flint.sock")
        server = stack.enter_context(serving(tmp_path / "data", "--unix", path, FLINT_TOKEN=TOKEN))
        url = f"https://localhost:{stack.enter_context(reverse_proxy(context, path))}"
        with flint.SharedLimiter(url, token=TOKEN, ssl_context=files.context()) as limiter:
            limiter.limit("quota", 10, per="10d")
            assert [limiter.check("quota").remaining for _ in range(3)] == [9, 8, 7]
            assert asyncio.run(limiter.acheck("quota")).remaining == 6
            # Longer than a record of TLS.
            limiter.limit_many({"key": f"key-{number}", "rate": 1, "per": "10d"} for number in range(2000))
            assert len(limiter.list(limit=3000)) == 2001
        stranger = stack.enter_context(flint.SharedLimiter(url, ssl_context=files.context()))
        with pytest.raises(flint.FlintServerError, match="unauthorized"):
            stranger.check("quota")
        distrustful = stack.enter_context(flint.SharedLimiter(url, token=TOKEN))
        with pytest.raises(flint.FlintConnectionError, match=r"CERTIFICATE_VERIFY_FAILED.*SSL_CERT_FILE"):
            distrustful.check("quota")
        # Behind the proxy it is one server, with and without TLS.
        with flint.SharedLimiter(server.url, token=TOKEN) as direct:
            assert direct.check("quota").remaining == 5


def test_one_writer_owns_the_directory(server: Served, tmp_path: Path) -> None:
    with pytest.raises(flint.DataDirLocked, match="SharedLimiter") as refused:
        flint.Limiter(tmp_path / "data")
    assert refused.value.pid == server.process.pid
    assert "server start" in str(refused.value)


def test_the_limits_are_there_when_the_server_comes_back(tmp_path: Path) -> None:
    for run in (1, 2, 3):
        with serving(tmp_path / "data", "--sync", "batch", "--token", "dev-secret") as server:
            answer = Api(server.url).ok("POST", "/v1/check", {"key": "k", "limit": "9/10d"})
            assert answer["remaining"] == 9 - run


def test_embedded_mode_is_the_default() -> None:
    """Nothing connects anywhere unless it is configured to."""
    program = "import flint, sys; print([name for name in ('socket', 'ssl', 'asyncio') if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment(), capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
