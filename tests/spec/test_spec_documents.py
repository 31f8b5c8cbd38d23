"""Documents: what is read, what is refused and with which words, all problems at once."""

from __future__ import annotations

import contextlib
import itertools
from pathlib import Path
from typing import Any

import pytest
import yaml as pyyaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.assess.accounts import Slices
from tocsin.assess.burn import presets
from tocsin.assess.detectors import CountScanConfig, PaceShiftConfig, SustainedBreachConfig
from tocsin.assess.monitor import BurnStep, Guards, Mean, Objective, ratios
from tocsin.assess.segments import SegmentsConfig
from tocsin.domain.errors import SpecError
from tocsin.domain.expressions import Condition
from tocsin.domain.series import EACH, Charge, Ratio, SeriesId
from tocsin.indicators.language.parser import parse
from tocsin.routing.policy import BY_SEVERITY
from tocsin.spec.desired import Desired, load, load_text, restore
from tocsin.spec.explain import suggest
from tocsin.spec.yaml import dump

GOLDEN = Path(__file__).parent / "golden"
SERVICE = "{apiVersion: tocsin/v1, kind: Service, metadata: {name: chat}, spec: {team: cx}}\n---\n"


def good() -> Desired:
    return load_text((GOLDEN / "good.yaml").read_text(), "good.yaml")


