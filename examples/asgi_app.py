"""The middleware around an ASGI application without a framework: 2 requests a minute for each path."""

import asyncio
import tempfile
from typing import Any

import httpx

import flint
import flint.asgi


async def hello(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})


async def main(data_dir: str) -> None:
    async with flint.Limiter(data_dir) as limiter:
        app = flint.asgi.RateLimitMiddleware(hello, limiter, key_func=lambda scope: scope["path"], rate="2/minute")
        transport: Any = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            for path in ("/a", "/a", "/b", "/a"):
                response = await client.get(path)
                print(path, response.status_code, "remaining", response.headers["x-ratelimit-remaining"])


with tempfile.TemporaryDirectory() as directory:
    asyncio.run(main(directory))

# Output:
#   /a 200 remaining 1
#   /a 200 remaining 0
#   /b 200 remaining 1
#   /a 429 remaining 0
