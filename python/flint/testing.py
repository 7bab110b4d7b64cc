"""For the tests of applications that use Flint.

clock = flint.testing.ManualClock()
with flint.Limiter(tmp_path, clock=clock) as limiter:
    limiter.limit("login", "5/minute")
    ...
    clock.advance(60)
"""

from flint._native import ManualClock

__all__ = ["ManualClock"]
