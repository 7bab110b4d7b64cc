"""What is in contrib/ and in the guides fits the command line that there is."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.python.certificates import Files
from tests.python.command_tree import everything
from tests.python.served import environment

import flint
from flint import _native

ROOT = Path(__file__).parents[2]
CONTRIB = ROOT / "contrib"
TOKEN = "0b1c1d0e5f6a4c3f9a7e8d2b6c5a4f31"
USES = [
    *(CONTRIB / name for name in ("flint.service", "flint.socket", "Containerfile")),
    ROOT / "README.md",
    *(ROOT / "docs" / name for name in ("deployment.md", "security.md", "shared-mode.md", "http-api.md")),
]


def options(*path: str) -> list[set[str]]:
    """The long options of the command line, then of each command on the way to the last one."""
    tree = everything()
    found = [tree[path[:length]] for length in range(len(path) + 1)]
    return [{option for parameter in one.params for option in parameter.opts if option[:2] == "--"} for one in found]


@pytest.mark.parametrize("path", USES, ids=lambda path: path.name)
def test_options_of_the_server_exist(path: Path) -> None:
    text = re.sub(r"\\\n", " ", path.read_text(encoding="utf-8"))
    starts = re.findall(r'flint\b[^`\n]*server"?,? "?start[^`\n]*', text)
    named = {option for line in starts for option in re.findall(r"(?<![\w-])--[a-z][a-z-]+", line)}
    assert named <= set().union(*options("server", "start")), path
    assert starts or path.suffix == ".socket"


def test_the_table_of_options_is_complete() -> None:
    page = (ROOT / "docs" / "shared-mode.md").read_text(encoding="utf-8")
    table = page[page.index("| option |") :].split("\n\n", 1)[0]
    described = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", table))
    # Every command takes these.
    hidden = {"--data-dir", "--help", "--json", "--url"}
    assert described == options("server", "start")[-1] - hidden


def test_service_and_socket_belong_together() -> None:
    service = (CONTRIB / "flint.service").read_text(encoding="utf-8")
    assert "--systemd" in service
    assert "Requires=flint.socket" in service
    user = re.search(r"^User=(\w+)$", service, re.MULTILINE)
    assert user is not None
    assert f"SocketUser={user[1]}\n" in (CONTRIB / "flint.socket").read_text(encoding="utf-8")
    # The directory that systemd makes is the one that the server is given.
    directory = re.search(r"^StateDirectory=(\w+)$", service, re.MULTILINE)
    assert directory is not None
    assert f"--data-dir /var/lib/{directory[1]} " in service


def test_the_container_has_what_it_names() -> None:
    text = (CONTRIB / "Containerfile").read_text(encoding="utf-8")
    for name in re.findall(r"^COPY (\S+) ", text, re.MULTILINE):
        assert (CONTRIB / name).exists(), name
    assert re.search(r"^USER flint$", text, re.MULTILINE)
    data_dir = re.search(r"^VOLUME (\S+)$", text, re.MULTILINE)
    assert data_dir is not None
    assert f'"--data-dir", "{data_dir[1]}"' in text


@pytest.mark.parametrize(
    "path", [CONTRIB / "Containerfile", ROOT / "docs" / "deployment.md"], ids=lambda path: path.name
)
def test_servers_are_installed_from_the_first_version_that_has_one(path: Path) -> None:
    installs = re.findall(r"pip install (?:-\S+ )*(\S*flint-limiter\S*)", path.read_text(encoding="utf-8"))
    # In quotes, without which a shell takes what follows for a file.
    assert [install for install in installs if "[" not in install] == ['"flint-limiter>=0.3"']


@contextmanager
def serving(tmp_path: Path, **options: Any) -> Iterator[tuple[str, Path]]:
    """A server that needs a token: its URL and its token file."""
    tokens = tmp_path / "tokens"
    tokens.touch(mode=0o600)
    tokens.write_text(f"# which team looks after it\n\n{TOKEN}  metrics\n", encoding="utf-8")
    with flint.Limiter(tmp_path / "data", sync="batch") as limiter:
        served = _native.Server(limiter, bind="127.0.0.1:0", token_file=str(tokens), **options)
        thread = threading.Thread(target=served.serve)
        thread.start()
        try:
            yield served.urls[0], tokens
        finally:
            served.stop()
            thread.join()


def healthcheck(*arguments: str | Path, **variables: str) -> int:
    command = [sys.executable, str(CONTRIB / "healthcheck.py"), *map(str, arguments)]
    done = subprocess.run(command, env=environment(**variables), capture_output=True, timeout=60)
    return done.returncode


def test_the_health_check_tells_a_server_that_works_from_others(tmp_path: Path) -> None:
    with serving(tmp_path) as (url, tokens):
        address = url.removeprefix("http://")
        assert healthcheck(address, tokens) == 0
        assert healthcheck(url, tokens) == 0
        other = tmp_path / "other"
        other.write_text("unknown-token-of-another-client check\n", encoding="utf-8")
        assert healthcheck(address, other) == 1
    assert healthcheck(address, tokens) == 1


def test_the_health_check_takes_a_token_from_the_environment(tmp_path: Path) -> None:
    with serving(tmp_path) as (url, tokens):
        # As the container file calls it, in a container that has no such file.
        absent = tmp_path / "absent"
        assert healthcheck(url, absent, FLINT_TOKEN=TOKEN) == 0
        assert healthcheck(url, FLINT_TOKEN=TOKEN) == 0
        assert healthcheck(url, FLINT_TOKEN="wrong") == 1
        assert healthcheck(url) == 1
        assert healthcheck(url, tokens, FLINT_TOKEN="wrong") == 0


def test_the_health_check_checks_a_certificate(tmp_path: Path) -> None:
    files = Files(tmp_path, "localhost")
    with serving(tmp_path, tls_cert=str(files.cert), tls_key=str(files.key)) as (url, tokens):
        assert url.startswith("https://127.0.0.1:")
        named = url.replace("127.0.0.1", "localhost")
        assert healthcheck(named, tokens, SSL_CERT_FILE=str(files.ca)) == 0
        assert healthcheck(named, tokens) == 1
        # The address is right, but the certificate is not for it.
        assert healthcheck(url, tokens, SSL_CERT_FILE=str(files.ca)) == 1
        assert healthcheck(url.removeprefix("https://"), tokens) == 1
