"""The command line, `flint` and `python -m flint`.

    run        entry: exit statuses, the last line of defence against tracebacks
    app        the tree of commands and its root options
    limit      flint limit …          check     flint limit check|check-all|peek
    top        flint limit top        log       flint log …
    server     flint server start
    doctor     flint doctor             repair    flint doctor --repair
    arguments  options and arguments that commands share
    session    root options of one run, and how it opens the data directory or reaches the server
    remote     the server that --url names, and its token
    output     tables, JSON, escaping, progress
    errors     errors as messages and exit statuses

Only this package imports typer and rich, and `import flint` does not load it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command (default: this process's own) and returns its exit status.

    0 allowed or done, 1 denied, 2 usage or unknown key, 3 storage, data (a repaired copy with losses, too) or any
    unexpected error, 130 interrupted.
    """
    try:
        from flint.cli.run import run
    except ModuleNotFoundError as error:
        if error.name not in ("typer", "rich"):
            raise
        sys.stderr.write(f"flint: the command line needs {error.name}: pip install --upgrade flint-limiter\n")
        return 3
    except KeyboardInterrupt:
        return 130
    return run(sys.argv[1:] if argv is None else argv)
