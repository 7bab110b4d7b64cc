"""healthcheck.py [https://]ADDRESS:PORT [FILE]: exit with status 0 if the server at that address reports that it works.

The request uses the first token of FILE, the server's token file; without such a file, the variable FLINT_TOKEN. The
certificate of an https server must be valid for ADDRESS; the variable SSL_CERT_FILE adds a certificate authority.
"""

from __future__ import annotations

import http.client
import os
import sys
from pathlib import Path

TIMEOUT_S = 4


def first_token(path: str) -> str:
    """The first token of a token file."""
    lines = (line.split() for line in Path(path).read_text(encoding="utf-8").splitlines())
    return next(words[0] for words in lines if words and not words[0].startswith("#"))


def token(files: list[str]) -> str | None:
    """The token for the request, if there is one."""
    for path in files:
        try:
            return first_token(path)
        except FileNotFoundError:
            # Without this file the server has no tokens from it either.
            continue
    return os.environ.get("FLINT_TOKEN")


def main() -> int:
    """Sends one request."""
    url, *files = sys.argv[1:]
    scheme, _, address = url.rpartition("://")
    kind = http.client.HTTPSConnection if scheme == "https" else http.client.HTTPConnection
    connection = kind(address, timeout=TIMEOUT_S)
    secret = token(files)
    connection.request("GET", "/v1/health", headers={} if secret is None else {"Authorization": f"Bearer {secret}"})
    return 0 if connection.getresponse().status == 200 else 1


if __name__ == "__main__":
    sys.exit(main())
