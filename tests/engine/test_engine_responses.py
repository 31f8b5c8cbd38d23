"""From a page and a verdict to a changed rule that `tocsin plan` accepts."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from tick_build import CONFIG, Clockwork

from tocsin.domain.clock import SystemClock
from tocsin.engine import planning
from tocsin.engine.responses import BadFigures, figures_of, proposed
from tocsin.engine.settings import Settings
from tocsin.spec.desired import load


def test_verdicts_lead_to_a_rule_that_no_longer_pages(tmp_path: Path) -> None:
    made = Clockwork()
    for _ in range(6):
        made.breaching[("chat", "error_rate")] = "page"
        made.play(3)
        made.acknowledge(made.incident())
        del made.breaching[("chat", "error_rate")]
        made.play(50)
        now = made.clock.now()
        made.state.mark(made.incident().id, "real", "bo", now)
        made.state.mark(made.incident().id, "noise", "ana", now + timedelta(minutes=1))
    found = figures_of(made.state, made.clock.now(), 7)
    assert (found.pages, found.unanswered, found.verdicts) == (6, 0, {"noise": 6})
    assert (found.to_answer.mean_s, found.to_answer.count) == (180, 6)
    assert [(p.name, p.pages) for p in found.people] == [("ana", 6)]
    text = proposed(found, made.state)
    assert "# retire detector/error_rate: 0 of 6 judged pages were real" in text

    config = tmp_path / "config"
    config.mkdir()
    (config / "all.yaml").write_text(CONFIG)
    settings = Settings(tmp_path / "data", config_dir=config)
    planning.apply(settings, "ana", (), "first", SystemClock())
    (config / "learned.yaml").write_text(text)
    plan = planning.plan(settings, None, None, SystemClock())
    assert (plan.is_applicable, plan.exit_code) == (True, 2), str(plan)
    assert {str(c.key) for c in plan.changes} == {
        "Routing/zz-learned-from-verdicts", "Receiver/retired-rules",
    }  # fmt: skip
    assert all(test.passed for test in plan.tests)

    after = Clockwork((config / "all.yaml").read_text() + "\n" + text)
    assert after.desired.digest == load([config]).digest
    after.breaching[("chat", "error_rate")] = "page"
    after.breaching[("claims", "latency_p95")] = "page"
    after.play(5)
    assert after.incident().tier == 3
    told = after.told("pager") + after.told("team")
    assert told == [(0, "trigger")], "only of the other one"


@pytest.mark.parametrize(("days", "zone"), [(0, "UTC"), (400, "UTC"), (7, "Mars/Olympus")])
def test_what_cannot_be_counted_is_refused(days: int, zone: str) -> None:
    made = Clockwork()
    with pytest.raises(BadFigures, match=r"give 1 to 366|is no time zone"):
        figures_of(made.state, made.clock.now(), days, zone)
