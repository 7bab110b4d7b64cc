"""A backup is made while the limiter is in use, and restored to a new directory with what was used up at that time."""

import subprocess
import sys
import tempfile

import flint

with tempfile.TemporaryDirectory() as directory:
    with flint.Limiter(f"{directory}/data") as limiter:
        limiter.limit("api", "3/day")
        limiter.check("api", 2)
        report = limiter.backup(f"{directory}/copy")
        print("copied up to record", report["seq"])
        limiter.check("api")  # after the copy, which does not have it

    # `flint restore` verifies the copy and overwrites nothing.
    flint_command = [sys.executable, "-m", "flint", "--data-dir", f"{directory}/restored"]
    done = subprocess.run(
        [*flint_command, "restore", f"{directory}/copy"], stdout=subprocess.PIPE, text=True, check=True
    )
    print(done.stdout.split()[0])

    with flint.Limiter(f"{directory}/restored") as limiter:
        for status in limiter.list():
            print(status.key, "remaining", status.remaining)

# Output:
#   copied up to record ...
#   restored
#   api remaining 1
