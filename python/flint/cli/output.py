"""What a run prints: lines for people, JSON for programs, and no control characters from data; `table` has the tables.

rich is imported where a spinner is shown on a terminal, and nowhere else.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, TextIO

from flint.cli.errors import CommandError, ReaderGoneError

if TYPE_CHECKING:
    from datetime import datetime

    from rich.status import Status

NS_PER_S = 1_000_000_000

_PROGRESS_AFTER_S = 1.0
_UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def printable(text: str) -> str:
    """`text` on one line, with everything escaped that would not show as itself.

    That is: control characters and so terminal escapes, direction overrides, zero-width and unusual spaces, surrogates.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(char if _shows(char) else _escape(char) for char in text)


def printable_key(key: str) -> str:
    """As `printable`, and unambiguous: a backslash in the key is doubled."""
    return printable(key.replace("\\", "\\\\"))


def _shows(char: str) -> bool:
    if " " <= char <= "~":
        return True
    import unicodedata

    category = unicodedata.category(char)
    return category not in _UNPRINTABLE and category != "Zs"


def _escape(char: str) -> str:
    code = ord(char)
    if char in _SHORT:
        return _SHORT[char]
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def moment(at: datetime | None) -> str:
    """A time in this machine's time zone, without its fraction of a second; a dash for never."""
    return "-" if at is None else at.astimezone().isoformat(sep=" ", timespec="seconds")


def millisecond(at: datetime) -> str:
    """As `moment`, to the millisecond."""
    return at.astimezone().isoformat(sep=" ", timespec="milliseconds")


@lru_cache(1024)
def second(since_1970: int) -> str:
    """As `moment`. The keys of a long listing share few seconds."""
    from datetime import datetime, timezone

    return moment(datetime.fromtimestamp(since_1970, timezone.utc))


def prepare_streams() -> None:
    """Makes printing safe wherever the streams go: closed, or in an encoding that lacks a character."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open("/dev/null", "w"))  # noqa: SIM115 - lives as long as the process
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def is_terminal(stream: TextIO) -> bool:
    """Whether `stream` is a terminal."""
    return stream.isatty()


@contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise ReaderGoneError from None
    except OSError as error:
        raise CommandError(f"cannot write to standard output: {error.strerror}", name="OSError") from None


def write(text: str) -> None:
    """Writes to standard output. Raises ReaderGoneError when its reader is gone, CommandError when it is full."""
    with _writing():
        sys.stdout.write(text)


def line(text: str) -> None:
    """Writes one line."""
    write(f"{text}\n")


def flush() -> None:
    """Hands everything written to the operating system. Raises ReaderGoneError as `write` does."""
    with _writing():
        sys.stdout.flush()


def document(value: object) -> None:
    """Writes one JSON value on one line, in ASCII."""
    line(json.dumps(value, separators=(", ", ": ")))


def documents(values: Iterable[object]) -> None:
    """Writes one JSON array, item by item, so that its length is bounded by nothing."""
    separator = "["
    for value in values:
        write(f"{separator}{json.dumps(value)}")
        separator = ",\n "
    write("[]\n" if separator == "[" else "]\n")


def facts(pairs: Sequence[tuple[str, str]]) -> None:
    """Writes names and values, one pair a line."""
    width = max(len(name) for name, _ in pairs)
    for name, value in pairs:
        line(f"{name.ljust(width)}  {value}")


def report(message: str) -> None:
    """Writes an error or warning to standard error, each line made printable."""
    try:
        for text in message.split("\n"):
            sys.stderr.write(f"flint: {printable(text)}\n")
        sys.stderr.flush()
    except OSError:
        # Standard error is closed or full: the exit status has to do.
        pass


def wait(seconds: float) -> None:
    """Sleeps, but raises ReaderGoneError as soon as the reader of standard output is gone."""
    import select

    watcher = select.poll()
    watcher.register(sys.stdout.fileno(), 0)
    if watcher.poll(seconds * 1000):
        raise ReaderGoneError


@contextmanager
def working(what: str) -> Iterator[None]:
    """Shows `what` with a spinner on standard error once the block has taken over a second, on a terminal only."""
    if not is_terminal(sys.stderr):
        yield
        return
    status: Status | None = None
    lock = threading.Lock()
    done = False

    def show() -> None:
        nonlocal status
        from rich.console import Console

        with lock:
            if not done:
                status = Console(stderr=True).status(printable(what))
                status.start()

    timer = threading.Timer(_PROGRESS_AFTER_S, show)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        with lock:
            done = True
            if status is not None:
                status.stop()
