"""Errors as messages and exit statuses."""

from __future__ import annotations

from typing import NamedTuple

import click

import flint

DENIED = 1
USAGE = 2
STORAGE = 3
INTERRUPTED = 130

# Packages that a command imports while it runs.
_DEPENDENCIES = ("rich", "prometheus_client")


class CommandError(Exception):
    """A command failed; the message has the cause and the remedy."""

    def __init__(self, message: str, status: int = STORAGE, name: str = "StorageError") -> None:
        super().__init__(message)
        self.status = status
        self.name = name


class UnknownKeyError(CommandError):
    """A command named a key that has no limit."""

    def __init__(self, key: str) -> None:
        super().__init__(
            f"no limit is configured for key {key!r}; see `flint limit list`, or set one with `flint limit add`",
            USAGE,
            "LimitNotFound",
        )


class ReaderGoneError(Exception):
    """The process that read standard output has closed it; nothing is left to do."""


class Failure(NamedTuple):
    """The message and the exit status for an error."""

    status: int
    name: str
    message: str

    def as_json(self) -> dict[str, object]:
        """For programs that read standard output only."""
        return {"type": self.name, "message": self.message, "exit_status": self.status}


def failure_of(error: BaseException) -> Failure:
    """Message and exit status for anything that a command can raise."""
    name = type(error).__name__
    message = str(error).strip()
    if isinstance(error, CommandError):
        return Failure(error.status, error.name, message)
    if isinstance(error, click.ClickException):
        return Failure(USAGE, "UsageError", _usage(error))
    if isinstance(error, flint.LimitNotFound) and error.key is not None:
        return failure_of(UnknownKeyError(error.key))
    if isinstance(error, flint.DataDirLocked):
        hint = "the commands list, status, peek, history, top, log dump, log verify and doctor work alongside it; "
        hint += "if a Flint server holds it, all commands work with `flint --url URL`"
        return Failure(STORAGE, name, f"{message}\n{hint}")
    if isinstance(error, (flint.FlintConnectionError, flint.FlintServerError)):
        return Failure(STORAGE, name, f"{message}\n{_remedy(error)}")
    if isinstance(error, flint.FlintError):
        usage = isinstance(error, (ValueError, LookupError))
        return Failure(USAGE if usage else STORAGE, name, message)
    if isinstance(error, OSError):
        return Failure(STORAGE, name, message)
    if isinstance(error, ModuleNotFoundError):
        package = (error.name or "").partition(".")[0]
        if package in _DEPENDENCIES:
            return Failure(STORAGE, name, f"the command line needs {package}: pip install --upgrade flint-limiter")
    if isinstance(error, MemoryError):
        return Failure(STORAGE, name, "out of memory")
    return Failure(STORAGE, name, f"unexpected error, please report it: {name}: {message}")


def _remedy(error: flint.FlintConnectionError | flint.FlintServerError) -> str:
    """The remedy for an error of a server, with the options of the command line."""
    if isinstance(error, flint.FlintConnectionError):
        if "no TLS" in str(error):
            return "let SSL_CERT_FILE name the certificate of its authority, or correct the URL"
        return "name another server with --url or FLINT_URL, or without both a directory with --data-dir"
    if error.code == "unauthorized":
        return "pass its token: `flint --url URL --token-file FILE ...`, or the variable FLINT_TOKEN"
    if error.code == "forbidden":
        return "use a token with the missing scope; the server's token file lists the scopes of each token"
    return "see the messages of the server on its standard error"


def _usage(error: click.ClickException) -> str:
    """Two lines: what is wrong, and how the command is called."""
    message = " ".join(error.format_message().split())
    context = getattr(error, "ctx", None)
    if context is None:
        return message
    usage = " ".join(context.get_usage().split())
    return f"{message}\n{usage} (more: {context.command_path} --help)"
