"""Metrics in Prometheus text format, labelled with the part of the key that names no user."""

import tempfile

import flint

with tempfile.TemporaryDirectory() as data_dir, flint.Limiter(data_dir) as limiter:
    for user in ("ada", "bob", "bob", "bob"):
        limiter.check(f"login:{user}", limit="2/minute")
    text = flint.prometheus_metrics(limiter, key_label_func=lambda key: key.split(":")[0])
    print(*(line for line in text.splitlines() if line.startswith("flint_requests_")), sep="\n")

# Output:
#   flint_requests_allowed_total{key="login",algorithm="token_bucket"} 3
#   flint_requests_denied_total{key="login",algorithm="token_bucket"} 1
