"""One run of the command line: the root options, and how it opens the data directory or reaches the server."""

from __future__ import annotations

import logging
import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

import flint
from flint import _native
from flint.cli import output
from flint.cli.errors import USAGE, CommandError
from flint.cli.remote import Remote

if TYPE_CHECKING:
    from flint._backend import Administers, Inspects

DEFAULT_DATA_DIR = ".flint"

# A store's files, in today's form, in the middle of a migration, or of an old release: crates/flint-core/src/files.rs.
_STORE_FILE = re.compile(r"flint-[0-9]{20}\.(aof|aof\.migrating|snapshot)|flint\.(aof|snapshot)")
_LOCK_FILE = "flint.lock"
# More than a lock file has.
_LOCK_FILE_CHARACTERS = 4096


def tidy(path: str) -> str:
    """A path without doubled slashes and dots, as pathlib shows it; importing that takes longer than all else here."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    return ("/" if path.startswith("/") else "") + "/".join(parts) or "."


def directory(option: str, path: str | None) -> str:
    """The directory that an option names. Raises UsageError for what cannot be meant as one."""
    if path is None:
        return DEFAULT_DATA_DIR
    if not path:
        raise click.UsageError(f"{option} must name a directory, such as .flint; it is empty")
    if _native.url_scheme(path) is not None:
        raise click.UsageError(
            f"{option} must name a directory, and {path!r} is a URL: a server is named with --url or FLINT_URL; "
            f"a directory of that name is written with ./ in front"
        )
    return tidy(path)


class Session:
    """The state of one run. `status` is the exit status if nothing fails from here on.

    With a `remote`, commands work on that server, and `data_dir` is unused.
    """

    def __init__(self, json: bool = False) -> None:
        self.data_dir = DEFAULT_DATA_DIR
        self.remote: Remote | None = None
        self.json = json
        self.status = 0
        # By option: its last value, and where that comes from (COMMANDLINE, ENVIRONMENT or DEFAULT).
        self._chosen: dict[str, tuple[str, str]] = {}

    def choose(self, option: str, value: str, source: str) -> None:
        """Notes the value of a root option; the command line's last one counts."""
        if source == "COMMANDLINE" or self._source(option) != "COMMANDLINE":
            self._chosen[option] = value, source

    def _source(self, option: str) -> str:
        return self._chosen.get(option, ("", "DEFAULT"))[1]

    def settle(self) -> None:
        """Decides what the command works on. A directory on the command line precedes a server in a variable."""
        data_dir, url = (self._chosen.get(option, (None, ""))[0] for option in ("data_dir", "url"))
        from_dir, from_url = self._source("data_dir"), self._source("url")
        self.data_dir = directory("--data-dir" if from_dir == "COMMANDLINE" else "FLINT_DATA_DIR", data_dir)
        if url == "" and from_url == "COMMANDLINE":
            raise click.UsageError("--url must name a server, such as unix:///run/flint/flint.sock; it is empty")
        if url and from_url == from_dir:
            named = "--url and --data-dir" if from_url == "COMMANDLINE" else "FLINT_URL and FLINT_DATA_DIR"
            raise click.UsageError(f"{named} exclude each other: commands work on a server or on a directory")
        token_file = self._chosen.get("token_file", (None, ""))[0]
        self.remote = None
        if url and not (from_dir == "COMMANDLINE" and from_url != "COMMANDLINE"):
            self.remote = Remote(url, token_file)
        elif token_file is not None:
            raise click.UsageError(
                "--token-file goes with --url; the token file of a server goes behind the command: "
                "`flint server start --token-file FILE`"
            )

    @contextmanager
    def reading(self) -> Iterator[Inspects]:
        """The store, which another process may have open for writing; it must exist. Or the server."""
        if self.remote is not None:
            with self.remote.opened() as shared:
                yield shared
            return
        self.require_directory()
        with self._open(read_only=True) as limiter:
            yield limiter

    @contextmanager
    def writing(self, *, create: bool = False) -> Iterator[Administers]:
        """The store, held by this process alone; or the server.

        `create` makes what is missing; otherwise that is an error, so that a mistyped path leaves nothing behind.
        """
        if self.remote is not None:
            with self.remote.opened() as shared:
                yield shared
            return
        if not create:
            self.require_store()
        with self._open(read_only=False) as limiter:
            yield limiter

    def examined(self) -> Mapping[str, Any]:
        """The report of `doctor` on the directory or the server."""
        if self.remote is not None:
            with self.remote.opened() as shared, output.working(f"asking {self.remote.url}"):
                return shared.doctor()
        self.require_directory()
        with output.working(f"examining {self.data_dir}"):
            return _native.doctor(self.data_dir)

    def require_local(self, command: str) -> None:
        """Raises CommandError if a server is named: `command` needs the directory itself."""
        if self.remote is not None:
            raise CommandError(
                f"{command} needs the data directory itself, on its machine: use --data-dir instead of --url "
                f"(or FLINT_URL), which names the server {self.remote.url}",
                USAGE,
                "UsageError",
            )

    def require_store(self) -> None:
        """Raises CommandError if there is no data directory, or no store in it."""
        names = self.require_directory()
        if not any(map(_STORE_FILE.fullmatch, names)) and not self._lost_a_store():
            raise CommandError(
                f"there is no store in {self._shown()}, and nothing was written there; "
                "name another directory with --data-dir or FLINT_DATA_DIR, or make a store with `flint limit add`"
            )

    def _lost_a_store(self) -> bool:
        """Whether the lock file records that a store was made here; opening it then reports what is wrong."""
        # Opening a FIFO in its place must not wait, and a link in its place leads anywhere.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            descriptor = os.open(os.path.join(self.data_dir, _LOCK_FILE), flags)
            with open(descriptor, errors="replace") as file:
                is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
                return is_file and "\nstore " in file.read(_LOCK_FILE_CHARACTERS)
        except OSError:
            return False

    def require_directory(self) -> list[str]:
        """The names in the data directory. Raises CommandError if there is none."""
        try:
            return os.listdir(self.data_dir)
        except FileNotFoundError:
            raise CommandError(
                f"the data directory {self._shown()} does not exist; "
                "name another with --data-dir or FLINT_DATA_DIR, or make one with `flint limit add`"
            ) from None
        except NotADirectoryError:
            raise CommandError(f"{self._shown()} is not a directory; name another with --data-dir") from None
        except OSError as error:
            raise CommandError(f"cannot read the data directory {self._shown()}: {error.strerror}") from None

    def _shown(self) -> str:
        return _native.absolute_path(self.data_dir)

    @contextmanager
    def _open(self, *, read_only: bool) -> Iterator[flint.Limiter]:
        with output.working(f"opening {self.data_dir}"):
            limiter = flint.Limiter(self.data_dir, read_only=read_only)
        try:
            yield limiter
        finally:
            with output.working(f"closing {self.data_dir}"):
                limiter.close()


def session_of(context: click.Context) -> Session:
    """The session of this run."""
    session: Session = context.find_root().obj
    return session


class NoticeHandler(logging.Handler):
    """Prints reports of the engine (a cut tail, a migration, a failed compaction) on standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        """Prints one report."""
        output.report(f"{record.levelname.lower()}: {record.getMessage()}")
