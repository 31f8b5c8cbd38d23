"""Grafana dashboards over Tocsin's /metrics: all objectives, one service, and Tocsin itself.

Plain data in Grafana's dashboard JSON (schema version 39, Grafana 10.4 and later). Queries use the
names of `names`, so that a series that is renamed is renamed here; the data source is a variable.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tocsin.spec.prometheus import names

Data = dict[str, Any]
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_WIDTH = 24  # columns of Grafana's grid
_SERVICE = '{service=~"$service"}'
_GREEN, _AMBER, _RED = "green", "orange", "red"


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel. queries: (expression, legend). steps: (colour, from value), the first from None.

    columns: of a table, the value's name and unit.
    """

    kind: str
    title: str
    queries: Sequence[tuple[str, str]]
    unit: str = "short"
    width: int = 8
    height: int = 8
    about: str = ""
    steps: Sequence[tuple[str, float | None]] = ((_GREEN, None),)


def dashboard(name: str) -> Data:
    """The dashboard called `name`; KeyError for one that there is not."""
    title, variables, panels = DASHBOARDS[name]()
    return {
        "uid": f"tocsin-{name}",
        "title": title,
        "tags": ["tocsin", "slo"],
        "timezone": "browser",
        "editable": True,
        "schemaVersion": 39,
        "version": 1,
        "refresh": "1m",
        "time": {"from": "now-24h", "to": "now"},
        "templating": {"list": [_source_variable(), *variables]},
        "annotations": {"list": []},
        "links": [
            {"type": "dashboards", "title": "Tocsin", "tags": ["tocsin"], "asDropdown": True,
             "includeVars": True, "keepTime": True}
        ],
        "panels": _placed(panels),
    }  # fmt: skip


# --- the dashboards ------------------------------------------------------------------------------

_BUDGET = ((_RED, None), (_AMBER, 0.0), (_GREEN, 0.25))
_BURN = ((_GREEN, None), (_AMBER, 1.0), (_RED, 6.0))
_NONE = ((_GREEN, None), (_RED, 1.0))


def _overview() -> tuple[str, list[Data], list[Panel]]:
    def standing(state: str) -> str:
        return f"sum({names.STATUS}{{{names.STATUS}={names.quoted(state)}}}) or vector(0)"

    states = [
        Panel("stat", title, [(standing(state), "")], width=6, height=4, steps=steps, about=about)
        for title, state, steps, about in (
            (
                "Met",
                "met",
                ((_GREEN, None),),
                "The share of bad calls is surely within the budget.",
            ),
            ("Inconclusive", "inconclusive", ((_AMBER, None),), "Too few calls to say."),
            ("Breached", "breached", _NONE, "The budget is surely overspent."),
            ("No data", "no_data", _NONE, "No calls in the period: unknown, not healthy."),
        )
    ]
    fastest = f"max by (slo, service) ({names.BURN_RATE})"
    return "Tocsin: objectives", [], [
        *states,
        Panel("table", "Budget left, least first",
              [(f"sort({names.REMAINING})", "")], "percentunit", 12, 10, steps=_BUDGET),
        Panel("table", "Burning fastest", [(f"sort_desc({fastest} > 1)", "")], "short", 12, 10,
              about="How many times faster than allowed, over the worst window.", steps=_BURN),
        Panel("timeseries", "Rules that hold",
              [(f"sum by (severity) ({names.FIRING})", "{{severity}}")], width=12),
        Panel("timeseries", "Live incidents",
              [(f"sum by (state) ({names.INCIDENTS})", "{{state}}")], width=12),
    ]  # fmt: skip


def _service() -> tuple[str, list[Data], list[Panel]]:
    def rate(metric: str) -> str:
        return f"sum by (slo) (rate({metric}_total{_SERVICE}[$__rate_interval]))"

    name, state = "{{health_score}}", f"{{{{{names.HEALTH_STATE}}}}}"
    variables = [_variable("service", f"label_values({names.OBJECTIVE}, service)")]
    return "Tocsin: one service", variables, [
        Panel("gauge", "Budget left", [(names.REMAINING + _SERVICE, "{{slo}}")],
              "percentunit", 12, 8, steps=_BUDGET),
        Panel("stat", "Share of good calls in the period", [(names.SLI + _SERVICE, "{{slo}}")],
              "percentunit", 12, 8),
        Panel("timeseries", "Burn rate, long windows",
              [(f'max by (slo) ({names.BURN_RATE}{{service=~"$service", window="{w}"}})',
                f"{{{{slo}}}} {w}") for w in ("1h", "6h", "1d")], "short", 12, 9, steps=_BURN),
        Panel("timeseries", "Budget left", [(names.REMAINING + _SERVICE, "{{slo}}")],
              "percentunit", 12, 9, steps=_BUDGET),
        Panel("timeseries", "Calls", [(rate(names.EVENTS), "{{slo}}")], "reqps"),
        Panel("timeseries", "Share of bad calls",
              [(f"{rate(names.BAD_EVENTS)} / {rate(names.EVENTS)}", "{{slo}}")], "percentunit"),
        Panel("timeseries", "Budget lasts", [(names.EXHAUSTION + _SERVICE, "{{slo}}")], "s",
              about="At the speed of now. No line: it is not being spent."),
        Panel("timeseries", "Health scores", [(names.HEALTH + _SERVICE, name)], width=8),
        Panel("timeseries", "Health scores: share of the weight that was measured",
              [(names.HEALTH_COVERAGE + _SERVICE, name)], "percentunit", 8),
        Panel("state-timeline", "Health scores: states",
              [(f"{names.HEALTH_STATE}{_SERVICE} == 1", f"{name} {state}")], width=8),
        Panel("state-timeline", "Rules that hold",
              [(names.FIRING + _SERVICE, "{{slo}} {{severity}}")], width=_WIDTH, height=7,
              steps=_NONE),
    ]  # fmt: skip


