"""While the server is down, `on_error` decides: raise an error, allow the call, or deny it."""

import logging
import tempfile

import flint

# The client warns once a minute while it answers without a server.
logging.getLogger("flint").setLevel(logging.ERROR)

with tempfile.TemporaryDirectory() as directory:
    url = f"unix://{directory}/nothing-listens-here.sock"
    for on_error in ("allow", "deny", "raise"):
        with flint.SharedLimiter(url, timeout=0.5, on_error=on_error) as limiter:
            try:
                result = limiter.check("api", limit="100/minute")
                print(on_error, result.allowed, "degraded" if result.degraded else "")
            except flint.FlintConnectionError:
                print(on_error, "FlintConnectionError")

# Output:
#   allow True degraded
#   deny False degraded
#   raise FlintConnectionError
