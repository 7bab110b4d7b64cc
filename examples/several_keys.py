"""Several keys in one call: all of them are consumed, or none is."""

import tempfile

import flint

with tempfile.TemporaryDirectory() as data_dir, flint.Limiter(data_dir) as limiter:
    limiter.limit_many(
        [
            {"key": "user:42", "rate": "100/hour"},
            {"key": "org:acme", "rate": "15/hour"},
        ]
    )
    for _ in range(2):
        result = limiter.check_all(["user:42", ("org:acme", 10)])
        print("allowed" if result.allowed else f"denied by {result.denied_key}")
    print("user:42 still has", result.results[0].remaining, "left")

# Output:
#   allowed
#   denied by org:acme
#   user:42 still has 99 left
