"""Arize's dictionaries: which document each becomes, and with which words others are refused."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.assess.monitor import Objective
from tocsin.domain.errors import SpecError
from tocsin.domain.series import Ratio
from tocsin.spec.arize import SHARES, VALUES, read_health_score, read_slo, slug
from tocsin.spec.desired import restore

SEED = {
    "name": "prod-gpt-4-turbo-latency-p95",
    "description": "P95 latency for customer-facing chat model",
    "metric": "llm_latency_ms",
    "threshold": 2000,
    "threshold_type": "less_than",
    "window": "rolling_24h",
    "evaluation": "percentile_95",
    "tags": {"model": "gpt-4-turbo", "environment": "production", "team": "ai-platform"},
}
SCORE = {
    "score_name": "support_chatbot_health",
    "display_name": "Support Chatbot Health Score",
    "description": "Overall health score for the LLM-powered support agent.",
    "formula": {
        "components": [
            {"metric_name": "response_relevance_score", "weight": 0.5, "inverse": False},
            {"metric_name": "p95_latency_seconds", "weight": 0.3, "inverse": True},
            {"metric_name": "cost_per_conversation_usd", "weight": 0.2, "inverse": True},
        ],
        "aggregation": "weighted_sum",
    },
    "thresholds": {"critical": 0.6, "warning": 0.8},
}
CHAT = {
    "apiVersion": "tocsin/v1", "kind": "Service", "metadata": {"name": "chat"},
    "spec": {"team": "cx"},
}  # fmt: skip


def monitor_of(**changed: Any) -> Any:
    """The monitor that a definition becomes, through the document it becomes."""
    document = read_slo({**SEED, **changed}).document("chat")
    (monitor,) = restore(json.dumps([CHAT, document])).monitors
    return monitor


def refused(read: Any, definition: Any) -> dict[str, str]:
    """Field -> what is said about it."""
    with pytest.raises(SpecError) as caught:
        read(definition)
    return {p.path: f"{p.message} ({p.fix})" for p in caught.value.problems}


def test_a_percentile_below_a_limit_is_a_share_of_calls_of_the_model() -> None:
    monitor = monitor_of()
    assert monitor.ratio == Ratio("duration_ms", "ge", 2000.0, "llm", "gpt-4-turbo")
    assert isinstance(monitor.method, Objective)
    assert (monitor.method.target, monitor.method.window_minutes) == (0.95, 1440)
    assert monitor.title == "p95 llm_latency_ms less_than 2000"
    assert {"team": "ai-platform", "environment": "production"}.items() <= monitor.labels.items()


@pytest.mark.parametrize(
    ("changed", "ratio", "target"),
    [
        ({"metric": "p99_latency_ms", "evaluation": "p99"}, Ratio("duration_ms", "ge", 2000), 0.99),
        ({"metric": "inference_latency", "threshold": 2}, Ratio("duration_ms", "ge", 2000), 0.95),
        ({"metric": "ttft_ms", "threshold_type": "<="}, Ratio("ttft_ms", "gt", 2000), 0.95),
        ({"metric": "cost_per_query", "threshold": 0.03, "evaluation": "percentile_99.9"},
         Ratio("cost_usd", "ge", 0.03), 0.999),
        ({"metric": "completion_tokens", "threshold": 1500}, Ratio("output_tokens", "ge", 1500),
         0.95),
        ({"metric": "error_rate", "threshold": 0.01, "evaluation": "average"}, Ratio("error"),
         0.99),
        ({"metric": "error_rate", "threshold": 1.5, "evaluation": "rate"}, Ratio("error"), 0.985),
        ({"metric": "success_rate", "threshold": 0.999, "threshold_type": "greater_than",
          "evaluation": "ratio"}, Ratio("failed"), 0.999),
        ({"metric": "uptime", "threshold": 99.9, "threshold_type": ">=", "evaluation": ""},
         Ratio("failed"), 0.999),
        ({"metric": "http_status_code", "threshold": 0.999, "threshold_type": "gt",
          "evaluation": "success_rate"}, Ratio("failed"), 0.999),
        ({"metric": "http_status_code", "threshold": 0.001, "evaluation": "error_rate"},
         Ratio("error"), 0.999),
        ({"metric": "thumbs_down_rate", "threshold": 0.1, "evaluation": "rate"},
         Ratio("feedback_negative"), 0.9),
    ],
)  # fmt: skip
def test_metrics_of_the_catalogue_are_judged(
    changed: dict[str, Any], ratio: Ratio, target: float
) -> None:
    monitor = monitor_of(**changed, tags={})
    assert monitor.ratio == ratio
    assert monitor.method.target == pytest.approx(target)


@pytest.mark.parametrize(
    ("window", "minutes"), [("24h", 1440), ("rolling_28d", 40320), ("1w", 10080)]
)
def test_windows_are_rolling(window: str, minutes: int) -> None:
    assert monitor_of(window=window).method.window_minutes == minutes


@pytest.mark.parametrize(
    ("changed", "field", "words"),
    [
        ({"evaluation": "average"}, "evaluation", "write percentile_95"),
        ({"evaluation": "percentile_0"}, "evaluation", "cannot be judged yet"),
        ({"evaluation": None}, "evaluation", "without an evaluation"),
        ({"metric": "avg_tokens"}, "metric", "promise input_tokens or output_tokens"),
        ({"metric": "hallucination_rate"}, "metric", "comes in a later release"),
        ({"metric": "llm_latncy_ms"}, "metric", "did you mean 'llm_latency_ms'?"),
        ({"metric": None}, "metric", "is missing"),
        ({"threshold": "2000"}, "threshold", "must be a number, not '2000'"),
        ({"threshold": math.inf}, "threshold", "must be finite"),
        ({"threshold": 0}, "threshold", "must be above 0"),
        ({"threshold_type": "greater_than"}, "threshold_type", "write less_than"),
        ({"threshold_type": "below"}, "threshold_type", "is not known"),
        ({"window": "calendar_month"}, "window", "calendar windows are not supported yet"),
        ({"window": "today"}, "window", "write rolling_24h"),
        ({"name": ""}, "name", "is missing"),
        ({"tags": ["a"]}, "tags", "must be an object"),
        ({"tresholds": 1}, "tresholds", "did you mean 'threshold'?"),
        ({"metric": "error_rate", "threshold": 1}, "threshold", "no share that leaves a budget"),
        ({"metric": "error_rate", "threshold": 0.01, "evaluation": "percentile_95"}, "evaluation",
         "cannot be judged yet"),
        ({"metric": "error_rate", "threshold": 0.01, "evaluation": "rate",
          "threshold_type": "greater_than"}, "threshold_type", "only a promise of less_than"),
    ],
)  # fmt: skip
def test_what_cannot_be_judged_is_refused_with_what_could_be_written(
    changed: dict[str, Any], field: str, words: str
) -> None:
    assert words in refused(read_slo, {**SEED, **changed})[field]


def test_everything_that_is_wrong_is_said_at_once() -> None:
    wrong = {"name": 7, "metric": "x", "threshold": None, "window": "", "colour": "red"}
    assert set(refused(read_slo, wrong)) >= {"name", "threshold", "window", "colour"}
    assert "must be an object" in refused(read_slo, [1])[""]


def test_the_service_may_be_named_in_several_ways() -> None:
    assert read_slo(SEED).service == ""
    assert read_slo({**SEED, "service_name": "a"}).service == "a"
    assert read_slo({**SEED, "tags": {"service_name": "b"}}).service == "b"


def test_names_are_made_fit_for_documents() -> None:
    assert slug("Support Chatbot (P95)") == "support-chatbot-p95"
    assert slug("support_chatbot_health") == "support-chatbot-health"
    assert slug("***") == "unnamed"
    assert len(slug("x" * 300)) == 63


@given(
    st.fixed_dictionaries({
        "name": st.text(), "metric": st.sampled_from([*VALUES, *SHARES, "x", ""]),
        "threshold": st.floats() | st.integers() | st.none() | st.text(),
        "threshold_type": st.sampled_from(["less_than", "greater_than", "<=", "?"]),
        "window": st.sampled_from(["rolling_24h", "1h", "5m", "400d", ""]) | st.text(),
        "evaluation": st.sampled_from(["percentile_95", "rate", "p0.5", ""]) | st.text(),
        "tags": st.dictionaries(st.text(), st.text() | st.integers() | st.none(), max_size=3),
    })
)  # fmt: skip
def test_any_definition_is_a_valid_document_or_is_refused(definition: dict[str, Any]) -> None:
    with suppress(SpecError):
        document = read_slo(definition).document("chat")
        assert len(restore(json.dumps([CHAT, document])).monitors) == 1


# --- health scores ---


def test_a_health_score_says_scale_weights_and_which_way_is_better() -> None:
    document, remarks = read_health_score(SCORE)
    assert document["metadata"] == {
        "name": "support-chatbot-health",
        "displayName": "Support Chatbot Health Score",
    }
    assert document["spec"]["thresholds"] == {"scale": 100, "warning": 80.0, "critical": 60.0}
    assert document["spec"]["mode"] == "shadow"
    assert [c["inverse"] for c in document["spec"]["components"]] == [False, True, True]
    assert "without a service" in remarks[0]
    assert "cost_per_conversation_usd" in remarks[1]
    assert "in shadow" in read_health_score(SCORE, "chat")[1][0]
    desired = restore(json.dumps([document]))
    assert sorted(w.message for w in desired.warnings) == [
        "a HealthScore without a service is computed by `tocsin score` alone",
        "no curve says which values of cost_per_conversation_usd are good: it counts as missing;"
        " add curve: [[good, 100], [bad, 0]]",
    ]
    assert desired.monitors == ()


def test_points_of_100_stay_and_weights_that_do_not_add_up_are_remarked() -> None:
    formula = {**SCORE["formula"], "components": [{"metric_name": "m", "weight": 40}]}  # type: ignore[dict-item]
    changed = {**SCORE, "formula": formula, "thresholds": {"critical": 60, "warning": 80}}
    document, remarks = read_health_score(changed)
    assert document["spec"]["thresholds"] == {"scale": 100, "warning": 80, "critical": 60}
    assert "the weights add up to 40" in remarks[1]


def with_component(**component: Any) -> dict[str, Any]:
    return {**SCORE, "formula": {"components": [{"metric_name": "m", "weight": 1, **component}]}}


@pytest.mark.parametrize(
    ("config", "field", "words"),
    [
        ({**SCORE, "thresholds": {"critical": 0.6, "warning": 80}}, "thresholds", "two scales"),
        ({**SCORE, "thresholds": {"critical": 0.8, "warning": 0.6}}, "thresholds",
         "critical must lie below warning"),
        ({**SCORE, "thresholds": {"critical": 0.6}}, "thresholds.warning", "must be a number"),
        ({**SCORE, "formula": {**SCORE["formula"], "aggregation": "median"}},  # type: ignore[dict-item]
         "formula.aggregation", "is not known"),
        ({**SCORE, "formula": {"components": []}}, "formula.components", "one component or more"),
        ({**SCORE, "formula": None}, "formula", "is missing"),
        (with_component(weight=0), "formula.components[0].weight", "must be above 0"),
        (with_component(weight=math.nan), "formula.components[0].weight", "must be finite"),
        (with_component(metric_name=None), "formula.components[0].metric_name", "is missing"),
        (with_component(inverse="yes"), "formula.components[0].inverse", "must be true or false"),
        (with_component(wieght=1), "formula.components[0].wieght", "did you mean 'weight'?"),
    ],
)  # fmt: skip
def test_a_health_score_that_makes_no_sense_is_refused(
    config: dict[str, Any], field: str, words: str
) -> None:
    assert words in refused(read_health_score, config)[field]


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"thresholds": {"scale": 100, "warning": 0.8, "critical": 0.6}}, "write scale: 1"),
        ({"thresholds": {"scale": 1, "warning": 0.6, "critical": 0.8}}, "critical must lie below"),
        ({"thresholds": {"warning": 80, "critical": 0.6}}, "are on two scales"),
        ({"components": [{"metric": "m", "weight": 1}] * 2}, "'m' is given twice"),
        ({"components": [{"metric": "m", "weight": 1, "curve": [[5, 0], [1, 100]]}]},
         "with rising values"),
        ({"service": "nobody"}, "there is no Service 'nobody'"),
        ({"components": [{"metric": "m", "weight": 1, "baseline": 2, "curve": [[1, 9], [5, 0]]}]},
         "a baseline stands in for a curve"),
        ({"components": [{"metric": "m", "weight": 1, "baseline": 2}], "mode": "alerting",
          "service": "chat"}, "such a score stays in shadow"),
        ({"segments": {"by": "region", "floor": 20},
          "components": [{"metric": "worst segment", "weight": 1}]}, "name it otherwise"),
    ],
)  # fmt: skip
def test_a_health_score_document_is_checked(spec: dict[str, Any], words: str) -> None:
    good = {"components": [{"metric": "m", "weight": 1, "curve": [[1, 100], [5, 0]]}]}
    document = {
        "apiVersion": "tocsin/v1", "kind": "HealthScore", "metadata": {"name": "h"},
        "spec": {**good, **spec},
    }  # fmt: skip
    with pytest.raises(SpecError, match=words.replace("(", r"\(")):
        restore(json.dumps([document]))
