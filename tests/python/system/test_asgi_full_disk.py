"""A disk that is really full, under each `on_error`, and the requests after there is room again."""

from __future__ import annotations

from pathlib import Path

from tests.python.system.support import run

PROGRAM = """
import asyncio, logging, resource, signal, sys
import httpx, flint
from flint.asgi import RateLimitMiddleware

said = []
class Collect(logging.Handler):
    def emit(self, record):
        said.append(record.getMessage())
logging.getLogger("flint").addHandler(Collect())

async def hello(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})

async def get(app, path):
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        return await client.get(path)

def allow_files_of(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

def fill(limiter):
    # The active segment has room for 4 MiB of log; then a call needs a new segment. Large calls first, then small ones.
    allow_files_of(0)
    for size in (100, 10, 1):
        for number in range(1_000_000):
            try:
                limiter.limit_many(
                    {"key": f"{size}:{number}:{n}:".ljust(450, "x"), "rate": 1, "per": "1h"} for n in range(size)
                )
            except flint.StorageError:
                break

async def main():
    async with flint.Limiter(sys.argv[1]) as limiter:
        apps = {
            on_error: RateLimitMiddleware(
                hello, limiter, key_func=lambda scope: scope["path"].ljust(450, "x"), rate="1/day", on_error=on_error
            )
            for on_error in ("raise", "allow", "deny")
        }
        fill(limiter)
        for number in range(2):
            answer = await get(apps["allow"], f"/{number}")
            assert (answer.status_code, answer.text) == (200, "hello")
            assert not [name for name in answer.headers if "ratelimit" in name]
            answer = await get(apps["deny"], f"/{number}")
            assert (answer.status_code, answer.json()) == (503, {"detail": "rate limiter unavailable"})
            try:
                await get(apps["raise"], f"/{number}")
            except flint.StorageError as error:
                assert "File too large" in str(error), error
            else:
                raise AssertionError("no error")
        assert sum("the limiter failed" in each for each in said) == 3, said
        allow_files_of(resource.RLIM_INFINITY)
        # Nothing of what failed was counted.
        for path, app in zip(("/0", "/1", "/2"), apps.values()):
            assert [(await get(app, path)).status_code for _ in range(2)] == [200, 429]

asyncio.run(main())
"""


def test_a_full_disk(tmp_path: Path) -> None:
    done = run(PROGRAM, tmp_path / "data").ok()
    assert done.err == ""
