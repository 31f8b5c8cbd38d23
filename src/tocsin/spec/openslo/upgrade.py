"""Reads OpenSLO v1alpha and v2alpha as the v1 document that says the same.

    v1alpha   timeWindows[{unit, count}]            -> timeWindow[{duration}]
              indicator.thresholdMetric             -> indicator.spec.thresholdMetric
              objectives[*].ratioMetrics            -> indicator.spec.ratioMetric, once for all
              {source, queryType, query}            -> metricSource {type, spec: {queryType: query}}
    v2alpha   sli, sliRef, serviceRef               -> indicator, indicatorRef, service
              dataSourceRef, dataSourceSpec, spec   -> metricSource {metricSourceRef, type, spec}

Every value keeps the line it stands on. What an older version cannot say the same way in v1 stays
as it is, for the check of the v1 document to name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tocsin.spec.openslo.structures import V1, V1ALPHA, V2ALPHA
from tocsin.spec.yaml import Located, Place

_UNITS = {"Day": "d", "Week": "w", "Month": "M", "Quarter": "Q"}
_RENAMED = {"sli": "indicator", "sliRef": "indicatorRef", "serviceRef": "service"}


def modern(document: Located) -> Located:
    """`document` as OpenSLO v1; itself when it is no older or newer OpenSLO."""
    data = document.data
    version = data.get("apiVersion") if isinstance(data, dict) else None
    if version not in (V1ALPHA, V2ALPHA) or not isinstance(data.get("spec"), dict):
        return document
    lines = dict(document.lines)
    rewrite = _Rewrite(lines)
    spec = data["spec"]
    if data.get("kind") == "SLO":
        name = str((data.get("metadata") or {}).get("name", ""))
        spec = rewrite.slo_v1alpha(spec, name) if version == V1ALPHA else rewrite.slo_v2alpha(spec)
    elif data.get("kind") == "SLI":
        spec = rewrite.sli(spec, ("spec",))
    changed = {**data, "apiVersion": V1, "spec": spec}
    return Located(document.file, document.line, changed, lines)


class _Rewrite:
    """Moves values and notes where the lines of what was moved are found."""

    def __init__(self, lines: dict[Place, int]) -> None:
        self._lines = lines

    def slo_v2alpha(self, spec: Mapping[str, Any]) -> dict[str, Any]:
        found = {}
        for name, value in spec.items():
            new = _RENAMED.get(name, name)
            if new != name:
                self._moved(("spec", name), ("spec", new))
            found[new] = value
        inline = found.get("indicator")
        if isinstance(inline, dict) and isinstance(inline.get("spec"), dict):
            at = ("spec", "indicator", "spec")
            found["indicator"] = {**inline, "spec": self.sli(inline["spec"], at)}
        return found

    def sli(self, spec: Mapping[str, Any], at: Place) -> dict[str, Any]:
        """A v2alpha indicator, which stands at `at`."""
        found = dict(spec)
        if isinstance(spec.get("thresholdMetric"), dict):
            found["thresholdMetric"] = self._metric(
                spec["thresholdMetric"], (*at, "thresholdMetric")
            )
        ratio = spec.get("ratioMetric")
        if isinstance(ratio, dict):
            sides = {
                side: self._metric(metric, (*at, "ratioMetric", side))
                for side, metric in ratio.items()
                if isinstance(metric, dict)
            }
            found["ratioMetric"] = {**ratio, **sides}
        return found

    def _metric(self, metric: Mapping[str, Any], at: Place) -> dict[str, Any]:
        source: dict[str, Any] = {}
        for name, value in metric.items():
            if name == "dataSourceRef":
                source["metricSourceRef"] = value
                self._moved((*at, name), (*at, "metricSource", "metricSourceRef"))
            elif name == "dataSourceSpec" and isinstance(value, dict):
                source["type"] = value.get("type", "")
                self._moved((*at, name, "type"), (*at, "metricSource", "type"))
            else:
                source[name] = value
                self._moved((*at, name), (*at, "metricSource", name))
        return {"metricSource": source}

    def slo_v1alpha(self, spec: Mapping[str, Any], name: str) -> dict[str, Any]:
        found = {k: v for k, v in spec.items() if k not in ("timeWindows", "indicator")}
        self._moved(("spec", "timeWindows"), ("spec", "timeWindow"))
        windows = spec.get("timeWindows")
        if isinstance(windows, list):
            found["timeWindow"] = [_window(window) for window in windows]
        sli, objectives = self._indicator_v1alpha(spec)
        if sli:
            found["indicator"] = {"metadata": {"name": f"{name}-sli"}, "spec": sli}
        if objectives is not None:
            found["objectives"] = objectives
        return found

    def _indicator_v1alpha(
        self, spec: Mapping[str, Any]
    ) -> tuple[dict[str, Any], list[Any] | None]:
        """The indicator of an SLO, and its objectives without what became of it."""
        at: Place = ("spec", "indicator", "spec")
        threshold = (spec.get("indicator") or {}).get("thresholdMetric")
        if isinstance(threshold, dict):
            self._moved(("spec", "indicator", "thresholdMetric"), (*at, "thresholdMetric"))
            return {"thresholdMetric": _source(threshold)}, None
        objectives = spec.get("objectives")
        ratios = [
            item["ratioMetrics"]
            for item in objectives or ()
            if isinstance(item, dict) and isinstance(item.get("ratioMetrics"), dict)
        ]
        if not isinstance(objectives, list) or not ratios or any(r != ratios[0] for r in ratios):
            return {}, None
        self._moved(("spec", "objectives", 0, "ratioMetrics"), (*at, "ratioMetric"))
        ratio = {side: _source(ratios[0][side]) for side in ("good", "total") if side in ratios[0]}
        rest = [{k: v for k, v in item.items() if k not in _PER_RATIO} for item in objectives]
        counter = bool(ratios[0].get("incremental", False))
        return {"ratioMetric": {"counter": counter, **ratio}}, rest

    def _moved(self, old: Place, new: Place) -> None:
        """What stood below `old` stands below `new`, on the lines it stood on."""
        for place, line in list(self._lines.items()):
            if place[: len(old)] == old:
                self._lines.setdefault((*new, *place[len(old) :]), line)


# A v1alpha objective has a value even beside a ratio, where it only names the objective.
_PER_RATIO = ("ratioMetrics", "value", "op")


def _window(window: Any) -> Any:
    if not isinstance(window, dict) or window.get("unit") not in _UNITS:
        return window
    rest = {k: v for k, v in window.items() if k not in ("unit", "count")}
    return {"duration": f"{window.get('count')}{_UNITS[window['unit']]}", **rest}


def _source(metric: Any) -> Any:
    if not isinstance(metric, dict):
        return metric
    query = {str(metric.get("queryType")): metric.get("query")}
    return {"metricSource": {"type": metric.get("source"), "spec": query}}
