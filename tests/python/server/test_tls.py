"""TLS on the server's TCP port."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import ssl
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from tests.python.certificates import Files
from tests.python.server.support import STRONG, TIMEOUT_S, Client, Server, refused, serving

import flint


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@contextlib.contextmanager
def tls_client(server: Server, context: ssl.SSLContext, token: str | None = None) -> Iterator[Client]:
    host, port = server.address
    connection = http.client.HTTPSConnection(host, port, context=context, timeout=TIMEOUT_S)
    with contextlib.closing(Client(connection, token)) as client:
        yield client


def serial(server: Server, context: ssl.SSLContext) -> object:
    """The serial number of the certificate that the server shows."""
    with context.wrap_socket(server.connect(), server_hostname="localhost") as connection:
        certificate = connection.getpeercert()
        assert certificate
        return certificate["serialNumber"]


def test_it_speaks_tls(files: Files, tmp_path: Path) -> None:
    options = ("--require-tls", *files.options)
    with serving(tmp_path / "data", *options, env={"FLINT_TOKEN": STRONG}) as server:
        assert "listening on https://" in server.log[-1]
        assert not [line for line in server.log if "warning" in line]
        with tls_client(server, files.context(), STRONG) as client:
            client.post("/v1/limits", {"key": "k", "rate": "5/52w"})
            assert client.check()["allowed"]
        with tls_client(server, files.context()) as client:
            client.ask("GET", "/v1/health").problem(401, "unauthorized")
        with tls_client(server, ssl.create_default_context()) as client, pytest.raises(ssl.SSLCertVerificationError):
            client.get("/v1/health")


def test_tls_1_2_and_1_3_are_spoken(files: Files, tmp_path: Path) -> None:
    with serving(tmp_path / "data", *files.options) as server:
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = files.context()
            context.minimum_version = context.maximum_version = version
            with tls_client(server, context) as client:
                client.get("/v1/health")
                connection = client.connection.sock
                assert isinstance(connection, ssl.SSLSocket)
                assert connection.version() == version.name.replace("_", ".")
        # A client that accepts several gets the newest one.
        with files.context().wrap_socket(server.connect(), server_hostname="localhost") as chosen:
            assert chosen.version() == "TLSv1.3"


def test_old_versions_of_tls_are_refused(files: Files, tmp_path: Path) -> None:
    with serving(tmp_path / "data", *files.options) as server:
        context = files.context()
        old = files.context()
        # The client of the test may speak what it likes; the server is to refuse.
        old.set_ciphers("DEFAULT:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning, match="TLSv1"):
            old.minimum_version = ssl.TLSVersion.TLSv1
        with pytest.warns(DeprecationWarning, match="TLSv1"):
            old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            old.wrap_socket(server.connect(), server_hostname="localhost").close()
        with tls_client(server, context) as client:
            client.get("/v1/health")


def test_files_that_are_not_accepted(files: Files, tmp_path: Path) -> None:
    other = Files(tmp_path / "other")
    encrypted = tmp_path / "encrypted.pem"
    encrypted.write_text("-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for cert, key, what in [
        (files.cert, other.key, f"{other.key}: it is not the key of the certificate in {files.cert}"),
        (files.cert, encrypted, "it is encrypted"),
        (files.cert, files.cert, str(files.cert)),
        (files.key, files.key, "there is no certificate in it"),
        (files.cert, pipe, "it is no regular file"),
        (tmp_path / "nothing", files.key, "No such file"),
    ]:
        assert what in refused(tmp_path / "data", "--tls-cert", cert, "--tls-key", key)


def test_a_key_that_others_may_read_is_warned_of(files: Files, tmp_path: Path) -> None:
    files.key.chmod(0o640)
    with serving(tmp_path / "data", *files.options) as server:
        (warning,) = [line for line in server.log if "warning" in line]
        assert str(files.key) in warning
        assert "0640" in warning


@pytest.mark.parametrize("days", [-1, 1])
def test_a_certificate_that_is_not_valid_now_is_warned_of(files: Files, tmp_path: Path, days: int) -> None:
    now = datetime.now(timezone.utc)
    if days < 0:
        files.issue(not_before=now - timedelta(days=2), not_after=now + timedelta(days=days))
    else:
        files.issue(not_before=now + timedelta(days=days), not_after=now + timedelta(days=2))
    with serving(tmp_path / "data", *files.options) as server:
        (warning,) = [line for line in server.log if "warning" in line]
        assert str(files.cert) in warning
        assert ("expired at" if days < 0 else "not valid before") in warning
        assert f"{now + timedelta(days=days):%Y-%m-%d %H:%M:%S} UTC" in warning
        files.issue()
        since = len(server.log)
        server.send(signal.SIGHUP)
        server.until("read the certificate again", since)
    assert not [line for line in server.log[since:] if "warning" in line]


def test_the_certificate_is_read_again(files: Files, tmp_path: Path) -> None:
    with serving(tmp_path / "data", *files.options) as server:
        context = files.context()
        with tls_client(server, context) as kept:
            kept.get("/v1/health")
            first = serial(server, context)
            files.issue()
            assert serial(server, context) == first
            server.send(signal.SIGHUP)
            server.until("read the certificate again")
            second = serial(server, context)
            assert second != first
            # Connections that are open go on with what they began with.
            kept.get("/v1/health")
        files.key.write_text("rubbish")
        since = len(server.log)
        server.send(signal.SIGHUP)
        server.until("error: .*; the certificate stays as it was", since)
        assert serial(server, context) == second


RUBBISH = [
    b"GET /v1/health HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"\x16\x03\x01\xff\xff" + bytes(70_000),
    b"\x00" * 1000,
    b"\x16\x03\x01",
    b"",
]


def test_plain_text_at_a_tls_port_disturbs_no_other_client(files: Files, tmp_path: Path) -> None:
    with serving(tmp_path / "data", *files.options) as server, tls_client(server, files.context()) as honest:
        honest.get("/v1/health")
        held = []
        for rubbish in RUBBISH:
            connection = server.connect()
            with contextlib.suppress(ConnectionError):
                connection.sendall(rubbish)
            held.append((rubbish, connection))
        for _ in range(50):
            honest.get("/v1/health")
        with tls_client(server, files.context()) as another:
            another.get("/v1/health")
        for rubbish, connection in held:
            # It gets at most the alert that this was no handshake, and is dropped, at the latest at the timeout.
            said = b""
            with contextlib.suppress(ConnectionResetError):
                while more := connection.recv(65536):
                    said += more
            assert b"HTTP" not in said, rubbish[:40]
        assert flint.__version__ == honest.get("/v1/health")["version"]


def test_files_that_are_no_certificate(files: Files, tmp_path: Path) -> None:
    bind = ("--bind", "127.0.0.1:0")
    nothing = tmp_path / "nothing"
    nothing.write_text("")
    other = Files(tmp_path_of(tmp_path, "other"))
    for options, what in [
        (("--tls-cert", files.cert), "tls_cert and tls_key go together"),
        (("--tls-key", files.key), "tls_cert and tls_key go together"),
        (("--tls-cert", nothing, "--tls-key", files.key), "TLS"),
        (("--tls-cert", files.cert, "--tls-key", nothing), "TLS"),
        (("--tls-cert", files.cert, "--tls-key", tmp_path / "absent"), "TLS"),
        (("--tls-cert", files.cert, "--tls-key", other.key), "TLS"),
    ]:
        assert what in refused(tmp_path / "data", *bind, *options), options
    assert "needs no TLS" in refused(tmp_path / "data", "--unix", tmp_path / "s", *files.options)


def tmp_path_of(base: Path, name: str) -> Path:
    path = base / name
    path.mkdir()
    return path
