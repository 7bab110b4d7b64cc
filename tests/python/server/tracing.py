"""A disk that is slow or fails, through strace."""

from __future__ import annotations

from pathlib import Path

from tests.python.server.support import Client

# A server syncs in its first thread twice while it opens a new directory, and in one of its own from then on. strace
# counts by thread, so that what is injected from the third time on leaves the start alone.
FIRST = 3


def injecting(log: Path, what: str) -> list[str]:
    """A wrapper that makes `fdatasync` slow or fail, from the call on that follows `prepare`.

    strace runs as the server's descendant, so that signals reach the server itself.
    """
    trace = ["-e", "trace=fdatasync", "-e", f"inject=fdatasync:{what}:when={FIRST}+"]
    return ["strace", "-D", "-f", "--seccomp-bpf", "-o", str(log), *trace]


def prepare(client: Client) -> None:
    """Sets a limit for `k`, uses up that of `denied`, and so has the server sync as often as nothing is injected."""
    client.post("/v1/limits", {"key": "k", "rate": 10**6, "per": "52w"})
    client.post("/v1/log/flush")
    client.post("/v1/check", {"key": "denied", "limit": "1/52w"})
    client.post("/v1/log/flush")
