"""Every method has an async variant. The event loop never waits for the disk, and waiting tasks share one fsync."""

import asyncio
import tempfile

import flint


async def main(data_dir: str) -> None:
    async with flint.Limiter(data_dir) as limiter:
        await limiter.alimit("api", "100/minute")
        results = await asyncio.gather(*(limiter.acheck("api") for _ in range(150)))
        print(sum(result.allowed for result in results), "of", len(results), "allowed")

        await limiter.aacquire("jobs", limit="50/second burst 1")
        await limiter.aacquire("jobs", limit="50/second burst 1", timeout=5)
        print("the second job waited for its turn")


with tempfile.TemporaryDirectory() as directory:
    asyncio.run(main(directory))

# Output:
#   100 of 150 allowed
#   the second job waited for its turn
