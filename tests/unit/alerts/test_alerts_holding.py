"""Rules that hold or do not, beside alerts that remember."""

from __future__ import annotations

from dataclasses import replace

from alerts_build import Judge, verdict
from hypothesis import given
from hypothesis import strategies as st

from tocsin.alerts.holding import RULES, rule_changes
from tocsin.domain.findings import Verdict

PAGE = {"page": "14 x"}
TICKET = {"ticket": "3 x"}


def breach(rules: dict[str, str]) -> Verdict:
    return replace(verdict("breach"), evidence={RULES: rules})


def told(judge: Judge, *verdicts: Verdict) -> list[tuple[str, bool]]:
    changes = rule_changes(judge.alerts, verdicts, judge.config)
    judge.tick(*verdicts)
    return [(change.severity, change.holds) for change in changes]


def test_page_and_ticket_begin_and_end_each_for_itself() -> None:
    judge = Judge()
    assert told(judge, breach(TICKET)) == [("ticket", True)]
    assert told(judge, breach(PAGE | TICKET)) == [("page", True)]
    assert told(judge, breach(PAGE | TICKET)) == []
    assert told(judge, breach(PAGE)) == [("ticket", False)]
    assert told(judge, breach(TICKET)) == [("page", False), ("ticket", True)]


def test_a_rule_ends_at_once_while_its_alert_waits_for_a_quiet_while() -> None:
    judge = Judge()
    told(judge, breach(PAGE))
    assert told(judge, verdict("ok")) == [("page", False)]
    assert judge.alerts, "the alert is still there"
    assert told(judge, verdict("ok")) == []
    assert told(judge, breach(PAGE)) == [("page", True)]


def test_nothing_known_holds_no_rule_and_says_why() -> None:
    judge = Judge()
    told(judge, breach(PAGE))
    unknown = replace(verdict("unknown"), reason="no calls")
    (change,) = rule_changes(judge.alerts, [unknown], judge.config)
    assert (change.holds, change.reason) == (False, "no calls")


def test_a_monitor_without_rules_has_no_changes() -> None:
    judge = Judge()
    assert told(judge, verdict("breach")) == []
    assert told(judge, verdict("ok")) == []


RULES_OF = {
    "both": breach(PAGE | TICKET), "page": breach(PAGE), "ticket": breach(TICKET),
    "ok": verdict("ok"), "unknown": verdict("unknown"),
}  # fmt: skip


@given(st.lists(st.sampled_from(sorted(RULES_OF)), max_size=60))
def test_changes_add_up_to_what_each_minute_says(story: list[str]) -> None:
    judge, held = Judge(), set()
    for kind in story:
        for severity, holds in told(judge, RULES_OF[kind]):
            assert (severity in held) != holds, "a line for every change, and no other"
            (held.add if holds else held.discard)(severity)
        assert held == set(RULES_OF[kind].evidence.get(RULES, {}))
