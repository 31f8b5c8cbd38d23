"""A router that remembers decides as one that does not, whatever it saw before."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from test_routing_tree import (
    classify_rules,
    facts_given,
    labels_given,
    modes,
    policy,
    routes_at,
)

from tocsin.routing.alike import alike
from tocsin.routing.classify import classify
from tocsin.routing.policy import ClassifyRule, Route
from tocsin.routing.tree import compile_policy, route


@settings(max_examples=60, deadline=None)
@given(
    routes_at(2),
    classify_rules,
    st.lists(
        st.tuples(
            labels_given,
            facts_given,
            st.sampled_from(["", "silence:s"]),
            st.dictionaries(
                st.sampled_from(["also", "also_page", "also_ticket", "source"]),
                st.sampled_from(["mail", "chat", "tocsin"]),
                max_size=2,
            ),
        ),
        min_size=2,
        max_size=12,
    ),
    modes,
)
def test_it_decides_as_if_each_alert_were_the_first(
    routes: tuple[Route, ...],
    rules: tuple[ClassifyRule, ...],
    alerts: list[tuple[dict[str, str], dict[str, float], str, dict[str, str]]],
    mode: Any,
) -> None:
    router = compile_policy(replace(policy(), routes=routes, classify=rules, default_mode=mode))
    remembering = alike(router)
    for number, (labels, facts, by, own) in enumerate(alerts):
        told = {**labels, **own, "pod": f"p{number}"}
        plain = classify(router.rules, told, facts)
        like, found = remembering.classify(told, facts)
        assert found == plain
        assert remembering.route(like, found, by) == route(router, plain, by)


def test_alerts_of_a_storm_are_one_kind() -> None:
    rules = (ClassifyRule({"value": ">=5", "env": "prod"}, {"tier": 1}),)
    made = alike(compile_policy(replace(policy(), classify=rules)))
    kinds = {
        made.classify({"env": "prod", "pod": str(n)}, {"value": float(n), "for": float(n)})[0]
        for n in range(100)
    }
    assert len(kinds) == 3  # below, at and above the limit
