"""`flint.connect`: the limiter of a directory, or of a server."""

from __future__ import annotations

import _thread
import _weakref
import os

from flint._client.limiter import SharedLimiter
from flint._errors import InvalidArgument
from flint._limiter import Limiter
from flint._native import url_scheme

# Type checkers take the name for typing.TYPE_CHECKING; importing that module would double the time to import flint.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# The one place that knows which limiter a scheme of a URL belongs to. Without a scheme, a path is a directory.
_BY_SCHEME = {"http": SharedLimiter, "https": SharedLimiter, "unix": SharedLimiter}

_lock = _thread.allocate_lock()
# The open limiter of each directory, by its device and inode numbers: two paths may name the same directory. With the
# options that it was opened with. A limiter that is not referenced any more drops out.
_opened: dict[tuple[int, int], tuple[_weakref.ref[Limiter], dict[str, Any]]] = {}


def connect(url_or_path: str | os.PathLike[str], **options: Any) -> Limiter | SharedLimiter:
    """The limiter of a directory or a server.

    url_or_path: a URL (http://, https://, unix://) opens a flint.SharedLimiter; anything else is a directory and opens
        a flint.Limiter, or returns the one that is open in this process.
    options: the other arguments of the class.

    Raises InvalidArgument when the directory is open with other options, and what the class raises.
    """
    if isinstance(url_or_path, str) and url_scheme(url_or_path) is not None:
        return by_url(url_or_path, **options)
    with _lock:
        found = _find(url_or_path)
        if found is not None:
            limiter, before = found
            if options != before:
                raise InvalidArgument(
                    f"the directory {limiter.data_dir!r} is open in this process with the options {before!r}, which "
                    f"are not {options!r}; give the same ones, or close it first"
                )
            return limiter
        limiter = Limiter(url_or_path, **options)
        if not limiter.read_only:
            place = os.stat(limiter.data_dir)
            _opened[place.st_dev, place.st_ino] = _weakref.ref(limiter), dict(options)
        return limiter


def by_url(url: str, **options: Any) -> SharedLimiter:
    """The limiter of a server. Raises InvalidArgument for what is no URL of one."""
    scheme = url_scheme(url)
    if scheme is not None and scheme not in _BY_SCHEME:
        raise InvalidArgument(
            f"url {url!r} has the scheme {scheme!r}; a Flint server's URL is http://host:port, https://host:port or "
            "unix:///path/to/socket, and anything without a scheme is a directory"
        )
    # What has no scheme is refused there.
    return _BY_SCHEME.get(scheme or "http", SharedLimiter)(url, **options)


def _find(path: str | os.PathLike[str]) -> tuple[Limiter, dict[str, Any]] | None:
    """The open limiter of that directory, with its options. Drops closed and unreferenced limiters."""
    for place, (held, _) in list(_opened.items()):
        limiter = held()
        if limiter is None or limiter.closed:
            del _opened[place]
    try:
        there = os.stat(path)
    except (OSError, ValueError, TypeError):
        # The constructor creates the directory, or reports the error.
        return None
    entry = _opened.get((there.st_dev, there.st_ino))
    if entry is None:
        return None
    held, options = entry
    limiter = held()
    return None if limiter is None else (limiter, options)


def _after_fork() -> None:
    """In the child: the limiters are the parent's, and one of its threads may hold the lock."""
    global _lock
    _lock = _thread.allocate_lock()
    _opened.clear()


os.register_at_fork(after_in_child=_after_fork)
