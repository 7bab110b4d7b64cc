"""Four web workers share one limit through a Flint server, which is killed while they use it.

`flint server start` listens on a Unix socket. A FastAPI application with FlintRateLimitMiddleware runs in four uvicorn
workers, each with a SharedLimiter of its own. Clients with connections to all of them make more requests than the limit
allows. During this time the server is killed with SIGKILL and restarted on the same directory, several times.

Exit status 0 only if exactly LIMIT requests were allowed and all others denied, all four workers answered, `remaining`
went down by one with each answer, and the server counts LIMIT requests as well.
"""

from __future__ import annotations

import argparse
import collections
import http.client
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import flint

HERE = Path(__file__).parent
WORKERS = 4
CLIENTS_EACH = 2
LIMIT = 400
KEY = "all-clients"
TIMEOUT_S = 60


@dataclass
class Client:
    """One connection to one worker, and the answers over it."""

    connection: http.client.HTTPConnection
    worker: int
    remaining: list[int] = field(default_factory=list)
    denied: int = 0
    problems: list[str] = field(default_factory=list)

    def work(self, together: threading.Barrier, progress: threading.Semaphore) -> None:
        """Makes requests until one is denied. No client makes a second request before all have their first answer."""
        try:
            self._request()
            together.wait(TIMEOUT_S)
            while not self.denied and not self.problems:
                progress.release()
                self._request()
        except (OSError, http.client.HTTPException, threading.BrokenBarrierError) as error:
            self.problems.append(f"a request failed: {error!r}")
        finally:
            self.connection.close()

    def _request(self) -> None:
        self.connection.request("GET", "/")
        response = self.connection.getresponse()
        body = response.read()
        if response.status == 429:
            self.denied += 1
        elif response.status != 200:
            self.problems.append(f"an answer with status {response.status}")
        elif json.loads(body)["worker"] != self.worker:
            self.problems.append("a worker was replaced")
        else:
            self.remaining.append(int(response.headers["X-RateLimit-Remaining"]))


class Server:
    """`flint server start` on one directory and one Unix socket."""

    def __init__(self, directory: Path, path: Path) -> None:
        self.directory = directory
        self.path = path
        self.url = f"unix://{path}"
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "flint", "--data-dir", str(self.directory), "server", "start"]
        process = subprocess.Popen([*command, "--unix", str(self.path)], stderr=subprocess.PIPE)
        assert process.stderr is not None
        output = b""
        for line in process.stderr:
            output += line
            if b"listening on" in line:
                return process
        sys.exit(f"the server did not start: {output.decode()}")

    def kill(self) -> None:
        """Kills the server; nothing is flushed or closed."""
        self.process.kill()
        self.process.wait()
        if self.process.stderr is not None:
            self.process.stderr.close()

    def restart(self) -> None:
        """Starts a server on the same directory and socket."""
        self.process = self._start()


