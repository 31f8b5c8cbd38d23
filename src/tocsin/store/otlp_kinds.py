"""The kinds of segment that hold telemetry from outside, and the tables only they fill.

Logs and metric points are kept beside the calls, never added to them: content that arrives as log
events is joined by trace and span id, and metrics are cumulative histograms of the very calls that
spans report one by one. A point keeps its start time, its series and its counts as they came, so
that a reader can take differences and see resets (`tocsin.store.metrics`). A start time of 1970
means that the sender does not know it. Points that say "no value was recorded" give no row.
"""

# ruff: noqa: S608 (SQL text is put together from names of this package)

from __future__ import annotations

from collections.abc import Mapping

from tocsin.domain.redaction import Redactions
from tocsin.store import normalise
from tocsin.store.attributes import Names, codebook
from tocsin.store.kinds import SegmentKind
from tocsin.store.otlp import (
    LOGS_ENVELOPE,
    METRICS_ENVELOPE,
    TRACES_ENVELOPE,
    parse_settings,
)
from tocsin.store.redaction import BUILT_IN, CALL_TEXTS, Texts, redacted
from tocsin.store.schema import CALLS, LC, MICROS, Column, Table
from tocsin.store.sqltext import derived, layer, quoted, same
from tocsin.store.wrappers import segment_facts, wrapper_note

# Measured on this SELECT: the layers keep the engine from computing a name more than once only if
# they are not merged into one, evaluating lazily copies the attribute arrays at every branch, the
# chain optimiser takes 0.4 s a segment, and the condition cache spends 3 s on naming one filter.
# Nothing here relies on lazy evaluation.
PLANNING = {
    "query_plan_merge_expressions": "0",
    "short_circuit_function_evaluation": "disable",
    "optimize_and_compare_chain": "0",
    "use_query_condition_cache": "0",
}


def kinds(redactions: Redactions = BUILT_IN) -> tuple[SegmentKind, ...]:
    """The kinds of segment that hold OTLP, their texts redacted by `redactions`."""
    return traces(redactions=redactions), logs(redactions), metrics(redactions)


def traces(
    dimensions: Mapping[str, str] | None = None, redactions: Redactions = BUILT_IN
) -> SegmentKind:
    """The kind of segment that holds spans.

    dimensions: name of a declared dimension -> span attribute it is read from; an attribute
    `metadata.x` is the key x of OpenInference's metadata. `region` and every attribute
    `tocsin.segment.<name>` are dimensions without being declared.
    """
    extra: dict[str, Names] = {}
    texts: dict[str, str] = {}
    for place, (name, attribute) in enumerate((dimensions or {}).items()):
        if attribute.startswith("metadata."):
            key = quoted(attribute.removeprefix("metadata."))
            texts[name] = (
                f"if(startsWith(a_metadata, '{{'), JSONExtractString(a_metadata, {key}), '')"
            )
        else:
            extra[f"d_{place}"] = Names(((attribute,),))
            texts[name] = f"d_{place}"
    book = codebook(extra)
    rows = normalise.spans(book, "{source}")
    known = normalise.judged(book)
    plain = {**known, **normalise.calls(book, texts)}
    careful = {
        **known,
        "note": wrapper_note("segment_facts"),
        **normalise.calls(book, texts, kind="if(note = '', own_kind, 'chain')", note="note"),
    }
    return SegmentKind(
        name="traces",
        table="calls",
        time="ts",
        format="Protobuf",
        structure=TRACES_ENVELOPE.columns,
        settings=parse_settings(TRACES_ENVELOPE) | PLANNING,
        select=redacted(
            derived(rows, normalise.SPAN, plain, CALLS.names),
            CALLS,
            CALL_TEXTS,
            redactions,
        ),
        columns=CALLS.names,
        careful_select=redacted(
            f"WITH {segment_facts(book)} AS segment_facts\n"
            + derived(rows, normalise.SPAN, careful, CALLS.names),
            CALLS,
            CALL_TEXTS,
            redactions,
        ),
    )


