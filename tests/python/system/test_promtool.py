"""What Prometheus' own tool says to the metrics and to the rules in the guide."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

import flint
from flint.prometheus import prometheus_metrics

pytestmark = pytest.mark.system

GUIDE = (Path(__file__).parents[3] / "docs" / "prometheus.md").read_text(encoding="utf-8")
TIMEOUT_S = 60


def promtool(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["promtool", *arguments], input=stdin, capture_output=True, text=True, check=False, timeout=TIMEOUT_S
    )


def complaints(text: str) -> tuple[int, str]:
    done = promtool("check", "metrics", stdin=text)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def limiter(limiter: flint.Limiter) -> flint.Limiter:
    limiter.limit("one", "10/m")
    limiter.limit("two", "10/s; 100/m")
    limiter.limit("three", [flint.Limit("5/s"), flint.Limit("9/day", algorithm="fixed_window_counter")])
    limiter.limit('a "quoted" \\ key\nof two lines', "1/m", algorithm="sliding_window_log")
    for key in ("one", "two", "three"):
        limiter.check(key)
    limiter.flush()
    return limiter


def test_promtool_complains_of_nothing(limiter: flint.Limiter) -> None:
    assert complaints(prometheus_metrics(limiter)) == (0, "")


def test_promtool_complains_of_nothing_when_keys_are_merged(limiter: flint.Limiter) -> None:
    assert complaints(prometheus_metrics(limiter, include_key_label=False)) == (0, "")
    assert complaints(prometheus_metrics(limiter, key_label_func=lambda key: key[0], prefix="my_app")) == (0, "")


def test_promtool_complains_of_nothing_when_a_limiter_only_reads(limiter: flint.Limiter) -> None:
    with flint.Limiter(limiter.data_dir, read_only=True) as reader:
        text = prometheus_metrics(reader)
    assert complaints(text) == (0, "")
    assert 'flint_requests_allowed_total{key="one",algorithm="token_bucket"} 1\n' in text


def test_promtool_would_complain(limiter: flint.Limiter) -> None:
    text = prometheus_metrics(limiter)
    assert complaints(text.replace("flint_requests_allowed_total", "flint_requests_allowed"))[0] != 0
    assert complaints(text.replace(r"a \"quoted\"", 'a "quoted"'))[0] != 0


def check_rules(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    done = promtool("check", "rules", str(path))
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_rules_in_the_guide(tmp_path: Path) -> None:
    (rules,) = re.findall(r"^```text\n(groups:\n.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
    count = rules.count("- alert:")
    assert f"SUCCESS: {count} rules found" in check_rules(tmp_path / "rules.yml", rules)


def test_queries_in_the_guide(tmp_path: Path) -> None:
    section = GUIDE[GUIDE.index("## Queries") : GUIDE.index("## Alerts")]
    queries = "".join(re.findall(r"^```text\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)).splitlines()
    rules = [{"record": f"query:{number}", "expr": query} for number, query in enumerate(queries)]
    text = json.dumps({"groups": [{"name": "queries", "rules": rules}]})
    assert f"SUCCESS: {len(queries)} rules found" in check_rules(tmp_path / "rules.yml", text)
