"""The structures of OpenSLO's documents, by version and kind, as the reference declares them.

Three versions: `openslo/v1alpha` (two kinds), `openslo/v1` and `openslo.com/v2alpha` (seven each,
which differ in a few names, and in that v2alpha has neither display names nor labels with several
values).

Source: OpenSLO/go-sdk ae145da, packages v1alpha, v1, v2alpha.
"""

from __future__ import annotations

from tocsin.spec.openslo.decoding import (
    NUMBER,
    TEXT,
    TRUTH,
    WHOLE,
    Anything,
    Duration,
    List,
    Map,
    Pointer,
    Raw,
    Struct,
    Texts,
    Type,
    one_of,
)

V1ALPHA, V1, V2ALPHA = "openslo/v1alpha", "openslo/v1", "openslo.com/v2alpha"
VERSIONS = (V1ALPHA, V1, V2ALPHA)
KINDS = (
    "SLO", "SLI", "DataSource", "Service", "AlertPolicy", "AlertCondition",
    "AlertNotificationTarget",
)  # fmt: skip

VERSION, KIND = one_of("version", VERSIONS), one_of("kind", KINDS)
HEAD = {"apiVersion": VERSION, "kind": KIND}
_DESCRIBED = {"description": TEXT}
_TIME = Duration()
_CALENDAR = Pointer(Struct({"startTime": TEXT, "timeZone": TEXT}))
_FREE = Map(Anything())

_METADATA = {
    V1ALPHA: Struct({"name": TEXT, "displayName": TEXT}),
    V1: Struct(
        {"name": TEXT, "displayName": TEXT, "labels": Map(Texts()), "annotations": Map(TEXT)}
    ),
    V2ALPHA: Struct({"name": TEXT, "labels": Map(TEXT), "annotations": Map(TEXT)}),
}
_DATA_SOURCE = Struct({**_DESCRIBED, "type": TEXT, "connectionDetails": Raw()})
_METRIC = {
    V1: Struct({"metricSource": Struct({"metricSourceRef": TEXT, "type": TEXT, "spec": _FREE})}),
    V2ALPHA: Struct(
        {"dataSourceRef": TEXT, "dataSourceSpec": Pointer(_DATA_SOURCE), "spec": _FREE}
    ),
}
# What an SLO calls its indicator and its service.
INDICATOR = {V1: "indicator", V2ALPHA: "sli"}
SERVICE = {V1: "service", V2ALPHA: "serviceRef"}


def _document(version: str, spec: Type) -> Struct:
    return Struct({**HEAD, "metadata": _METADATA[version], "spec": spec})


def _inline(version: str, spec: Type) -> Struct:
    return Struct({"kind": KIND, "metadata": _METADATA[version], "spec": spec})


def _either(version: str, reference: str, spec: Type) -> Struct:
    """A reference by name, or the document itself without its version."""
    return Struct({}, {"ref": Struct({reference: TEXT}), "inline": _inline(version, spec)})


def _sli(version: str) -> Struct:
    metric = Pointer(_METRIC[version])
    ratio = Struct({
        "counter": TRUTH, "good": metric, "bad": metric, "total": metric, "rawType": TEXT,
        "raw": metric,
    })  # fmt: skip
    return Struct({**_DESCRIBED, "thresholdMetric": metric, "ratioMetric": Pointer(ratio)})


def _condition(version: str) -> Struct:
    after: Type = Pointer(_TIME) if version == V1 else _TIME
    burn = Struct({
        "kind": TEXT, "op": TEXT, "threshold": Pointer(NUMBER), "lookbackWindow": _TIME,
        "alertAfter": after,
    })  # fmt: skip
    return Struct({"severity": TEXT, "condition": burn, **_DESCRIBED})


_TARGET = Struct({**_DESCRIBED, "target": TEXT})


def _policy(version: str) -> Struct:
    return Struct({
        **_DESCRIBED, "alertWhenNoData": TRUTH, "alertWhenBreaching": TRUTH,
        "alertWhenResolved": TRUTH,
        "conditions": List(_either(version, "conditionRef", _condition(version))),
        "notificationTargets": List(_either(version, "targetRef", _TARGET)),
    })  # fmt: skip


def _slo(version: str) -> Struct:
    sli = INDICATOR[version]
    indicator: dict[str, Type] = {
        sli: Pointer(Struct({"metadata": _METADATA[version], "spec": _sli(version)})),
        f"{sli}Ref": Pointer(TEXT),
    }
    objective = Struct({
        "displayName": TEXT, "op": TEXT, "value": Pointer(NUMBER), "target": Pointer(NUMBER),
        "targetPercent": Pointer(NUMBER), "timeSliceTarget": Pointer(NUMBER),
        "timeSliceWindow": Pointer(_TIME), **indicator, "compositeWeight": Pointer(NUMBER),
    })  # fmt: skip
    window = Struct({"duration": _TIME, "isRolling": TRUTH, "calendar": _CALENDAR})
    return Struct({
        **_DESCRIBED, SERVICE[version]: TEXT, **indicator, "budgetingMethod": TEXT,
        "timeWindow": List(window), "objectives": List(objective),
        "alertPolicies": List(_either(version, "alertPolicyRef", _policy(version))),
    })  # fmt: skip


def _slo_v1alpha() -> Struct:
    source = Struct({"source": TEXT, "queryType": TEXT, "query": TEXT})
    ratio = Struct({"good": source, "total": source, "incremental": TRUTH})
    objective = Struct({
        "displayName": TEXT, "value": Pointer(NUMBER), "ratioMetrics": Pointer(ratio),
        "target": Pointer(NUMBER), "timeSliceTarget": Pointer(NUMBER), "op": TEXT,
    })  # fmt: skip
    window = Struct({"unit": TEXT, "count": WHOLE, "isRolling": TRUTH, "calendar": _CALENDAR})
    return Struct({
        "timeWindows": List(window), "budgetingMethod": TEXT, **_DESCRIBED,
        "indicator": Pointer(Struct({"thresholdMetric": source})), "service": TEXT,
        "objectives": List(objective),
    })  # fmt: skip


DOCUMENTS = {
    (V1ALPHA, "Service"): _document(V1ALPHA, Struct(_DESCRIBED)),
    (V1ALPHA, "SLO"): _document(V1ALPHA, _slo_v1alpha()),
    **{
        (version, kind): _document(version, spec)
        for version in (V1, V2ALPHA)
        for kind, spec in {
            "Service": Struct(_DESCRIBED),
            "SLO": _slo(version),
            "SLI": _sli(version),
            "DataSource": _DATA_SOURCE,
            "AlertPolicy": _policy(version),
            "AlertCondition": _condition(version),
            "AlertNotificationTarget": _TARGET,
        }.items()
    },
}
