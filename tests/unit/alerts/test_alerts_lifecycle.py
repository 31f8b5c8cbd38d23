"""Verdicts become alerts: waiting, firing, quiet, unknown."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from alerts_build import Judge, at, verdict
from hypothesis import given
from hypothesis import strategies as st

from tocsin.alerts.lifecycle import LifecycleConfig, alert_labels, identity_of
from tocsin.domain.findings import AlertState

FIVE = LifecycleConfig(pending={"m": timedelta(minutes=5)})


def test_a_breach_fires_at_once_when_nothing_else_is_asked() -> None:
    judge = Judge()
    changes = judge.tick(verdict(value=0.1, expected=0.01, unit="ratio", score=9.0))
    (change,) = changes.transitions
    assert (change.before, change.alert.state) == (None, AlertState.FIRING)
    alert = judge.only
    assert (alert.value, alert.expected, alert.unit, alert.score) == (0.1, 0.01, "ratio", 9.0)
    assert alert.labels == {
        "source": "tocsin", "monitor": "m", "service": "bot", "signal": "error_rate",
        "severity": "page",
    }  # fmt: skip
    assert alert.since == alert.last_breach == at(1)


def test_a_breach_waits_for_as_long_as_its_monitor_asks() -> None:
    judge = Judge(FIVE)
    states = [judge.tick(verdict()).changes[0].alert.state.value for _ in range(7)]
    assert states == ["pending"] * 5 + ["firing"] * 2


def test_a_breach_that_is_over_before_its_time_never_fires() -> None:
    judge = Judge(FIVE)
    judge.tick(verdict())
    changes = judge.tick(verdict("ok"))
    assert not judge.alerts
    assert not changes.resolved
    assert [alert.state for alert in changes.dropped] == [AlertState.RESOLVED]
    judge.tick(verdict())
    assert judge.only.since == at(3)


def test_a_gap_inside_the_waiting_time_starts_it_again() -> None:
    judge = Judge(FIVE)
    for kind in ["breach"] * 3 + ["unknown"] * 3 + ["breach"]:
        judge.tick(verdict(kind))
    assert judge.only.state is AlertState.PENDING
    assert judge.only.since == at(7)


def test_a_pending_alert_about_which_nothing_is_known_goes_away() -> None:
    judge = Judge(FIVE)
    judge.tick(verdict())
    for _ in range(20):
        judge.tick(verdict("unknown"))
    assert not judge.alerts


def test_a_firing_alert_resolves_after_five_quiet_minutes() -> None:
    judge = Judge()
    judge.tick(verdict())
    for _ in range(4):
        changes = judge.tick(verdict("ok"))
        assert judge.only.state is AlertState.FIRING
        assert "no breach since" in changes.changes[0].reason
    changes = judge.tick(verdict("ok"))
    assert [alert.state for alert in changes.resolved] == [AlertState.RESOLVED]
    assert changes.changes[0].reason == "no breach for 5 min"
    assert not judge.alerts


def test_a_breach_in_between_starts_the_quiet_time_again() -> None:
    judge = Judge()
    for kind in ["breach", "ok", "ok", "ok", "ok", "breach", "ok", "ok", "ok", "ok"]:
        judge.tick(verdict(kind))
    assert judge.only.state is AlertState.FIRING
    assert judge.only.since == at(1)
    judge.tick(verdict("ok"))
    assert not judge.alerts


def test_a_monitor_that_was_judged_and_says_nothing_says_ok() -> None:
    judge = Judge()
    judge.tick(verdict())
    for _ in range(5):
        judge.tick(seen=["m"])
    assert not judge.alerts


def test_unknown_is_not_quiet() -> None:
    judge = Judge()
    judge.tick(verdict())
    for _ in range(4):
        judge.tick(verdict("ok"))
    for _ in range(10):
        judge.tick(verdict("unknown"))
    judge.tick(verdict("ok"))
    assert judge.only.state is AlertState.FIRING, "five known minutes are still to come"
    for _ in range(4):
        judge.tick(verdict("ok"))
    assert judge.only.state is AlertState.FIRING
    judge.tick(verdict("ok"))
    assert not judge.alerts


def test_a_silent_source_makes_an_alert_stale_and_never_well() -> None:
    judge = Judge()
    judge.tick(verdict())
    states = [judge.tick(seen=[]).changes[0].alert.state.value for _ in range(600)]
    assert states[:15] == ["firing"] * 15
    assert set(states[15:]) == {"stale"}
    judge.tick(verdict())
    assert judge.only.state is AlertState.FIRING
    assert "unknown_since" not in judge.only.evidence


def test_a_stale_alert_whose_source_is_back_still_needs_its_quiet_time() -> None:
    judge = Judge()
    judge.tick(verdict())
    for _ in range(20):
        judge.tick(verdict("unknown"))
    judge.tick(verdict("ok"))
    assert judge.only.state is AlertState.FIRING
    for _ in range(5):
        judge.tick(verdict("ok"))
    assert not judge.alerts


def test_an_unknown_monitor_opens_nothing_and_is_seen() -> None:
    judge = Judge()
    changes = judge.tick(verdict("unknown"))
    assert not judge.alerts
    assert not changes.changes
    assert [one.reason for one in changes.unknown] == ["it is unknown"]


def test_an_alert_of_a_monitor_that_is_gone_resolves_and_says_so() -> None:
    judge = Judge()
    judge.tick(verdict())
    changes = judge.tick(seen=[], removed=["m"])
    assert changes.changes[0].reason == "its monitor no longer exists"
    assert not judge.alerts


def test_alerts_from_elsewhere_are_not_judged_here() -> None:
    judge = Judge()
    judge.tick(verdict())
    other = replace(judge.only, labels={"source": "alertmanager", "monitor": "m"})
    judge.alerts = {other.fingerprint: other}
    for _ in range(30):
        assert not judge.tick(seen=["m"]).changes
    assert judge.only == other


def test_identity_is_over_identity_labels_never_over_value_or_severity() -> None:
    judge = Judge()
    judge.tick(verdict(value=0.1, severity="ticket"))
    first = judge.only
    judge.tick(verdict(value=0.9, severity="page", labels={"note": "x"}, score=3.0))
    assert judge.only.fingerprint == first.fingerprint
    assert judge.only.severity == "page"
    judge.tick(verdict(labels={"segment": "premium"}))
    assert len(judge.alerts) == 2


def test_an_empty_identity_label_is_a_missing_one() -> None:
    plain, empty = verdict(), verdict(labels={"segment": ""})
    config = LifecycleConfig()
    keys = {identity_of(alert_labels(one, config), config.identity) for one in (plain, empty)}
    assert len(keys) == 1


def test_of_two_verdicts_about_one_minute_the_worse_counts() -> None:
    judge = Judge()
    judge.tick(
        verdict("ok"), verdict(severity="ticket"), verdict(severity="page"), verdict("unknown")
    )
    assert judge.only.severity == "page"


def test_minutes_that_are_judged_together_are_taken_in_order() -> None:
    judge = Judge(LifecycleConfig(clear_after=timedelta(0)))
    judge.tick(verdict("ok", minute=3), verdict("breach", minute=2))
    assert not judge.alerts
    judge.tick(verdict("breach", minute=5), verdict("ok", minute=4))
    assert judge.only.state is AlertState.FIRING


kinds = st.lists(st.sampled_from(["breach", "ok", "unknown", "silent"]), max_size=40)


@given(kinds, st.integers(0, 4))
def test_an_alert_never_resolves_without_its_quiet_time_being_known(
    history: list[str], wait: int
) -> None:
    judge = Judge(LifecycleConfig(pending={"m": timedelta(minutes=wait)}))
    quiet = 0
    for kind in history:
        changes = judge.tick(*([] if kind == "silent" else [verdict(kind)]), seen=())
        quiet = quiet + 1 if kind == "ok" else 0
        assert len(judge.alerts) <= 1
        if changes.resolved:
            assert quiet >= 5
        for alert in judge.alerts.values():
            assert alert.state is not AlertState.RESOLVED
            if (
                alert.state is AlertState.FIRING
                and kind == "breach"
                and alert.since == at(judge.minute)
            ):
                assert wait == 0
        if kind == "breach":
            assert judge.alerts