def problems_of(text: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        load_text(text, "f.yaml")
    return [str(problem) for problem in caught.value.problems]


def slo(indicator: str, objective: str, window: str = "28d") -> str:
    return f"""{SERVICE}
apiVersion: openslo/v1
kind: SLO
metadata: {{name: promise}}
spec:
  service: chat
  indicator: {{metadata: {{name: i}}, spec: {indicator}}}
  timeWindow: [{{duration: {window}, isRolling: true}}]
  budgetingMethod: Occurrences
  objectives: [{objective}]
"""


def source(spec: str) -> str:
    return f"{{metricSource: {{type: Tocsin, spec: {spec}}}}}"


def below(spec: str) -> str:
    return f"{{thresholdMetric: {source(spec)}}}"


def share(spec: str, total: str = "", side: str = "good") -> str:
    rest = f", total: {source(total)}" if total else ""
    return f"{{ratioMetric: {{{side}: {source(spec)}{rest}}}}}"


@pytest.mark.parametrize("name", ["bad", "references"])
def test_every_problem_is_told_at_once_with_its_line_and_fix(name: str) -> None:
    text = (GOLDEN / f"{name}.yaml").read_text()
    with pytest.raises(SpecError) as caught:
        load_text(text, f"{name}.yaml")
    assert str(caught.value).splitlines() == (GOLDEN / f"{name}.txt").read_text().splitlines()


def test_services_become_what_the_rest_reads() -> None:
    chat, search = good().services["chat"], good().services["search"]
    assert (chat.display_name, chat.project, chat.service_name) == ("Chat", "prod", "chat-api")
    assert (search.mode, search.first_steps) == ("observe", ("look",))
    assert chat.labels == {
        "env": "prod", "team": "cx", "exposure": "customer", "risk_tier": "medium",
        "regulated": "true", "provider": "openai",
    }  # fmt: skip
    assert "regulated" not in search.labels
    assert good().routing.modes == {"chat": "page", "search": "observe"}


def test_telemetry_finds_its_service_and_a_named_project_goes_first() -> None:
    text = SERVICE + (
        "{apiVersion: tocsin/v1, kind: Service, metadata: {name: chat-eu},"
        " spec: {team: cx, match: {project: eu, service.name: chat}}}"
    )
    desired = load_text(text)

    def name(project: str, service: str) -> str | None:
        found = desired.service_of(project, service)
        return found.name if found else None

    assert name("us", "chat") == "chat"
    assert name("eu", "chat") == "chat-eu"
    assert name("eu", "other") is None


def test_objectives_become_monitors() -> None:
    monitors = {monitor.name: monitor for monitor in good().monitors}
    fast, slow = monitors["slo/chat-speed-1"], monitors["slo/chat-speed-2"]
    assert fast.series == SeriesId("chat", "latency_under_2000ms")
    assert fast.ratio == Ratio("duration_ms", "ge", 2000)
    assert fast.title == "p95 below 2 s"
    assert fast.labels["tier"] == "gold"
    assert fast.labels["slo_metric"] == "latency"
    step = BurnStep("page", 60, 5, round(0.02 * 40320 / 60, 6))
    assert fast.method == Objective(0.95, 40320, (step,), Guards(5, 0.95, 50), "latency")
    assert slow.ratio == Ratio("duration_ms", "gt", 8000)
    assert isinstance(slow.method, Objective)
    assert slow.method.target == 0.99
    plain = monitors["slo/search-success"]
    assert plain.ratio == Ratio("error")
    assert plain.signal == "slo_breach"
    assert plain.method == Objective(0.99, 1440, presets(1440), Guards(), "errors")


def test_detectors_become_monitors_of_every_service_they_name() -> None:
    monitors = {monitor.name: monitor for monitor in good().monitors}
    chat = monitors["detector/failures/chat"]
    assert chat.method == CountScanConfig(threshold=7.0, baseline=0.01)
    assert (chat.severity, chat.signal) == ("page", "error_rate")
    assert chat.series == SeriesId("chat", "availability")
    assert "detector/failures/search" in monitors
    pace = monitors["detector/slow"]
    assert pace.method == PaceShiftConfig()
    assert (pace.series, pace.ratio, pace.signal) == (None, None, "latency_p95")
    assert pace.labels["area"] == "speed"


def test_without_rules_of_its_own_routing_goes_by_severity() -> None:
    assert good().routing.classify == BY_SEVERITY


def test_several_routing_documents_are_one_in_the_order_of_their_names() -> None:
    board = (
        "{apiVersion: tocsin/v1, kind: Receiver, metadata: {name: b}, spec: {type: none}}\n---\n"
    )
    parts = [
        f"{{apiVersion: tocsin/v1, kind: Routing, metadata: {{name: {n}}},"
        f" spec: {{routes: [{{name: r{n}, receivers: b}}]}}}}"
        for n in ("20-b", "10-a")
    ]
    desired = load_text(board + "\n---\n".join(parts))
    assert [route.name for route in desired.routing.routes] == ["r10-a", "r20-b"]


@pytest.mark.parametrize(
    ("indicator", "objective", "ratio"),
    [
        (below("{value: ttft_ms}"), "{op: lt, value: 900, target: 0.9}",
         Ratio("ttft_ms", "ge", 900)),
        (below("{value: cost_usd}"),
         "{op: lte, value: 0.03, target: 0.9}", Ratio("cost_usd", "gt", 0.03)),
        (below("{value: output_tokens}"),
         "{op: lt, value: 1500, target: 0.9}", Ratio("output_tokens", "ge", 1500)),
        (below("{value: latency_ms, where: {kind: retriever}}"),
         "{op: lt, value: 900, target: 0.9}", Ratio("duration_ms", "ge", 900, "retriever")),
        (below("{value: latency_ms, where: {model: gpt-4o}}"),
         "{op: lt, value: 900, target: 0.9}", Ratio("duration_ms", "ge", 900, model="gpt-4o")),
        (share("{use: availability}"), "{target: 0.9}",
         Ratio("failed")),
        (share(side='bad', spec="{count: truncated}"), "{target: 0.9}",
         Ratio("truncated")),
        (share(side='bad', spec="{count: empty_result}"), "{target: 0.9}",
         Ratio("empty_result", kind="retriever")),
        (share("{count: not failed}", total="{count: all}"), "{target: 0.9}",
         Ratio("failed")),
        (share(side='bad', spec="{count: \"status != 'ok'\"}"),
         "{targetPercent: 90}", Ratio("error")),
        (share("{use: latency, under: 2 s}"), "{target: 0.9}",
         Ratio("duration_ms", "ge", 2000)),
        (share("{count: latency < 2s}"), "{target: 0.9}", Ratio("duration_ms", "ge", 2000)),
        (share(side='bad', spec="{count: ttft > 1s}"), "{target: 0.9}",
         Ratio("ttft_ms", "gt", 1000)),
        (share("{count: not policy_violation}", total="{count: env = 'prod'}"), "{target: 0.9}",
         Ratio("condition", condition=Condition(
             parse("policy_violation"), parse("env = 'prod'"),
             "did not meet not policy_violation"))),
        (below("{value: cost_usd}"), "{op: gte, value: 0.01, target: 0.9}",
         Ratio("condition", condition=Condition(
             parse("cost_usd < 0.01"), None, "did not meet cost_usd >= 0.01"))),
        (below("{value: total_tokens / 1k}"), "{op: lt, value: 2, target: 0.9}",
         Ratio("condition", condition=Condition(
             parse("total_tokens / 1k >= 2"), None, "did not meet total_tokens / 1k < 2"))),
    ],
)  # fmt: skip
def test_what_an_objective_may_count(indicator: str, objective: str, ratio: Ratio) -> None:
    (monitor,) = load_text(slo(indicator, objective)).monitors
    assert monitor.ratio == ratio
    assert isinstance(monitor.method, Objective)
    assert monitor.method.target == 0.9


@pytest.mark.parametrize(
    ("indicator", "objective", "message"),
    [
        (below("{value: latncy}"),
         "{op: lt, value: 5, target: 0.9}", "there is no field 'latncy' (did you mean 'latency'?)"),
        (below("{value: model}"),
         "{op: lt, value: 5, target: 0.9}", "'model' is no number of a call"),
        (below("{value: latency_ms}"), "{target: 0.9}",
         "needs op and value"),
        (below("{value: latency_ms}"),
         "{op: lt, value: 0, target: 0.9}", "value must be above 0"),
        (below("{value: cost_usd, aggregate: mean}"),
         "{op: lt, value: 1, target: 0.9}", "a mean with a budget needs expected"),
        (below("{value: cost_usd, aggregate: mean, expected: 2}"),
         "{op: lt, value: 1, target: 0.9}", "expected must lie below value (1), not at 2"),
        (below("{value: score('helpful'), aggregate: mean, expected: 0.8}"),
         "{op: gte, value: 0.8, target: 0.9}", "expected must lie above value (0.8), not at 0.8"),
        (below("{value: cost_usd, expected: 0.5}"),
         "{op: lt, value: 1, target: 0.9}", "expected and cluster belong to aggregate: mean"),
        (below("{value: model, aggregate: mean, expected: 0.5}"),
         "{op: lt, value: 1, target: 0.9}", "'model' is no number of a call"),
        (below("{value: latency_ms, where: {kind: llms}}"),
         "{op: lt, value: 1, target: 0.9}", "there is no kind of call 'llms' (did you mean 'llm'"),
        (below("{value: latency_ms, where: {release: x}}"),
         "{op: lt, value: 1, target: 0.9}", "unknown field 'release'"),
        (share("{use: feedback, where: {model: x}}"), "{target: 0.9}",
         "feedback does not say which model it is about"),
        (share("{count: failed}"), "{target: 0.9}",
         "counting 'failed' as good is the wrong way round (did you mean 'not failed'?)"),
        (share(side='bad', spec="{count: a and b}"), "{target: 0.9}",
         "column 1: there is no field 'a'"),
        (share("{}"), "{target: 0.9}", "give use: an indicator, or count: a condition on a call"),
        (share(side='bad', spec="{label: hallucination}"), "{target: 0.9}",
         "labels of a judge (label) is not supported yet"),
        (share("{use: availabilty}"), "{target: 0.9}",
         "there is no indicator 'availabilty' (did you mean 'availability'?)"),
        (share("{use: availability}"),
         "{op: lt, value: 1, target: 0.9}", "op and value belong to a thresholdMetric"),
        (share("{use: availability}", total="{count: \"status != 'x'\"}"),
         "{target: 0.9}", "availability says itself which calls count"),
        ("{ratioMetric: {good: " + source("{use: errors}") + ", bad: "
         + source("{use: errors}") + "}}",
         "{target: 0.9}", "give either good or bad"),
        ("{ratioMetric: {good: {metricSource: {type: Prometheus, spec: {query: up}}}}}",
         "{target: 0.9}", "must be 'Tocsin', not 'Prometheus'"),
        ("{}", "{target: 0.9}", "give either thresholdMetric or ratioMetric"),
    ],
)  # fmt: skip
def test_what_cannot_be_counted_is_said_plainly(
    indicator: str, objective: str, message: str
) -> None:
    found = problems_of(slo(indicator, objective))
    assert len(found) == 1, found
    assert message in found[0]


def test_a_mean_is_charged_between_expected_and_limit() -> None:
    spec = "{value: cost_usd, aggregate: mean, expected: 0.02, cluster: session_id,"
    spec += " where: {model: m}}"
    (monitor,) = load_text(slo(below(spec), "{op: lte, value: 0.03, target: 0.9}")).monitors
    objective = monitor.method
    assert isinstance(objective, Objective)
    charge = Charge(parse("cost_usd", None), 0.02, 0.03)
    assert monitor.ratio == Ratio("charge", model="m", charge=charge)
    every = (SeriesId("chat", "every llm m"), Ratio("error", model="m"))
    assert objective.mean == Mean(0.03, 0.02, "usd", every)
    assert (objective.budget, objective.metric, objective.guards.min_bad) == (1.0, "cost", 0)


@pytest.mark.parametrize(("op", "free", "target"), [("lte", 0.0, 0.0), ("gt", 0.06, 1e-12)])
def test_a_slice_of_a_mean_is_within_its_limit_or_not(op: str, free: float, target: float) -> None:
    sliced = slo(
        below("{value: cost_usd, aggregate: mean, minEvents: 30}"),
        f"{{op: {op}, value: 0.03, target: 0.9, timeSliceTarget: 1, timeSliceWindow: 1h}}",
    ).replace("Occurrences", "Timeslices")
    (monitor,) = load_text(sliced).monitors
    assert monitor.ratio is not None
    assert monitor.ratio.charge == Charge(parse("cost_usd", None), free, 0.03)
    assert isinstance(monitor.method, Objective)
    assert monitor.method.mean is None
    assert monitor.method.slices == Slices(60, target, 30)
    (found,) = problems_of(sliced.replace("timeSliceTarget: 1", "timeSliceTarget: 0.5"))
    assert "Timeslices with timeSliceTarget: 1" in found


def test_a_mean_is_no_part_of_a_composite() -> None:
    text = slo(
        below("{value: cost_usd, aggregate: mean, expected: 0.02}"),
        "{op: lte, value: 0.03, target: 0.9}",
    )
    name = load_text(text).documents[0].name
    both = (
        text
        + """
---
apiVersion: tocsin/v1
kind: CompositeSLO
metadata: {name: all}
spec:
  service: chat
  method: weighted
  components: [{slo: %s}]
  target: 0.9
  window: {duration: 30d, isRolling: true}
"""
    )
    (found,) = problems_of(both % name)
    assert "a mean is no share of calls and cannot be part of a composite" in found


def test_unknown_fields_of_openslo_are_warnings_and_of_ours_errors() -> None:
    good_source = source("{use: availability}")
    text = slo(
        "{ratioMetric: {counter: true, good: " + good_source + "}, color: red}", "{target: .9}"
    )
    text = text.replace("  service: chat\n", "  service: chat\n  alertPolicy: [x]\n")
    desired = load_text(text, "f.yaml")
    assert len(desired.monitors) == 1
    assert [str(warning) for warning in desired.warnings] == [
        "f.yaml:9: spec.alertPolicy: unknown field 'alertPolicy' is ignored (did you mean"
        " 'alertPolicies'?)",
        "f.yaml:10: spec.indicator.spec.color: unknown field 'color' is ignored",
    ]
    assert (
        "unknown field 'undr'"
        in problems_of(slo(share("{use: availability, undr: 1}"), "{target: .9}"))[0]
    )


def test_a_misspelt_budgeting_method_is_refused() -> None:
    text = slo(share("{use: availability}"), "{target: .9}")
    (found,) = problems_of(text.replace("Occurrences", "Occurances"))
    assert "did you mean 'Occurrences'?" in found


def test_a_service_of_openslo_is_a_service() -> None:
    text = """
- {apiVersion: openslo/v1, kind: Service, metadata: {name: web, labels: {team: [a, b]}}, spec: {}}
- {apiVersion: tocsin/v1, kind: Detector, metadata: {name: d},
   spec: {service: web, use: count_scan, indicator: {use: errors}}}
"""
    desired = load_text(text)
    assert desired.services["web"].team == "a,b"
    assert desired.monitors[0].service == "web"


@pytest.mark.parametrize("value", ["NO", "yes", "on", "'true'", "1"])
def test_a_boolean_is_true_or_false_and_nothing_else(value: str) -> None:
    (found,) = problems_of(SERVICE.replace("team: cx", f"team: cx, regulated: {value}"))
    assert "spec.regulated: must be true or false, not" in found


def test_a_country_called_no_stays_a_country() -> None:
    assert load_text(SERVICE.replace("team: cx", "team: NO")).services["chat"].team == "NO"


@pytest.mark.parametrize(("value", "fix"), [("5", '"5"'), ("true", '"true"'), ("1.5", '"1.5"')])
def test_numbers_are_not_taken_for_text(value: str, fix: str) -> None:
    (found,) = problems_of(SERVICE.replace("team: cx", f"team: {value}"))
    assert f"spec.team: must be text, not {value} (quote it: {fix})" in found


def test_nothing_to_read_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    with pytest.raises(SpecError, match="holds no document"):
        load([tmp_path])


def test_problems_of_several_files_are_told_together(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("a: [\n")
    (tmp_path / "b.yaml").write_text(SERVICE + SERVICE)
    with pytest.raises(SpecError) as caught:
        load([tmp_path])
    assert [Path(problem.file).name for problem in caught.value.problems] == ["a.yaml", "b.yaml"]


def test_the_digest_is_of_what_is_meant_and_not_of_how_it_is_written(tmp_path: Path) -> None:
    text = (GOLDEN / "good.yaml").read_text()
    for i, part in enumerate(reversed(text.split("\n---\n"))):
        (tmp_path / f"{i:02}.yaml").write_text(f"# a comment\n{part}")
    desired = good()
    assert load([tmp_path]).digest == desired.digest
    assert restore(desired.text).digest == desired.digest
    assert restore(desired.text).monitors == desired.monitors
    changed = text.replace("threshold: 7", "threshold: 8")
    assert load_text(changed).digest != desired.digest


@settings(max_examples=30, deadline=None)
@given(st.permutations(range(10)))
def test_loading_what_was_dumped_gives_the_same(order: list[int]) -> None:
    documents = list(pyyaml.safe_load_all((GOLDEN / "good.yaml").read_text()))
    again = load_text(dump([documents[i] for i in order]))
    assert again.digest == good().digest
    assert again.monitors == good().monitors
    assert again.routing == good().routing


def drops() -> list[tuple[int, tuple[Any, ...]]]:
    """Every key of the good documents, as a place to break."""
    documents = list(pyyaml.safe_load_all((GOLDEN / "good.yaml").read_text()))

    def places(data: Any, at: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        if not isinstance(data, dict | list):
            return []
        inner = data.items() if isinstance(data, dict) else enumerate(data)
        return [p for k, v in inner for p in [(*at, k), *places(v, (*at, k))]]

    return [(i, p) for i, document in enumerate(documents) for p in places(document, ())]


BREAKAGES = list(itertools.product(drops(), [None, 5, "x", [], {}, [[]], True]))


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(BREAKAGES))
def test_whatever_is_broken_gives_problems_and_never_another_exception(
    breakage: tuple[tuple[int, tuple[Any, ...]], Any],
) -> None:
    (number, place), value = breakage
    documents: list[Any] = list(pyyaml.safe_load_all((GOLDEN / "good.yaml").read_text()))
    target = documents[number]
    for key in place[:-1]:
        target = target[key]
    target[place[-1]] = value
    with contextlib.suppress(SpecError):
        load_text(dump(documents), "f.yaml")
        return
    with pytest.raises(SpecError) as caught:
        load_text(dump(documents), "f.yaml")
    assert all(problem.file == "f.yaml" and problem.line > 0 for problem in caught.value.problems)


def test_suggestions_see_through_case_and_underscores() -> None:
    assert suggest("group_by", ["groupBy", "groupWait"]) == "did you mean 'groupBy'?"
    assert suggest("Tema", ["team", "owner"]) == "did you mean 'team'?"
    assert suggest("zzz", ["team", "owner"]) == "known: owner, team"
    assert suggest("zzz", []) == ""


INDICATOR = (
    "---\napiVersion: tocsin/v1\nkind: Indicator\nmetadata: {name: %s, displayName: Grounded}\n"
    "spec: %s\n"
)


def test_an_indicator_of_ones_own_is_used_by_name() -> None:
    own = INDICATOR % ("grounded", "{good: \"score('faithful') >= 0.5\", kind: chain}")
    detector = (
        "---\napiVersion: tocsin/v1\nkind: Detector\nmetadata: {name: d}\n"
        "spec: {service: chat, use: count_scan, indicator: {use: grounded}}\n"
    )
    text = slo(share("{use: grounded}"), "{target: 0.9}") + "\n" + own + detector
    objective, watcher = load_text(text).monitors
    assert objective.ratio == watcher.ratio
    assert objective.ratio is not None
    assert (objective.ratio.kind, objective.ratio.scores) == ("chain", {"faithful"})
    assert (watcher.signal, watcher.title) == ("quality", "chat: Grounded")
    assert objective.series == SeriesId("chat", "grounded")


@pytest.mark.parametrize(
    ("name", "spec", "message"),
    [
        ("g", "{good: latncy < 2s}", "there is no field 'latncy' (did you mean 'latency'?)"),
        ("g", "{good: error, bad: error}", "give either good or bad"),
        ("g", "{good: error, kind: llms}", "did you mean 'llm'?"),
        ("g", "{good: not error, total: latency}", "an indicator takes a truth value"),
        ("latency", "{good: not error}", "an indicator named 'latency' is built in"),
        ("g", "{good: not error, totl: error}", "unknown field 'totl'"),
    ],
)
def test_an_indicator_that_makes_no_sense_is_refused(name: str, spec: str, message: str) -> None:
    (found,) = problems_of((INDICATOR % (name, spec)).removeprefix("---\n"))
    assert message in found


def test_calls_that_count_only_because_they_are_bad_are_warned_of() -> None:
    good = "{good: \"score('faithful') >= 0.5 and not failed\"%s}"
    text = (INDICATOR % ("g", good % "")).removeprefix("---\n")
    assert "calls without the score 'faithful' count" in str(load_text(text).warnings[0])
    text = (INDICATOR % ("g", good % ", total: \"known(score('faithful'))\"")).removeprefix("---\n")
    assert not load_text(text).warnings


BREACH = (
    "apiVersion: tocsin/v1\nkind: Service\nmetadata: {name: chat}\nspec: {team: a}\n---\n"
    "apiVersion: tocsin/v1\nkind: BreachMonitor\nmetadata: {name: b}\nspec: %s\n"
)


@pytest.mark.parametrize(
    ("spec", "monitors"),
    [
        ("{service: chat, when: p95(latency) > 2s, window: 1m, for: 5m, severity: page}",
         {"breach/b": (Ratio("duration_ms", "gt", 2000), SustainedBreachConfig(0.05, 1, 5))}),
        ("{services: '*', preset: degraded, evidence: 0}",
         {"breach/b/latency/chat": (Ratio("duration_ms", "gt", 5000),
                                    SustainedBreachConfig(0.05, evidence=0)),
          "breach/b/errors/chat": (Ratio("error"), SustainedBreachConfig(0.1, evidence=0))}),
        ("{service: chat, indicator: {use: feedback}, over: 0.1, window: 60m, minEvents: 50}",
         {"breach/b": (Ratio("feedback_negative"), SustainedBreachConfig(0.1, 60, 1, 50))}),
    ],
)  # fmt: skip
def test_limits_become_monitors(
    spec: str, monitors: dict[str, tuple[Ratio, SustainedBreachConfig]]
) -> None:
    found = load_text(BREACH % spec).monitors
    assert {m.name: (m.ratio, m.method) for m in found} == monitors


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("{service: chat, when: p95(latency) > 2}", "a duration has no such limit"),
        ("{service: chat}", "give one of when, indicator (with over) and preset"),
        ("{service: chat, preset: degradd}", "there is no preset 'degradd' (did you mean"),
        ("{service: chat, preset: tail, for: 90s}", "window and for are whole minutes"),
        ("{service: chat, preset: tail, window: 2h}", "window_minutes is 1 to 60, not 120"),
        ("{service: chat, indicator: {use: feedback}}", "over goes with indicator"),
        ("{service: chat, indicator: {use: feedbck}, over: 0.1}", "did you mean 'feedback'?"),
        ("{service: chatt, preset: tail}", "there is no Service 'chatt'"),
        ("{preset: tail}", "give either service"),
    ],
)
def test_limits_that_cannot_be_judged_are_refused(spec: str, message: str) -> None:
    (found,) = problems_of(BREACH % spec)
    assert message in found


