"""A key with two rates, and calls of different cost. A call must fit both rates, or it consumes nothing."""

import tempfile

import flint

with tempfile.TemporaryDirectory() as data_dir, flint.Limiter(data_dir) as limiter:
    limiter.limit("llm:tokens", "3000/minute; 5000/day")
    for cost in (2000, 2000, 1000):
        result = limiter.check("llm:tokens", cost=cost)
        left = ", ".join(f"{rate.remaining} of {rate.rate}" for rate in result.rates)
        print(cost, "allowed," if result.allowed else "denied,", left)

# Output:
#   2000 allowed, 1000 of 3000, 3000 of 5000
#   2000 denied, 1000 of 3000, 3000 of 5000
#   1000 allowed, 0 of 3000, 2000 of 5000
