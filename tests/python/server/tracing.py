"""A disk that is slow or fails, through strace."""

from __future__ import annotations

from pathlib import Path

from tests.python.server.support import Client

# A server syncs in its first thread twice while it opens a new directory, and in one of its own from then on. strace counts by
# thread, so that what is injected from the third time on leaves the start alone.
FIRST = 3


def injecting(log: Path, what: str) -> list[str]:
    """A wrapper that makes `fdatasync` slow or fail, from the call on that follows `prepare`.

    strace runs as the server's descendant, so that signals reach the server itself.
    """
    trace = ["-e", "trace=fdatasync", "-e", f"inject=fdatasync:{what}:when={FIRST}+"]
    return ["strace", "-D", "-f", "--seccomp-bpf", "-o", str(log), *trace]


def prepare(client: Client, key: str) -> None:
    """Sets a limit, and has the server sync as often as nothing is injected."""
    for number in range(FIRST - 1):
        client.post("/v1/limits", {"key": f"{key}-{number}" if number else key, "rate": 10**6, "per": "52w"})
        client.post("/v1/log/flush")
