"""FastAPI: 5 requests a minute for each client, and a stricter limit on one route."""

import asyncio
import tempfile

import httpx
from fastapi import Depends, FastAPI

import flint
from flint.fastapi import FlintRateLimitMiddleware, RateLimit
from flint.keys import client_ip

app = FastAPI()
app.add_middleware(FlintRateLimitMiddleware, key_func=client_ip(), rate="5/minute", exempt_paths={"/docs"})


@app.get("/report", dependencies=[Depends(RateLimit("1/minute"))])
async def report() -> dict[str, str]:
    return {"report": "done"}


async def main(data_dir: str) -> None:
    transport = httpx.ASGITransport(app, client=("192.0.2.1", 50000))
    client = httpx.AsyncClient(transport=transport, base_url="http://test")
    async with flint.Limiter(data_dir) as app.state.limiter, client:
        for path in ("/report", "/report", "/docs"):
            response = await client.get(path)
            print(path, response.status_code, response.headers.get("retry-after"))


with tempfile.TemporaryDirectory() as directory:
    asyncio.run(main(directory))

# Output:
#   /report 200 None
#   /report 429 60
#   /docs 200 None
