"""A status page through an outage: what it says by itself, what people publish, who reads it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import feedparser
import pytest
from world import CONFIG, Phase, World, usual

from tocsin.domain.clock import SystemClock
from tocsin.domain.dependencies import DependencyState
from tocsin.engine.settings import Settings
from tocsin.intake.source import Origin
from tocsin.intake.sources.statuspage import Statuspage, StatuspageConfig
from tocsin.web.reading import status_page

PAGE = """
---
apiVersion: tocsin/v1
kind: StatusPage
metadata: {name: public, displayName: Example AI}
spec:
  url: https://status.example
  components:
    - {name: Answers, service: chat, group: API, description: What the assistant says}
    - {name: Drafts, service: drafts}
"""
PHASES = [*usual("chat", until=5), *usual("drafts", until=120),
          Phase("chat", 5, 120, failing=0.7)]  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    path: Path = tmp_path_factory.mktemp("status")
    config = path / "config.yaml"
    config.write_text(CONFIG.read_text() + PAGE)
    with World(path, PHASES, config=config) as world:
        yield world


def read(made: World, path: str = "api/v2/summary.json") -> Any:
    made.clock.advance(timedelta(seconds=21))  # a page is made anew after twenty
    return made.web.get(f"/status/public/{path}")


def test_it_tells_an_outage_and_its_end(made: World) -> None:
    before = read(made).json()
    assert before["status"]["indicator"] == "none"
    made.play(15)
    summary = read(made).json()
    assert {c["name"]: c["status"] for c in summary["components"]} == {
        "API": "degraded_performance", "Answers": "degraded_performance", "Drafts": "operational",
    }  # fmt: skip
    assert (summary["status"]["indicator"], summary["incidents"]) == ("minor", [])
    assert "pagerduty" not in str(summary)
    [page] = made.web.get("/api/v1/status-pages").json()["items"]
    [draft] = page["drafts"]
    given = {"title": "Answers fail", "body": "We are looking into it.", "incident": draft,
             "impact": "major", "components": {"Answers": "major_outage"}, "by": "ann"}  # fmt: skip
    told = made.web.post("/api/v1/status-pages/public/notices", json=given)
    assert told.status_code == 201, told.text
    summary = read(made).json()
    assert summary["status"]["indicator"] == "critical"
    assert summary["incidents"][0]["incident_updates"][0]["body"] == "We are looking into it."
    assert made.web.get("/api/v1/status-pages").json()["items"][0]["drafts"] == []
    update = f"/api/v1/status-pages/public/notices/{told.json()['id']}/updates"
    over = {"status": "resolved", "body": "It is over.", "by": "ann"}
    assert made.web.post(update, json=over).status_code == 201
    assert "publish a new one" in made.web.post(update, json=over).text
    published = [e for e in made.state.ledger_entries(0, 1000) if e.kind == "status.published"]
    assert [(e.actor, e.subject) for e in published] == [("api:ann", draft)] * 2


def test_clients_of_statuspage_and_readers_of_feeds_read_it(
    made: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = read(made)
    assert answer.headers["access-control-allow-origin"] == "*"
    again = made.web.get(
        "/status/public/api/v2/summary.json", headers={"If-None-Match": answer.headers["etag"]}
    )
    assert (again.status_code, again.content) == (304, b"")
    config = StatuspageConfig("example", "http://127.0.0.1:1", components=("Answers",))
    source = Statuspage(config, Origin("s", ""))

    class Asked:
        status, etag = 200, ""

        def json(self) -> Any:
            return answer.json()

    async def asked(*_: object) -> Asked:
        return Asked()

    monkeypatch.setattr(source._asker, "read", asked)
    [report] = asyncio.run(source.poll(source.targets[0], made.clock.now(), None)).reports
    assert report.state is DependencyState.DEGRADED
    for name in ("history.atom", "history.rss"):
        feed = feedparser.parse(read(made, name).content)
        assert not feed.bozo
        [entry] = feed.entries
        assert entry.title == "Answers fail"
        assert "It is over." in (entry.get("summary") or entry.content[0].value)


def test_people_publish_by_a_form_and_customers_need_no_login(made: World) -> None:
    page = made.web.get("/status-pages")
    token = re.search(r'name="form_token" value="([^"]+)"', page.text)
    assert token is not None
    form = {"form_token": token[1], "title": "Slow <b>drafts</b>", "body": "We know.",
            "status": "identified", "impact": "minor", "component:Drafts": "degraded_performance",
            "name": "bo"}  # fmt: skip
    refused = made.web.post("/status-pages/public/publish", data={**form, "form_token": "x"})
    assert refused.status_code == 403
    done = made.web.post("/status-pages/public/publish", data=form, follow_redirects=False)
    assert done.status_code == 303
    html = made.web.get("/status/public").text
    assert "Slow &lt;b&gt;drafts&lt;/b&gt;" in html
    assert "no data" in html
    for name, value, words in (
        ("status", "resolved", "not over yet"),
        ("component:Billing", "major_outage", "no component"),
        ("start", "soon", "is no time"),
        ("start", "2026-12-01T10:00", "status is one of scheduled"),
    ):
        wrong = made.web.post("/status-pages/public/publish", data={**form, name: value})
        assert wrong.status_code in (400, 422)
        assert words in wrong.text
    assert made.web.get("/status/nope").status_code == 404
    assert made.web.get("/status/public/api/v2/nope.json").status_code == 404


def test_files_of_a_page_stand_alone(made: World, tmp_path: Path) -> None:
    name = made.path
    made.stop()
    settings = Settings(name, config_dir=made.config)
    found = status_page(settings, SystemClock(), "public")
    made.start()
    html = found["index.html"].decode()
    assert "<style>" in html
    assert not re.search(r'(src|href)="(https?:|/)', html)
    assert b"Answers fail" in found["history.atom"]
    assert "api/v2/incidents/unresolved.json" in found
