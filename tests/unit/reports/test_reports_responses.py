"""The figures of paging, against published values and simulation."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from tocsin.domain.shares import exact_interval
from tocsin.reports.responses import Response, figures, patch

MONDAY = datetime(2026, 11, 16, 10, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def page(n: int, verdict: str = "", at: datetime = MONDAY, **changes: object) -> Response:
    fields: dict[str, object] = {
        "incident": f"i-{n}", "rule": "detector/failures", "service": "chat", "tier": 1,
        "began": at - 5 * MINUTE, "opened": at, "told": at, "answered": at + 4 * MINUTE,
        "answered_by": "ana", "resolved": at + 60 * MINUTE, "people": ("ana",), "verdict": verdict,
    }  # fmt: skip
    return Response(**{**fields, **changes})  # type: ignore[arg-type]


def test_times_and_hours_are_counted_and_the_unknown_stays_unknown() -> None:
    night = MONDAY.replace(hour=3)
    found = figures(
        [
            page(1, "real"),
            page(2, "false", night, answered=night + 8 * MINUTE),
            page(3, answered=None, answered_by="", resolved=None),
            page(4, "noise", tier=2),
        ],
        MONDAY - timedelta(days=1), MONDAY, "UTC",
    )  # fmt: skip
    assert (found.incidents, found.pages, found.off_hours, found.unanswered) == (4, 3, 1, 1)
    assert found.to_detect.mean_s == 300
    assert (found.to_answer.count, found.to_answer.mean_s) == (2, 360)
    assert found.to_resolve.count == 2
    assert (found.precision.real, found.precision.judged, found.precision.unjudged) == (1, 2, 1)
    tokyo = figures([page(2, at=night)], MONDAY, MONDAY, "Asia/Tokyo")
    assert tokyo.off_hours == 0, "three at night in London is noon in Tokyo"
    again = figures([page(1, "real"), page(2, "duplicate")], MONDAY, MONDAY).precision
    assert (again.share, again.judged, again.duplicate) == (1.0, 1, 1)
    nothing = figures([], MONDAY, MONDAY)
    assert (nothing.precision.share, nothing.to_answer.mean_s) == (None, None)
    unjudged = figures([page(1)], MONDAY, MONDAY)
    assert unjudged.precision.share is None


def test_noise_is_counted_by_rule_and_by_person() -> None:
    found = figures(
        [page(1, "real"), page(2, "noise", people=("bo", "ana")), page(3, "false", rule="slo/x")],
        MONDAY, MONDAY,
    )  # fmt: skip
    assert [(r.name, r.pages, r.unwanted) for r in found.rules] == [
        ("detector/failures", 2, 1), ("slo/x", 1, 1),
    ]  # fmt: skip
    assert [(p.name, p.pages, p.unwanted) for p in found.people] == [("ana", 3, 2), ("bo", 1, 1)]


@pytest.mark.parametrize(
    ("real", "wrong", "what"),
    [(0, 5, ""), (0, 6, "retire"), (2, 10, "change"), (5, 7, ""), (1, 0, "")],
)
def test_a_rule_is_proposed_only_when_it_is_certain(real: int, wrong: int, what: str) -> None:
    pages = [page(n, "real") for n in range(real)] + [page(n, "noise") for n in range(wrong)]
    found = figures(pages, MONDAY, MONDAY)
    assert [p.what for p in found.proposals] == ([what] if what else [])
    (document,) = patch(found.proposals) or [None]
    assert (document is None) == (not what)


def test_a_good_rule_is_hardly_ever_proposed() -> None:
    rng = np.random.default_rng(11)
    for share, most in ((0.5, 0.03), (0.8, 0.001)):
        proposed = 0
        for real in rng.binomial(20, share, 2000):
            proposed += exact_interval(int(real), 20)[1] < 0.5
        assert proposed / 2000 <= most, share
