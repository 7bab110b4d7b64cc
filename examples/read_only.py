"""One process writes, any number inspect. A read-only limiter shows the moment when it was opened."""

import tempfile

import flint

with tempfile.TemporaryDirectory() as data_dir, flint.Limiter(data_dir) as limiter:
    for user, calls in (("ada", 1), ("bob", 5), ("eve", 9)):
        for _ in range(calls):
            limiter.check(f"api:{user}", limit="3/day")

    with flint.Limiter(data_dir, read_only=True) as viewer:
        for status in viewer.list(prefix="api:"):
            print(status.key, "remaining", status.remaining)
        print("peek:", viewer.peek("api:ada", cost=3).allowed)

# Output:
#   api:ada remaining 2
#   api:bob remaining 0
#   api:eve remaining 0
#   peek: False
