"""The server that `--url` names, and the token for it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from flint import _connect
from flint.cli import output
from flint.cli.errors import USAGE, CommandError

if TYPE_CHECKING:
    from flint._backend import AdministersRemotely

TOKEN_VARIABLE = "FLINT_TOKEN"  # noqa: S105 - the name of a variable

_MAX_FILE_BYTES = 64 * 1024


class Remote(NamedTuple):
    """A server. `token_file` comes before the variable FLINT_TOKEN."""

    url: str
    token_file: str | None = None

    @contextmanager
    def opened(self, timeout: float = 10.0) -> Iterator[AdministersRemotely]:
        """The server's limits. Nothing is connected before the first call."""
        with _connect.by_url(self.url, token=self._token(), timeout=timeout) as limiter:
            yield limiter

    def _token(self) -> str | None:
        if self.token_file is not None:
            return read_token(self.token_file)
        # An unset variable that a shell expands is empty. A server that requires a token refuses the call.
        return os.environ.get(TOKEN_VARIABLE) or None


def read_token(path: str) -> str:
    """The first token of a file: a word, alone on its line or followed by scopes, as in a server's file.

    Raises CommandError, also if users other than the owner may read or write the file. No message shows its content.
    """
    try:
        with open(path, "rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & 0o077:
                raise _wrong(path, f"others may read or write it (mode {mode:04o}); chmod 600 it")
            content = file.read(_MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        raise _wrong(path, getattr(error, "strerror", None) or str(error)) from None
    if len(content) > _MAX_FILE_BYTES:
        raise _wrong(path, f"it is larger than {_MAX_FILE_BYTES} bytes")
    for line in content.splitlines():
        words = line.split(maxsplit=1)
        if words and not words[0].startswith(b"#"):
            if not all(0x21 <= byte <= 0x7E for byte in words[0]):
                raise _wrong(path, "its first token has characters other than visible ASCII")
            return words[0].decode("ascii")
    raise _wrong(path, "there is no token in it")


def _wrong(path: str, what: str) -> CommandError:
    return CommandError(f"token file {output.printable(path)}: {what}", USAGE, "UsageError")
