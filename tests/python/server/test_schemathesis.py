"""Requests made up from the server's own description, valid and not: it keeps to what it says of itself."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.python.evidence import record
from tests.python.server.support import STRONG, environment, serving

CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "unsupported_method",
    "allow_header_conformance",
    "ignored_auth",
]
EXAMPLES = 20


@pytest.mark.parametrize("token", [None, STRONG])
def test_it_keeps_to_its_description(tmp_path: Path, token: str | None) -> None:
    seed = os.environ.get("FLINT_TEST_SEED") or str(random.SystemRandom().getrandbits(32))
    print(f"FLINT_TEST_SEED={seed}")
    env = {} if token is None else {"FLINT_TOKEN": token}
    credentials = [] if token is None else ["--header", f"Authorization: Bearer {token}"]
    with serving(tmp_path / "data", "--sync", "batch", env=env) as server:
        host, port = server.address
        client = server.client(token)
        client.post("/v1/limits", {"key": "0", "rate": 10**9, "per": "1s"})
        done = subprocess.run(
            [
                str(Path(sys.executable).with_name("schemathesis")),
                "run",
                f"http://{host}:{port}/v1/openapi.json",
                *("--checks", ",".join(CHECKS)),
                *("--phases", "examples,coverage,fuzzing"),
                *("--max-examples", str(EXAMPLES)),
                *("--seed", seed),
                *("--request-timeout", "20"),
                *credentials,
                "--no-color",
            ],
            cwd=tmp_path,
            env=environment({"HOME": str(tmp_path)}),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        # Every operation was tested but the one that gives the description, and the server is as well as before.
        document = client.get("/v1/openapi.json")
        assert document["security"] == ([] if token is None else [{"token": []}])
        operations = sum(map(len, document["paths"].values()))
        found = re.search(r"Operations: +(\d+) selected / (\d+) total", done.stdout)
        assert found, done.stdout
        assert found[1] == found[2] == str(operations - 1)
        assert "FAILURE" not in done.stdout
        assert client.get("/v1/doctor")["ok"]
        cases = re.search(r"(\d+) generated", done.stdout)
        assert cases, done.stdout
        record("server_requests_from_the_description", int(cases[1]))
