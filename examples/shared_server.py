"""One server holds the directory, and three processes share its limit."""

import subprocess
import sys
import tempfile

import flint

WORKER = "import flint, sys; l = flint.SharedLimiter(sys.argv[1]); print(sum(l.allow('jobs') for _ in range(10)))"

with tempfile.TemporaryDirectory() as directory:
    url = f"unix://{directory}/flint.sock"
    start = [sys.executable, "-m", "flint", "--data-dir", f"{directory}/data", "server", "start"]
    server = subprocess.Popen([*start, "--unix", f"{directory}/flint.sock"], stderr=subprocess.PIPE, text=True)
    assert server.stderr is not None
    for line in server.stderr:
        if "listening on" in line:
            break
    else:
        sys.exit("the server did not start")
    try:
        with flint.SharedLimiter(url) as limiter:
            limiter.limit("jobs", "25/day")
            command = [sys.executable, "-c", WORKER, url]
            workers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
            allowed = [int(worker.communicate()[0]) for worker in workers]
            print(sum(allowed), "of 30 calls allowed")
    finally:
        server.terminate()
        server.communicate()

# Output:
#   25 of 30 calls allowed
