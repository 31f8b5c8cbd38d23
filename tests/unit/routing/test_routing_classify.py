"""Classification: cumulative, the tier only rises, faults are kept and not thrown."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tocsin.domain.findings import Alert, AlertState
from tocsin.routing.classify import Classified, classify, compile_rules, facts_of
from tocsin.routing.policy import ClassifyRule

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)


def run(*rules: ClassifyRule, labels: dict[str, str] | None = None, **facts: float) -> Classified:
    return classify(compile_rules(rules), labels or {}, facts)


def alert(**given: object) -> Alert:
    fields: dict[str, object] = {
        "fingerprint": "f", "labels": {}, "state": AlertState.FIRING, "since": NOW,
        "updated": NOW, "severity": "page",
    }  # fmt: skip
    return Alert(**{**fields, **given})  # type: ignore[arg-type]


def test_later_rules_see_and_overwrite_what_earlier_ones_set() -> None:
    found = run(
        ClassifyRule({"signal": "cost"}, {"kind": "cost", "team": "a"}),
        ClassifyRule({"kind": "cost"}, {"team": "b"}),
        labels={"signal": "cost"},
    )
    assert found.labels == {"signal": "cost", "kind": "cost", "team": "b"}
    assert found.matched == ("classify[1]", "classify[2]")


def test_a_tier_can_be_raised_but_not_lowered() -> None:
    raise_it = ClassifyRule({}, {"tier": 1}, name="raise")
    lower_it = ClassifyRule({}, {"tier": 3}, name="lower")
    assert run(lower_it, raise_it).tier == 1
    assert run(raise_it, lower_it).tier == 1
    assert run(raise_it, lower_it).tier_from == "raise"


def test_force_lowers_a_tier_in_the_open() -> None:
    found = run(ClassifyRule({}, {"tier": 1}), ClassifyRule({}, {"tier": 3}, force=True))
    assert found.tier == 3


def test_paging_never_keeps_the_tier_down() -> None:
    staging = ClassifyRule({"env": "!prod"}, {"tier": 3, "paging": "never"})
    alarm = ClassifyRule({}, {"tier": 1})
    assert run(staging, alarm, labels={"env": "staging"}).tier == 3
    assert run(staging, alarm, labels={"env": "prod"}).tier == 1
    assert run(ClassifyRule({}, {"paging": "never"}), alarm).tier is None
    assert run(staging, ClassifyRule({}, {"tier": 1}, force=True)).tier == 1


def test_when_unset_fills_gaps_only() -> None:
    gap = ClassifyRule({}, {"tier": 3, "team": "ops"}, when_unset=True)
    found = run(ClassifyRule({}, {"team": "search"}), gap)
    assert found.labels == {"team": "search", "tier": "3"}


def test_a_tier_the_alert_brings_along_counts_as_set() -> None:
    assert run(ClassifyRule({}, {"tier": 3}, when_unset=True), labels={"tier": "9"}).tier == 9


def test_a_rule_that_cannot_be_applied_is_named_and_skipped() -> None:
    found = run(
        ClassifyRule({"value": ">=many"}, {"tier": 1}, name="broken"),
        ClassifyRule({"signal": ">=1"}, {"tier": 1}, name="wrong label"),
        ClassifyRule({}, {"tier": 2}),
        labels={"signal": "cost"},
    )
    assert found.tier == 2
    assert [fault.partition(":")[0] for fault in found.faults] == ["broken", "wrong label"]


@pytest.mark.parametrize(
    ("unit", "value", "fact"),
    [("ms", 4200.0, 4.2), ("us", 4e6, 4.0), ("%", 7.0, 0.07), ("usd", 7.0, 7.0), ("", 0.3, 0.3)],
)
def test_the_value_is_given_in_seconds_or_as_a_fraction(
    unit: str, value: float, fact: float
) -> None:
    assert facts_of(alert(value=value, unit=unit), 0.0)["value"] == pytest.approx(fact)


def test_change_is_relative_to_what_was_expected() -> None:
    assert facts_of(alert(value=3.0, expected=2.0), 0.0)["change"] == pytest.approx(0.5)
    assert facts_of(alert(value=-3.0, expected=-2.0), 0.0)["change"] == pytest.approx(-0.5)
    assert "change" not in facts_of(alert(value=3.0, expected=0.0), 0.0)
    assert facts_of(alert(value=3.0, expected=2.0, evidence={"change": 0.1}), 0)["change"] == 0.1


def test_zscore_is_the_normal_deviate_of_the_evidence() -> None:
    assert facts_of(alert(score=2.8696), 0.0)["zscore"] == pytest.approx(3.0, abs=1e-3)
    assert facts_of(alert(score=300.0), 0.0)["zscore"] == pytest.approx(37.0, abs=1.0)
    assert facts_of(alert(score=3.0, evidence={"zscore": 5}), 0.0)["zscore"] == 5.0


def test_what_is_not_known_is_no_fact() -> None:
    assert facts_of(alert(), 90.0) == {"for": 90.0}
    assert facts_of(alert(value=float("nan"), evidence={"zscore": "high"}), -5.0) == {"for": 0.0}
