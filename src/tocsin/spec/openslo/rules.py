"""The rules of OpenSLO's reference validator, document by document.

Where it stops at the first fault of a group, so does this; where it files a fault under a parent's
path, or under a name that the document does not have (`timeWindow` in v1alpha), it is filed there
too: tools compare paths.

Source: OpenSLO/go-sdk ae145da, variables `…Validation`; nobl9/govy, packages govy and rules.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from tocsin.spec.openslo.faults import MAX_DESCRIPTION, Faults, below
from tocsin.spec.openslo.structures import INDICATOR, SERVICE, V1, V1ALPHA, V2ALPHA

_OPERATORS = ("gt", "lt", "gte", "lte")
_METHODS = ("Occurrences", "Timeslices", "RatioTimeslices")
_UNITS = {V1: "mhdwMQY", V2ALPHA: "mhdw"}
_LABEL_KEY = re.compile(r"[a-zA-Z0-9]([-._a-zA-Z0-9]{0,61}[a-zA-Z0-9])?")
_LABEL_VALUE = re.compile(r"([a-z0-9]([-._a-z0-9]{0,61}[a-z0-9])?)?")
_PART = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_ANNOTATION_LENGTH = re.compile(r"(.{0,253}/)?.{0,63}")
_ANNOTATION_KEY = re.compile(rf"({_PART}(\.{_PART})*/)?{_LABEL_KEY.pattern}")
_LETTERS = re.compile(r"[a-zA-Z]*")

Rule = Callable[[Faults, str, Any, str], object]


def judge(document: Any) -> Faults:
    """Everything that is wrong with a decoded document."""
    faults = Faults()
    version, kind = document["apiVersion"], document["kind"]
    metadata(faults, "metadata", document["metadata"], version)
    spec, spec_rule = document["spec"], _SPECS[kind]
    if version == V1ALPHA and kind == "SLO":
        spec_rule = _slo_v1alpha
    is_needed = kind in ("SLO", "AlertCondition") or (
        version == V2ALPHA and kind in ("DataSource", "AlertNotificationTarget")
    )
    if not is_needed or faults.required("spec", spec):
        spec_rule(faults, "spec", spec, version)
    return faults


def metadata(faults: Faults, at: str, data: Any, version: str) -> None:
    """The name, display name, labels and annotations of a document."""
    if not faults.required(at, data):
        return
    if faults.required(below(at, "name"), data["name"]):
        faults.dns_label(below(at, "name"), data["name"])
    if version != V2ALPHA:
        faults.at_most(below(at, "displayName"), data["displayName"], 63)
    for key, value in (data.get("labels") or {}).items():
        path = below(below(at, "labels"), key)
        if version == V1:
            faults.matches(path, key, _LABEL_KEY)
        else:
            faults.qualified_name(path, key)
            faults.matches(path, value, _LABEL_VALUE)
    for key in data.get("annotations") or {}:
        path = below(below(at, "annotations"), key)
        if version == V2ALPHA:
            faults.qualified_name(path, key)
        elif faults.matches(path, key, _ANNOTATION_LENGTH):
            faults.matches(path, key, _ANNOTATION_KEY)


def _service(faults: Faults, at: str, spec: Any, _version: str) -> None:
    faults.described(at, spec)


def _data_source(faults: Faults, at: str, spec: Any, _version: str) -> None:
    faults.described(at, spec)
    faults.required(below(at, "type"), spec["type"])
    faults.required(below(at, "connectionDetails"), spec["connectionDetails"])


def _target(faults: Faults, at: str, spec: Any, _version: str) -> None:
    faults.required(below(at, "target"), spec["target"])
    faults.described(at, spec)


def _condition(faults: Faults, at: str, spec: Any, version: str) -> None:
    faults.described(at, spec)
    faults.required(below(at, "severity"), spec["severity"])
    path, burn = below(at, "condition"), spec["condition"]
    if not faults.required(path, burn):
        return
    kind = below(path, "kind")
    if not (faults.required(kind, burn["kind"]) and faults.one_of(kind, burn["kind"], _BURN)):
        return
    _operator(faults, below(path, "op"), burn["op"])
    _given(faults, below(path, "threshold"), burn["threshold"])
    window = below(path, "lookbackWindow")
    if faults.required(window, burn["lookbackWindow"]):
        faults.duration(window, burn["lookbackWindow"], _UNITS[version])
    after = below(path, "alertAfter")
    if version == V2ALPHA and not faults.required(after, burn["alertAfter"]):
        return
    if burn["alertAfter"] is not None:
        faults.duration(after, burn["alertAfter"], _UNITS[version])


def _policy(faults: Faults, at: str, spec: Any, version: str) -> None:
    faults.described(at, spec)
    path = below(at, "conditions")
    faults.sized(path, spec["conditions"], 1, 1)
    for place, item in enumerate(spec["conditions"] or ()):
        _either(faults, f"{path}[{place}]", item, version, "AlertCondition", "conditionRef")
    path = below(at, "notificationTargets")
    faults.sized(path, spec["notificationTargets"], 1, None)
    for place, item in enumerate(spec["notificationTargets"] or ()):
        _either(faults, f"{path}[{place}]", item, version, "AlertNotificationTarget", "targetRef")


def _either(faults: Faults, at: str, item: Any, version: str, kind: str, reference: str) -> None:
    """A reference or the document itself; the first of its groups with a fault is the last."""
    ref, inline = item["ref"], item["inline"]
    if not faults.exactly_one(at, {reference: _presence(ref), "spec": _presence(inline)}):
        return
    if ref is not None:
        path = below(at, reference)
        if faults.required(path, ref[reference]):
            faults.dns_label(path, ref[reference])
        return
    path = below(at, "kind")
    if faults.required(path, inline["kind"]):
        faults.one_of(path, inline["kind"], (kind,))
    metadata(faults, below(at, "metadata"), inline["metadata"], version)
    path = below(at, "spec")
    if faults.required(path, inline["spec"]):
        _SPECS[kind](faults, path, inline["spec"], version)


def _presence(pointer: Any) -> bool:
    """A pointer counts as given however empty what it points at."""
    return pointer is not None


def _given(faults: Faults, at: str, pointer: Any) -> bool:
    return pointer is not None or faults.add(at, "is required and was empty")


def _operator(faults: Faults, at: str, text: str) -> bool:
    return faults.required(at, text) and faults.one_of(at, text, _OPERATORS)


def _sli(faults: Faults, at: str, spec: Any, version: str) -> None:
    faults.described(at, spec)
    threshold, ratio = spec["thresholdMetric"], spec["ratioMetric"]
    faults.exactly_one(
        at, {"thresholdMetric": _presence(threshold), "ratioMetric": _presence(ratio)}
    )
    if threshold is not None:
        _metric(faults, below(at, "thresholdMetric"), threshold, version)
    if ratio is not None:
        _ratio(faults, below(at, "ratioMetric"), ratio, version)


def _ratio(faults: Faults, at: str, ratio: Any, version: str) -> None:
    there = {name: _presence(ratio[name]) for name in ("total", "raw", "good", "bad")}
    if not faults.exactly_one(at, {name: there[name] for name in ("total", "raw")}):
        return
    rivals = {name: there[name] for name in ("raw", "good", "bad")}
    if not faults.exactly_one(at, rivals, required=False):
        return
    if there["total"]:
        _fraction(faults, at, ratio, version)
        return
    _metric(faults, below(at, "raw"), ratio["raw"], version)
    path = below(at, "rawType")
    if faults.required(path, ratio["rawType"]):
        faults.one_of(path, ratio["rawType"], ("success", "failure"))


def _fraction(faults: Faults, at: str, ratio: Any, version: str) -> None:
    if ratio["good"] is None and ratio["bad"] is None:
        faults.add(at, "one of bad, good must be given")
        return
    for name in ("total", "good", "bad"):
        if ratio[name] is not None:
            before = len(faults.found)
            _metric(faults, below(at, name), ratio[name], version)
            if len(faults.found) > before:
                return


def _metric(faults: Faults, at: str, metric: Any, version: str) -> None:
    if version == V1:
        path, source = below(at, "metricSource"), metric["metricSource"]
        if not faults.required(path, source):
            return
        if source["metricSourceRef"]:
            faults.dns_label(below(path, "metricSourceRef"), source["metricSourceRef"])
        path, free = below(path, "spec"), source["spec"]
        if faults.required(path, free):
            faults.sized(path, list(free), 1, None)
        return
    ref, source = metric["dataSourceRef"], metric["dataSourceSpec"]
    faults.exactly_one(at, {"dataSourceRef": ref, "dataSourceSpec": _presence(source)})
    if ref:
        faults.dns_label(below(at, "dataSourceRef"), ref)
    if source is not None:
        _data_source(faults, below(at, "dataSourceSpec"), source, version)


def _slo(faults: Faults, at: str, spec: Any, version: str) -> None:
    sli = INDICATOR[version]
    is_composite = any(_has_indicator(objective, sli) for objective in spec["objectives"] or ())
    if is_composite == _has_indicator(spec, sli):
        faults.add(at, f"{sli} or {sli}Ref must stand in spec or in its objectives, not in both")
    _indicator(faults, at, spec, version)
    faults.described(at, spec)
    service = below(at, SERVICE[version])
    faults.required(service, spec[SERVICE[version]])
    _method(faults, at, spec, _METHODS)
    path = below(at, "timeWindow")
    faults.sized(path, spec["timeWindow"], 1, 1)
    for place, window in enumerate(spec["timeWindow"] or ()):
        _window(faults, f"{path}[{place}]", window, version)
    path = below(at, "alertPolicies")
    for place, item in enumerate(spec["alertPolicies"] or ()):
        _either(faults, f"{path}[{place}]", item, version, "AlertPolicy", "alertPolicyRef")
    for place, objective in enumerate(spec["objectives"] or ()):
        path = f"{below(at, 'objectives')}[{place}]"
        _objective(faults, path, objective, spec, version)
        if is_composite:
            _indicator(faults, path, objective, version)
            weight = objective["compositeWeight"]
            if weight is not None:
                faults.within(below(path, "compositeWeight"), weight, above=0)


def _method(faults: Faults, at: str, spec: Any, methods: tuple[str, ...]) -> None:
    path = below(at, "budgetingMethod")
    if faults.required(path, spec["budgetingMethod"]):
        faults.one_of(path, spec["budgetingMethod"], methods)


def _has_indicator(owner: Any, sli: str) -> bool:
    return owner[sli] is not None or owner[f"{sli}Ref"] is not None


def _indicator(faults: Faults, at: str, owner: Any, version: str) -> None:
    """The indicator inside an SLO or an objective, or the reference to one."""
    sli = INDICATOR[version]
    inline, ref = owner[sli], owner[f"{sli}Ref"]
    if not _has_indicator(owner, sli):
        return
    both = {sli: _presence(inline), f"{sli}Ref": _presence(ref)}
    if not faults.exactly_one(at, both):
        return
    if inline is not None:
        metadata(faults, f"{below(at, sli)}.metadata", inline["metadata"], version)
        _sli(faults, f"{below(at, sli)}.spec", inline["spec"], version)
    else:
        faults.dns_label(below(at, f"{sli}Ref"), ref)


def _objective(faults: Faults, at: str, objective: Any, spec: Any, version: str) -> None:
    target, percent = objective["target"], objective["targetPercent"]
    faults.exactly_one(at, {"target": _presence(target), "targetPercent": _presence(percent)})
    if target is not None:
        faults.within(below(at, "target"), target, least=0, below=1)
    if percent is not None:
        faults.within(below(at, "targetPercent"), percent, least=0, below=100)
    _slices(faults, at, objective, spec["budgetingMethod"], version)
    inline = spec[INDICATOR[version]]
    if inline is None:
        return
    if inline["spec"]["ratioMetric"] is not None:
        if objective["value"] is not None:
            faults.add(below(at, "value"), "is forbidden: the indicator is a ratio")
        if objective["op"]:
            faults.add(below(at, "op"), "is forbidden: the indicator is a ratio")
    if inline["spec"]["thresholdMetric"] is not None:
        _given(faults, below(at, "value"), objective["value"])
        _operator(faults, below(at, "op"), objective["op"])


def _slices(faults: Faults, at: str, objective: Any, method: str, version: str) -> None:
    share, window = objective["timeSliceTarget"], objective["timeSliceWindow"]
    if method == "Timeslices" and _given(faults, below(at, "timeSliceTarget"), share):
        faults.within(below(at, "timeSliceTarget"), share, above=0, most=1)
    if method != "Occurrences" and method in _METHODS:
        path = below(at, "timeSliceWindow")
        if _given(faults, path, window):
            faults.duration(path, window, _UNITS[version])


def _window(faults: Faults, at: str, window: Any, version: str) -> None:
    _rolls_or_not(faults, at, window)
    path = below(at, "duration")
    if faults.required(path, window["duration"]):
        faults.duration(path, window["duration"], _UNITS[version])
    _calendar(faults, below(at, "calendar"), window["calendar"])


def _rolls_or_not(faults: Faults, at: str, window: Any) -> None:
    if window["isRolling"] == (window["calendar"] is not None):
        faults.add(at, "calendar must be given when isRolling is false, and only then")


def _calendar(faults: Faults, at: str, calendar: Any) -> None:
    if calendar is not None:
        faults.date_time(below(at, "startTime"), calendar["startTime"])
        faults.time_zone(below(at, "timeZone"), calendar["timeZone"])


# Version v1alpha


def _slo_v1alpha(faults: Faults, at: str, spec: Any, _version: str) -> None:
    has_ratio = any(item["ratioMetrics"] is not None for item in spec["objectives"] or ())
    if has_ratio == (spec["indicator"] is not None):
        faults.add(at, "either indicator or ratioMetrics of objectives must be given")
        return
    faults.described(at, spec)
    faults.required(below(at, "service"), spec["service"])
    if spec["indicator"] is not None:
        path = f"{below(at, 'indicator')}.thresholdMetric"
        _query(faults, path, spec["indicator"]["thresholdMetric"])
    _method(faults, at, spec, _METHODS[:2])
    path = below(at, "timeWindow")
    faults.sized(path, spec["timeWindows"], 1, 1)
    for place, window in enumerate(spec["timeWindows"] or ()):
        _window_v1alpha(faults, f"{path}[{place}]", window)
    for place, objective in enumerate(spec["objectives"] or ()):
        path = f"{below(at, 'objectives')}[{place}]"
        _objective_v1alpha(faults, path, objective, spec["budgetingMethod"])


def _window_v1alpha(faults: Faults, at: str, window: Any) -> None:
    _rolls_or_not(faults, at, window)
    unit = below(at, "unit")
    if faults.required(unit, window["unit"]):
        faults.one_of(unit, window["unit"], ("Second", "Day", "Week", "Month", "Quarter"))
    faults.within(below(at, "count"), window["count"], above=0)
    _calendar(faults, below(at, "calendar"), window["calendar"])


def _objective_v1alpha(faults: Faults, at: str, objective: Any, method: str) -> None:
    faults.at_most(below(at, "displayName"), objective["displayName"], MAX_DESCRIPTION)
    ratio, share = objective["ratioMetrics"], objective["timeSliceTarget"]
    if ratio is not None:
        for name in ("good", "total"):
            _query(faults, f"{below(at, 'ratioMetrics')}.{name}", ratio[name])
    _given(faults, below(at, "value"), objective["value"])
    if _given(faults, below(at, "target"), objective["target"]):
        faults.within(below(at, "target"), objective["target"], least=0, below=1)
    if ratio is None:
        _operator(faults, below(at, "op"), objective["op"])
    elif objective["op"]:
        faults.add(below(at, "op"), "is forbidden: the objective is a ratio")
    if method == "Timeslices" and _given(faults, below(at, "timeSliceTarget"), share):
        faults.within(below(at, "timeSliceTarget"), share, least=0, most=1)


def _query(faults: Faults, at: str, source: Any) -> None:
    if not faults.required(at, source):
        return
    for name in ("source", "queryType"):
        if faults.required(below(at, name), source[name]):
            faults.matches(below(at, name), source[name], _LETTERS)
    if faults.required(below(at, "query"), source["query"]) and not source["query"].strip():
        faults.add(below(at, "query"), "must not be blank")


_BURN = ("burnrate",)
_SPECS: dict[str, Rule] = {
    "Service": _service,
    "SLO": _slo,
    "SLI": _sli,
    "DataSource": _data_source,
    "AlertPolicy": _policy,
    "AlertCondition": _condition,
    "AlertNotificationTarget": _target,
}
