"""The command line, `flint` and `python -m flint`.

    run         entry: exit statuses, the last line of defence against tracebacks
    app         the root: its options and the table of commands
    limit/      flint limit ...     one module for each command, and the table of them
    log/        flint log ...
    server/     flint server ...
    doctor      flint doctor        repair    flint doctor --repair
    completion  completion of commands, options and keys in bash, zsh and fish
    parameters  options, arguments and types that commands share
    describe    limits and results as text
    session     root options of one run, and how it opens the data directory or reaches the server
    remote      the server that --url names, and its token
    commands    groups that import a command when it runs
    output      tables, JSON, escaping, progress
    errors      errors as messages and exit statuses

Only this package imports click and rich, and `import flint` does not load it. To start fast, a run imports the module
of its own command and no other, and rich only for a table or a spinner on a terminal.
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
        if error.name != "click":
            raise
        sys.stderr.write("flint: the command line needs click: pip install --upgrade flint-limiter\n")
        return 3
    except KeyboardInterrupt:
        return 130
    return run(sys.argv[1:] if argv is None else argv)
