"""Status pages as data: what clients of Statuspage's API and of feeds read."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from xml.etree import ElementTree

import pytest

from tocsin.reports.status import (
    Component,
    Day,
    Notice,
    StatusPage,
    Update,
    atom,
    documents,
    rss,
    with_notices,
)

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def notice(*statuses: str, title: str = "Some answers fail", **more: object) -> Notice:
    updates = tuple(Update(NOW + n * HOUR, s, f"<b>{s}</b> & more") for n, s in enumerate(statuses))
    given = {"impact": "major", "components": {"Answers": "partial_outage"}, **more}
    return Notice(id=title, title=title, updates=updates, **given)  # type: ignore[arg-type]


def page(*notices: Notice, unknown: str = "", status: str = "operational") -> StatusPage:
    days = (Day(date(2026, 11, 18), 0, 0), Day(date(2026, 11, 19), 2, 100), Day(date.max, 0, 100))
    parts = [
        Component("Answers", status, group="API", days=days),  # type: ignore[arg-type]
        Component("Search", "operational", "finds things"),
    ]
    return StatusPage("public", "Example AI", "https://status.example", "UTC", NOW,
                      tuple(with_notices(parts, notices)), notices, unknown)  # fmt: skip


@pytest.mark.parametrize(
    ("status", "indicator", "words"),
    [
        ("operational", "none", "All Systems Operational"),
        ("under_maintenance", "maintenance", "Service Under Maintenance"),
        ("degraded_performance", "minor", "Partially Degraded Service"),
        ("partial_outage", "major", "Partial System Outage"),
        ("major_outage", "critical", "Major Service Outage"),
    ],
)
def test_the_worst_component_is_the_page(status: str, indicator: str, words: str) -> None:
    made = page(status=status)
    assert (made.indicator, made.description) == (indicator, words)


def test_an_open_incident_counts_and_one_that_is_over_does_not() -> None:
    assert page(notice("investigating", components={})).indicator == "major"
    over = page(notice("investigating", "resolved"))
    assert (over.indicator, over.components[0].status) == ("none", "operational")
    assert page(notice("investigating")).components[0].status == "partial_outage"


def test_a_maintenance_shows_when_it_has_begun() -> None:
    planned = {"start": NOW, "stop": NOW + HOUR, "impact": "maintenance",
               "components": {"Search": "under_maintenance"}}  # fmt: skip
    assert page(notice("scheduled", **planned)).indicator == "none"
    assert page(notice("scheduled", "in_progress", **planned)).indicator == "maintenance"
    told = documents(page(notice("scheduled", **planned)))["summary"]["scheduled_maintenances"]
    assert told[0]["scheduled_for"] == "2026-11-20T12:00:00.000Z"


def test_nothing_known_is_not_operational() -> None:
    made = page(unknown="the last judged minute is 9 minutes ago")
    assert (made.indicator, made.description) == ("minor", "Status unknown")


def test_a_part_of_which_nothing_is_known_is_not_operational() -> None:
    made = page()
    parts = (made.components[0], replace(made.components[1], unknown="no call came"))
    told = replace(made, components=parts)
    assert (told.indicator, told.description) == ("minor", "Status unknown")
    worse = replace(told, components=(replace(parts[0], status="partial_outage"), parts[1]))
    assert (worse.indicator, worse.description) == ("major", "Partial System Outage")


def test_uptime_is_of_the_days_that_are_known() -> None:
    assert page().components[0].uptime == pytest.approx(0.99)
    assert page().components[1].uptime is None


def test_the_documents_are_those_of_statuspage() -> None:
    told = documents(page(notice("investigating", "identified"), notice("resolved", title="Old")))
    assert set(told) == {
        "summary", "status", "components", "incidents", "incidents/unresolved",
        "scheduled-maintenances", "scheduled-maintenances/upcoming",
        "scheduled-maintenances/active",
    }  # fmt: skip
    summary = told["summary"]
    assert summary["page"]["name"] == "Example AI"
    group, answers, search = summary["components"]
    assert group["group"] is True
    assert group["components"] == [answers["id"]]
    assert group["status"] == "partial_outage"
    assert answers["group_id"] == group["id"]
    assert (search["description"], search["position"]) == ("finds things", 3)
    [incident] = summary["incidents"]
    assert [u["status"] for u in incident["incident_updates"]] == ["identified", "investigating"]
    assert incident["components"][0]["name"] == "Answers"
    assert incident["started_at"] == "2026-11-20T12:00:00.000Z"
    assert len(told["incidents"]["incidents"]) == 2
    ids = [incident["id"], *(u["id"] for u in incident["incident_updates"])]
    later = documents(page(notice("investigating", "identified", "monitoring")))
    again = later["summary"]["incidents"][0]
    assert again["id"] == ids[0]
    assert {u["id"] for u in again["incident_updates"]} > set(ids[1:])


def test_feeds_are_well_formed_and_their_ids_stay() -> None:
    feed = ElementTree.fromstring(atom(page(notice("investigating"))))
    later = ElementTree.fromstring(atom(page(notice("investigating", "resolved"))))
    names = {"a": "http://www.w3.org/2005/Atom"}
    assert feed.findtext("a:entry/a:id", "", names) == later.findtext("a:entry/a:id", "", names)
    assert later.findtext("a:entry/a:updated", "", names) == "2026-11-20T13:00:00Z"
    assert "<b>resolved</b> & more" in later.findtext("a:entry/a:content", "", names)
    channel = ElementTree.fromstring(rss(page(notice("investigating")))).find("channel")
    assert channel is not None
    assert channel.findtext("item/title") == "Some answers fail"
