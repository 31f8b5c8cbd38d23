"""OpenSLO by the book: the same verdict as the reference validator, document by document."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tocsin.assess.accounts import Slices
from tocsin.assess.monitor import Guards
from tocsin.domain.errors import SpecError
from tocsin.domain.series import Ratio
from tocsin.spec.desired import load_text
from tocsin.spec.inspection import inspect
from tocsin.spec.openslo.verdict import Verdict, compat, strict

SLO = Path(__file__).resolve().parents[2] / ".." / "shared" / "conformance" / "slo"
MUTATIONS = SLO / "openslo_mutations_go-sdk.jsonl"
here = pytest.mark.skipif(not MUTATIONS.is_file(), reason="needs ../shared/conformance/slo")


def document(version: str, kind: str, spec: Any, **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": version,
        "kind": kind,
        "metadata": {"name": "it", **metadata},
        "spec": spec,
    }


def slo(**changed: Any) -> dict[str, Any]:
    spec = {
        "service": "chat",
        "indicatorRef": "answers",
        "budgetingMethod": "Occurrences",
        "timeWindow": [{"duration": "28d", "isRolling": True}],
        "objectives": [{"target": 0.99}],
        **changed,
    }
    return document("openslo/v1", "SLO", {k: v for k, v in spec.items() if v != "absent"})


@here
def test_every_mutated_document_gets_the_verdict_stage_and_paths_of_the_reference() -> None:
    differing = []
    lines = MUTATIONS.read_text().splitlines()
    for line in lines:
        known = json.loads(line)
        verdict = strict(known["doc"])
        told = (verdict.is_accepted, verdict.stage, verdict.paths)
        if told != (known["ok"], known["stage"], sorted(set(known["paths"]))):
            differing.append((known["id"], told, known["paths"]))
    assert len(lines) == 300
    assert not differing


@here
def test_examples_of_the_specification_are_read_although_the_reference_rejects_three() -> None:
    examples = [SLO / "OpenSLO+OpenSLO" / "examples"]
    by_the_book, _ = inspect(examples, by_the_book=True)
    read, problems = inspect(examples, by_the_book=False)
    assert not problems
    assert [one.verdict.is_accepted for one in by_the_book].count(False) == 3
    assert all(one.verdict.is_accepted for one in read)
    assert sum("spec.objectives[0].op" in one.verdict.notes for one in read) == 3


@pytest.mark.parametrize(
    ("changed", "path"),
    [
        ({"timeWindow": "absent"}, "spec.timeWindow"),
        ({"budgetingMethod": "Sometimes"}, "spec.budgetingMethod"),
        ({"indicatorRef": "absent"}, "spec"),
        ({"indicatorRef": ""}, "spec.indicatorRef"),
        ({"objectives": [{"target": 1.0}]}, "spec.objectives[0].target"),
        ({"objectives": [{"target": 0.9, "targetPercent": 90}]}, "spec.objectives[0]"),
        (
            {"timeWindow": [{"duration": "3x", "isRolling": True}]},
            "spec.timeWindow[0].duration.unit",
        ),
        ({"timeWindow": [{"duration": "1M", "isRolling": False}]}, "spec.timeWindow[0]"),
        (
            {
                "timeWindow": [
                    {
                        "duration": "1M",
                        "isRolling": False,
                        "calendar": {"startTime": "2026-02-30 00:00:00", "timeZone": "UTC"},
                    }
                ]
            },
            "spec.timeWindow[0].calendar.startTime",
        ),
        (
            {
                "timeWindow": [
                    {
                        "duration": "1M",
                        "isRolling": False,
                        "calendar": {"startTime": "2026-02-01 0:00:00.5", "timeZone": "Mars/Base"},
                    }
                ]
            },
            "spec.timeWindow[0].calendar.timeZone",
        ),
    ],
)
def test_a_fault_is_filed_under_the_path_it_stands_at(changed: dict[str, Any], path: str) -> None:
    assert strict(slo()).is_accepted
    verdict = strict(slo(**changed))
    assert (verdict.stage, verdict.paths) == ("validate", [path])


@pytest.mark.parametrize(
    ("value", "is_read"),
    [
        ({"apiVersion": "openslo/v1"}, False),
        ({"apiVersion": "openslo/v9", "kind": "SLO"}, False),
        ({"apiVersion": "openslo/v1alpha", "kind": "SLI"}, False),
        (["not", "a", "mapping"], False),
        (None, False),
        ({**slo(), "APIVERSION": "openslo/v1"}, True),
        ({**slo(), "spec": None}, True),
        ({**slo(), "extra": 1}, False),
        (slo(objectives=[{"target": "0.9"}]), False),
        (slo(objectives=[None]), True),
        (slo(timeWindow=[{"duration": "28 d", "isRolling": True}]), True),
        (slo(timeWindow=[{"duration": "d", "isRolling": True}]), False),
    ],
)
def test_what_the_reference_cannot_decode_is_rejected_before_any_rule(
    value: Any, is_read: bool
) -> None:
    assert (strict(value).stage != "decode") is is_read
    assert bool(strict(value).reason) is not is_read


def test_a_label_may_have_several_values_in_v1_and_only_one_in_v2alpha() -> None:
    labels = {"team": ["a", "b"]}
    assert strict(document("openslo/v1", "Service", {}, labels=labels)).is_accepted
    assert strict(document("openslo.com/v2alpha", "Service", {}, labels=labels)).stage == "decode"


def test_a_name_that_means_something_in_a_path_is_quoted_in_it() -> None:
    verdict = strict(document("openslo/v1", "Service", {}, labels={"a b'c": "x"}))
    assert verdict.paths == [r"metadata.labels['a b\'c']"]


def test_compat_reads_what_means_the_same_and_says_what_it_let_pass() -> None:
    lenient = compat({**slo(timeWindow="absent"), "unknown": {"deep": 1}})
    assert lenient.is_accepted
    assert set(lenient.notes) == {"unknown", "spec.timeWindow"}
    burn = {"kind": "burnrate", "op": "lte", "threshold": 2, "lookbackWindow": "1h"}
    condition = document("openslo/v1", "AlertCondition", {"severity": "page", "condition": burn})
    assert strict(condition) == Verdict()
    assert set(compat(condition).notes) == {"spec.condition.op"}


def test_compat_rejects_what_has_no_meaning() -> None:
    assert compat(slo(objectives=[{"target": 1.5}])).paths == ["spec.objectives[0].target"]
    assert compat(slo(objectives="none")).stage == "decode"


SERVICE = "{apiVersion: tocsin/v1, kind: Service, metadata: {name: chat}, spec: {team: cx}}\n---\n"
THREE_VERSIONS = {
    "v1": """
