"""A limit that changes keeps what was used. `on_change="reset"` starts with a full limit instead."""

import tempfile

import flint


def remaining(limiter: flint.Limiter) -> int:
    (status,) = limiter.list()
    return status.remaining


with tempfile.TemporaryDirectory() as data_dir, flint.Limiter(data_dir) as limiter:
    limiter.limit("api", "10/day")
    limiter.check("api", cost=7)
    print("of 10:", remaining(limiter))

    limiter.limit("api", "20/day")
    print("of 20:", remaining(limiter))

    limiter.limit("api", "20/day", algorithm="fixed_window_counter")
    print("with another algorithm:", remaining(limiter))

    limiter.limit("api", "30/day", on_change="reset")
    print("after a reset:", remaining(limiter))

# Output:
#   of 10: 3
#   of 20: 13
#   with another algorithm: 13
#   after a reset: 30
