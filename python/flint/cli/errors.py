"""Errors as messages and exit statuses."""

from __future__ import annotations

from dataclasses import dataclass

import typer

import flint

DENIED = 1
USAGE = 2
STORAGE = 3
INTERRUPTED = 130

# The parser's exceptions have moved between releases of typer; their common ancestor is found from the public one.
ParserError: type[Exception] = typer.BadParameter.__mro__[2]


class CommandError(Exception):
    """A command cannot do what was asked; the message says why and what to do."""

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
    """Whoever read standard output has gone away; nothing is left to do."""


@dataclass(frozen=True)
class Verdict:
    """What to tell about an error and how to exit."""

    status: int
    name: str
    message: str

    def as_json(self) -> dict[str, object]:
        """For programs that read standard output only."""
        return {"type": self.name, "message": self.message, "exit_status": self.status}


def judge(error: BaseException) -> Verdict:
    """The verdict on anything a command can raise."""
    name = type(error).__name__
    message = str(error).strip()
    if isinstance(error, CommandError):
        return Verdict(error.status, error.name, message)
    if isinstance(error, ParserError):
        return Verdict(USAGE, "UsageError", _usage(error))
    if isinstance(error, flint.LimitNotFound) and error.key is not None:
        return judge(UnknownKeyError(error.key))
    if isinstance(error, flint.DataDirLocked):
        hint = "the commands list, status, peek, history, top, log dump, log verify and doctor work beside it; "
        hint += "where a Flint server holds it, all commands work with `flint --url URL`"
        return Verdict(STORAGE, name, f"{message}\n{hint}")
    if isinstance(error, (flint.FlintConnectionError, flint.FlintServerError)):
        return Verdict(STORAGE, name, f"{message}\n{_remedy(error)}")
    if isinstance(error, flint.FlintError):
        usage = isinstance(error, (ValueError, LookupError))
        return Verdict(USAGE if usage else STORAGE, name, message)
    if isinstance(error, OSError):
        return Verdict(STORAGE, name, message)
    if isinstance(error, MemoryError):
        return Verdict(STORAGE, name, "out of memory")
    return Verdict(STORAGE, name, f"unexpected error, please report it: {name}: {message}")


def _remedy(error: flint.FlintConnectionError | flint.FlintServerError) -> str:
    """What to do about a server, in the words of the command line."""
    if isinstance(error, flint.FlintConnectionError):
        if "no TLS" in str(error):
            return "let SSL_CERT_FILE name the certificate of its authority, or correct the URL"
        return "start one with `flint server start`, or name another with --url or FLINT_URL"
    if error.code == "unauthorized":
        return "give its token: `flint --url URL --token-file FILE ...`, or the variable FLINT_TOKEN"
    if error.code == "forbidden":
        return "give a token with the scope that is missing; the server's token file says which has which"
    return "the server's own messages may say more"


def _usage(error: Exception) -> str:
    """Two lines: what is wrong, and how the command is called."""
    describe = getattr(error, "format_message", error.__str__)
    message = " ".join(describe().split()).replace("Value error, ", "")
    context = getattr(error, "ctx", None)
    if context is None:
        return message
    usage = " ".join(context.get_usage().split())
    return f"{message}\n{usage} (more: {context.command_path} --help)"
