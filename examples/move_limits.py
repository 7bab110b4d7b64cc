"""Copy the limits of one directory to another limiter, here a second directory; a flint.SharedLimiter works as well.

What was consumed stays behind: to keep it, copy the whole directory while no process has it open.
"""

import tempfile

import flint

with tempfile.TemporaryDirectory() as old_dir, tempfile.TemporaryDirectory() as new_dir:
    with flint.Limiter(old_dir) as old:
        old.limit("api:free", "100/hour")
        old.limit("api:paid", "50/second burst 200; 1000000/day")

    with flint.Limiter(old_dir, read_only=True) as old, flint.Limiter(new_dir) as new:
        new.limit_many(
            {
                "key": status.key,
                "rate": [
                    flint.Limit(rate.rate, f"{rate.per_millis}ms", algorithm=rate.algorithm, burst=rate.burst)
                    for rate in status.rates
                ],
            }
            for status in old.list()
        )
        for status in new.list():
            print(status.key, [(rate.rate, rate.per_millis // 1000, rate.burst) for rate in status.rates])

# Output:
#   api:free [(100, 3600, 100)]
#   api:paid [(50, 1, 200), (1000000, 86400, 1000000)]
