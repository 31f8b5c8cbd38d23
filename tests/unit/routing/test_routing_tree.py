"""The tree: first match ends, additions fall through, and somebody is always told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from routing_build import policy

from tocsin.domain.findings import Decision
from tocsin.routing.policy import ClassifyRule, Defaults, Fallback, Route, RoutingPolicy
from tocsin.routing.tree import compile_policy, decide


def go(rules: RoutingPolicy, suppression: str = "", **labels: str) -> Decision:
    return decide(compile_policy(rules), labels, {}, suppression)


def test_the_first_destination_that_matches_wins() -> None:
    decision = go(
        policy(
            Route("a", when={"env": "staging"}, receivers=("mail",)),
            Route("b", when={"env": "prod"}, receivers=("slack",)),
            Route("c", receivers=("jira",)),
        ),
        env="prod",
    )
    assert (decision.route, decision.receivers, decision.trail) == ("b", ("slack",), ("b",))


def test_continue_goes_on_to_the_siblings() -> None:
    decision = go(
        policy(
            Route("a", receivers=("mail",), continues=True),
            Route("b", receivers=("slack", "mail")),
            Route("c", receivers=("jira",)),
        )
    )
    assert decision.receivers == ("mail", "slack")
    assert decision.route == "a, b"


def test_additions_fall_through() -> None:
    decision = go(
        policy(
            Route("audit", also=("jira",)),
            Route("fix", run=("restart",)),
            Route("regulated", auto_resolve=False, labels={"team": "risk"}),
            Route("end", receivers=("slack",)),
        )
    )
    assert decision.receivers == ("jira", "slack")
    assert decision.run == ("restart",)
    assert decision.auto_resolve is False
    assert decision.labels["team"] == "risk"
    assert decision.trail == ("audit", "fix", "regulated", "end")


def test_children_inherit_what_they_do_not_set() -> None:
    tree = policy(
        Route(
            "team",
            when={"team": "search"},
            receivers=("slack",),
            labels={"owner": "search"},
            routes=(
                Route("severe", when={"tier": 1}, policy="page", labels={"urgency": "high"}),
                Route("tickets", when={"signal": "cost"}, receivers=("jira",)),
                Route("note", when={"signal": "drift"}, also=("mail",)),
            ),
        ),
        Route("rest", receivers=("ops",)),
    )
    severe = go(tree, team="search", severity="page")
    assert (severe.policy, severe.receivers) == ("page", ("slack",))
    assert {severe.labels["owner"], severe.labels["urgency"]} == {"search", "high"}
    assert go(tree, team="search", signal="cost").receivers == ("jira",)
    assert go(tree, team="search", signal="other").route == "team"
    drift = go(tree, team="search", signal="drift")
    assert (drift.route, drift.receivers) == ("team", ("mail", "slack"))
    assert go(tree, team="ads").receivers == ("ops",)


def test_a_parent_without_destination_lets_go_of_what_no_child_takes() -> None:
    tree = policy(
        Route("search", when={"team": "search"}, routes=(Route("x", {"signal": "x"}, ("jira",)),)),
        Route("rest", receivers=("slack",)),
    )
    assert go(tree, team="search", signal="y").route == "rest"


def test_a_child_that_continues_reaches_its_siblings_but_not_the_parents_own_destination() -> None:
    tree = policy(
        Route(
            "p",
            receivers=("ops",),
            routes=(
                Route("a", receivers=("slack",), continues=True),
                Route("b", receivers=("jira",)),
            ),
        ),
    )
    assert go(tree).receivers == ("slack", "jira")


def test_two_policies_become_one_escalation_and_a_message() -> None:
    decision = go(
        policy(Route("a", policy="hour", continues=True), Route("b", policy="page")),
        severity="page",
    )
    assert decision.policy == "hour"
    assert decision.receivers == ("pd", "slack")


def test_an_alert_without_a_route_fails_open() -> None:
    decision = go(policy(Route("a", when={"env": "x"}, receivers=("slack",))), severity="none")
    assert (decision.route, decision.tier, decision.receivers) == ("unmatched", 2, ("ops",))
    assert "fails open" in decision.reason


def test_a_broken_route_fails_open_and_still_uses_the_others() -> None:
    decision = go(
        policy(
            Route("bad", when={"value": ">=x"}, receivers=("mail",)),
            Route("ok", receivers=("slack",)),
        ),
        severity="ticket",
    )
    assert decision.receivers == ("slack", "ops")
    assert decision.tier == 1
    assert "route bad" in decision.reason


def test_failing_open_does_not_page_what_must_never_page() -> None:
    decision = go(
        policy(Route("bad", when={"value": ">=x"}, receivers=("mail",))), paging="never", tier="3"
    )
    assert decision.tier == 2


def test_a_name_that_does_not_exist_is_left_out_and_said() -> None:
    decision = go(
        policy(Route("a", receivers=("slack", "gone"), policy="lost", digest="never")),
        severity="ticket",
    )
    assert decision.receivers == ("slack", "ops")
    assert (decision.policy, decision.digest, decision.tier) == ("", "", 2)
    for name in ("receiver gone", "policy lost", "digest never"):
        assert name in decision.reason


def test_severity_sets_the_tier_where_no_rule_does() -> None:
    bare = policy(classify=())
    assert go(bare, severity="page").tier == 1
    assert go(bare, severity="ticket").tier == 2
    assert go(bare, severity="page", paging="never").tier == 2


def test_a_suppressed_alert_still_has_its_whole_decision() -> None:
    decision = go(policy(), "silence:deploy", severity="page")
    assert (decision.policy, decision.tier) == ("page", 1)
    assert decision.suppressed_by == "silence:deploy"
    assert "not told: silence:deploy" in decision.reason


def test_mode_observe_decides_everything_and_tells_nobody() -> None:
    watched = policy(modes={"bot": "observe"})
    decision = go(watched, service="bot", severity="page")
    assert (decision.policy, decision.tier, decision.suppressed_by) == ("page", 1, "mode:observe")
    assert go(watched, "silence:x", service="bot", severity="page").suppressed_by == "silence:x"
    assert go(watched, service="other", severity="page").suppressed_by == ""


def test_mode_notify_tells_channels_and_wakes_nobody() -> None:
    quiet = policy(modes={"bot": "notify"})
    decision = go(quiet, service="bot", severity="page")
    assert (decision.policy, decision.tier, decision.receivers) == ("", 2, ("slack",))
    assert decision.labels["tier"] == "2"
    assert "never pages" in decision.reason
    assert go(quiet, service="bot", severity="ticket").policy == "hour"


def test_mode_notify_with_nothing_but_pagers_falls_back() -> None:
    quiet = policy(Route("only", receivers=("pd",)), default_mode="notify")
    assert go(quiet, severity="page").receivers == ("ops",)


def test_the_reason_names_the_tier_the_rule_the_route_and_the_people() -> None:
    reason = go(policy(), severity="page").reason
    assert reason == "tier 1 (page now) by severity page; route page; escalation policy page"


texts = st.sampled_from(
    ["", "prod", "staging", "a", "b", "1", "2", "3", "9", "never", ">=1", "page"]
)
labels_given = st.dictionaries(
    st.sampled_from(["env", "service", "signal", "tier", "severity", "paging", "team"]), texts
)
facts_given = st.dictionaries(
    st.sampled_from(["value", "zscore", "change", "for"]), st.floats(-100, 100)
)
conditions = st.dictionaries(
    st.sampled_from(["env", "signal", "tier", "team", "value"]),
    st.one_of(
        texts, st.sampled_from([">=0.5", "<3", "!a", "!", ">=bad"]), st.lists(texts, max_size=2)
    ),
    max_size=2,
)
receivers = st.lists(st.sampled_from(["pd", "slack", "mail", "gone"]), max_size=2).map(tuple)


def routes_at(depth: int) -> st.SearchStrategy[tuple[Route, ...]]:
    children = routes_at(depth - 1) if depth else st.just(())
    return st.lists(
        st.builds(
            Route,
            name=st.sampled_from("abcdef"),
            when=conditions,
            receivers=receivers,
            also=receivers,
            policy=st.sampled_from(["", "page", "hour", "lost"]),
            digest=st.sampled_from(["", "daily", "lost"]),
            run=st.sampled_from([(), ("fix",)]),
            auto_resolve=st.sampled_from([None, True, False]),
            continues=st.booleans(),
            routes=children,
        ),
        max_size=3,
    ).map(tuple)


classify_rules = st.lists(
    st.builds(
        ClassifyRule,
        when=conditions,
        set=st.dictionaries(
            st.sampled_from(["tier", "paging", "team"]), st.sampled_from([1, 2, 3, "never", "a"])
        ),
        force=st.booleans(),
        when_unset=st.booleans(),
    ),
    max_size=4,
).map(tuple)
modes = st.sampled_from(["observe", "notify", "page"])


@given(
    routes_at(2),
    classify_rules,
    labels_given,
    facts_given,
    modes,
    st.sampled_from(["", "silence:s"]),
)
def test_every_alert_gets_exactly_one_decision_with_a_reason_and_the_same_one_again(
    routes: tuple[Route, ...],
    rules: tuple[ClassifyRule, ...],
    labels: dict[str, str],
    facts: dict[str, float],
    mode: Any,
    suppression: str,
) -> None:
    given_policy = replace(policy(), routes=routes, classify=rules, default_mode=mode)
    decision = decide(compile_policy(given_policy), labels, facts, suppression)
    assert decision == decide(compile_policy(given_policy), labels, facts, suppression)
    assert decision.reason
    assert decision.tier in (1, 2, 3)
    assert decision.route
    assert decision.receivers or decision.policy or decision.digest, "somebody is told"
    assert len(set(decision.receivers)) == len(decision.receivers)
    assert set(decision.receivers) <= set(given_policy.receivers)
    if suppression or mode == "observe":
        assert decision.suppressed_by
    if mode == "notify":
        assert decision.tier > 1
        assert "pd" not in decision.receivers
        assert decision.policy != "page"


bounds = st.floats(0, 10)


@given(
    st.lists(st.tuples(bounds, st.sampled_from([1, 2, 3])), max_size=6),
    st.floats(0, 12),
    st.floats(0, 12),
)
def test_a_higher_value_is_never_less_urgent_under_rules_that_look_upwards(
    thresholds: list[tuple[float, int]], one: float, other: float
) -> None:
    rules = tuple(ClassifyRule({"value": f">={at!r}"}, {"tier": tier}) for at, tier in thresholds)
    router = compile_policy(
        policy(classify=(*rules, ClassifyRule({}, {"tier": 3}, when_unset=True)))
    )
    low, high = sorted((one, other))
    assert decide(router, {}, {"value": high}).tier <= decide(router, {}, {"value": low}).tier


def test_nothing_configured_at_all_still_gives_a_decision_that_says_so() -> None:
    empty = RoutingPolicy(defaults=Defaults(unmatched=Fallback(2), on_rule_error=Fallback(1)))
    decision = go(empty, severity="page")
    assert decision.tier == 1
    assert "no receiver is configured" in decision.reason
