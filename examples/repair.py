"""A damaged directory does not open: `flint doctor` names the damage, `--repair` writes a copy and lists its losses."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import flint

with tempfile.TemporaryDirectory() as directory:
    data, repaired = f"{directory}/data", f"{directory}/data.repaired"
    with flint.Limiter(data) as limiter:
        limiter.limit("api", "10/day")
        for _ in range(5):
            limiter.check("api")

    # What a failing disk does: a bit of a record in the middle of the log changes.
    (log,) = Path(data).glob("flint-*.aof")
    content = bytearray(log.read_bytes())
    content[300] ^= 1
    log.write_bytes(content)

    def command(*arguments: str) -> Any:
        """The report of a command. Its exit status is 3 where something is damaged or missing."""
        line = [sys.executable, "-m", "flint", "--json", "--data-dir", data, "doctor", *arguments]
        return json.loads(subprocess.run(line, stdout=subprocess.PIPE, check=False).stdout)

    print("healthy:", command()["ok"])
    for dropped in command("--repair", "--output", repaired)["dropped"]:
        print("dropped: bytes", dropped["from_byte"], "to", dropped["to_byte"])
    with flint.Limiter(repaired) as limiter:
        for status in limiter.list():
            print(status.key, "remaining", status.remaining)

# Output:
#   healthy: False
#   dropped: bytes ...
#   api remaining 5