_ZSTD = "ZSTD(1)"
_SHARED = (
    Column("project", LC),
    Column("service", LC),
    Column("ts", MICROS, "Delta(8), ZSTD(1)"),
)
_ENDS = (
    Column("attrs", f"Map({LC}, String)", _ZSTD),
    Column("res", f"Map({LC}, {LC})", _ZSTD),
    Column("seg", "UInt64", _ZSTD),
    Column("recv", MICROS, "Delta(8), ZSTD(1)"),
)

LOG_RECORDS = Table(
    "logs",
    (
        *_SHARED,
        Column("scope", LC),
        Column("event", LC),
        Column("severity", LC),
        Column("trace_id", "String", _ZSTD),
        Column("span_id", "String", _ZSTD),
        Column("body", "String", _ZSTD),
        *_ENDS,
    ),
    ("project", "service", "ts"),
    "ts",
    "toYYYYMMDD(ts)",
    ("INDEX by_trace trace_id TYPE bloom_filter(0.01) GRANULARITY 4",),
)
METRIC_POINTS = Table(
    "metric_points",
    (
        *_SHARED,
        Column("scope", LC),
        Column("metric", LC),
        Column("unit", LC),
        Column("type", LC),
        Column("temporality", "UInt8"),
        Column("monotonic", "UInt8"),
        Column("start", MICROS, "Delta(8), ZSTD(1)"),
        Column("value", "Float64", _ZSTD),
        Column("count", "UInt64", _ZSTD),
        Column("bounds", "Array(Float64)", _ZSTD),
        Column("counts", "Array(UInt64)", _ZSTD),
        Column("scale", "Int32", _ZSTD),
        Column("zeros", "UInt64", _ZSTD),
        Column("offset", "Int32", _ZSTD),
        Column("negative_offset", "Int32", _ZSTD),
        Column("negatives", "Array(UInt64)", _ZSTD),
        Column("quantiles", "Array(Float64)", _ZSTD),
        Column("quantile_values", "Array(Float64)", _ZSTD),
        *_ENDS,
    ),
    ("project", "service", "metric", "ts"),
    "ts",
    "toYYYYMMDD(ts)",
)

_LOG_TEXTS = Texts({"body": "body"}, {"attrs": "attributes.", "res": "resource."})
_POINT_TEXTS = Texts({}, {"attrs": "attributes.", "res": "resource."})

# A record that carries no time, or one years away, is filed under the time it came.
_FAR_NS = 400 * 86_400 * 1_000_000_000
_AHEAD_NS = 600 * 1_000_000_000


def _filed(nanoseconds: str) -> str:
    usable = f"{nanoseconds} + {_FAR_NS} > recv_ns AND {nanoseconds} < recv_ns + {_AHEAD_NS}"
    return normalise.instant(f"if({usable}, {nanoseconds}, recv_ns)")


def _logs() -> str:
    named = {
        "told": "if(item.t > 0, item.t, item.observed)",
        "ts": _filed("told"),
        "event": "if(empty(item.event_name), attrs['event.name'], item.event_name)",
        "severity": "if(empty(item.severity_text), toString(item.severity_number),"
        " item.severity_text)",
        "trace_id": "lower(hex(item.trace_id))",
        "span_id": "lower(hex(item.span_id))",
        "body": normalise.value_text("item.body"),
        "attrs": normalise.text_map("item.attributes"),
        "seg": "toUInt64({seg})",
        "recv": normalise.instant("recv_ns"),
    }
    return derived(normalise.members("records", "{source}"), _GIVEN, named, LOG_RECORDS.names)


def logs(redactions: Redactions = BUILT_IN) -> SegmentKind:
    """The kind of segment that holds log records."""
    return SegmentKind(
        name="logs",
        table="logs",
        time="ts",
        format="Protobuf",
        structure=LOGS_ENVELOPE.columns,
        settings=parse_settings(LOGS_ENVELOPE) | PLANNING,
        select=redacted(_logs(), LOG_RECORDS, _LOG_TEXTS, redactions),
        columns=LOG_RECORDS.names,
    )


def metrics(redactions: Redactions = BUILT_IN) -> SegmentKind:
    """The kind of segment that holds data points of metrics."""
    return SegmentKind(
        name="metrics",
        table="metric_points",
        time="ts",
        format="Protobuf",
        structure=METRICS_ENVELOPE.columns,
        settings=parse_settings(METRICS_ENVELOPE) | PLANNING,
        select=redacted(_metrics(), METRIC_POINTS, _POINT_TEXTS, redactions),
        columns=METRIC_POINTS.names,
    )


