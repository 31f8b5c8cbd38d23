"""Redaction before a request is written to the disk, for telemetry whose policy is `strict`.

The same policies as in the store (`tocsin.domain.redaction`), applied to OTLP bodies and to rows of
scores. A field that is dropped here is gone before Tocsin interprets the span: where a finish
reason stands in the answer only, dropping the answer drops it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tocsin.domain.redaction import Policy, Redactions
from tocsin.intake.mending import plain

_SEGMENT = "tocsin.segment."
_REQUESTS = {
    "traces": ExportTraceServiceRequest,
    "logs": ExportLogsServiceRequest,
    "metrics": ExportMetricsServiceRequest,
}
_POINTS = ("gauge", "sum", "histogram", "exponential_histogram", "summary")
# kind of rows -> columns of text. Changes and bills name nobody (`tocsin.store.row_kinds`).
_TEXTS: Mapping[str, tuple[str, ...]] = {
    "scores": ("comment", "label", "annotator"),
    "calls": (
        "name", "error_type", "status_message", "session_id", "user_id", "input", "output",
    ),
}  # fmt: skip


def redacted_body(signal: str, body: bytes, project: str, redactions: Redactions) -> bytes:
    """A screened OTLP body with the telemetry of strict policies redacted.

    project: of the request's header; wins over what resources say.
    """
    request = _REQUESTS[signal]()
    request.MergeFromString(body)
    changed = False
    for _, resources in request.ListFields():
        for resource in resources:
            policy = redactions.of(*_owner(resource.resource.attributes, project))
            if policy.mode == "strict":
                _redact_resource(resource, policy)
                changed = True
    return request.SerializeToString() if changed else body


def redacted_rows(
    kind: str, rows: Sequence[Mapping[str, Any]], redactions: Redactions
) -> list[Mapping[str, Any]]:
    """Rows of a kind (scores, calls, ...), those of strict policies redacted."""
    return [_row(_TEXTS.get(kind, ()), row, redactions) for row in rows]


def _owner(attributes: Any, project: str) -> tuple[str, str]:
    """Project and service of a resource, as `tocsin.store.normalise.resources` finds them."""
    found = {pair.key: str(plain(pair.value)) for pair in attributes}
    service = found.get("service.name", "")
    service = "" if service.startswith("unknown_service") else service
    named = (
        project
        or found.get("openinference.project.name", "")
        or found.get("arize.project.name", "")
        or service
        or found.get("model_id", "")
        or "default"
    )
    return named, service or named


def _redact_resource(resource: Any, policy: Policy) -> None:
    _attributes(resource.resource.attributes, policy, "resource.")
    for field, scopes in resource.ListFields():
        if not field.name.startswith("scope_"):
            continue
        for scope in scopes:
            _attributes(scope.scope.attributes, policy, "resource.")
            for item in (item for held in _repeated(scope) for item in held):
                _ITEMS[item.DESCRIPTOR.name](item, policy)


def _repeated(scope: Any) -> list[Any]:
    return [held for field, held in scope.ListFields() if field.is_repeated]


def _span(span: Any, policy: Policy) -> None:
    _text(span, "name", policy, "name")
    _text(span.status, "message", policy, "status_message")
    _attributes(span.attributes, policy, "attributes.")
    for part in (*span.events, *span.links):
        _attributes(part.attributes, policy, "attributes.")


def _log(record: Any, policy: Policy) -> None:
    if record.HasField("body"):
        _value(record.body, policy, "body")
    _attributes(record.attributes, policy, "attributes.")


def _metric(metric: Any, policy: Policy) -> None:
    for kind in _POINTS:
        if metric.HasField(kind):
            for point in getattr(metric, kind).data_points:
                _attributes(point.attributes, policy, "attributes.")
                for exemplar in getattr(point, "exemplars", ()):
                    _attributes(exemplar.filtered_attributes, policy, "attributes.")


_ITEMS: Mapping[str, Callable[[Any, Policy], None]] = {
    "Span": _span,
    "LogRecord": _log,
    "Metric": _metric,
}


def _attributes(attributes: Any, policy: Policy, prefix: str) -> None:
    for place in range(len(attributes) - 1, -1, -1):
        pair = attributes[place]
        is_segment = pair.key.startswith(_SEGMENT) and prefix == "attributes."
        name = f"dims.{pair.key[len(_SEGMENT) :]}" if is_segment else prefix + pair.key
        if not _value(pair.value, policy, name):
            del attributes[place]


def _value(value: Any, policy: Policy, name: str) -> bool:
    """Redact one value; False when it is to be dropped."""
    which = value.WhichOneof("value")
    if which is None:
        return policy.action(name) != "drop"
    if which == "array_value" and policy.action(name) == "clean":
        for item in value.array_value.values:
            _value(item, policy, name)
        return True
    held = plain(value)
    text = held if isinstance(held, str) else json.dumps(held, ensure_ascii=False)
    treated = policy.treat(name, text)
    if treated is None:
        value.Clear()
        return False
    if treated != text:
        value.string_value = treated
    return True


def _text(owner: Any, field: str, policy: Policy, name: str) -> None:
    text = getattr(owner, field)
    treated = policy.treat(name, text) if text else text
    if treated != text:
        setattr(owner, field, treated or "")


def _row(texts: Sequence[str], row: Mapping[str, Any], redactions: Redactions) -> Mapping[str, Any]:
    policy = redactions.of(str(row.get("project", "")), str(row.get("service", "")))
    if policy.mode != "strict" or not texts:
        return row
    found = dict(row)
    for name in texts:
        if isinstance(found.get(name), str):
            found[name] = policy.treat(name, found[name]) or ""
    for name, prefix in (("dims", "dims."), ("attrs", "attributes."), ("res", "resource.")):
        if isinstance(found.get(name), Mapping):
            treated = {k: policy.treat(prefix + k, str(v)) for k, v in found[name].items()}
            found[name] = {key: text for key, text in treated.items() if text is not None}
    return found
