"""Objectives as Prometheus rules: what Tocsin judges, judged by Prometheus over Tocsin's /metrics.

Two dialects of rule files, and the specification that sloth makes its own from:

    sloth       the names and shapes of sloth's rules, so that dashboards and habits made for sloth
                go on working (github.com/slok/sloth; shapes of v0.16)
    plain       the same rules under Tocsin's names, with the guards that PromQL can express
    sloth-spec  `prometheus/v1`, for `sloth generate`

The counters are read by increments over closed windows: with one scrape a minute, W minutes hold W
increments (Prometheus 2; since 3.0 windows are open on the left and one increment shorter). What
cannot be carried over is said in `notes`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import yaml

from tocsin.assess.burn import span
from tocsin.assess.monitor import BurnStep, Monitor, Objective
from tocsin.spec.prometheus.names import (
    BAD_EVENTS,
    EVENTS,
    duration,
    free_labels,
    number,
    selector,
    slo_name,
)

Data = dict[str, Any]
SEVERITIES = ("page", "ticket")


def rules(monitors: Iterable[Monitor], dialect: str) -> str:
    """The objectives among `monitors` as a file of `dialect`; KeyError for one that is not known.

    Empty when there are no objectives.
    """
    held = [m for m in monitors if isinstance(m.method, Objective)]
    objectives = [m for m in held if has_counters(m)]
    documents = DIALECTS[dialect](objectives) if objectives else []
    notes = "".join(f"# {note}\n" for m in objectives for note in _notes(m, dialect))
    notes += "".join(
        f"# {slo_name(m)}: not in these rules: it counts no bad calls, and has no counters\n"
        for m in held
        if m not in objectives
    )
    return notes + yaml.dump_all(
        documents, Dumper=_Dumper, explicit_start=True, sort_keys=False, allow_unicode=True,
        width=10_000,
    )  # fmt: skip


def has_counters(monitor: Monitor) -> bool:
    """Whether /metrics counts an objective's calls: not of a mean, nor of a mixed composite."""
    return monitor.ratio is not None and monitor.ratio.charge is None


def _notes(monitor: Monitor, dialect: str) -> list[str]:
    """What the exported rules of an objective do not do that Tocsin does."""
    objective = _objective(monitor)
    guards, lost = objective.guards, []
    if dialect != "plain" and guards.min_bad > 1:
        lost.append(f"at least {guards.min_bad} bad calls")
    if guards.evidence:
        lost.append(f"{guards.evidence:.0%} evidence")
    if dialect != "plain" and guards.min_events:
        lost.append(f"no page below {guards.min_events} calls")
    found = [f"{slo_name(monitor)}: not in these rules: {', '.join(lost)}"] if lost else []
    after = [step.after_minutes for step in objective.steps if step.after_minutes]
    if after:
        found.append(f"{slo_name(monitor)}: not in these rules: only after {span(max(after))}")
    if objective.calendar is not None:
        length = duration(objective.window_minutes)
        found.append(f"{slo_name(monitor)}: the budget of these rules rolls over {length};"
                     " Tocsin's follows the calendar")  # fmt: skip
    return found


# --- rule files --------------------------------------------------------------------------------


def _sloth(objectives: Sequence[Monitor]) -> list[Data]:
    return [{"groups": [group for monitor in objectives for group in _sloth_groups(monitor)]}]


def _sloth_groups(monitor: Monitor) -> list[Data]:
    named = {
        "sli-recordings": _sloth_ratios(monitor),
        "meta-recordings": _sloth_facts(monitor),
        "alerts": _sloth_alerts(monitor),
    }
    identity = _sloth_identity(monitor)["sloth_id"]
    return [
        {"name": f"sloth-slo-{what}-{identity}", "interval": "1m", "rules": held}
        for what, held in named.items()
        if held
    ]


def _sloth_identity(monitor: Monitor) -> dict[str, str]:
    name = slo_name(monitor)
    return {
        "sloth_id": f"{monitor.service}-{name}",
        "sloth_service": monitor.service,
        "sloth_slo": name,
    }


def _sloth_ratio(minutes: int) -> str:
    return f"slo:sli_error:ratio_rate{duration(minutes)}"


