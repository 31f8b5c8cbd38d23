"""Plan and apply: what differs, what is wrong with it, what it would page, and the record of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.routing.match import compile_condition
from tocsin.spec.apply import CannotApply, prepare
from tocsin.spec.desired import Desired, load_text
from tocsin.spec.diff import compare
from tocsin.spec.lint import implies, lint
from tocsin.spec.plan import Page, PageDiff, make_plan

GOLDEN = Path(__file__).parent / "golden"
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
GOOD = (GOLDEN / "good.yaml").read_text()


def good(*changes: tuple[str, str]) -> Desired:
    text = GOOD
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    return load_text(text, "good.yaml")


def fields(old: Any, new: Any) -> list[str]:
    key = ("v", "K", "n")
    changes = compare({key: old}, {key: new})
    return [f"{f.what} {f.path}: {f.old} -> {f.new}" for c in changes for f in c.fields]


def replay(added: int, removed: int = 0) -> Any:
    page = Page(NOON, "chat", "slo/chat", "burns", ("pd",), ("ana",), off_hours=True)

    def run(before: Desired | None, after: Desired) -> PageDiff:
        since = NOON - timedelta(days=7)
        return PageDiff(since, NOON, (page,) * added, (page,) * removed, ("recall 6 of 6",))

    return run


CHANGE = ("threshold: 7, baseline: 0.01", "threshold: 8, min_bad: 4")


def test_a_plan_shows_documents_fields_tests_and_pages() -> None:
    after = good(
        CHANGE,
        ("name: search}\nspec: {team: legal", "name: find}\nspec: {team: legal"),
        ("service: search", "service: find"),
        ("metadata: {name: slow}", "metadata: {name: pace}"),
        ("routes:\n    - {name: all, receivers: board}",
         "routes:\n    - {name: fast, if: {tier: 3}, receivers: board}\n"
         "    - {name: all, receivers: board}"),
    )  # fmt: skip
    plan = make_plan(good(), after, replay=replay(2, 1), budget=1)
    assert str(plan).splitlines() == (GOLDEN / "plan.txt").read_text().splitlines()
    assert plan.exit_code == 3


def test_what_other_groups_do_to_open_incidents_is_told() -> None:
    before, after = (good(("  routes:\n", f"  defaults: {{group_by: {by}}}\n  routes:\n"))
                     for by in ("[service, env]", "[service]"))  # fmt: skip
    (found,) = set(make_plan(before, after).findings) - set(lint(after))
    assert (found.rule, found.is_error) == ("regrouped", False)
    assert "by service and no longer by service, env" in found.message
    turned = good(("  routes:\n", "  defaults: {group_by: [env, service]}\n  routes:\n"))
    assert set(make_plan(before, turned).findings) == set(lint(turned)), "the same groups"
    assert set(make_plan(None, after).findings) == set(lint(after))


def test_exit_codes_say_what_a_pipeline_must_do() -> None:
    before, after = good(), good(CHANGE)
    failing = good(("expect: {receivers: [board]}", "expect: {receivers: [], tier: 1}"))
    assert make_plan(before, good()).exit_code == 0
    assert make_plan(before, failing).exit_code == 1
    assert make_plan(before, after).exit_code == 2
    assert make_plan(before, after, replay=replay(1), budget=1).exit_code == 2
    assert make_plan(before, after, replay=replay(2), budget=1).exit_code == 3
    assert make_plan(before, after, replay=replay(2)).exit_code == 2
    assert make_plan(None, after).exit_code == 2


def test_without_history_a_plan_says_that_pages_are_not_known() -> None:
    plan = make_plan(good(), good(CHANGE))
    assert plan.pages is None
    assert "Pages: not computed: no stored history was given to replay" in str(plan)
    assert plan.to_json()["pages_note"].startswith("not computed")


def test_nothing_is_replayed_when_nothing_changed() -> None:
    def never(before: Desired | None, after: Desired) -> PageDiff:
        raise AssertionError("there is nothing to compare")

    plan = make_plan(good(), good(), replay=never)
    assert str(plan).startswith("No changes: what runs is what is written.")
    assert str(plan).endswith("Nothing to apply.")


def test_a_plan_is_json() -> None:
    plan = make_plan(good(), good(CHANGE), replay=replay(1), budget=3)
    found = json.loads(json.dumps(plan.to_json()))
    assert found["changes"] == [
        {
            "what": "changed", "api_version": "tocsin/v1", "kind": "Detector", "name": "failures",
            "fields": [
                {"path": "spec.with.threshold", "what": "changed", "old": 7, "new": 8},
                {"path": "spec.with.baseline", "what": "removed", "old": 0.01, "new": None},
                {"path": "spec.with.min_bad", "what": "added", "old": None, "new": 4},
            ],
        }
    ]  # fmt: skip
    assert found["pages"]["added"][0]["at"] == "2026-03-02T12:00:00Z"
    assert (found["budget"], found["exit_code"], found["applicable"]) == (3, 2, True)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ({"a": 1}, {"a": 2}, ["changed a: 1 -> 2"]),
        ({"a": 1}, {"a": 1.0}, ["changed a: 1 -> 1.0"]),
        ({"a": 1}, {"a": True}, ["changed a: 1 -> True"]),
        ({"a": None}, {}, ["removed a: None -> None"]),
        ({"a": {"b": 1}}, {"a": {"b": 1, "c": [2]}}, ["added a.c: None -> [2]"]),
        ({"a": [1, 2]}, {"a": [2, 1]}, ["changed a: [1, 2] -> [2, 1]"]),
        ({"b": 1, "a": 2}, {"a": 2, "b": 1}, []),
        (
            {"r": [{"name": "x", "v": 1}, {"name": "y"}]},
            {"r": [{"name": "y"}, {"name": "x", "v": 2}, {"name": "z"}]},
            ["changed r[x].v: 1 -> 2", "added r[z]: None -> {'name': 'z'}",
             "changed r (order): ['x', 'y'] -> ['y', 'x']"],
        ),
        (
            {"r": [{"a": 1}, {"b": 1}, {"c": 1}]},
            {"r": [{"a": 1}, {"x": 1}, {"b": 1}, {"c": 2}]},
            ["added r[1]: None -> {'x': 1}", "changed r[3].c: 1 -> 2"],
        ),
        ({"r": [{"a": 1}, {"b": 1}]}, {"r": [{"b": 1}]}, ["removed r[0]: {'a': 1} -> None"]),
        ({"r": [{"name": "x"}]}, {"r": []}, ["changed r: [{'name': 'x'}] -> []"]),
    ],
)  # fmt: skip
def test_differences_are_told_field_by_field(old: Any, new: Any, expected: list[str]) -> None:
    assert fields(old, new) == expected


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(0, 3) | st.sampled_from(["a", "b"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("xyz"), inner),
    max_leaves=12,
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from("abc"), JSON), st.dictionaries(st.sampled_from("abc"), JSON))
def test_there_are_differences_exactly_where_the_text_differs(old: Any, new: Any) -> None:
    same = json.dumps(old, sort_keys=True) == json.dumps(new, sort_keys=True)
    assert (fields(old, new) == []) == same


# --- lint ------------------------------------------------------------------------------------

BASE = """
{apiVersion: tocsin/v1, kind: Receiver, metadata: {name: board}, spec: {type: none}}
---
{apiVersion: tocsin/v1, kind: Receiver, metadata: {name: chat},
 spec: {type: slack, channel: c, token: {secret: T}}}
