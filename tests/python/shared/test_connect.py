"""`flint.connect`, and the URLs that a client takes."""

from __future__ import annotations

import copy
import gc
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

import flint
from flint import _native


def test_a_url_gives_a_client_and_a_path_a_limiter(tmp_path: Path) -> None:
    with flint.connect("unix:///s", on_error="deny") as client:
        assert type(client) is flint.SharedLimiter
    with flint.connect(tmp_path / "data", sync="batch") as limiter:
        assert type(limiter) is flint.Limiter
        assert limiter.sync == "batch"


SERVERS = ["http://127.0.0.1:7878", "HTTPS://flint", "unix:///run/flint.sock", "unix:/run/s"]


@pytest.mark.parametrize("url", SERVERS)
def test_a_url_is_no_directory(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller that passes a URL as the directory wants a shared limit, and must not get a private one."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(flint.InvalidArgument, match=r"is a URL: for a server use flint\.SharedLimiter"):
        flint.Limiter(url)
    with flint.connect(url) as client:
        assert isinstance(client, flint.SharedLimiter)
    assert list(tmp_path.iterdir()) == []
    with flint.Limiter("http-logs"), flint.Limiter("a:b"), flint.Limiter("./redis://h"):
        pass


@pytest.mark.parametrize("url", [*SERVERS, "redis://h:6379", "ftp://h", "file:///tmp/x", "http:host", Path("http://h")])
def test_no_argument_takes_a_url_for_a_directory(
    url: str | Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`Path("http://h")` has one slash left."""
    with flint.Limiter(tmp_path / "data") as limiter:
        (tmp_path / "here").mkdir()
        monkeypatch.chdir(tmp_path / "here")
        calls: list[Callable[[], object]] = [
            lambda: flint.Limiter(url),
            lambda: flint.Limiter(url, read_only=True),
            lambda: limiter.backup(url),
            lambda: _native.doctor(url),
            lambda: _native.backup(url, "copy"),
            lambda: _native.repair("data", url),
        ]
        for call in calls:
            with pytest.raises(flint.InvalidArgument, match=r"must name a directory, and .* is a URL"):
                call()
    assert list(Path().iterdir()) == []


def test_a_directory_is_opened_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "data"
    with flint.connect(place, sync="batch") as limiter:
        (tmp_path / "link").symlink_to(place)
        monkeypatch.chdir(tmp_path)
        for name in (place, str(place), "data", "./data", tmp_path / "link"):
            assert flint.connect(name, sync="batch") is limiter
        with pytest.raises(flint.InvalidArgument, match="give the same ones"):
            flint.connect(place)
        with pytest.raises(flint.DataDirLocked):
            flint.Limiter(place)
    with flint.connect(place) as again:
        assert again is not limiter
        assert not again.closed


def test_a_limiter_that_is_not_referenced_is_closed(tmp_path: Path) -> None:
    limiter: object = flint.connect(tmp_path)
    del limiter
    gc.collect()
    with flint.Limiter(tmp_path):
        pass


@pytest.mark.parametrize(
    "url",
    [
        "ftp://host",
        "redis://host:6379",
        "http://",
        "http://host:99999",
        "http://host:0",
        "http://host/path",
        "http://host?x=y",
        "http://host#x",
        "unix://",
        "unix:///",
        "unix://relative",
        "unix:///a%00b",
        "http://ho st",
        "http://host\r\nX: y",
        "http://höst",
        f"http://{'x' * 64}.example",
        5,
    ],
)
def test_what_is_no_url(url: str) -> None:
    with pytest.raises(flint.InvalidArgument, match="http://host:port"):
        flint.SharedLimiter(url)
    if isinstance(url, str) and "://" in url:
        with pytest.raises(flint.InvalidArgument):
            flint.connect(url)


def test_a_password_in_the_url_is_not_shown() -> None:
    with pytest.raises(flint.InvalidArgument, match="token=") as caught:
        flint.SharedLimiter("http://user:secret@host")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "authority", "place"),
    [
        ("http://host", "host", ("host", 80)),
        ("http://host:80/", "host", ("host", 80)),
        ("https://host", "host", ("host", 443)),
        ("https://HOST:7878", "host:7878", ("host", 7878)),
        ("http://[::1]:7878", "[::1]:7878", ("::1", 7878)),
    ],
)
def test_urls(url: str, authority: str, place: tuple[str, int]) -> None:
    address = flint.SharedLimiter(url)._core.endpoint.address
    assert (address.authority, (address.host, address.port)) == (authority, place)


def test_a_path_may_be_percent_encoded() -> None:
    assert flint.SharedLimiter("unix:///a%20b")._core.endpoint.address.path == "/a b"


@pytest.mark.parametrize(
    "options",
    [
        {"timeout": 0},
        {"timeout": -1},
        {"timeout": float("nan")},
        {"timeout": float("inf")},
        {"timeout": True},
        {"timeout": "1"},
        {"retries": -1},
        {"retries": True},
        {"retries": 1.0},
        {"retries": 101},
        {"on_error": "ignore"},
        {"token": ""},
        {"token": "a\r\nX: y"},
        {"token": "é"},
        {"token": b"bytes"},
        {"ssl_context": object()},
    ],
)
def test_settings_that_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(flint.InvalidArgument):
        flint.SharedLimiter("https://host", **options)  # type: ignore[arg-type]


def test_a_client_shows_no_token_and_is_not_copied() -> None:
    client = flint.SharedLimiter("http://host", "very-secret")
    assert "very-secret" not in repr(client) + str(vars(type(client)))
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="in each process"):
            attempt(client)
