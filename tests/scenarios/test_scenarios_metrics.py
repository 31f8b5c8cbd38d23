"""What a scrape tells about a Tocsin that is paging, read by the real Prometheus."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
import uvicorn
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from world import Phase, World

sys.path.append(str(Path(__file__).parents[1] / "prometheus"))
from prometheus_build import (
    free_port,
    needs_prometheus,
    needs_promtool,
    prometheus,
    promtool,
    until,
)

from tocsin.spec.desired import load
from tocsin.spec.prometheus import names
from tocsin.spec.prometheus.rules import rules

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
CHAT = (("service", "chat"), ("slo", "chat-availability"))
OUTAGE = (Phase("chat", -480, 30), Phase("chat", 30, 60, failing=0.4))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("metrics"), OUTAGE) as made:
        made.play(50)
        yield made


def families(world: World) -> dict[str, Any]:
    answer = world.web.get("/metrics", headers={"accept": OPENMETRICS})
    assert answer.headers["content-type"].startswith(OPENMETRICS)
    return {family.name: family for family in text_string_to_metric_families(answer.text)}


def value(found: dict[str, Any], family: str, sample: str = "", **labels: str) -> float:
    (one,) = [
        s.value
        for s in found[family].samples
        if s.name == (sample or family) and labels.items() <= s.labels.items()
    ]
    return float(one)


def test_a_scrape_says_what_the_api_says(world: World) -> None:
    found = families(world)
    listed = world.web.get("/api/v1/objectives").json()["items"]
    api = next(one for one in listed if one["name"] == "chat-availability")
    mine = {"slo": "chat-availability", "service": "chat"}
    assert value(found, names.SLI, **mine) == pytest.approx(api["sli"])
    assert value(found, names.REMAINING, **mine) == pytest.approx(api["budget_left"])
    assert value(found, names.OBJECTIVE, **mine) == 0.99
    assert value(found, names.PERIOD, **mine) == 28 * 86400
    assert value(found, names.FIRING, severity="page", **mine) == 1
    assert value(found, names.STATUS, **mine, **{names.STATUS: "breached"}) in (0, 1)
    windows = {s.labels["window"] for s in found[names.BURN_RATE].samples}
    assert windows >= {"5m", "30m", "1h", "6h", "2h", "1d", "3d"}
    assert value(found, names.EVALUATION_LAG) <= 60
    assert value(found, names.INGEST_LAG) == 0
    assert value(found, names.READY, part="state") == 1
    assert sum(s.value for s in found[names.INCIDENTS].samples) >= 1


def test_counters_count_judged_minutes_and_never_fall(world: World) -> None:
    """Nothing of the history before the process; not even a new configuration takes any back."""

    def counted() -> tuple[float, float]:
        found = families(world)
        mine = {"slo": "chat-availability", "service": "chat"}
        return (
            value(found, names.EVENTS, f"{names.EVENTS}_total", **mine),
            value(found, names.BAD_EVENTS, f"{names.BAD_EVENTS}_total", **mine),
        )

    before = counted()
    assert 50 * 8 < before[0] < 50 * 16, "fifty minutes of twelve calls, and no history"
    assert 20 * 2 < before[1] < 20 * 10
    world.house.adopt(world.desired())
    assert counted() == before
    world.play(55)
    after = counted()
    assert 5 * 4 < after[0] - before[0] < 5 * 22


@needs_promtool
def test_promtool_has_no_complaint(world: World) -> None:
    done = promtool("check", "metrics", stdin=world.web.get("/metrics").text)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_every_name_is_told_and_everything_told_has_a_name(world: World) -> None:
    known = {
        text for name, text in vars(names).items() if name.isupper() and not name.startswith("_")
    }
    told = {name for name in families(world) if name.startswith("tocsin")}
    assert told == known


@contextmanager
def listening(world: World) -> Iterator[int]:
    """The port on which a world answers real requests."""
    port = free_port()
    server = uvicorn.Server(
        uvicorn.Config(cast(Any, world.web.app), host="127.0.0.1", port=port, log_level="warning")
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        until(lambda: server.started)
        yield port
    finally:
        server.should_exit = True
        thread.join(10)


@needs_prometheus
def test_prometheus_scrapes_it_and_evaluates_the_exported_rules(
    world: World, tmp_path: Path
) -> None:
    exported = tmp_path / "rules.yaml"
    text = rules(load([world.config]).monitors, "sloth")
    exported.write_text(re.sub(r"interval: 1m", "interval: 1s", text))
    with listening(world) as port:
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(exported)],
            "scrape_configs": [
                {"job_name": "tocsin", "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}
            ],
        }
        with prometheus(tmp_path, config) as scraped:
            until(lambda: scraped.samples("up") == {(): 1.0})
            until(lambda: scraped.samples(names.SLI))
            (rule,) = scraped.samples(f'{names.FIRING}{{severity="page", slo="chat-availability"}}')
            assert dict(rule)["service"] == "chat"
            ours = families(world)
            for family in (names.SLI, names.REMAINING, f"{names.EVENTS}_total"):
                theirs = scraped.samples(family)
                told = ours[family.removesuffix("_total")].samples
                expected = {
                    tuple(sorted(s.labels.items())): s.value for s in told if s.name == family
                }
                assert theirs == pytest.approx(expected)
            types = scraped.get("metadata", metric=names.BURN_RATE)
            assert types[names.BURN_RATE][0]["type"] == "gauge"
            until(lambda: scraped.samples("slo:objective:ratio"))
            held = scraped.get("rules")["groups"]
            assert held
            assert all(r["health"] == "ok" for g in held for r in g["rules"])


def slo(*words: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("TOCSIN_")}
    return subprocess.run(
        [sys.executable, "-c", "from tocsin.cli import main; main()", "slo", *map(str, words)],
        env={**clean, **environment, "COLUMNS": "160"}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_a_terminal_says_what_the_server_says(world: World) -> None:
    with listening(world) as port:
        url = f"http://127.0.0.1:{port}"
        listed = slo("list", "--output", "json", TOCSIN_URL=url)
        assert listed.returncode == 2, "one is breached"
        assert json.loads(listed.stdout) == world.web.get("/api/v1/objectives").json()["items"]
        table = slo("list", "--service", "chat", "--url", url).stdout
        assert "chat-availability" in table.splitlines()[1], "least budget first"
        assert "page" in table
        assert "…" not in table, "names are to be copied"
        shown = json.loads(
            slo("show", "chat-availability", "--url", url, "--output", "json").stdout
        )
        assert shown["sli_low"] < shown["sli"] < shown["sli_high"] < 1
        text = slo("show", "slo/chat-availability", "--url", url).stdout
        assert "over both" in text
        assert "(95 %:" in text
        told = slo("explain", "chat-latency", "--url", url).stdout
        assert "Never or hardly: the 1 h / 5 m page (13.44x) can never fire" in told
        told = slo("explain", "chat-availability", "--url", url).stdout
        assert "The page rule holds: " in told
        assert "1 h / 5 m page: above 13.4x (13.44 % bad) over both; now " in told
        missing = slo("show", "chat-latancy", "--url", url)
        assert missing.returncode == 1
        assert "did you mean 'chat-latency'?" in missing.stderr


def test_without_a_server_the_data_directory_answers(world: World, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.mkdir()
    shutil.copy(world.config, config / "all.yaml")
    world.stop()
    try:
        done = slo("list", "--data-dir", world.path, "--config", config, "--output", "json")
    finally:
        world.start()
    assert done.returncode in (0, 2), done.stderr
    found = {view["name"]: view for view in json.loads(done.stdout)}
    assert found["chat-availability"]["total"] > 480 * 8
    assert found["chat-availability"]["tone"] == "unknown"
    assert "the last judged minute is" in found["chat-availability"]["reason"]
    nothing = slo("list", "--data-dir", tmp_path / "nowhere")
    assert nothing.returncode == 1
    assert "holds no Tocsin" in nothing.stderr
