"""All errors derive from flint.FlintError. Wrong input is also a ValueError, an unknown key also a LookupError."""

import tempfile
from collections.abc import Callable

import flint

with tempfile.TemporaryDirectory() as data_dir:
    limiter = flint.Limiter(data_dir)
    limiter.limit("api", "10/minute")
    closed = flint.Limiter(f"{data_dir}/other")
    closed.close()
    calls: dict[str, Callable[[], object]] = {
        "unknown key": lambda: limiter.check("other"),
        "empty key": lambda: limiter.check(""),
        "cost beyond the capacity": lambda: limiter.check("api", cost=11),
        "unknown unit": lambda: limiter.limit("api", "10/fortnight"),
        "second writer": lambda: flint.Limiter(data_dir),
        "after close()": lambda: closed.check("api"),
    }
    for what, call in calls.items():
        try:
            call()
        except flint.FlintError as error:
            bases = [base.__name__ for base in type(error).__mro__ if base in (ValueError, LookupError)]
            print(f"{what}: {type(error).__name__}", *bases)
    limiter.close()

# Output:
#   unknown key: LimitNotFound LookupError
#   empty key: InvalidKey ValueError
#   cost beyond the capacity: InvalidCost ValueError
#   unknown unit: InvalidLimit ValueError
#   second writer: DataDirLocked
#   after close(): ClosedError
