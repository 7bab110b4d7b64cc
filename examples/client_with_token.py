"""A server that requires a token: each client has one of its own, which allows no more than its scopes."""

import secrets
import subprocess
import sys
import tempfile
from pathlib import Path

import flint

with tempfile.TemporaryDirectory() as directory:
    web, deploy = secrets.token_hex(16), secrets.token_hex(16)
    tokens = Path(directory, "tokens")
    tokens.touch(mode=0o600)  # the server refuses a file that others may read
    tokens.write_text(f"{web} check\n{deploy} configure\n")
    start = [sys.executable, "-m", "flint", "--data-dir", f"{directory}/data", "server", "start"]
    options = ["--bind", "127.0.0.1:0", "--token-file", str(tokens)]
    server = subprocess.Popen([*start, *options], stderr=subprocess.PIPE, text=True)
    assert server.stderr is not None
    url = next((line.split()[-1] for line in server.stderr if "listening on" in line), None)
    try:
        # Between machines, use TLS as well: https://...
        assert url is not None, "the server did not start"
        with flint.SharedLimiter(url, token=deploy) as limiter:
            limiter.limit("api", "100/day")
        with flint.SharedLimiter(url, token=web) as limiter:
            print("remaining", limiter.check("api").remaining)
            try:
                limiter.limit("api", "1000000/day")
            except flint.FlintServerError:
                print("this token may not set limits")
    finally:
        server.terminate()
        server.communicate()

# Output:
#   remaining 99
#   this token may not set limits
