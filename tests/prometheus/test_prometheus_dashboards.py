"""Dashboards: queries that parse, series that exist, panels that do not lie on one another."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_build import check_rules, needs_promtool

from tocsin.spec.prometheus import names
from tocsin.spec.prometheus.dashboards import DASHBOARDS, dashboard

TOLD = {v for k, v in vars(names).items() if k.isupper() and k[0] != "_"}
KINDS = {"stat", "table", "timeseries", "gauge", "state-timeline"}
every = pytest.mark.parametrize("name", sorted(DASHBOARDS))


def queries(name: str) -> list[str]:
    return [t["expr"] for panel in dashboard(name)["panels"] for t in panel["targets"]]


@needs_promtool
@every
def test_every_query_parses(tmp_path: Path, name: str) -> None:
    path = tmp_path / "rules.yaml"
    parsed = [
        {"record": f"q{n}", "expr": q.replace("$__rate_interval", "5m").replace("$service", ".*")}
        for n, q in enumerate(queries(name))
    ]
    path.write_text(yaml.safe_dump({"groups": [{"name": name, "rules": parsed}]}))
    check_rules(path)


@every
def test_every_series_is_one_that_a_scrape_tells(name: str) -> None:
    for query in queries(name):
        for series in re.findall(r"\btocsin_\w+", query):
            assert series.removesuffix("_total").removesuffix("_info") in TOLD, query


def test_every_series_about_tocsin_itself_is_shown_somewhere() -> None:
    shown = " ".join(query for name in DASHBOARDS for query in queries(name))
    unseen = {series for series in TOLD if series not in shown}
    assert unseen == {
        names.OBJECTIVE,
        names.PERIOD,
        names.UP_TO,
        names.SEGMENTS_WAITING,
        names.SEGMENTS,
    }


@every
def test_panels_have_their_own_place_and_variables_exist(name: str) -> None:
    made = dashboard(name)
    taken: set[tuple[int, int]] = set()
    variables = {v["name"] for v in made["templating"]["list"]} | {"__rate_interval"}
    for panel in made["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
        assert place["x"] + place["w"] <= 24
        assert panel["type"] in KINDS
        steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
        assert steps[0]["value"] is None
        assert all(a["value"] < b["value"] for a, b in pairwise(steps[1:]))
        used: list[Any] = re.findall(r"\$\{?(\w+)", json.dumps(panel))
        assert set(used) <= variables
    assert len({panel["id"] for panel in made["panels"]}) == len(made["panels"])


@every
def test_the_command_writes_them(tmp_path: Path, name: str) -> None:
    file = tmp_path / "dashboard.json"
    subprocess.run(
        [sys.executable, "-c", "from tocsin.cli import main; main()", "export", "grafana", name,
         "--file", str(file)], check=True,
    )  # fmt: skip
    assert json.loads(file.read_text()) == dashboard(name)
