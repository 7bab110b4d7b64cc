"""Metrics for Prometheus: as text, as a route of an application, as a collector for a registry.

print(flint.prometheus_metrics(limiter))
flint.add_prometheus_route(app, limiter)
prometheus_client.REGISTRY.register(flint.prometheus.FlintCollector(limiter))

flint._metrics has what is slow to load, and `import flint` does not load it.
"""

from __future__ import annotations

# Type checkers take the name for typing.TYPE_CHECKING; see flint._errors.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from prometheus_client import Metric
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

    from flint._backend import Reports

__all__ = ["FlintCollector", "add_prometheus_route", "prometheus_metrics"]


class FlintCollector:
    """The state of a limiter, read anew at each collection. For a registry of prometheus_client.

    Two limiters in one registry need two prefixes.

    Args:
        limiter: any limiter that has `list()` and `counters()`.
        prefix: what the names of the metrics begin with; letters, digits and underscores.
        include_key_label: False leaves the label `key` out, so that the keys of each algorithm share their series.
        key_label_func: returns the text of the label `key` for a key; keys with the same text share their series.
        max_series: the largest number of series of any one metric. Where there are more, those with the most checks are
            kept, a key with several rates takes as many places as it has rates, and `<prefix>_keys_left_out` counts the
            keys that found none.

    Raises:
        InvalidArgument: a prefix or max_series that is not accepted, or key_label_func where there is no label `key`.
        TypeError: an argument of the wrong type.
        ImportError: prometheus_client is not installed.
    """

    def __init__(
        self,
        limiter: Reports,
        *,
        prefix: str = "flint",
        include_key_label: bool = True,
        key_label_func: Callable[[str], str] | None = None,
        max_series: int = 10_000,
    ) -> None:
        from flint._metrics.families import Families
        from flint._metrics.options import Options

        self._families = Families(limiter, Options(prefix, include_key_label, key_label_func, max_series))

    def collect(self) -> Iterable[Metric]:
        """The metric families with their samples, one after the other.

        Raises what the limiter raises, such as ClosedError and StorageError; InvalidArgument when key_label_func raises
        or returns text that is not valid Unicode, TypeError when it returns something else.
        """
        return self._families.collect()

    def describe(self) -> Iterable[Metric]:
        """The metric families without samples: what a registry compares names with. Does not call the limiter."""
        return self._families.describe()


def prometheus_metrics(
    limiter: Reports,
    *,
    prefix: str = "flint",
    include_key_label: bool = True,
    key_label_func: Callable[[str], str] | None = None,
    max_series: int = 10_000,
) -> str:
    """The state of a limiter in Prometheus' text format 0.0.4.

    Arguments and errors are those of flint.prometheus.FlintCollector and its collect().
    """
    collector = FlintCollector(
        limiter,
        prefix=prefix,
        include_key_label=include_key_label,
        key_label_func=key_label_func,
        max_series=max_series,
    )
    from flint._metrics.text import text

    return text(collector.collect())


def add_prometheus_route(
    app: Starlette,
    limiter: Reports,
    path: str = "/metrics",
    *,
    prefix: str = "flint",
    include_key_label: bool = True,
    key_label_func: Callable[[str], str] | None = None,
    max_series: int = 10_000,
) -> None:
    """Let a FastAPI or Starlette application answer GET requests for `path` with the state of a limiter.

    The answer is in the text format 0.0.4, or in OpenMetrics where the request accepts that. It is made in a worker
    thread, so that the event loop goes on. What the limiter raises becomes the application's 500.

    The other arguments, and errors, are those of flint.prometheus.FlintCollector.

    Raises:
        InvalidArgument: a path that does not begin with a slash.
        TypeError: an app that is neither a FastAPI nor a Starlette application, or a path that is no str.
        ImportError: Starlette is not installed.
    """
    try:
        from starlette.applications import Starlette
        from starlette.responses import Response
    except ModuleNotFoundError as error:
        raise ImportError(
            'add_prometheus_route needs FastAPI or Starlette: pip install "flint-limiter[fastapi]"'
        ) from error
    from flint._errors import InvalidArgument

    if not isinstance(app, Starlette):
        raise TypeError(f"app must be a FastAPI or Starlette application, not {type(app).__name__}")
    if not isinstance(path, str):
        raise TypeError(f"path must be a str, not {type(path).__name__}")
    if not path.startswith("/"):
        raise InvalidArgument(f"path must begin with a slash, such as '/metrics': {path!r}")
    collector = FlintCollector(
        limiter,
        prefix=prefix,
        include_key_label=include_key_label,
        key_label_func=key_label_func,
        max_series=max_series,
    )
    from flint._metrics.text import content_type_for, is_openmetrics, text

    # Not a coroutine function, so Starlette calls it in a worker thread.
    def metrics(request: Request) -> Response:
        content_type = content_type_for(request.headers.get("accept", ""))
        body = text(collector.collect(), openmetrics=is_openmetrics(content_type))
        return Response(body, headers={"content-type": content_type})

    app.add_route(path, metrics, methods=["GET"], include_in_schema=False)
