"""A budget runs out: people are told once, deploys are held back until it is regained."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet
import pytest
import uvicorn
from starlette.types import ASGIApp
from typer.testing import CliRunner
from world import CONFIG, ZERO, Phase, World, rows

from tocsin.alerts.freeze import freezes
from tocsin.cli import app as cli
from tocsin.domain.clock import from_minute, iso
from tocsin.engine.planning import backtest_lines
from tocsin.engine.settings import Settings

POLICY = """
---
apiVersion: openslo/v1
kind: SLO
metadata: {name: by-day, displayName: 99 % of a day's calls}
spec:
  service: chat
  indicator:
    metadata: {name: by-day-sli}
    spec:
      ratioMetric:
        good: {metricSource: {type: Tocsin, spec: {use: availability}}}
        total: {metricSource: {type: Tocsin, spec: {count: all}}}
  timeWindow: [{duration: 24h, isRolling: true}]
  budgetingMethod: Occurrences
  objectives: [{target: 0.99}]
---
apiVersion: tocsin/v1
kind: ErrorBudgetPolicy
metadata: {name: freeze}
spec:
  slos: {names: by-day}
  rules:
    - name: empty
      when: remaining < 0 %
      actions: [{notify: channel}, {ticket: finance}, {gate: block, except: [rollback]}]
    - {name: soon, when: exhausted within 2d at the rate of 6h, actions: [{gate: approval}]}
"""
CORRECTION = """
---
apiVersion: tocsin/v1
kind: BudgetCorrection
metadata: {name: outage}
spec: {slos: [by-day], start: "START", duration: 2h, reason: excused by the contract}
"""
OUTAGE = range(10, 50)
EMPTY, SOON = "budget/freeze/empty/by-day", "budget/freeze/soon/by-day"


@pytest.fixture
def world(tmp_path: Path):
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG.read_text() + POLICY)
    before = Phase("chat", -7 * 60, OUTAGE[0], per_minute=8, failing=0.002)
    broken = Phase("chat", OUTAGE[0], OUTAGE[-1] + 1, per_minute=8, failing=0.75)
    after = Phase("chat", OUTAGE[-1] + 1, 90, per_minute=8, failing=0.002)
    changes = [(OUTAGE[0] - 12, "chat", "deploy", "prompt v42")]
    with World(tmp_path, [before, broken, after], changes, config=config) as made:
        yield made


def gate(world: World, **query: str) -> dict:
    answer = world.web.get("/api/v1/deploy-freeze", params={"service": "chat", **query})
    (found,) = answer.json()["items"]
    return found


@contextmanager
def served(app: ASGIApp) -> Iterator[str]:
    """The application on a free port of this machine."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{bound.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(10)


def asked(url: str, *words: str) -> str:
    """Exit code and output of a command, in one line."""
    run = CliRunner().invoke(cli, [*words, "--url", url])
    return " ".join([str(run.exit_code), *run.stdout.split()])


def tickets(world: World) -> list[str]:
    return [t.text for t in world.of("finance") if "error budget" in t.text]


def test_deploys_freeze_when_the_budget_is_gone_and_thaw_when_it_is_regained(
    world: World, tmp_path: Path
) -> None:
    world.play(5)
    assert gate(world)["state"] == "open"
    world.play(56)
    held = gate(world)
    assert (held["state"], held["policies"]) == ("frozen", ["freeze"])
    assert {freeze["hold"] for freeze in held["freezes"]} == {"block", "approval"}
    assert held["freezes"][0]["reason"].startswith("the 1 d error budget is overspent by")
    assert gate(world, change="rollback")["state"] == "approval"
    assert world.web.get("/api/v1/deploy-freeze?service=chatt").status_code == 404
    page = world.web.get("/api/v1/objectives/by-day").json()
    kinds = [note["kind"] for note in page["annotations"]]
    assert (kinds, page["objective"]["standing"]) == (["breach", "change"], "breached")
    assert " min before the breach of 16 Nov" in page["annotations"][1]["text"]
    assert [rule["state"] for rule in page["policies"]] == ["holds", "holds"]
    assert backtested(world, tmp_path) == {
        f"budget/freeze/{'empty' if f.hold == 'block' else 'soon'}/by-day": iso(f.since)[:16]
        for f in freezes(world.house.state.alerts().values())
    }
    with served(world.web.app) as url:
        assert asked(url, "gate", "deploys", "chat").startswith("1 chat deploys: frozen the 1 d")
        assert asked(url, "gate", "deploys", "chat", "--change", "rollback").startswith("2 chat")
        assert asked(url, "gate", "deploys", "drafts").startswith("0 drafts deploys: open")
        assert asked(url, "gate", "deploys", "chatt") == "4"
        at = iso(from_minute(ZERO + OUTAGE[0]))
        before = asked(url, "slo", "show", "by-day", "--as-of", at)
        assert before.startswith("0 by-day after")
        assert "No hour is counted otherwise now." in before
        assert asked(url, "slo", "recount", "by-day").endswith("equal")
    told = tickets(world)
    assert sum(":trigger" in text for text in told) == 1
    world.restart()
    assert gate(world)["state"] == "frozen"
    world.play(65)
    assert tickets(world) == told
    start = iso(from_minute(ZERO + OUTAGE[0]))
    world.config.write_text(world.config.read_text() + CORRECTION.replace("START", start))
    world.house.adopt(world.desired())
    world.play(75)
    free = gate(world)
    assert (free["state"], free["reason"]) == ("open", "the error budgets allow it")
    kinds = [e.kind for e in world.house.state.entries_about("chat")]
    assert kinds.count("deploys.frozen") == kinds.count("deploys.released") == 2
    assert world.house.state.verify_ledger() is None


def backtested(world: World, path: Path) -> dict[str, str]:
    """When the rules of the policy begin over the same traffic in a file."""
    pyarrow.parquet.write_table(rows(world.calls), path / "calls.parquet")
    (path / "config").mkdir()
    (path / "config" / "all.yaml").write_text(world.config.read_text())
    settings = Settings(data_dir=path / "none", config_dir=path / "config")
    lines = [line.record() for line in backtest_lines(settings, path / "calls.parquet")]
    return {
        line["object"]: line["at"][:16]
        for line in lines
        if line["object"] in (EMPTY, SOON) and line.get("state") == "firing"
    }