# What a point of each type holds of what only some have; nothing of the rest. Field number 10 and
# 11 of a metric are the exponential histogram and the summary.
_DETAILS = {
    "value": "toFloat64(0)",
    "count": "toUInt64(0)",
    "bounds": "CAST([], 'Array(Float64)')",
    "counts": "CAST([], 'Array(UInt64)')",
    "scale": "toInt32(0)",
    "zeros": "toUInt64(0)",
    "offset": "toInt32(0)",
    "negative_offset": "toInt32(0)",
    "negatives": "CAST([], 'Array(UInt64)')",
    "quantiles": "CAST([], 'Array(Float64)')",
    "quantile_values": "CAST([], 'Array(Float64)')",
}
_NUMBER = {"value": "if(p.d != 0, p.d, toFloat64(p.i))"}
_COUNTED = {"value": "p.sum", "count": "p.count"}
_POINTS: Mapping[str, Mapping[str, str]] = {
    "gauge": _NUMBER,
    "sum": _NUMBER,
    "histogram": {**_COUNTED, "bounds": "p.bounds", "counts": "p.counts"},
    "exponential": {
        **_COUNTED,
        "counts": "p.positive.counts",
        "scale": "p.scale",
        "zeros": "p.zeros",
        "offset": "p.positive.offset",
        "negative_offset": "p.negative.offset",
        "negatives": "p.negative.counts",
    },
    "summary": {
        **_COUNTED,
        "quantiles": "p.quantiles.q",
        "quantile_values": "p.quantiles.v",
    },
}
_CUMULATIVE = 2
_NO_RECORDED_VALUE = 1  # a flag of a point


def _metrics() -> str:
    """One row per data point of every type of metric."""
    points = ", ".join(_typed_points(kind, given) for kind, given in _POINTS.items())
    context = same(*_GIVEN[:-1])
    # A summary has no temporality: its count and sum go on since the start time.
    temporality = (
        f"toUInt8(if(notEmpty(item.summary.points), {_CUMULATIVE},"
        " greatest(item.sum.temporality, item.histogram.temporality,"
        " item.exponential.temporality)))"
    )
    rows = layer(
        {
            **context,
            "metric": "item.name",
            "unit": "item.unit",
            "temporality": temporality,
            "monotonic": "item.sum.monotonic",
            "points": f"arrayConcat({points})",
        },
        normalise.members("metrics", "{source}"),
    )
    given = (*context, "metric", "unit", "temporality", "monotonic", "point")
    joined = f"SELECT {', '.join(given)} FROM (\n{rows}\n) ARRAY JOIN points AS point"
    named = {
        "type": "point.1",
        "start": _started("point.2"),
        "ts": _filed("point.3"),
        "labels": "point.4",
        "attrs": normalise.text_map("labels"),
        **{name: f"point.{place}" for place, name in enumerate(_DETAILS, start=5)},
        "seg": "toUInt64({seg})",
        "recv": normalise.instant("recv_ns"),
    }
    return derived(joined, given, named, METRIC_POINTS.names)


def _typed_points(kind: str, given: Mapping[str, str]) -> str:
    """SQL: the points of one type, as tuples that are alike for all types."""
    values = ", ".join({**_DETAILS, **given}.values())
    told = f"arrayFilter(p -> bitAnd(p.flags, {_NO_RECORDED_VALUE}) = 0, item.{kind}.points)"
    return f"arrayMap(p -> ('{kind}', p.t0, p.t1, p.attributes, {values}), {told})"


def _started(nanoseconds: str) -> str:
    """SQL: the start of a series as it was told; 1970, which is unknown, for one in the future."""
    return normalise.instant(f"if({nanoseconds} < recv_ns + {_AHEAD_NS}, {nanoseconds}, 0)")


_GIVEN = ("recv_ns", "project", "service", "env", "release", "res", "scope", "item")

KINDS = kinds()
TABLES = (LOG_RECORDS, METRIC_POINTS)
