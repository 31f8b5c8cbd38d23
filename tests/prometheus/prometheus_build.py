"""The real Prometheus for tests: promtool over rules and counts, a server that scrapes."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pytest
import yaml

PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(
    PROMTOOL is None, reason="needs promtool (Debian package prometheus)"
)


def promtool(*words: str | Path, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    assert PROMTOOL is not None
    return subprocess.run(
        [PROMTOOL, *map(str, words)], input=stdin, capture_output=True, text=True, timeout=300,
        check=False,
    )  # fmt: skip


def check_rules(path: Path) -> None:
    """`promtool check rules`, without a word of complaint."""
    done = promtool("check", "rules", path)
    assert done.returncode == 0, done.stdout + done.stderr


def counter(increments: np.ndarray) -> str:
    """A counter scraped once a minute, from 0 on, as promtool writes series."""
    return " ".join(map(str, [0, *np.cumsum(increments).tolist()]))


def run_rules(
    folder: Path,
    rules: str,
    series: Mapping[str, str],
    firing: Mapping[str, Iterable[int]],
    minutes: int,
) -> subprocess.CompletedProcess[str]:
    """Evaluate a rule file every minute; compare each minute in which an alert fires.

    series: selector -> values from minute 0. firing: labels of an alert -> the minutes (1 to
    `minutes`) in which it is expected to fire; in every other it must not.
    """
    groups = [group["name"] for group in yaml.safe_load(rules)["groups"]]
    checks = [
        {
            "expr": f"count(ALERTS{{alertstate='firing', {labels}}}) or vector(0)",
            "eval_time": f"{minute}m",
            "exp_samples": [{"labels": "{}", "value": int(minute in set_of)}],
        }
        for labels, expected in firing.items()
        for set_of in [set(expected)]
        for minute in range(1, minutes + 1)
    ]
    test = {
        "rule_files": ["rules.yaml"],
        "evaluation_interval": "1m",
        "group_eval_order": groups,
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": s, "values": v} for s, v in series.items()],
                "promql_expr_test": checks,
            }
        ],
    }
    (folder / "rules.yaml").write_text(rules)
    (folder / "test.yaml").write_text(yaml.dump(test, Dumper=yaml.CSafeDumper, width=1_000_000))
    return promtool("test", "rules", folder / "test.yaml")