apiVersion: openslo/v1
kind: SLO
metadata: {name: fast}
spec:
  service: chat
  indicator:
    metadata: {name: fast-sli}
    spec:
      thresholdMetric: {metricSource: {type: Tocsin, spec: {value: latency_ms}}}
  budgetingMethod: Occurrences
  timeWindow: [{duration: 28d, isRolling: true}]
  objectives: [{op: lt, value: 2000, target: 0.95}]
""",
    "v1alpha": """
apiVersion: openslo/v1alpha
kind: SLO
metadata: {name: fast}
spec:
  service: chat
  indicator: {thresholdMetric: {source: Tocsin, queryType: value, query: latency_ms}}
  budgetingMethod: Occurrences
  timeWindows: [{unit: Day, count: 28, isRolling: true}]
  objectives: [{displayName: "", op: lt, value: 2000, target: 0.95}]
""",
    "v2alpha": """
apiVersion: openslo.com/v2alpha
kind: SLO
metadata: {name: fast}
spec:
  serviceRef: chat
  sliRef: speed
  budgetingMethod: Occurrences
  timeWindow: [{duration: 28d, isRolling: true}]
  objectives: [{op: lt, value: 2000, target: 0.95}]
---
apiVersion: openslo.com/v2alpha
kind: SLI
metadata: {name: speed}
spec:
  thresholdMetric: {dataSourceSpec: {type: Tocsin}, spec: {value: latency_ms}}
""",
}


@pytest.mark.parametrize("version", ["v1alpha", "v2alpha"])
def test_one_promise_means_the_same_in_every_version(version: str) -> None:
    known = load_text(SERVICE + THREE_VERSIONS["v1"])
    assert load_text(SERVICE + THREE_VERSIONS[version]).monitors == known.monitors


def test_a_ratio_of_v1alpha_is_one_indicator_for_all_objectives() -> None:
    text = """
apiVersion: openslo/v1alpha
kind: SLO
metadata: {name: up}
spec:
  service: chat
  budgetingMethod: Occurrences
  timeWindows: [{unit: Week, count: 4, isRolling: true}]
  objectives:
    - displayName: Answers
      value: 1
      target: 0.999
      ratioMetrics:
        incremental: true
        good: {source: Tocsin, queryType: count, query: not failed}
        total: {source: Tocsin, queryType: count, query: all}
