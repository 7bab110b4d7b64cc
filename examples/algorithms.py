"""The three algorithms under the same calls: four at once, then one every 20 seconds of a clock for tests."""

import tempfile

import flint
from flint.testing import ManualClock

for algorithm in ("token_bucket", "sliding_window_log", "fixed_window_counter"):
    clock = ManualClock()
    with tempfile.TemporaryDirectory() as data_dir, flint.Limiter(data_dir, clock=clock) as limiter:
        limiter.limit("key", rate=3, per="1m", algorithm=algorithm)
        at_once = [limiter.allow("key") for _ in range(4)]
        later = []
        for _ in range(4):
            clock.advance(20)
            later.append("yes" if limiter.allow("key") else "no")
        print(f"{algorithm:<20} {at_once.count(True)} at once, then", *later)

# Output:
#   token_bucket         3 at once, then yes yes yes yes
#   sliding_window_log   3 at once, then no no yes yes
#   fixed_window_counter 3 at once, then no no yes yes
