"""A directory that release 0.1 wrote: opening it migrates it, once. The old files are kept unchanged in `legacy`."""

import json
import tempfile
from datetime import datetime, timezone
from pathlib import Path

import flint

now = datetime.now(timezone.utc).isoformat()
config = {"key": "api", "rate": 10, "per_seconds": 86400, "algorithm": "fixed_window_counter"}
events = [{"type": "LIMIT_CONFIGURED", "config": config}, {"type": "ALLOW", "key": "api", "at": now}]

with tempfile.TemporaryDirectory() as data_dir:
    log = Path(data_dir, "flint.aof")
    log.write_text("".join(json.dumps({"ts": now, "event": event}) + "\n" for event in events))

    with flint.Limiter(data_dir) as limiter:
        for status in limiter.list():
            print(status.key, "remaining", status.remaining)
        print("written by release", limiter.recovery.migrated_from)
    print("old files:", sorted(path.name for path in Path(data_dir, "legacy").iterdir()))

# Output:
#   api remaining 9
#   written by release 0.1
#   old files: ['flint.aof']
