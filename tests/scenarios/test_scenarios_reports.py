"""A week reported: the numbers of pages and SQL, the same bytes again, and late data left out."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from test_scenarios_as_of import late
from world import CONFIG, Phase, World, usual, with_phase

from tocsin.domain.clock import iso, to_minute
from tocsin.engine.reporting.ordering import last_complete
from tocsin.spec.desired import load_text
from tocsin.store.schema import CALLS

REPORT = """
---
apiVersion: tocsin/v1
kind: Report
metadata: {name: for-the-board, displayName: Our week}
spec: {template: executive, tz: Europe/Berlin, groupBy: [team, exposure]}
"""
# Traffic began eight hours before T0, 2026-11-16 09:00 UTC.
WEEK = {"from": "2026-11-16T00:00Z", "to": "2026-11-16T09:40Z", "as_of": "2026-11-16T09:41Z"}
TEMPLATES = ("executive", "sla", "review", "segments", "nist-ai-rmf")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    path: Path = tmp_path_factory.mktemp("reports")
    config = path / "config.yaml"
    config.write_text(CONFIG.read_text() + REPORT)
    phases = with_phase(usual("chat", "drafts", until=60), Phase("chat", 5, 30, failing=0.6))
    with World(path / "data", phases, config=config) as world:
        world.house.record_configuration(world.desired(), "ana", "first")
        world.play(42)
        yield world


def files(world: World, name: str, format_: str = "json", **asked: str) -> dict[str, bytes]:
    query = {**WEEK, **asked, "format": format_}
    answer = world.web.get(f"/api/v1/reports/{name}/files", params=query)
    assert answer.status_code == 200, answer.text
    return {key: base64.b64decode(body) for key, body in answer.json()["files"].items()}


def rows(world: World, name: str, table: str, **asked: str) -> list[dict[str, Any]]:
    told = json.loads(files(world, name, **asked)["report.json"])
    return next(t["rows"] for s in told["sections"] for t in s["tables"] if t["id"] == table)


def test_numbers_are_those_of_pages_and_of_sql(made: World) -> None:
    start, stop = (to_minute(datetime.fromisoformat(WEEK[k])) for k in ("from", "to"))
    fleet = {row.service: row for row in made.telemetry.reads.fleet(start, stop)}
    services = {row["service"]["text"]: row for row in rows(made, "executive", "services")}
    for title, name in (("Chat", "chat"), ("Drafts", "drafts")):
        mine, page = services[title], fleet[name]
        assert mine["calls"]["value"] == page.calls
        assert mine["p95"]["value"] == pytest.approx(page.p95_ms / 1000)
        assert mine["cost"]["value"] == pytest.approx(page.cost_usd)
        assert mine["answered"]["value"] == pytest.approx(1 - page.failed / page.calls)
        assert mine["answered"]["low"] < mine["answered"]["value"] < mine["answered"]["high"]
    [(calls, failed)] = made.telemetry.engine.rows(
        "SELECT count(), countIf(error_class != '' OR truncated) FROM tocsin.calls"
        " WHERE service = 'chat' AND ts + toIntervalMicrosecond(duration_us)"
        f" BETWEEN toDateTime64({start * 60}, 6, 'UTC') AND toDateTime64({stop * 60 - 1}, 6, 'UTC')"
    )
    at = {"at": "2026-11-16T09:40:02Z"}
    page = made.web.get("/api/v1/objectives/chat-availability/as-of", params=at).json()["then"]
    objectives = {row["objective"]["text"]: row for row in rows(made, "sla", "objectives")}
    mine = objectives[page["title"]]
    assert mine["remaining"]["value"] == pytest.approx(page["budget_left"])
    assert mine["counts"]["text"] == f"{failed:,} bad of {calls:,} calls"
    assert mine["standing"]["text"] == "breached"
    silent = services["Claims"]["answered"]
    assert (silent["value"], silent["unknown"]) == (None, "no calls in this time")


def test_incidents_are_those_that_were_told(made: World) -> None:
    [incident] = [i for i in made.incidents() if i.tier == 1]
    found = rows(made, "review", "incidents")
    assert incident.id in {row["incident"]["text"] for row in found}
    before = rows(made, "review", "incidents", to="2026-11-16T09:01Z", as_of="2026-11-16T09:02Z")
    assert before == []
    figures = {row["figure"]["text"]: row["value"] for row in rows(made, "review", "paging")}
    assert figures["Pages"]["value"] == 1
    assert figures["Precision"]["unknown"] == "none of 1 page judged"


@pytest.mark.parametrize("template", TEMPLATES)
def test_every_template_is_made_whole(made: World, template: str) -> None:
    page = files(made, template, "html")["report.html"].decode()
    assert "<script" not in page
    assert page.count("<section") >= 4
    read = list(csv.reader(io.StringIO(files(made, template, "csv")["report.csv"].decode())))
    assert len({len(row) for row in read}) == 1


def test_the_same_as_of_time_gives_the_same_bytes_after_more_came(made: World) -> None:
    first = {name: files(made, name, "html") for name in TEMPLATES}
    told = json.loads(first["sla"]["manifest.json"])
    body = first["sla"]["report.html"]
    assert told["files"]["report.html"] == hashlib.sha256(body).hexdigest()
    assert told["configurations"][-1]["digest"] == made.house.desired.digest
    assert {each["name"] for each in told["inputs"]} == {"calls", "scores", "changes", "ledger"}
    late(made, 120, 40)
    made.web.post("/api/v1/scores", content=json.dumps(
        {"name": "relevance", "call_id": f"{7:016x}", "value": 1, "service": "chat"}))  # fmt: skip
    made.telemetry.flush()
    made.play(46)
    again = {name: files(made, name, "html") for name in TEMPLATES}
    assert again == first
    now = rows(made, "executive", "services", as_of="2026-11-16T09:46Z")
    then = rows(made, "executive", "services")
    assert now[0]["calls"]["value"] == then[0]["calls"]["value"] + 40


def test_a_document_says_what_is_in_it(made: World) -> None:
    told = json.loads(files(made, "for-the-board")["report.json"])
    assert told["title"] == "Our week"
    assert told["manifest"]["time_zone"] == "Europe/Berlin"
    rolled = [t["id"] for s in told["sections"] if s["id"] == "groups" for t in s["tables"]]
    assert rolled == ["by_team", "by_exposure"]
    listed = made.web.get("/api/v1/reports").json()["items"]
    assert {"for-the-board", *TEMPLATES} <= {each["name"] for each in listed}


def test_of_a_time_before_any_telemetry_all_is_unknown_with_a_reason(made: World) -> None:
    [first, *_] = rows(made, "sla", "objectives", **{"from": "2020-01-01", "to": "2020-01-08"})
    assert first["standing"]["text"] == "unknown"
    assert "is kept" in first["measured"]["unknown"]
    told = json.loads(files(made, "executive", **{"from": "2026-11-14T00:00Z"})["report.json"])
    for bars in next(s for s in told["sections"] if s["id"] == "services")["charts"]:
        values = [(point["value"] is None, point["unknown"]) for point in bars["points"]]
        assert values == [(True, "no call had come yet")] * 2 + [(False, "")]


@pytest.mark.parametrize(
    ("name", "asked", "status", "says"),
    [
        ("exekutive", {}, 404, "executive"),
        ("sla", {"to": ""}, 400, "both ends"),
        ("sla", {"as_of": "2030-01-01"}, 400, "still to come"),
        ("sla", {"to": "2026-11-16T09:42Z"}, 400, "after the as-of time"),
        ("sla", {"from": "yesterday"}, 400, "is no time such as"),
        ("sla", {"tz": "Mars/Olympus"}, 400, "is no time zone"),
        ("sla", {"period": "day"}, 400, "week or month"),
    ],
)
def test_an_order_that_cannot_be_carried_out_says_why(
    made: World, name: str, asked: dict[str, str], status: int, says: str
) -> None:
    answer = made.web.get(f"/api/v1/reports/{name}/files", params={**WEEK, **asked})
    assert (answer.status_code, says in answer.text) == (status, True), answer.text


def test_periods_are_whole_weeks_and_months_of_a_time_zone() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    at = datetime(2026, 11, 1, 23, 30, tzinfo=UTC)  # Monday, half past midnight in Berlin
    since, until = last_complete("week", at, berlin)
    assert (since.isoformat(), until.isoformat()) == (
        "2026-10-26T00:00:00+01:00", "2026-11-02T00:00:00+01:00",
    )  # fmt: skip
    since, until = last_complete("month", at, berlin)
    assert until.astimezone(UTC) - since.astimezone(UTC) == (until.replace(tzinfo=None)
        - since.replace(tzinfo=None)) + (since.utcoffset() - until.utcoffset())  # fmt: skip
    assert (since.month, since.day, until.month, until.day) == (10, 1, 11, 1)


def test_a_report_that_is_sent_needs_a_time() -> None:
    wrong = (
        "apiVersion: tocsin/v1\nkind: Report\nmetadata: {name: x}\nspec: {template: slo, to: [a]}"
    )
    with pytest.raises(Exception, match="must be one of executive") as caught:
        load_text(wrong)
    assert "no Receiver" in str(caught.value)
    with pytest.raises(Exception, match="to needs cron"):
        load_text(wrong.replace("template: slo", "template: sla"))


def test_what_retention_deleted_is_unknown_with_its_reason_and_never_nothing(
    made: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = datetime(2026, 11, 16, tzinfo=UTC)
    monkeypatch.setattr(made.telemetry.keeping, "complete_since", lambda *_: kept.timestamp())
    told = json.loads(files(made, "executive", **{"from": "2026-11-14T00:00Z"})["report.json"])
    why = "calls from before 2026-11-16 00:00 UTC are not kept any more"
    tiles = {tile["label"]: tile for tile in told["tiles"]}
    services = next(s for s in told["sections"] if s["id"] == "services")
    [table] = services["tables"]
    row = table["rows"][0]
    unknown = [tiles["Answered"], tiles["Calls"], tiles["Cost"]]
    unknown += [row[key] for key in ("calls", "answered", "p95", "cost")]
    assert {(one["value"], one["unknown"]) for one in unknown} == {(None, why)}
    for bars in services["charts"]:
        *gone, last = bars["points"]
        assert {(one["value"], one["unknown"]) for one in gone} == {(None, why)}
        assert last["value"] is not None, "the day of which everything is there"
    [promised] = next(s for s in told["sections"] if s["id"] == "objectives")["tables"]
    assert {row["measured"]["unknown"] for row in promised["rows"]} == {why}
    [later] = rows(made, "sla", "objectives", **{"from": "2026-11-16T01:00Z"})[:1]
    assert later["measured"]["value"] is not None
    assert (later["remaining"]["value"], later["remaining"]["unknown"]) == (None, why)


def rounded(told: dict[str, Any], name: str) -> Any:
    """A section, with its numbers to six digits: money is a sum of floats in hours."""
    section = next(s for s in told["sections"] if s["id"] == name)
    return json.loads(json.dumps(section), parse_float=lambda text: float(f"{float(text):.6g}"))


def test_hours_stand_in_for_calls_that_are_gone(
    made: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As known now: hours do not tell what came after an as-of time.
    now = iso(made.clock.now())
    span = {"from": "2026-11-16T05:00Z", "to": "2026-11-16T09:00Z", "as_of": now}
    kept = json.loads(files(made, "executive", **span)["report.json"])
    after = datetime(2026, 11, 16, 12, tzinfo=UTC).timestamp()
    keeping = made.telemetry.keeping
    since = keeping.complete_since
    monkeypatch.setattr(
        keeping, "complete_since", lambda table=CALLS: after if table is CALLS else since(table)
    )
    told = json.loads(files(made, "executive", **span)["report.json"])
    section, raw = (rounded(one, "services") for one in (told, kept))
    assert section == raw
    [row] = [r for r in section["tables"][0]["rows"] if r["answered"]["value"]][:1]
    assert row["answered"]["low"] is not None
    [note] = [one for one in told["notes"] if "hourly rollups" in one]
    assert note.startswith("Not all calls of this period and the period before are kept.")
    monkeypatch.setattr(keeping, "complete_since", lambda table=CALLS: after)
    gone = json.loads(files(made, "executive", **span)["report.json"])
    services = next(s for s in gone["sections"] if s["id"] == "services")
    assert services["tables"][0]["rows"][0]["calls"]["value"] is None
