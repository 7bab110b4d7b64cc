"""What is imported when, and the error in an application without FastAPI."""

from __future__ import annotations

from tests.python.system.support import run


def test_without_fastapi_the_error_says_what_to_install() -> None:
    for missing in ("fastapi", "starlette"):
        done = run(f"import sys; sys.modules[{missing!r}] = None; import flint.fastapi")
        assert done.status == 1
        assert 'ImportError: flint.fastapi needs FastAPI: pip install "flint-limiter[fastapi]"' in done.err


def test_any_asgi_application_is_limited_without_third_party_modules() -> None:
    code = "import sys; import flint.asgi, flint.keys; print({'fastapi', 'starlette', 'anyio'} & set(sys.modules))"
    assert run(code).ok().out == "set()\n"
