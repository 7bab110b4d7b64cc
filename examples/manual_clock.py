"""A clock for tests stays at one time until the test advances it, so an hour passes at once."""

import tempfile

import flint
from flint.testing import ManualClock

clock = ManualClock()
with tempfile.TemporaryDirectory() as data_dir, flint.Limiter(data_dir, clock=clock) as limiter:
    limiter.limit("report", "1/hour")
    print(limiter.allow("report"), limiter.allow("report"))
    clock.advance(3599)
    print(limiter.allow("report"))
    clock.advance(1)
    print(limiter.allow("report"))

# Output:
#   True False
#   False
#   True
