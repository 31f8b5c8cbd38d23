"""Chapters say what they leave out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime

import pytest

from tocsin.reports import sections, wording
from tocsin.reports.facts import Facts, ObjectiveFacts
from tocsin.reports.report import Table
from tocsin.reports.responses import Response, figures

AT = datetime(2026, 11, 16, tzinfo=UTC)


def facts(responses: Sequence[Response] = (), objectives: Sequence[ObjectiveFacts] = ()) -> Facts:
    paging = figures(responses, AT, AT, "UTC")
    return Facts(AT, AT, AT, "UTC", (), tuple(objectives), tuple(responses), paging)


@pytest.mark.parametrize(("found", "note"), [(200, ""), (203, "3 more are not listed.")])
def test_incidents_that_are_not_listed_are_counted(found: int, note: str) -> None:
    told = [Response(f"inc-{n}", "slo/chat", "chat", 1, AT, AT, AT) for n in range(found)]
    _, table = sections.incidents(facts(told)).blocks
    assert isinstance(table, Table)
    assert (len(table.rows), table.note) == (200, note)


@pytest.mark.parametrize(("found", "text"), [(200, ()), (203, ("3 more are not listed.",))])
def test_objectives_whose_days_are_not_listed_are_counted(found: int, text: tuple[str]) -> None:
    days = ((date(2026, 11, 15), 1.0, 10.0),)
    held = [
        ObjectiveFacts(
            f"slo-{n}", "SLO", "chat", 0.9, "30d", "calls", 1, 10, None, None, "met", 0.5, days
        )
        for n in range(found)
    ]
    section = sections.daily_objectives(facts(objectives=held))
    assert (len(section.blocks), section.text) == (200, text)


def test_what_makes_several_objectives_incomplete_is_said_once() -> None:
    held = [
        ObjectiveFacts(
            f"slo-{n}", f"SLO {n}", "chat", 0.9, "30d", "calls", 1, 10, None, None, "met", 0.5, (),
            incomplete="alone" if n == 5 else "nothing is held" if n else "",
        )
        for n in range(6)
    ]  # fmt: skip
    said = sections.notes(facts(objectives=held))
    assert said[:2] == ("SLO 5: alone", "4 objectives: nothing is held")


def test_long_times_are_told_in_hours() -> None:
    assert [wording.seconds(one) for one in (78, 7140, 13680, 200_000)] == [
        "1.3 min", "119.0 min", "3 h 48 min", "2 d 7 h",
    ]  # fmt: skip