def _tocsin() -> tuple[str, list[Data], list[Panel]]:
    late = ((_GREEN, None), (_AMBER, 90.0), (_RED, 180.0))
    return "Tocsin: itself", [], [
        Panel("stat", "Parts that do their work", [(names.READY, "{{part}}")], width=12, height=5,
              steps=((_RED, None), (_GREEN, 1.0))),
        Panel("stat", "Work overdue", [(names.OVERDUE, "")], width=6, height=5, steps=_NONE),
        Panel("stat", "Version", [(f"{names.BUILD}_info", "{{version}}")], width=6, height=5),
        Panel("timeseries", "Evaluation: how far behind", [(names.EVALUATION_LAG, "")], "s",
              steps=late),
        Panel("timeseries", "Evaluation: how long", [(names.EVALUATION, "")], "s"),
        Panel("timeseries", "Failures",
              [(f"rate({names.EVALUATION_FAILURES}_total[$__rate_interval])", "evaluation"),
               (f"rate({names.INGEST_FAILURES}_total[$__rate_interval])", "loading")], "ops"),
        Panel("timeseries", "Intake: how far behind", [(names.INGEST_LAG, "")], "s", steps=late),
        Panel("timeseries", "Intake: waiting", [(names.BACKLOG, "bytes")], "bytes"),
        Panel("timeseries", "Intake: loaded",
              [(f"rate({names.INGESTED}_total[$__rate_interval])", "")], "Bps"),
        Panel("timeseries", "Things to do", [(names.EFFECTS, "{{state}}")], width=12),
        Panel("timeseries", "Memory", [("process_resident_memory_bytes", "{{job}}")], "bytes", 12),
    ]  # fmt: skip


DASHBOARDS: Mapping[str, Callable[[], tuple[str, list[Data], list[Panel]]]] = {
    "overview": _overview,
    "service": _service,
    "tocsin": _tocsin,
}


# --- Grafana's shapes ----------------------------------------------------------------------------


def _placed(panels: Sequence[Panel]) -> list[Data]:
    """Panels in reading order: left to right, a new row where one does not fit any more."""
    found, x, y, tallest = [], 0, 0, 0
    for number, panel in enumerate(panels, start=1):
        if x + panel.width > _WIDTH:
            x, y, tallest = 0, y + tallest, 0
        place = {"x": x, "y": y, "w": panel.width, "h": panel.height}
        found.append({"id": number, "gridPos": place, **_drawn(panel)})
        x, tallest = x + panel.width, max(tallest, panel.height)
    return found


def _drawn(panel: Panel) -> Data:
    is_table = panel.kind == "table"
    is_instant = panel.kind in ("table", "stat", "gauge")
    thresholds = [{"color": colour, "value": value} for colour, value in panel.steps]
    drawn: Data = {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.about,
        "datasource": SOURCE,
        "targets": [
            {
                "refId": chr(ord("A") + place),
                "datasource": SOURCE,
                "expr": expr,
                "legendFormat": legend or "__auto",
                "instant": is_instant,
                "range": not is_instant,
                **({"format": "table"} if is_table else {}),
            }
            for place, (expr, legend) in enumerate(panel.queries)
        ],
        "fieldConfig": {
            "defaults": {
                "unit": panel.unit,
                "color": {"mode": "thresholds" if len(panel.steps) > 1 else "palette-classic"},
                "thresholds": {"mode": "absolute", "steps": thresholds},
            },
            "overrides": [],
        },
        "options": {},
    }
    if is_table:
        hidden = dict.fromkeys(("Time", "__name__", "instance", "job"), True)
        shown = {"excludeByName": hidden, "renameByName": {"Value": panel.title.split(",")[0]}}
        drawn["transformations"] = [{"id": "organize", "options": shown}]
    return drawn


def _source_variable() -> Data:
    return {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Source"}


def _variable(name: str, query: str) -> Data:
    return {
        "name": name,
        "type": "query",
        "label": name.capitalize(),
        "datasource": SOURCE,
        "definition": query,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "includeAll": True,
        "multi": True,
        "sort": 1,
    }
