"""The metrics of a limiter in a registry of prometheus_client, next to those of the application."""

import tempfile

import prometheus_client

import flint
import flint.prometheus

with tempfile.TemporaryDirectory() as data_dir, flint.Limiter(data_dir) as limiter:
    limiter.limit("jobs", "100/day")
    limiter.check("jobs", cost=30)

    registry = prometheus_client.CollectorRegistry()
    prometheus_client.Counter("app_jobs", "Jobs of the application.", registry=registry).inc()
    registry.register(flint.prometheus.FlintCollector(limiter))
    for metric in ("app_jobs_total", "flint_keys"):
        print(metric, registry.get_sample_value(metric))
    labels = {"key": "jobs", "algorithm": "token_bucket"}
    print("remaining", registry.get_sample_value("flint_limit_remaining", labels))

# Output:
#   app_jobs_total 1.0
#   flint_keys 1
#   remaining 70
