"""Which dependency explains several alerts, what is folded under it, and that nobody is lost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from alerts_build import alert, at, decision
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.alerts.causes import CauseConfig, Used, causes, fold_children, is_parent
from tocsin.alerts.grouping import Routed
from tocsin.alerts.lifecycle import LifecycleConfig, fold
from tocsin.domain.dependencies import DependencyState, DependencyStatus
from tocsin.domain.findings import Alert, AlertState, Verdict

BY: Mapping[str, tuple[str, ...]] = {
    "chat": ("openai", "gateway"), "drafts": ("openai",), "search": ("openai", "qdrant"),
    "claims": ("anthropic", "gateway"), "letters": ("anthropic",), "alone": (),
}  # fmt: skip
USED = Used(dict.fromkeys(BY, "prod"), BY)
CONFIG = CauseConfig()


def fails(service: str, minute: float = 0, signal: str = "error_rate", **labels: str) -> Alert:
    own = {"service": service, "env": "prod", "signal": signal, "monitor": f"{service}/{signal}"}
    return alert(f"{service}/{signal}", labels={**own, **labels}, since=at(minute))


def says(
    state: str, dependency: str = "openai", since: float = 0, until: float = 600
) -> DependencyStatus:
    kind = DependencyState(state)
    return DependencyStatus(
        dependency, "page", "status page", kind, at(since), at(since), at(until), "Elevated errors"
    )


def found(
    *alerts: Alert, now: float = 5, parents: tuple[Alert, ...] = (), **more: Any
) -> list[Verdict]:
    firing = {one.fingerprint: one for one in alerts}
    statuses = more.pop("statuses", ())
    return causes(firing, parents, USED, statuses, at(now), more.pop("config", CONFIG))


def named(verdicts: list[Verdict]) -> list[str]:
    return [one.service for one in verdicts]


def parent_of(verdict: Verdict, minute: float = 5) -> Alert:
    changed = fold({}, [verdict], [], at(minute), LifecycleConfig())
    (made,) = changed.firing.values()
    return made


def test_services_of_one_provider_that_begin_to_fail_together_are_one_cause() -> None:
    (cause,) = found(fails("chat", 0), fails("drafts", 4, "latency_p95"))
    assert (cause.service, cause.monitor) == ("openai", "dependency/openai/prod")
    assert cause.reason == "2 of 3 services on openai fail (chat, drafts), 0 of 2 others"
    assert cause.severity == "page"
    assert cause.evidence["children"][0].startswith("chat error rate since 09:00: ")


@pytest.mark.parametrize(
    "alerts",
    [
        [fails("chat")],
        [fails("chat", 0), fails("drafts", 16)],
        [fails("chat"), fails("claims"), fails("letters"), fails("drafts")],
        [fails("chat", signal="cost"), fails("drafts", signal="feedback")],
        [fails("chat"), fails("drafts", env="staging")],
        [fails("chat"), replace(fails("drafts"), state=AlertState.STALE)],
        [fails("alone"), fails("unheard-of")],
    ],
    ids=["one", "apart", "others too", "own reasons", "staging", "stale", "uses nothing"],
)
def test_what_does_not_speak_for_a_provider_folds_nothing(alerts: list[Alert]) -> None:
    assert "openai" not in named(found(*alerts, now=20))


def test_a_few_of_many_are_chance_and_all_of_everybody_are_ours() -> None:
    by = {f"{who}{n}": (who,) for who in ("openai", "anthropic") for n in range(20)}
    used = Used(dict.fromkeys(by, "prod"), by)

    def held(on_openai: int, on_anthropic: int) -> list[str]:
        mine, others = range(on_openai), range(on_anthropic)
        failing = [fails(f"openai{n}") for n in mine] + [fails(f"anthropic{n}") for n in others]
        firing = {one.fingerprint: one for one in failing}
        return named(causes(firing, (), used, (), at(5), CONFIG))

    assert held(9, 0) == []
    assert held(10, 0) == held(14, 7) == held(20, 10) == ["openai"]
    assert held(14, 8) == held(20, 19) == held(20, 20) == []


def test_what_all_services_share_is_named_by_the_best_contrast_and_each_is_explained_once() -> None:
    # The gateway is what the failing ones share and the others do not.
    assert named(found(fails("chat"), fails("claims"))) == ["gateway"]
    both = found(fails("chat"), fails("drafts"), fails("search"), fails("claims"))
    assert named(both) == ["openai"]


def test_an_outage_that_is_said_needs_one_service_and_a_doubt_needs_none_of_them() -> None:
    down = found(fails("search", 3), statuses=[says("outage")])
    assert named(down) == ["openai"]
    assert "openai's status page: outage since 09:00 UTC" in down[0].reason
    for said in (says("degraded"), says("maintenance"), says("unknown"), says("operational")):
        assert not found(fails("search", 3), statuses=[said])
    assert not found(fails("search", 3), statuses=[says("outage", until=1)]), "an old answer"
    assert not found(fails("search", 0), statuses=[says("outage", since=30)], now=31)
    assert not found(fails("claims", 3), statuses=[says("outage")])
    probed = found(fails("search", 3), statuses=[says("outage", "qdrant")])
    assert named(probed) == ["qdrant"]


def test_a_single_provider_is_not_blamed_for_what_may_be_ours() -> None:
    only = Used({"a": "prod", "b": "prod"}, {"a": ("openai",), "b": ("openai",)})
    firing = {one.fingerprint: one for one in (fails("a"), fails("b"))}
    (cause,) = causes(firing, (), only, (), at(5), CONFIG)
    assert cause.evidence["provider_note"].endswith("so that it may be openai or us")


def test_objectives_count_by_what_they_promise() -> None:
    failing = [fails(s, 0, "slo_breach", slo_metric="availability") for s in ("chat", "drafts")]
    assert named(found(*failing)) == ["openai"]
    dear = [fails(s, 0, "slo_breach", slo_metric="cost") for s in ("chat", "drafts")]
    assert not found(*dear)


def test_a_cause_goes_on_while_two_fail_and_takes_in_what_begins_later() -> None:
    parent = parent_of(found(fails("chat"), fails("drafts"))[0])
    assert is_parent(parent)
    later = found(fails("chat"), fails("search", 90), now=95, parents=(parent,))
    assert named(later) == ["openai"]
    assert not found(fails("chat"), now=95, parents=(parent,)), "one alone is its own"
    assert not found(fails("chat", -60), fails("search", 90), now=95, parents=(parent,))
    assert found(fails("chat"), now=95, parents=(parent,), statuses=[says("outage")])


def routed(one: Alert, tier: int = 1, by: str = "", **given: Any) -> Routed:
    return Routed(one, decision(tier, labels=one.labels, suppressed_by=by, **given))


def test_children_are_inhibited_and_the_parent_is_told_to_all_of_theirs() -> None:
    chat, drafts, cost = fails("chat"), fails("drafts"), fails("chat", signal="cost")
    early = fails("search", -120)
    parent = parent_of(found(chat, drafts)[0])
    members = [
        routed(chat, receivers=("pd",)), routed(drafts, 2, receivers=("mail",)),
        routed(cost, 3), routed(early, receivers=("other",)),
    ]  # fmt: skip
    after = fold_children([parent], members, USED, at(6), CONFIG)
    by = [one.decision.suppressed_by for one in after]
    name = "inhibition:dependency/openai/prod"
    assert by == [name, name, "", "", ""]
    told = after[-1]
    assert told.alert is parent
    assert (told.decision.tier, told.decision.receivers) == (1, ("pd", "mail"))
    assert told.decision.policy == "page"
    assert told.decision.labels["service"] == "openai"
    # Again a minute later, the children lingering under this very parent: as loud as before.
    again = fold_children([parent], [*after[:2]], USED, at(7), CONFIG)
    assert again[-1].decision.suppressed_by == ""
    assert again[-1].decision.receivers == ("pd", "mail")


def test_a_parent_whose_children_are_silenced_is_silent_and_one_without_children_is_not_there() -> (
    None
):
    chat, drafts = fails("chat"), fails("drafts")
    parent = parent_of(found(chat, drafts)[0])
    quiet = [routed(chat, by="silence:night"), routed(drafts, by="maintenance:db")]
    after = fold_children([parent], quiet, USED, at(6), CONFIG)
    assert after[-1].decision.suppressed_by == "silence:night"
    assert [one.decision.suppressed_by for one in after[:2]] == ["silence:night", "maintenance:db"]
    assert fold_children([parent], [routed(fails("claims"))], USED, at(6), CONFIG)[1:] == []


ALERTS = st.builds(
    fails,
    st.sampled_from([*BY, "unheard-of"]),
    st.integers(-40, 40).map(float),
    st.sampled_from(["error_rate", "latency_p95", "cost", "slo_breach"]),
)
DECIDED = st.tuples(
    ALERTS,
    st.integers(1, 3),
    st.sampled_from(["", "", "silence:x", "mode:observe", "inhibition:other"]),
    st.lists(st.sampled_from(["pd", "slack", "mail"]), unique=True).map(tuple),
    st.sampled_from(["", "page", "of-another-team"]),
)
FIRST = {"": (), "page": ("pd",), "of-another-team": ("their-pager",)}


def _told(members: list[Routed]) -> set[str]:
    """Who is told at once, by an escalation or without."""
    loud = [one.decision for one in members if not one.decision.suppressed_by]
    return {who for one in loud for who in (*one.receivers, *FIRST[one.policy])}


@settings(max_examples=300, deadline=None)
@given(st.lists(DECIDED, max_size=8, unique_by=lambda one: one[0].fingerprint), st.booleans())
def test_folding_loses_nobody_and_calms_nothing(
    given_alerts: list[tuple[Alert, int, str, tuple[str, ...], str]], is_down: bool
) -> None:
    """All who would have been told are, as urgently, and nobody else is."""
    members = [
        routed(one, tier, by, receivers=who, policy=policy)
        for one, tier, by, who, policy in given_alerts
    ]
    firing = {one.alert.fingerprint: one.alert for one in members}
    statuses = [says("outage", since=-60)] if is_down else []
    verdicts = causes(firing, (), USED, statuses, at(41), CONFIG)
    parents = [parent_of(verdict, 41) for verdict in verdicts]
    after = fold_children(parents, members, USED, at(41), CONFIG, FIRST.__getitem__)
    assert len({one.alert.fingerprint for one in after}) == len(after)
    assert _told(after) == _told(members)
    for old, new in zip(members, after, strict=False):
        if old.decision.suppressed_by:
            assert new.decision.suppressed_by == old.decision.suppressed_by
        elif new.decision.suppressed_by:
            name = new.decision.suppressed_by.removeprefix("inhibition:")
            (parent,) = (one for one in after if one.alert.labels["monitor"] == name)
            assert not parent.decision.suppressed_by
            assert parent.decision.tier <= old.decision.tier
            assert set(old.decision.receivers) <= set(parent.decision.receivers)
            if old.decision.policy != parent.decision.policy:
                assert set(FIRST[old.decision.policy]) <= set(parent.decision.receivers)


def test_the_window_is_what_was_configured() -> None:
    wide = CauseConfig(within=timedelta(hours=1))
    assert found(fails("chat", 0), fails("drafts", 50), now=51, config=wide)
    three = CauseConfig(services=3)
    assert not found(fails("chat"), fails("drafts"), config=three)
