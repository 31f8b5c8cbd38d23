"""Long budgets survive a restart to the call, and a correction of the past restates them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from world import CONFIG, ZERO, Phase, World

from tocsin.assess.budget import ObjectiveStatus
from tocsin.domain.calls import SYSTEM_FAILURES
from tocsin.domain.clock import from_minute, iso

DAY = 1440
SLOS = """
---
apiVersion: openslo/v1
kind: SLO
metadata: {name: by-quarter}
spec:
  service: chat
  indicator:
    metadata: {name: by-quarter-sli}
    spec:
      ratioMetric:
        good: {metricSource: {type: Tocsin, spec: {use: availability}}}
        total: {metricSource: {type: Tocsin, spec: {count: all}}}
  timeWindow:
    - {duration: 1Q, calendar: {startTime: "2026-09-29 00:00:00", timeZone: Asia/Kolkata}}
  budgetingMethod: Occurrences
  objectives: [{target: 0.99}]
---
apiVersion: openslo/v1
kind: SLO
metadata: {name: by-slice}
spec:
  service: chat
  indicatorRef: answers
  timeWindow: [{duration: 45d, isRolling: true}]
  budgetingMethod: Timeslices
  objectives: [{target: 0.9, timeSliceTarget: 0.9, timeSliceWindow: 1h}]
---
apiVersion: openslo/v1
kind: SLI
metadata: {name: answers}
spec:
  ratioMetric:
    good: {metricSource: {type: Tocsin, spec: {use: availability}}}
    total: {metricSource: {type: Tocsin, spec: {count: all}}}
"""
CORRECTION = """
---
apiVersion: tocsin/v1
kind: BudgetCorrection
metadata: {name: old-outage}
spec: {slos: [by-quarter], start: "START", duration: 2h, reason: excused}
"""


@pytest.fixture
def world(tmp_path: Path):
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG.read_text() + SLOS)
    service = "chat"
    outage = -40 * DAY + 7
    phases = [
        Phase(service, -47 * DAY, outage, per_minute=0.5, failing=0.03),
        Phase(service, outage, outage + 120, per_minute=0.5, failing=0.9),
        Phase(service, outage + 120, 20, per_minute=0.5, failing=0.03),
    ]
    with World(tmp_path, phases, config=config) as made:
        yield made


def status(world: World, name: str) -> ObjectiveStatus:
    return next(s for s in world.house.statuses() if s.monitor == f"slo/{name}")


def counted(world: World, begin: int, end: int, without: tuple[int, int] = (0, 0)):
    """(bad, total) per minute of the calls that ended in [begin, end), by the traffic."""
    calls = world.calls
    minute = (calls["ts"] + calls["duration_us"].astype(np.int64)) // 60_000_000
    failed = np.isin(calls["error_class"], sorted(SYSTEM_FAILURES)) | (calls["truncated"] == 1)
    mine = (minute >= begin) & (minute < end)
    mine &= ~((minute >= without[0]) & (minute < without[1]))
    width = end - begin
    return tuple(np.bincount(minute[mine & x] - begin, minlength=width) for x in (failed, True))


def test_a_quarter_and_its_slices_are_whole_after_a_restart(world: World) -> None:
    world.play(10, deliver=False)
    world.restart()
    world.play(12, deliver=False)
    quarter, slices = status(world, "by-quarter"), status(world, "by-slice")
    end = world.house.standing.minute + 1
    begin = ZERO - 48 * DAY - 9 * 60 - 330  # 29 September, 00:00 in Kolkata
    assert quarter.period[0] == begin
    bad, total = counted(world, begin, end)
    assert (quarter.bad, quarter.total) == (bad.sum(), total.sum())
    first = -(-(end - 45 * DAY) // 60) * 60
    bad, total = (x.reshape(-1, 60).sum(axis=1) for x in counted(world, first, end // 60 * 60))
    held = total > 0
    late = (total - bad) < 0.9 * total
    assert (slices.bad, slices.total) == ((late & held).sum(), held.sum())


def test_a_correction_of_the_past_restates_and_shows_both(world: World) -> None:
    world.play(2, deliver=False)
    before = status(world, "by-quarter")
    assert before.correction is None
    start = ZERO - 40 * DAY + 7
    written = CORRECTION.replace("START", iso(from_minute(start)))
    world.config.write_text(world.config.read_text() + written)
    world.house.adopt(world.desired())
    world.play(3, deliver=False)
    after, end = status(world, "by-quarter"), world.house.standing.minute + 1
    bad, total = counted(world, after.period[0], end, (start, start + 120))
    assert (after.bad, after.total) == (bad.sum(), total.sum())
    raw_bad, raw_total = counted(world, after.period[0], end)
    told = after.correction
    assert (told.bad, told.total, told.minutes) == (raw_bad.sum(), raw_total.sum(), 120)
    assert after.remaining > told.remaining
    page = world.web.get("/objectives", headers={"accept": "text/html"}).text
    assert "without 2 h corrected by old-outage" in page
    alone = world.web.get("/objectives/by-quarter", headers={"accept": "text/html"}).text
    assert "2 h of it are corrected by old-outage; without that " in alone