def _sloth_ratios(monitor: Monitor) -> list[Data]:
    """The share of bad calls per window; over the period the mean of the shortest window's."""
    objective, identity = _objective(monitor), _sloth_identity(monitor)
    labels, windows = free_labels(monitor) | identity, _windows(objective)
    found = [
        _record(
            _sloth_ratio(width),
            _error_ratio(monitor, duration(width)),
            labels | {"sloth_window": duration(width)},
        )
        for width in windows
    ]
    if objective.window_minutes not in windows:
        period = duration(objective.window_minutes)
        over = f"{_sloth_ratio(windows[0])}{selector(identity)}[{period}]"
        mean = f"sum_over_time({over})\n/ ignoring (sloth_window)\ncount_over_time({over})\n"
        record = _sloth_ratio(objective.window_minutes)
        found.append(_record(record, mean, labels | {"sloth_window": period}))
    return found


def _sloth_facts(monitor: Monitor) -> list[Data]:
    """Objective, budget, period, and how fast and how far the budget is spent."""
    objective, identity = _objective(monitor), _sloth_identity(monitor)
    labels, mine = free_labels(monitor) | identity, selector(identity)
    over_budget = (
        f"{mine}\n/ on(sloth_id, sloth_slo, sloth_service) group_left\n"
        f"slo:error_budget:ratio{mine}\n"
    )
    facts = {
        "slo:objective:ratio": f"vector({number(objective.target)})",
        "slo:error_budget:ratio": f"vector({number(objective.budget)})",
        "slo:time_period:days": f"vector({number(objective.window_minutes / 1440)})",
        "slo:current_burn_rate:ratio": _sloth_ratio(_windows(objective)[0]) + over_budget,
        "slo:period_burn_rate:ratio": _sloth_ratio(objective.window_minutes) + over_budget,
        "slo:period_error_budget_remaining:ratio": f"1 - slo:period_burn_rate:ratio{mine}",
    }
    info = {
        "sloth_mode": "tocsin",
        "sloth_objective": number(100 * objective.target),
        "sloth_spec": "openslo/v1",
        "sloth_version": "tocsin",
    }
    return [
        *(_record(record, expr, labels) for record, expr in facts.items()),
        _record("sloth_slo_info", "vector(1)", labels | info),
    ]


def _sloth_alerts(monitor: Monitor) -> list[Data]:
    mine = selector(_sloth_identity(monitor))

    def burning(width: int, threshold: str) -> str:
        return f"max({_sloth_ratio(width)}{mine} > ({threshold})) without (sloth_window)"

    return [
        {
            "alert": _alert_name(slo_name(monitor)),
            "expr": expr,
            "labels": {"severity": severity, "sloth_severity": severity},
            "annotations": {
                "title": f"({severity}) {{{{$labels.sloth_service}}}} {{{{$labels.sloth_slo}}}}"
                " SLO error budget burn rate is too fast.",
                "summary": _literal(monitor.title),
            },
        }
        for severity, expr in _alerts(_objective(monitor), burning)
    ]


def _plain(objectives: Sequence[Monitor]) -> list[Data]:
    return [{"groups": [_plain_group(monitor) for monitor in objectives]}]


def _plain_group(monitor: Monitor) -> Data:
    objective = _objective(monitor)
    mine = {"slo": slo_name(monitor), "service": monitor.service}
    ratio = "tocsin:slo_errors:ratio_rate{}".format
    recorded = [
        _record(ratio(duration(w)), _error_ratio(monitor, duration(w)), free_labels(monitor) | mine)
        for w in _windows(objective)
    ]

    def burning(width: int, threshold: str) -> str:
        return f"{ratio(duration(width))}{selector(mine)} > {threshold}"

    guards = objective.guards

    def guarded(step: BurnStep, condition: str) -> str:
        wanted = [(BAD_EVENTS, guards.min_bad)]
        if step.severity == "page":
            wanted.append((EVENTS, guards.min_events))
        for metric, least in wanted:
            if least > 1:  # half a call: `increase` extrapolates, counts do not
                count = f"increase({metric}_total{selector(mine)}[{duration(step.long_minutes)}])"
                condition += (
                    f"\nand on(slo, service)\nsum by (slo, service) ({count}) > {least - 0.5:g}"
                )
        return condition

    alerts = [
        {
            "alert": "TocsinErrorBudgetBurn",
            "expr": expr,
            # The expression has `mine` anyway; to promtool, one name and labels are one rule.
            "labels": mine | {"severity": severity},
            "annotations": {
                "summary": f"{_literal(monitor.title)}: the error budget burns too fast"
            },
        }
        for severity, expr in _alerts(objective, burning, guarded)
    ]
    name = f"tocsin-slo-{monitor.service}-{slo_name(monitor)}"
    return {"name": name, "interval": "1m", "rules": recorded + alerts}


