"""Threads that wait for a limit are served in order of arrival. A wait that would exceed the timeout fails at once."""

import tempfile
import threading
import time

import flint

with tempfile.TemporaryDirectory() as data_dir, flint.Limiter(data_dir, sync="batch") as limiter:
    limiter.limit("api", "20/second burst 1")

    started = time.monotonic()
    threads = [threading.Thread(target=limiter.acquire, args=("api",)) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print("5 calls at 20 per second took at least 0.2 s:", time.monotonic() - started >= 0.19)

    limiter.limit("report", "1/hour")
    limiter.acquire("report")
    try:
        limiter.acquire("report", timeout=5)
    except flint.AcquireTimeout as error:
        print(f"the next report in {error.retry_after / 60:.0f} minutes")

# Output:
#   5 calls at 20 per second took at least 0.2 s: True
#   the next report in 60 minutes
