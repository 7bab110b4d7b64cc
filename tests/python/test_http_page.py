"""The pages on the server say what it does: compared with its own description, and with its source for numbers."""

from __future__ import annotations

import http.client
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import flint
from flint import _native

ROOT = Path(__file__).parents[2]
SERVER = ROOT / "crates" / "flint-server" / "src"
API = (ROOT / "docs" / "http-api.md").read_text(encoding="utf-8")
SECURITY = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
SHARED = (ROOT / "docs" / "shared-mode.md").read_text(encoding="utf-8")


def rows(page: str, first: str) -> list[list[str]]:
    """The rows of the table whose header begins with `first`."""
    table = page[page.index(f"| {first} |") :].split("\n\n", 1)[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


def names(cell: str) -> set[str]:
    return set(re.findall(r"`([\w]+)`", cell))


def source(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    with flint.Limiter(tmp_path_factory.mktemp("api") / "data", sync="batch") as limiter:
        server = _native.Server(limiter, bind="127.0.0.1:0")
        thread = threading.Thread(target=server.serve)
        thread.start()
        try:
            connection = http.client.HTTPConnection(server.urls[0].removeprefix("http://"), timeout=60)
            connection.request("GET", "/v1/openapi.json")
            yield json.load(connection.getresponse())
            connection.close()
        finally:
            server.stop()
            thread.join()


def fields(api: dict[str, Any], schema: dict[str, Any]) -> set[str]:
    name = schema["$ref"].rpartition("/")[2]
    return set(api["components"]["schemas"][name].get("properties", {}))


def operations(api: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (method.upper(), path): found for path, methods in api["paths"].items() for method, found in methods.items()
    }


def endpoints() -> dict[tuple[str, str], list[str]]:
    return {(method.strip("`"), path.strip("`")): rest for method, path, *rest in rows(API, "method | path")}


def test_every_endpoint_is_there_with_its_scope(api: dict[str, Any]) -> None:
    assert endpoints().keys() == operations(api).keys()
    for place, (scope, _, _) in endpoints().items():
        needed = re.search(r"the scope `(\w+)`", operations(api)[place].get("description", ""))
        assert scope == (f"`{needed[1]}`" if needed else "any token"), place


def test_bodies_and_queries_have_the_fields_that_the_page_names(api: dict[str, Any]) -> None:
    for place, (_, given, _) in endpoints().items():
        operation = operations(api)[place]
        taken = {parameter["name"] for parameter in operation["parameters"] if parameter["in"] == "query"}
        if "requestBody" in operation:
            taken |= fields(api, operation["requestBody"]["content"]["application/json"]["schema"])
        assert names(given) == taken, place


def test_answers_have_the_fields_that_the_page_names(api: dict[str, Any]) -> None:
    for place, (_, _, answer) in endpoints().items():
        schema = operations(api)[place]["responses"]["200"]["content"].get("application/json", {}).get("schema", {})
        if "$ref" not in schema:
            assert not names(answer), place
        elif answer.startswith("`") and answer[1].isupper():
            assert schema["$ref"].rpartition("/")[2] == answer.strip("`"), place
        else:
            assert {name for name in names(answer) if name.islower()} == fields(api, schema), place
    for name, listed in rows(API, "answer | fields"):
        assert names(listed) == set(api["components"]["schemas"][name.strip("`")]["properties"]), name


def test_the_calls_that_can_be_repeated_are_named(api: dict[str, Any]) -> None:
    section = API[API.index("## Repeating a call") :].split("\n\n", 2)[1]
    repeatable = {
        place
        for place, operation in operations(api).items()
        if any(parameter["name"] == "Idempotency-Key" for parameter in operation["parameters"])
    }
    assert {tuple(named.split()) for named in re.findall(r"`(POST /\S+)`", section)} == repeatable


def test_every_code_is_there_with_its_status(api: dict[str, Any]) -> None:
    listed = {code.strip("`"): int(status) for status, code, _ in rows(API, "status | `code`")}
    assert set(listed) == set(api["components"]["schemas"]["Problem"]["properties"]["code"]["enum"])
    statuses = {
        "BAD_REQUEST": 400,
        "UNAUTHORIZED": 401,
        "FORBIDDEN": 403,
        "NOT_FOUND": 404,
        "METHOD_NOT_ALLOWED": 405,
        "REQUEST_TIMEOUT": 408,
        "PAYLOAD_TOO_LARGE": 413,
        "UNSUPPORTED_MEDIA_TYPE": 415,
        "UNPROCESSABLE_ENTITY": 422,
        "INTERNAL_SERVER_ERROR": 500,
        "SERVICE_UNAVAILABLE": 503,
    }
    parts = re.findall(r'\(?\s*"(\w+)",\s*StatusCode::(\w+),', source("crates/flint-server/src/problem.rs"))
    assert listed == {code: statuses[status] for code, status in parts}


def test_scopes_are_those_of_a_token_file() -> None:
    listed = [scope.strip("`") for scope, _ in rows(SECURITY, "scope")]
    assert listed == re.findall(r'Self::\w+ => "(\w+)",', source("crates/flint-server/src/auth/scope.rs"))


def test_the_token_file_of_the_page_is_accepted(tmp_path: Path) -> None:
    text = next(block for block in re.findall(r"```text\n(.*?)```", SECURITY, re.DOTALL) if "  check" in block)
    tokens = tmp_path / "tokens"
    tokens.touch(mode=0o600)
    tokens.write_text(text, encoding="utf-8")
    with flint.Limiter(tmp_path / "data", sync="batch") as limiter:
        _native.Server(limiter, unix=str(tmp_path / "s"), token_file=str(tokens)).stop()


def test_bounds_are_those_of_the_server() -> None:
    defaults = source("crates/flint-server/src/settings.rs")
    defaults = defaults[defaults.index("impl Default for Bounds") :].split("\n}\n", 1)[0]
    of_server = dict(re.findall(r"(\w+): ([\d_* ]+),", defaults))
    bounds = {name: eval(value, {"__builtins__": {}}) for name, value in of_server.items()}

    def both(name: str) -> str:
        in_all, each = (bounds[name + suffix] // 2**20 for suffix in ("", "_per_client"))
        return f"{in_all} MiB, of which one token may have {each} MiB"

    shown = {
        "header_timeout_ms": ("head of a request, from", f"{bounds['header_timeout_ms'] // 1000} s"),
        "request_timeout_ms": ("a request until its answer", f"{bounds['request_timeout_ms'] // 1000} s"),
        "idle_timeout_ms": ("silence between", f"{bounds['idle_timeout_ms'] // 1000} s"),
        "body_bytes": ("size of a body", f"{bounds['body_bytes'] // 1024} KiB"),
        "many_body_bytes": ("size of the body of", f"{bounds['many_body_bytes'] // 2**20} MiB"),
        "many_bodies_bytes": ("bodies of `/v1/limit-many`", both("many_bodies_bytes")),
        "many_bodies_bytes_per_client": ("bodies of `/v1/limit-many`", both("many_bodies_bytes")),
        "answers_bytes": ("answers of more than", both("answers_bytes")),
        "answers_bytes_per_client": ("answers of more than", both("answers_bytes")),
        "token_connections_percent": ("part of the connections", f"{bounds['token_connections_percent']} %"),
        "half_closed_timeout_ms": ("a scan, or `limit-many`", f"{bounds['half_closed_timeout_ms'] // 1000} s"),
        "head_bytes": ("size of a head", f"{bounds['head_bytes'] // 1024} KiB"),
        "headers": ("headers", str(bounds["headers"])),
        "connections": ("connections", str(bounds["connections"])),
        "blocking": ("threads for calls", str(bounds["blocking"])),
        "shutdown_timeout_ms": ("open requests at the end", f"{bounds['shutdown_timeout_ms'] // 1000} s"),
    }
    assert shown.keys() == bounds.keys()
    table = rows(SECURITY, "what | bound")
    for title, value in shown.values():
        assert [bound for what, bound, _ in table if what.startswith(title)] == [value], title


def test_windows_of_repeated_calls_are_those_of_the_engine() -> None:
    text = source("crates/flint-core/src/idempotency/record.rs")
    constants = dict(re.findall(r"pub const (\w+): \w+ = ([\d_*< ]+);", text))
    value = {name: eval(number, {"__builtins__": {}}) for name, number in constants.items()}
    numbers = {
        f"{value['MAX_IDEMPOTENCY_RECORDS']:,}",
        f"{value['MAX_IDEMPOTENCY_BYTES'] >> 20} MiB",
        f"{value['MAX_DENIED']:,}",
        f"{value['MAX_DENIED_BYTES'] >> 20} MiB",
        f"{value['IDEMPOTENCY_AGE_NS'] // 60_000_000_000} minutes",
    }
    for page in (API, SHARED):
        assert all(number in page for number in numbers), numbers
