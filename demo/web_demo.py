"""Kills a FastAPI application while clients use it, and shows that their limits survive.

An application with FlintRateLimitMiddleware runs under uvicorn. Several clients make requests at the same time and
record each answer. The server is killed with SIGKILL and restarted on the same directory, several times, until every
client is denied. Each client must then have got its whole limit and no more: LIMIT answers, less at most one per kill,
the request that was in flight.

Exit status 0 only if that holds for every client.
"""

from __future__ import annotations

import argparse
import http.client
import os
import random
import shutil
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
CLIENTS = ("ada", "grace", "edsger", "barbara")
LIMIT = 200
TIMEOUT_S = 60


@dataclass
class Client:
    """One client and the answers that it got."""

    name: str
    answers: int = 0
    cut_off: int = 0
    denied: bool = False
    remaining: list[int] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def work(self, port: int, progress: threading.Semaphore) -> None:
        """Makes requests until it is denied or the server dies."""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
        try:
            while not self.denied:
                connection.request("GET", "/", headers={"x-client": self.name})
                response = connection.getresponse()
                response.read()
                self._count(response)
                progress.release()
        except (OSError, http.client.HTTPException):
            # The server was killed while this request was in flight.
            self.cut_off += 1
        finally:
            connection.close()

    def _count(self, response: http.client.HTTPResponse) -> None:
        if response.status == 429:
            self.denied = True
            if response.headers["Retry-After"] is None:
                self.problems.append("a denial without Retry-After")
        elif response.status == 200:
            self.answers += 1
            self.remaining.append(int(response.headers["X-RateLimit-Remaining"]))
        else:
            self.problems.append(f"an answer with status {response.status}")


def free_port() -> int:
    """A port that no process listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def start(directory: Path, port: int) -> subprocess.Popen[bytes]:
    """Starts the application and waits until it listens."""
    command = [sys.executable, "-m", "uvicorn", "web_app:app", "--port", str(port), "--log-level", "warning"]
    environment = {**os.environ, "FLINT_DEMO_DIR": str(directory)}
    server = subprocess.Popen([*command, "--no-access-log"], cwd=HERE, env=environment)
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return server
        except OSError:
            if server.poll() is not None or time.monotonic() > deadline:
                server.kill()
                sys.exit("the application did not start")
            time.sleep(0.02)


def run_clients(clients: list[Client], port: int, requests: int | None) -> None:
    """Runs all clients until they have `requests` answers in total, or until each is denied."""
    progress = threading.Semaphore(0)
    threads = [threading.Thread(target=client.work, args=(port, progress)) for client in clients]
    for thread in threads:
        thread.start()
    if requests is not None:
        for _ in range(requests):
            # The limits may allow fewer answers than that.
            if not progress.acquire(timeout=1) and not any(thread.is_alive() for thread in threads):
                break
        return
    for thread in threads:
        thread.join()


def judge(client: Client, kills: int) -> list[str]:
    """The errors in the answers of a client."""
    problems = [f"{client.name}: {problem}" for problem in client.problems]
    if not client.denied:
        problems.append(f"{client.name} was never denied")
    if not LIMIT - kills <= client.answers <= LIMIT:
        problems.append(f"{client.name} got {client.answers} answers of {LIMIT}, with {kills} kills")
    if any(later >= earlier for earlier, later in zip(client.remaining, client.remaining[1:], strict=False)):
        problems.append(f"{client.name}: `remaining` grew")
    return problems


def main() -> int:
    """Parses the command line and runs the demonstration."""
    parser = argparse.ArgumentParser(
        description="kill a web application while clients use it, and count their requests"
    )
    parser.add_argument("--directory", type=Path, default=HERE.parent / ".flint-demo" / "web")
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--seed", type=int, default=None)
    # The directory is emptied after each kill, to show that a loss would be detected.
    parser.add_argument("--forget", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    dice = random.Random(options.seed)
    shutil.rmtree(options.directory, ignore_errors=True)
    port = free_port()
    clients = [Client(name) for name in CLIENTS]
    for number in range(1, options.kills + 1):
        server = start(options.directory, port)
        run_clients(clients, port, dice.randint(50, LIMIT))
        server.kill()
        server.wait()
        for thread in threading.enumerate():
            if thread is not threading.current_thread():
                thread.join()
        print(f"web     run {number}: killed after {sum(client.answers for client in clients)} answers", flush=True)
        if options.forget:
            shutil.rmtree(options.directory)
    server = start(options.directory, port)
    run_clients(clients, port, None)
    server.terminate()
    server.wait()
    problems = [problem for client in clients for problem in judge(client, options.kills)]
    for problem in problems:
        print(f"LOST: {problem}", file=sys.stderr)
    if problems:
        return 1
    each = ", ".join(f"{client.name} {client.answers}" for client in clients)
    print(f"web     after {options.kills} kills each client got its {LIMIT} requests per day and no more: {each}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
