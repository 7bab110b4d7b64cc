"""The events of a key, oldest first. One DENY can stand for several denials, which are not logged one by one."""

import tempfile

import flint

with tempfile.TemporaryDirectory() as data_dir, flint.Limiter(data_dir) as limiter:
    limiter.limit("export", "2/day")
    for _ in range(5):
        limiter.check("export")
    limiter.reset("export")
    for event in limiter.history("export"):
        print(event.type, "count", event.count, "cost", event.cost, "remaining", event.remaining)

# Output:
#   LIMIT_CONFIGURED count 1 cost 0 remaining None
#   ALLOW count 1 cost 1 remaining 1
#   ALLOW count 1 cost 1 remaining 0
#   DENY count 3 cost 3 remaining None
#   RESET count 1 cost 0 remaining 2