def start_workers(url: str) -> tuple[subprocess.Popen[bytes], int]:
    """Starts the application and returns the port on which it will listen."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "shared_app:app", "--port", str(port), "--workers", str(WORKERS)]
    # uvicorn does not replace a worker that is slow to start.
    command += ["--timeout-worker-healthcheck", "60"]
    command += ["--timeout-keep-alive", "60", "--log-level", "warning", "--no-access-log"]
    environment = {**os.environ, "FLINT_DEMO_URL": url}
    return subprocess.Popen(command, cwd=HERE, env=environment, start_new_session=True), port


def end_workers(workers: subprocess.Popen[bytes]) -> None:
    """Terminates uvicorn, which terminates its workers."""
    workers.terminate()
    try:
        workers.wait(timeout=20)
    except subprocess.TimeoutExpired:
        os.killpg(workers.pid, signal.SIGKILL)
        workers.wait()


def connect_to_all(port: int) -> list[Client]:
    """Opens connections until each worker has enough."""
    chosen: dict[int, list[Client]] = collections.defaultdict(list)
    deadline = time.monotonic() + TIMEOUT_S
    while sum(len(clients) for clients in chosen.values()) < WORKERS * CLIENTS_EACH:
        if time.monotonic() > deadline:
            sys.exit(f"only {len(chosen)} of {WORKERS} workers could be reached")
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
        try:
            connection.request("GET", "/worker")
            worker = json.loads(connection.getresponse().read())["worker"]
        except OSError:
            # The application does not listen yet.
            time.sleep(0.05)
            continue
        if len(chosen[worker]) < CLIENTS_EACH:
            chosen[worker].append(Client(connection, worker))
        else:
            connection.close()
            # The other workers accept connections once they have started.
            time.sleep(0.005)
    return [client for clients in chosen.values() for client in clients]


def kill_repeatedly(
    server: Server, kills: int, progress: threading.Semaphore, seed: int | None, *, forget: bool
) -> None:
    """Kills the server after some answers and restarts it, `kills` times."""
    dice = random.Random(seed)
    answered = 0
    for number in range(1, kills + 1):
        more = dice.randint(20, LIMIT // (kills + 1))
        for _ in range(more):
            if not progress.acquire(timeout=TIMEOUT_S):
                sys.exit("the clients have no more answers")
        answered += more
        server.kill()
        print(f"shared  kill {number}: the server was killed after at least {answered} answers", flush=True)
        if forget:
            shutil.rmtree(server.directory)
        server.restart()


def judge(clients: list[Client], total: int) -> list[str]:
    """The errors in the answers of the clients and in the total of the server."""
    problems = [f"worker {client.worker}: {problem}" for client in clients for problem in client.problems]
    answers = sum(len(client.remaining) for client in clients)
    if answers != LIMIT:
        problems.append(f"{answers} requests were allowed, not {LIMIT}")
    if sorted(remaining for client in clients for remaining in client.remaining) != list(range(LIMIT)):
        problems.append(f"`remaining` was not each number below {LIMIT} once")
    if not all(client.denied for client in clients):
        problems.append("a client was never denied")
    if len({client.worker for client in clients if client.remaining}) != WORKERS:
        problems.append(f"not all {WORKERS} workers answered")
    if total != LIMIT:
        problems.append(f"the server counts {total} requests, not {LIMIT}: a request was charged twice or not at all")
    return problems


def run(server: Server, port: int, options: argparse.Namespace) -> int:
    """Runs the clients while the server is killed, and prints the result."""
    clients = connect_to_all(port)
    pids = sorted({client.worker for client in clients})
    print(f"shared  {WORKERS} workers use one server at {server.url}: {', '.join(map(str, pids))}", flush=True)
    together, progress = threading.Barrier(len(clients)), threading.Semaphore(0)
    threads = [threading.Thread(target=client.work, args=(together, progress), daemon=True) for client in clients]
    for thread in threads:
        thread.start()
    kill_repeatedly(server, options.kills, progress, options.seed, forget=options.forget)
    for thread in threads:
        thread.join()
    with flint.SharedLimiter(server.url) as limiter:
        status = limiter.status(KEY)
    problems = judge(clients, 0 if status is None else status.total_allowed)
    for problem in problems:
        print(f"WRONG: {problem}", file=sys.stderr)
    if problems:
        return 1
    each = collections.Counter(dict.fromkeys(pids, 0))
    for client in clients:
        each[client.worker] += len(client.remaining)
    answers = ", ".join(f"{pid} {count}" for pid, count in each.items())
    print(f"shared  the workers answered {LIMIT} requests together, of {LIMIT} allowed: {answers}")
    print(f"shared  after {options.kills} kills of the server no request failed, and none was charged twice")
    return 0


def main() -> int:
    """Parses the command line and runs the demonstration."""
    parser = argparse.ArgumentParser(description="four web workers share one limit while their server is killed")
    parser.add_argument("--directory", type=Path, default=HERE.parent / ".flint-demo" / "shared")
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--seed", type=int, default=None)
    # The directory is emptied after each kill, to show that a loss would be detected.
    parser.add_argument("--forget", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    shutil.rmtree(options.directory, ignore_errors=True)
    options.directory.mkdir(parents=True)
    # The path of a socket is limited to about a hundred bytes; that of the directory may be longer.
    with tempfile.TemporaryDirectory(prefix="flint-demo-") as short:
        server = Server(options.directory / "data", Path(short) / "flint.sock")
        try:
            workers, port = start_workers(server.url)
            try:
                return run(server, port, options)
            finally:
                end_workers(workers)
        finally:
            server.kill()


if __name__ == "__main__":
    sys.exit(main())
