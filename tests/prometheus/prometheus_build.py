"""The real Prometheus for tests: promtool over rules and counts, a server that scrapes."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import yaml

PROMETHEUS = shutil.which("prometheus")
PROMTOOL = shutil.which("promtool")
needs_prometheus = pytest.mark.skipif(
    PROMETHEUS is None, reason="needs prometheus (Debian package prometheus)"
)
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
    done = promtool("check", "rules", "--lint-fatal", path)
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


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Server:
    """A running Prometheus."""

    def __init__(self, url: str) -> None:
        self.url = url

    def get(self, path: str, **query: Any) -> Any:
        answer = httpx.get(f"{self.url}/api/v1/{path}", params=query, timeout=30)
        body = answer.json()
        assert body["status"] == "success", body
        return body["data"]

    def samples(self, expr: str) -> dict[tuple[tuple[str, str], ...], float]:
        """Value by labels, without those that every scrape adds."""
        found = self.get("query", query=expr)["result"]
        return {
            tuple(sorted((k, v) for k, v in one["metric"].items()
                         if k not in ("__name__", "job", "instance"))): float(one["value"][1])
            for one in found
        }  # fmt: skip


@contextmanager
def prometheus(folder: Path, config: Mapping[str, Any]) -> Iterator[Server]:
    """A server over an empty database in `folder`, until the block ends."""
    assert PROMETHEUS is not None
    file, port = folder / "prometheus.yml", free_port()
    file.write_text(yaml.safe_dump(dict(config)))
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [PROMETHEUS, f"--config.file={file}", f"--storage.tsdb.path={folder / 'tsdb'}",
             f"--web.listen-address=127.0.0.1:{port}"],
            stdout=log, stderr=log,
        )  # fmt: skip
    server = Server(f"http://127.0.0.1:{port}")
    try:
        until(lambda: httpx.get(f"{server.url}/-/ready").status_code == 200)
        yield server
    finally:
        process.terminate()
        process.wait(30)


def until(holds: Any, seconds: float = 60) -> None:
    """Wait for something to become true."""
    end = time.monotonic() + seconds
    while True:
        try:
            if holds():
                return
        except httpx.TransportError:
            pass
        assert time.monotonic() < end, f"not within {seconds:g} s"
        time.sleep(0.2)
