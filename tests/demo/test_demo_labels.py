"""Scoring by hand-made cases: what counts as caught, missed and a false page."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tocsin.demo.labels import Found, Messages, Scorecard, score
from tocsin.demo.script import Label

NOON = datetime(2026, 11, 5, 12, 0, tzinfo=UTC)


def at(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


def label(
    name: str = "outage", *, services: tuple[str, ...] = ("support",), start: float = 0,
    minutes: float = 60, real: bool = True, expect: str = "page",
) -> Label:  # fmt: skip
    return Label(
        name, "kind", services, at(start), at(start + minutes), real, expect, "because of it"
    )


def found(
    name: str = "inc-1", *, services: tuple[str, ...] = ("support",), opened: float = 5,
    tier: int = 1, message: float | None = 6, page: float | None = 6,
) -> Found:  # fmt: skip
    return Found(
        name, frozenset(services), at(opened), tier,
        None if message is None else at(message), None if page is None or tier > 1 else at(page),
    )  # fmt: skip


def scored(incidents: list[Found], labels: list[Label], until: float = 10_000) -> Scorecard:
    return score(
        incidents, labels, calls=1_000, services=6, messages=Messages(7, 5, 3, 2), until=at(until)
    )


def test_the_summary_has_exactly_the_promised_shape() -> None:
    card = scored([found()], [label()])
    assert card.summary == {
        "calls": 1_000,
        "services": 6,
        "incidents": {
            "labelled": 1, "caught": 1, "missed": [],
            "seconds_to_page": {"p50": 360.0, "max": 360.0},
        },
        "pages": {"sent": 1, "false": 0},
        "messages": {"sent": 7, "grouped": 5, "digested": 3, "inhibited": 2},
    }  # fmt: skip


def test_a_run_without_anything_is_honest_about_it() -> None:
    summary = scored([], [label(), label("other")]).summary
    assert summary["incidents"] == {
        "labelled": 2, "caught": 0, "missed": ["outage", "other"],
        "seconds_to_page": {"p50": None, "max": None},
    }  # fmt: skip
    assert summary["pages"] == {"sent": 0, "false": 0}


@pytest.mark.parametrize(
    ("opened", "caught"), [(-0.5, False), (0, True), (60, True), (75, True), (75.5, False)]
)
def test_an_incident_counts_from_the_start_until_a_quarter_of_an_hour_after_the_end(
    opened: float, caught: bool
) -> None:
    card = scored([found(opened=opened, message=opened, page=opened)], [label()])
    assert card.outcomes[0].caught is caught


@pytest.mark.parametrize(
    ("expect", "tier", "caught"),
    [
        ("page", 1, True), ("page", 2, False), ("page", 3, False),
        ("channel", 1, True), ("channel", 2, True), ("channel", 3, False),
    ],
)  # fmt: skip
def test_an_incident_must_be_at_least_as_urgent_as_expected(
    expect: str, tier: int, caught: bool
) -> None:
    card = scored([found(tier=tier)], [label(expect=expect)])
    assert card.outcomes[0].caught is caught
    assert card.outcomes[0].actual == {1: "page", 2: "channel", 3: "digest"}[tier]


def test_why_a_label_was_missed_is_said() -> None:
    quiet = scored([found(tier=3)], [label()]).outcomes[0]
    assert quiet.reason == "inc-1 was only digest, not page"
    assert scored([], [label()]).outcomes[0].reason == "no incident opened"
    early = scored([found(opened=-30, message=-29, page=-29)], [label()]).outcomes[0]
    assert "inc-1 had opened shortly before" in early.reason


def test_any_service_of_a_provider_outage_is_enough() -> None:
    outage = label(services=("support", "voice", "mail"))
    assert scored([found(services=("mail", "other"))], [outage]).outcomes[0].caught
    assert not scored([found(services=("other",))], [outage]).outcomes[0].caught


def test_of_several_incidents_the_first_to_tell_somebody_counts() -> None:
    incidents = [
        found("late", opened=4, message=20, page=20),
        found("mute", opened=1, message=None, page=None),
        found("fast", opened=6, message=7, page=9),
    ]
    card = scored(incidents, [label()])
    assert card.outcomes[0].incident == "fast"
    assert card.outcomes[0].seconds == 7 * 60
    assert card.summary["incidents"]["seconds_to_page"]["max"] == 9 * 60


def test_an_incident_nobody_was_told_about_catches_without_a_time() -> None:
    outcome = scored([found(message=None, page=None)], [label()]).outcomes[0]
    assert outcome.caught
    assert outcome.seconds is None


def test_seconds_to_page_are_of_labels_that_expect_a_page() -> None:
    labels = [
        label("a"),
        label("b", services=("voice",)),
        label("c", services=("mail",)),
        label("slow", services=("review",), expect="channel"),
    ]
    incidents = [
        found("1", page=2),
        found("2", services=("voice",), page=4),
        found("3", services=("mail",), page=10),
        found("4", services=("review",), page=59),
    ]
    seconds = scored(incidents, labels).summary["incidents"]["seconds_to_page"]
    assert seconds == {"p50": 240.0, "max": 600.0}


def test_the_middle_of_an_even_number_is_the_mean_of_two() -> None:
    labels = [label("a"), label("b", services=("voice",))]
    incidents = [found("1", page=2), found("2", services=("voice",), page=4)]
    assert scored(incidents, labels).summary["incidents"]["seconds_to_page"]["p50"] == 180.0


def test_a_page_about_a_harmless_event_is_false_and_says_what_fooled_it() -> None:
    batch = label("batch", real=False, expect="none")
    card = scored([found()], [batch])
    assert card.summary["pages"] == {"sent": 1, "false": 1}
    assert card.summary["incidents"]["labelled"] == 0
    assert "fooled by batch" in card.false_pages[0].reason
    assert card.outcomes[0].reason == "set off inc-1 (page)"


def test_a_channel_message_about_a_harmless_event_is_no_false_page_but_is_shown() -> None:
    card = scored([found(tier=2, page=None)], [label("batch", real=False, expect="none")])
    assert card.summary["pages"] == {"sent": 0, "false": 0}
    assert card.outcomes[0].reason == "set off inc-1 (channel)"


def test_a_page_out_of_nowhere_is_false() -> None:
    card = scored([found(opened=600, message=601, page=601)], [label()])
    assert card.summary["pages"]["false"] == 1
    assert card.false_pages[0].reason == "nothing was wrong with support at the time"


def test_a_page_about_another_service_is_false() -> None:
    assert scored([found(services=("mail",))], [label()]).summary["pages"]["false"] == 1


@pytest.mark.parametrize(
    ("opened", "page", "false"),
    [(-4, 1, 0), (-20, 10, 0), (-20, -10, 1), (70, 71, 0), (79, 80, 0), (81, 82, 1)],
)
def test_a_page_near_a_real_label_is_not_false(opened: float, page: float, false: int) -> None:
    card = scored([found(opened=opened, message=page, page=page)], [label()])
    assert card.summary["pages"]["false"] == false


def test_a_page_is_justified_by_a_label_that_only_expected_a_channel() -> None:
    card = scored([found()], [label(expect="channel")])
    assert card.summary["pages"] == {"sent": 1, "false": 0}


def test_labels_after_the_end_of_the_run_do_not_count() -> None:
    later = label("later", start=500)
    card = scored([], [label(), later], until=400)
    assert card.summary["incidents"]["labelled"] == 1
    assert [o.label.id for o in card.outcomes] == ["outage"]