SEGMENTED = (
    "---\napiVersion: tocsin/v1\nkind: BurnRatePolicy\nmetadata: {name: p}\n"
    "spec: {segments: %s}\n---\napiVersion: tocsin/v1\nkind: Detector\nmetadata: {name: d}\n"
    "spec: {service: chat, use: count_scan, indicator: {use: %s}, segments: {by: tier}}\n"
)


def test_segments_of_objectives_and_detectors_are_monitors_of_their_own() -> None:
    asked = "{by: [region, tier], confirm: 2of3, window: 30m, every: 5m, severity: page}"
    text = slo(share("{use: availability}"), "{target: 0.9}")
    desired = load_text(text + "\n" + SEGMENTED % (asked, "errors"))
    found = {monitor.name: monitor for monitor in desired.monitors}
    name = next(name for name in found if name.startswith("slo/") and name.endswith("/segments"))
    assert found[name].method == SegmentsConfig(
        ("region", "tier"), 0.1, confirm=2, of=3, window_minutes=30, every_minutes=5
    )
    assert found[name].severity == "page"
    assert found["detector/d/segments"].method == SegmentsConfig(("tier",))
    series = set(ratios(desired.monitors))
    assert {s.segment for s in series} == {("", ""), ("region", EACH), ("tier", EACH)}


