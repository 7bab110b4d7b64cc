"""One setting chooses where the limits are: a directory of this process, or a server."""

import os
import tempfile

import flint

with tempfile.TemporaryDirectory() as data_dir:
    # Such as unix:///run/flint/flint.sock in production.
    place = os.environ.get("APP_LIMITS", data_dir)
    with flint.connect(place) as limiter:
        print(type(limiter).__name__, limiter.allow("api:user-42", limit="100/minute"))

# Output:
#   Limiter True