"""
    monitor = load_text(SERVICE + text).monitors[0]
    assert monitor.ratio == Ratio("failed")
    assert monitor.title == "Answers"


def test_a_fault_in_an_older_document_names_the_line_it_stands_on() -> None:
    text = SERVICE + THREE_VERSIONS["v1alpha"].replace("query: latency_ms", "query: speed")
    with pytest.raises(SpecError) as caught:
        load_text(text, "old.yaml")
    assert [problem.line for problem in caught.value.problems] == [9]


CALENDAR = """
apiVersion: openslo/v1
kind: SLO
metadata: {name: fast}
spec:
  service: chat
  indicator:
    metadata: {name: fast-sli}
    spec:
      thresholdMetric: {metricSource: {type: Tocsin, spec: {value: latency_ms}}}
  budgetingMethod: Occurrences
  timeWindow: [WINDOW]
  objectives: [{op: lt, value: 2000, target: 0.95}]
"""


def test_a_calendar_window_is_read_with_its_anchor_and_zone() -> None:
    window = """{duration: 1M, isRolling: false,
      calendar: {startTime: 2026-01-31 12:00:00, timeZone: Europe/Berlin}}"""
    loaded = load_text(SERVICE + CALENDAR.replace("WINDOW", window))
    periods = loaded.monitors[0].method.calendar
    assert str(periods) == "calendar month, Europe/Berlin"
    assert periods.start.isoformat() == "2026-01-31T12:00:00"
    assert loaded.monitors[0].method.steps[0].factor == 14.4


def test_a_month_without_a_calendar_rolls_and_says_how_long_it_is() -> None:
    loaded = load_text(SERVICE + CALENDAR.replace("WINDOW", "{duration: 1M, isRolling: true}"))
    assert loaded.monitors[0].method.window_minutes == 30 * 1440
    assert [w.message for w in loaded.warnings] == [
        "1M without a calendar rolls: it is the last 30 days"
    ]


@pytest.mark.parametrize(
    ("window", "problem"),
    [
        ("{duration: 1M, isRolling: false}", "a window that does not roll needs calendar"),
        ("{duration: 2Y, isRolling: true}", "a budget lasts at most a year, not 2Y"),
        (
            "{duration: 1M, isRolling: true, calendar: "
            "{startTime: 2026-01-01 00:00:00, timeZone: UTC}}",
            "a window that rolls has no calendar",
        ),
        ("{duration: 1M, calendar: {startTime: 2026-02-30, timeZone: UTC}}", "a local time such"),
        (
            "{duration: 1M, calendar: {startTime: 2026-01-01 00:00:00, timeZone: Mars/Base}}",
            "not an IANA time zone",
        ),
    ],
)
def test_a_window_that_cannot_be_is_refused(window: str, problem: str) -> None:
    with pytest.raises(SpecError, match=problem):
        load_text(SERVICE + CALENDAR.replace("WINDOW", window))


SLICED = """
apiVersion: openslo/v1
kind: SLO
metadata: {name: steady}
spec:
  service: chat
  indicator:
    metadata: {name: steady-sli}
    spec:
      thresholdMetric:
        metricSource:
          type: Tocsin
          spec: {value: latency_ms, minEvents: 20, insufficient: pool, noData: good}
  budgetingMethod: METHOD
  timeWindow: [{duration: 28d, isRolling: true}]
  objectives: [{op: lt, value: 2000, target: 0.99, SLICE}]
"""


def sliced(method: str, slices: str) -> Any:
    text = SLICED.replace("METHOD", method).replace("SLICE", slices)
    return load_text(SERVICE + text).monitors[0].method


def test_time_slices_are_read_with_what_few_calls_mean() -> None:
    method = sliced("Timeslices", "timeSliceTarget: 0.95, timeSliceWindow: 5m")
    assert method.slices == Slices(5, 0.95, 20, "pool", "good")
    assert method.guards == Guards(min_bad=1, min_events=0)
    ratio = sliced("RatioTimeslices", "timeSliceWindow: 30m")
    assert ratio.slices == Slices(30, None, 20, "pool", "good")
    assert {w % 30 for s in ratio.steps for w in (s.long_minutes, s.short_minutes)} == {0}


@pytest.mark.parametrize(
    ("method", "slices", "problem"),
    [
        ("Timeslices", "timeSliceWindow: 5m", "Timeslices needs timeSliceTarget"),
        ("Timeslices", "timeSliceTarget: 0.9", "Timeslices needs timeSliceWindow"),
        ("RatioTimeslices", "timeSliceTarget: 0.9, timeSliceWindow: 5m", "has no timeSliceTarget"),
        ("Occurrences", "timeSliceTarget: 0.9", "Occurrences has no timeSliceTarget"),
        ("RatioTimeslices", "timeSliceWindow: 7m", "divides an hour"),
        ("RatioTimeslices", "timeSliceWindow: 2h", "an hour itself cannot be"),
    ],
)
def test_time_slices_that_cannot_be_are_refused(method: str, slices: str, problem: str) -> None:
    with pytest.raises(SpecError, match=problem):
        sliced(method, slices)
