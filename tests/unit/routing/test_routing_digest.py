"""Digests: when they are due, what goes in, how it reads; and the cron they are written in."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from tocsin.domain.findings import Incident, IncidentState
from tocsin.routing.cron import CronError, parse_cron
from tocsin.routing.digest import collect, digest_item, digest_line, due_at, includes
from tocsin.routing.policy import Digest

UTC_ZONE = ZoneInfo("UTC")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "after", "due"),
    [
        ("0 8 * * 1-5", "2026-03-06T08:00", "2026-03-09T08:00"),  # Friday -> Monday
        ("0 8 * * 1-5", "2026-03-06T07:59:59", "2026-03-06T08:00"),
        ("*/15 * * * *", "2026-03-06T07:50", "2026-03-06T08:00"),
        ("5,35 9-10 * * *", "2026-03-06T09:05", "2026-03-06T09:35"),
        ("0 0 1 * *", "2026-03-06T00:00", "2026-04-01T00:00"),
        ("0 0 29 2 *", "2026-03-06T00:00", "2028-02-29T00:00"),
        ("0 8 * * sun", "2026-03-06T00:00", "2026-03-08T08:00"),
        ("0 8 * * 7", "2026-03-06T00:00", "2026-03-08T08:00"),
        ("0 8 1 jan,jul *", "2026-03-06T00:00", "2026-07-01T08:00"),
        ("0 8 13 * 5", "2026-03-06T09:00", "2026-03-13T08:00"),  # the 13th or a Friday
        ("0 8 10 * 5", "2026-03-06T09:00", "2026-03-10T08:00"),
        ("30 10/4 * * *", "2026-03-06T11:00", "2026-03-06T14:30"),
    ],
)
def test_cron_fires_next_when_every_cron_would(text: str, after: str, due: str) -> None:
    assert parse_cron(text).next_after(at(after), UTC_ZONE) == at(due)


def test_cron_keeps_to_the_wall_clock_of_its_zone() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    daily = parse_cron("0 8 * * *")
    assert daily.next_after(at("2026-03-28T08:00"), berlin) == at("2026-03-29T06:00")
    assert daily.next_after(at("2026-10-24T08:00"), berlin) == at("2026-10-25T07:00")
    twice = parse_cron("30 2 * * *")
    first = twice.next_after(at("2026-10-24T12:00"), berlin)
    assert first == at("2026-10-25T00:30")
    assert twice.next_after(first, berlin) == at("2026-10-26T01:30")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0 8 * *",
        "60 8 * * *",
        "0 24 * * *",
        "0 8 0 * *",
        "a 8 * * *",
        "0 8 * * 5-1",
        "*/0 * * * *",
    ],
)
def test_a_cron_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(CronError):
        parse_cron(text)


def test_a_date_that_never_comes_is_refused() -> None:
    with pytest.raises(CronError, match="no date"):
        parse_cron("0 0 31 2 *").next_after(at("2026-01-01T00:00"), UTC_ZONE)


def incident(**given: object) -> Incident:
    fields: dict[str, object] = {
        "id": "k-1", "group_key": "k", "episode": 1, "state": IncidentState.TRIGGERED,
        "title": "bot: cost", "labels": {"service": "bot", "signal": "cost"}, "tier": 3,
        "opened": at("2026-03-06T10:00"), "updated": at("2026-03-06T10:00"),
        "alerts": ("a", "b"), "reason": "cost doubled",
    }  # fmt: skip
    return Incident(**{**fields, **given})  # type: ignore[arg-type]


def test_a_digest_that_cannot_be_read_is_due_at_once() -> None:
    now = at("2026-03-06T10:00")
    assert due_at(Digest("d", "0 8 * * *", ("mail",)), now) == at("2026-03-07T08:00")
    assert due_at(Digest("d", "never", ("mail",)), now) == now
    assert due_at(Digest("d", "0 8 * * *", ("mail",), tz="Nope/Nope"), now) == now


def test_a_digest_takes_in_what_its_condition_says() -> None:
    low = Digest("d", "0 8 * * *", ("mail",), include={"tier": 3})
    assert includes(low, incident())
    assert not includes(low, incident(tier=2))
    assert includes(Digest("d", "0 8 * * *", (), include={"signal": ">=1"}), incident())


def test_an_item_says_what_where_since_when_and_why() -> None:
    item = digest_item(incident())
    assert digest_line(item) == (
        "bot: cost, tier 3, triggered, since 2026-03-06T10:00:00Z: cost doubled"
    )
    assert item["alerts"] == 2


def test_a_digest_reads_the_latest_of_each_incident_worst_first() -> None:
    begun = digest_item(incident())
    ended = digest_item(incident(state=IncidentState.RESOLVED, resolved=at("2026-03-06T11:00")))
    worse = digest_item(incident(id="z-1", tier=2, labels={"service": "zoo"}))
    assert [(i["incident"], i["state"]) for i in collect([begun, worse, ended])] == [
        ("z-1", "triggered"),
        ("k-1", "resolved"),
    ]