def _alerts(
    objective: Objective,
    burning: Callable[[int, str], str],
    guarded: Callable[[BurnStep, str], str] = lambda _, condition: condition,
) -> list[tuple[str, str]]:
    """(severity, expression): any step whose two windows both burn, and whose guards hold."""
    found = []
    for severity in SEVERITIES:
        steps = [step for step in objective.steps if step.severity == severity]
        parts = []
        for step in steps:
            threshold = f"{number(step.factor)} * {number(objective.budget)}"
            both = [burning(width, threshold) for width in (step.short_minutes, step.long_minutes)]
            inside = guarded(step, "\nand\n".join(both)).replace("\n", "\n    ")
            parts.append(f"(\n    {inside}\n)")
        if parts:
            found.append((severity, "\nor\n".join(parts) + "\n"))
    return found


# --- sloth's specification ---------------------------------------------------------------------


def _sloth_spec(objectives: Sequence[Monitor]) -> list[Data]:
    services = dict.fromkeys(monitor.service for monitor in objectives)
    return [
        {
            "version": "prometheus/v1",
            "service": service,
            "slos": [_sloth_slo(monitor) for monitor in objectives if monitor.service == service],
        }
        for service in services
    ]


def _sloth_slo(monitor: Monitor) -> Data:
    objective = _objective(monitor)
    alerting: Data = {
        "name": _alert_name(slo_name(monitor)),
        "annotations": {"summary": _literal(monitor.title)},
    }
    for severity in SEVERITIES:
        is_wanted = any(step.severity == severity for step in objective.steps)
        wanted = {"labels": {"severity": severity}} if is_wanted else {"disable": True}
        alerting[f"{severity}_alert"] = wanted
    return {
        "name": slo_name(monitor),
        "objective": round(100 * objective.target, 10),
        "description": monitor.title,
        "labels": free_labels(monitor),
        "sli": {
            "events": {
                "error_query": _rate(BAD_EVENTS, monitor, "{{.window}}"),
                "total_query": _rate(EVENTS, monitor, "{{.window}}"),
            }
        },
        "alerting": alerting,
    }


DIALECTS: Mapping[str, Callable[[Sequence[Monitor]], list[Data]]] = {
    "sloth": _sloth,
    "plain": _plain,
    "sloth-spec": _sloth_spec,
}


# --- private -----------------------------------------------------------------------------------


def _objective(monitor: Monitor) -> Objective:
    assert isinstance(monitor.method, Objective)  # noqa: S101 (`rules` chose these)
    return monitor.method


def _windows(objective: Objective) -> list[int]:
    """Every window of every step once, the shortest first; the period when there are no steps."""
    widths = {w for step in objective.steps for w in (step.short_minutes, step.long_minutes)}
    return sorted(widths) or [objective.window_minutes]


def _error_ratio(monitor: Monitor, window: str) -> str:
    bad, events = (_rate(metric, monitor, window) for metric in (BAD_EVENTS, EVENTS))
    return f"({bad})\n/\n({events})\n"


def _rate(metric: str, monitor: Monitor, window: str) -> str:
    labels = {"slo": slo_name(monitor), "service": monitor.service}
    return f"sum(rate({metric}_total{selector(labels)}[{window}]))"


def _record(name: str, expr: str, labels: Mapping[str, str]) -> Data:
    return {"record": name, "expr": expr, "labels": dict(labels)}


def _literal(text: str) -> str:
    """Text that Prometheus does not take for a template."""
    return text.replace("{{", '{{"{{"}}')


def _alert_name(slo: str) -> str:
    words = "".join(part[:1].upper() + part[1:] for part in slo.replace(".", "-").split("-"))
    return f"{words}ErrorBudgetBurn"


class _Dumper(yaml.SafeDumper):
    """Expressions of several lines as people write them, and no aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)
