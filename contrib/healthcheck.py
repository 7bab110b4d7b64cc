"""healthcheck.py ADDRESS:PORT FILE: exit with status 0 if the server there says that it works.

It asks as the first token of the server's token file.
"""

from __future__ import annotations

import http.client
import sys
from pathlib import Path

TIMEOUT_S = 4


def first_token(path: str) -> str:
    """The first token of a token file."""
    lines = (line.split() for line in Path(path).read_text(encoding="utf-8").splitlines())
    return next(words[0] for words in lines if words and not words[0].startswith("#"))


def main() -> int:
    """Ask once."""
    address, path = sys.argv[1:]
    connection = http.client.HTTPConnection(address, timeout=TIMEOUT_S)
    connection.request("GET", "/v1/health", headers={"Authorization": f"Bearer {first_token(path)}"})
    return 0 if connection.getresponse().status == 200 else 1


if __name__ == "__main__":
    sys.exit(main())