@pytest.mark.parametrize(
    ("asked", "indicator", "message"),
    [
        ("{by: []}", "errors", "must hold at least 1 item"),
        ("{by: a, confirm: 5of3}", "errors", "confirm is such as 3of5"),
        ("{by: a, confirm: often}", "errors", "must be such as 3of5"),
        ("{by: a, window: 90s}", "errors", "whole minutes"),
        ("{by: a, window: 24h}", "errors", "reach back at most 24 h"),
        ("{by: a}", "feedback", "is not told apart by segments yet"),
    ],
)
def test_segments_that_cannot_be_judged_are_refused(
    asked: str, indicator: str, message: str
) -> None:
    text = slo(share("{use: availability}"), "{target: 0.9}")
    (found,) = problems_of(text + "\n" + SEGMENTED % (asked, indicator))
    assert message in found


EVALUATOR = (
    "apiVersion: tocsin/v1\nkind: Service\nmetadata: {name: chat}\nspec: {team: a}\n---\n"
    "apiVersion: tocsin/v1\nkind: Evaluator\nmetadata: {name: q}\n"
    "spec: {service: chat, target: 0.9, judge: \"score('j') > 0.5\","
    " human: \"label('h') = 'yes'\"%s}\n"
)


def test_an_evaluator_counts_judged_answers_weights_and_what_people_labelled() -> None:
    (monitor,) = load_text(EVALUATOR % ", weight: cost_usd, settle: 1h").monitors
    assert (monitor.name, monitor.signal, monitor.severity) == ("quality/q", "quality", "ticket")
    assert monitor.ratio is not None
    assert monitor.ratio.weight == parse("cost_usd", "number")
    counted = ratios([monitor])
    assert [series.indicator for series in counted] == [
        "q/judge", "q/judged", "q/squares", "q/passed", "q/failed",
    ]  # fmt: skip
    passed = counted[SeriesId("chat", "q/passed")]
    assert passed.condition is not None
    assert passed.condition.total == parse("score('j') > 0.5")
    assert passed.scores == {"j", "h"}


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (", weight: model", "must be a number"),
        (", window: 40d", "reach back at most 30 d"),
        (", settle: 4d", "settle is at most 72 h"),
        (
            ", calibration: {good: 10, passed: 11, bad: 10, caught: 5}",
            "passed are of the good",
        ),
        (", calibration: {good: 10, passed: 5, bad: 10, caught: 5}", "no better than chance"),
        (", humanLabels: {min: 0}", "must be at least 1"),
    ],
)
def test_an_evaluator_that_makes_no_sense_is_refused(more: str, message: str) -> None:
    (found,) = problems_of(EVALUATOR % more)
    assert message in found