---
"""


def routing(routes: str, more: str = "") -> Desired:
    text = f"{{apiVersion: tocsin/v1, kind: Routing, metadata: {{name: r}}, spec: {{{routes}}}}}"
    return load_text(BASE + text + more)


def policy(name: str, steps: str, owner: str = "tocsin") -> str:
    return (
        f"\n---\n{{apiVersion: tocsin/v1, kind: EscalationPolicy, metadata: {{name: {name}}}, "
        f"spec: {{owner: {owner}, steps: [{steps}]}}}}"
    )


def found(desired: Desired, rule: str) -> list[tuple[str, bool]]:
    return [(f.subject, f.is_error) for f in lint(desired) if f.rule == rule]


@pytest.mark.parametrize(
    ("specific", "general", "expected"),
    [
        ([{"a": "x"}], [{}], True),
        ([{}], [{"a": "x"}], False),
        ([{"a": "x"}], [{"a": "x"}], True),
        ([{"a": "x"}], [{"a": ["x", "y"]}], True),
        ([{"a": ["x", "z"]}], [{"a": ["x", "y"]}], False),
        ([{"a": "x"}], [{"a": "!y"}], True),
        ([{"a": "!x"}], [{"a": "!x"}], True),
        ([{"a": "!x"}], [{"a": "!y"}], False),
        ([{"a": ["!x", "!y"]}], [{"a": "!y"}], True),
        ([{"tier": 1}], [{"tier": "1"}], True),
        ([{"v": ">=5"}], [{"v": ">=3"}], True),
        ([{"v": ">3"}], [{"v": ">=3"}], True),
        ([{"v": ">=3"}], [{"v": ">3"}], False),
        ([{"v": "<=1%"}], [{"v": "<0.02"}], True),
        ([{"v": ">=5"}], [{"v": "<9"}], False),
        ([{"v": 7}], [{"v": ">=5"}], True),
        ([{"a": "x"}, {"b": "y"}], [{"b": "y"}], True),
        ([{"a": "x", "b": "y"}], [{"a": "x"}, {"b": "y"}], True),
        ([{"a": "x"}], [{"a": "x", "b": "y"}], False),
    ],
)
def test_one_condition_may_imply_another(specific: Any, general: Any, expected: bool) -> None:
    assert implies(specific, general) is expected


OPTIONS = st.sampled_from(["x", "y", "!x", "!y", "", ">=2", ">2", "<3", 2, 3])
CONDITIONS = st.dictionaries(
    st.sampled_from("ab"), OPTIONS | st.lists(OPTIONS, min_size=1, max_size=2), max_size=2
)


@settings(deadline=None)
@given(
    CONDITIONS,
    CONDITIONS,
    st.dictionaries(st.sampled_from("ab"), st.sampled_from(["1", "2", "3", ""])),
)
def test_what_is_implied_holds_for_every_alert(specific: Any, general: Any, alert: Any) -> None:
    if implies([specific], [general]) and compile_condition(specific).holds(alert):
        assert compile_condition(general).holds(alert)


def test_a_route_behind_a_wider_one_is_never_reached() -> None:
    desired = routing(
        "routes: [{name: audit, also: [board]}, {name: wide, if: {env: '!staging'}, receivers: "
        "board}, {name: narrow, if: {env: prod, x: y}, receivers: board}, {name: on, receivers: "
        "board, continue: true}, {name: last, receivers: board, routes: [{name: in, if: {env: prod}"
        ", receivers: board}]}]"
    )
    assert found(desired, "unreachable-route") == [("route 'narrow'", True), ("route 'in'", True)]
    assert not make_plan(None, desired).is_applicable


def test_an_alert_of_tier_1_must_end_at_a_policy() -> None:
    desired = routing(
        "routes: [{name: early, if: {team: x}, receivers: board}, {name: bare, if: {tier: [1, 2], "
        "team: y}, receivers: board}, {name: page, if: {tier: 1}, policy: p}, "
        "{name: rest, receivers: board}]",
        policy("p", "{after: 0m, notify: chat}"),
    )
    assert found(desired, "page-without-policy") == [
        ("route 'bare'", True),
        ("route 'early'", False),
    ]


def test_a_policy_that_escalates_needs_somebody_who_can_answer() -> None:
    desired = routing(
        "routes: [{name: a, if: {tier: 1}, policy: mute}, {name: b, if: {tier: 2}, policy: fine}, "
        "{name: c, if: {tier: 3}, policy: vendor}, {name: d, policy: once}]",
        policy("mute", "{after: 0m, notify: board}, {after: 5m, notify: board}")
        + policy("fine", "{after: 0m, notify: [board, chat]}, {after: 5m, notify: chat}")
        + policy("vendor", "{after: 0m, notify: board}, {after: 5m}", owner="pagerduty")
        + policy("once", "{after: 0m, notify: board}"),
    )
    assert found(desired, "page-without-ack") == [("policy 'mute'", True)]


def test_incidents_of_regulated_services_are_not_resolved_by_themselves() -> None:
    desired = routing(
        "routes: [{name: a, if: {regulated: 'true'}, also: board, auto_resolve: true}, "
        "{name: b, if: {regulated: 'false'}, also: board, auto_resolve: true}]"
    )
    assert found(desired, "regulated-auto-resolve") == [("route 'a'", True)]


def test_burn_steps_that_cannot_ring_are_told() -> None:
    desired = good(("target: 0.99}", "target: 0.5}"))
    assert [subject for subject, _ in found(desired, "unreachable-burn")] == [
        "slo/chat-speed-1", "slo/search-success", "slo/search-success", "slo/search-success",
    ]  # fmt: skip


def test_what_nothing_refers_to_is_told() -> None:
    desired = routing(
        "routes: [{name: a, receivers: board}]", policy("p", "{after: 0m, notify: []}")
    )
    assert found(desired, "unused") == [("receiver 'chat'", False), ("policy 'p'", False)]


def test_services_without_monitors_and_monitors_without_routes_are_told() -> None:
    text = (
        "\n---\n{apiVersion: tocsin/v1, kind: Service, metadata: {name: s}, spec: {team: t}}"
        "\n---\n{apiVersion: tocsin/v1, kind: Service, metadata: {name: u}, spec: {team: t}}\n---\n"
        "{apiVersion: tocsin/v1, kind: Detector, metadata: {name: d}, spec: {service: s, use: "
        "pace_shift}}"
    )
    desired = routing("routes: [{name: a, if: {service: u}, receivers: board}]", text)
    assert found(desired, "unwatched") == [("service 'u'", False)]
    assert found(desired, "unrouted") == [("detector/d", False)]
    assert found(routing("routes: []", text), "no-routes") == [("routes", False)]


# --- apply -----------------------------------------------------------------------------------


def test_applying_records_who_what_when_and_why() -> None:
    before, after = good(), good(CHANGE)
    plan = make_plan(before, after, replay=replay(1, 2), budget=1)
    application = prepare(
        plan, after, actor="ana", at=NOON, approvals=["bo", "ana", "bo"], reason="quieter"
    )
    version, event = application.version, application.event
    assert (version.digest, version.previous) == (after.digest, before.digest)
    assert (version.applied_by, version.approved_by, version.applied_at) == ("ana", ("bo",), NOON)
    assert version.text == after.text
    assert (event.kind, event.actor, event.at, event.reason) == (
        "config.applied", "ana", NOON, "quieter",
    )  # fmt: skip
    assert event.subject == f"config/{after.digest[:16]}"
    assert event.data["pages_added"] == 1
    assert event.data["changes"][0]["name"] == "failures"
    json.dumps(dict(event.data))


def test_a_change_without_a_reason_is_described_by_what_changed() -> None:
    after = good(CHANGE)
    event = prepare(make_plan(good(), after), after, actor="ana", at=NOON).event
    assert event.reason == "1 changed"
    assert event.data["pages_added"] is None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"actor": ""}, "somebody must apply it"),
        ({"needs_second_person": True}, "needs the approval of a second person"),
        ({"needs_second_person": True, "approvals": ["ana"]}, "needs the approval of a second"),
    ],
)
def test_nobody_applies_alone_what_needs_two(given: dict[str, Any], message: str) -> None:
    after = good(CHANGE)
    with pytest.raises(CannotApply, match=message):
        prepare(make_plan(good(), after), after, **{"actor": "ana", "at": NOON, **given})


def test_what_was_planned_is_what_is_applied() -> None:
    after = good(CHANGE)
    with pytest.raises(CannotApply, match="plan again"):
        prepare(make_plan(good(), after), good(), actor="ana", at=NOON)
    failing = good(("expect: {receivers: [board]}", "expect: {tier: 1}"))
    with pytest.raises(CannotApply, match="failed tests or errors"):
        prepare(make_plan(good(), failing), failing, actor="ana", at=NOON)


def test_over_budget_is_applied_only_when_said_so() -> None:
    after = good(CHANGE)
    plan = make_plan(good(), after, replay=replay(5), budget=1)
    with pytest.raises(CannotApply, match="adds 5 pages, more than the budget of 1"):
        prepare(plan, after, actor="ana", at=NOON)
    assert prepare(plan, after, actor="ana", at=NOON, allow_over_budget=True).event.data[
        "over_budget"
    ]
