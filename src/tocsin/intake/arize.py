"""What Arize's SDK sends besides OTLP: tables of spans and predictions, evaluations, annotations.

Tables are Arrow IPC streams whose schema metadata `arize-schema` is a base64 protobuf. Of it are
read: model or project name (1.1), and for predictions the columns of id (4.1), timestamp (4.3),
label (4.4) and score (4.5), and of the truth's label (4.6) and score (4.7). Spans have their own
column names and need no more.

A prediction becomes a call as far as it carries one: its time, latency, cost and status code, and
if it is one of a language model (it has a prompt or tokens among its features and tags) its model,
tokens, prompt, and its label as the answer. Other predictions, and ground truth, become scores
under its id; truth that comes alone, later, is not a call.

Projects and spaces come into being by being named, so every name has an id: its base64.

Source: arize 8.61, recorded requests.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from google.protobuf import empty_pb2
from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet

from tocsin.domain.errors import IntakeError
from tocsin.intake.records import SpanRecord, is_missing, moment_ns, stand_in_id
from tocsin.intake.scoring import Judgements
from tocsin.intake.tables import read_stream
from tocsin.intake.tables import rows as table_rows

_STATUS = {"OK": 1, "ERROR": 2}
_LATENCY_TAGS = ("llm_latency_ms", "latency_ms", "duration_ms")
_COST_TAGS = ("cost_usd", "llm_cost_usd", "cost")
_STATUS_TAGS = ("http_status_code", "status_code", "http_status")
_PROMPT_TAGS = ("user_query", "prompt", "query", "question")
_MODEL_TAGS = ("llm_model_name", "model_name", "model")
_LLM_TAGS = {*_PROMPT_TAGS, "llm_model_name", "total_tokens", "token_usage"}
_LLM_PREFIXES = ("llm_", "prompt_", "completion_")
# Attribute -> the tags that may hold it.
_READ_AS = {
    "gen_ai.usage.cost": _COST_TAGS,
    "http.response.status_code": _STATUS_TAGS,
    "cloud.region": ("region", "geography"),
    "session.id": ("session_id",),
    "user.id": ("user_id",),
}
_READ_AS_OF_LLM = {
    "gen_ai.request.model": _MODEL_TAGS,
    "gen_ai.usage.input_tokens": ("prompt_tokens", "input_tokens", "prompt_token_count"),
    "gen_ai.usage.output_tokens": (
        "completion_tokens", "output_tokens", "response_token_count",
    ),
    "input.value": _PROMPT_TAGS,
}  # fmt: skip
_WHOLE = re.compile(r"-?[0-9]{1,30}")
_FAILED_STATUS = re.compile(r"[4-9][0-9][0-9]")


@dataclass(slots=True)
class Parsed(Judgements):
    """What a request holds. project: its model or project name."""

    project: str = ""
    spans: list[SpanRecord] = field(default_factory=list)
    rows: int = 0


def read_table(body: bytes, now_ns: int) -> Parsed:
    """A body of `POST /v1/pandas_arrow`, or the data of a Flight `DoPut` as one Arrow stream.

    IntakeError 400 for what is not an Arrow stream, or has no columns that are known.
    """
    table = read_stream(body)
    schema = _Schema.parse(table.schema.metadata or {})
    names = set(table.column_names)
    parsed = Parsed(project=schema.project, rows=table.num_rows)
    rows = []
    for row, problem in table_rows(table):
        if problem:
            parsed.reject(problem, row)
        else:
            rows.append(row)
    if "context.span_id" in names:
        for row in rows:
            if "start_time" in names:
                parsed.spans.append(_span(row, schema.project))
            elif not is_missing(row.get("patch_document")):
                _patch(parsed, row)
            _evaluations(parsed, row)
    elif schema.prediction_id in names:
        for row in rows:
            _prediction(parsed, _from_row(row, schema), now_ns)
    else:
        raise IntakeError(
            400,
            "the table has neither a column context.span_id nor the prediction id column that its"
            " arize-schema names",
        )
    _refuse_useless(parsed)
    return parsed


def read_log(document: Any, now_ns: int) -> Parsed:
    """A body of `POST /v1/log`: one prediction as protobuf JSON."""
    if not isinstance(document, dict) or not document.get("prediction_id"):
        raise IntakeError(400, "the body must be an object with model_id and prediction_id")
    parsed = Parsed(project=str(document.get("model_id") or ""), rows=1)
    _prediction(parsed, _from_record(document), now_ns)
    _refuse_useless(parsed)
    return parsed


def _refuse_useless(parsed: Parsed) -> None:
    """IntakeError 400 when there is not one good row: then the sender is wrong, not a row."""
    if parsed.rejected and not parsed.spans and not parsed.scores:
        raise IntakeError(400, parsed.rejected[0].reason)


def read_annotations(document: Any) -> Judgements:
    """A body of `POST /v2/spans/annotate`."""
    notes = document.get("annotations") if isinstance(document, dict) else None
    project = name_of(str(document.get("project_id") or "")) if isinstance(document, dict) else ""
    if not isinstance(notes, list):
        raise IntakeError(400, 'the body must be {"project_id": …, "annotations": [ … ]}')
    found = Judgements()
    for note in notes:
        values = note.get("values") if isinstance(note, dict) else None
        if not isinstance(values, list) or not note.get("record_id"):
            raise IntakeError(400, "every annotation needs record_id and values")
        for value in values:
            if not isinstance(value, dict):
                raise IntakeError(400, "every value of an annotation must be an object")
            found.add(
                note,
                str(value.get("name") or "annotation"),
                score=value.get("score"),
                label=value.get("label"),
                call_id=str(note["record_id"]),
                project=project,
                source="human",
                comment=value.get("text"),
            )
    return found


def id_of(kind: str, name: str) -> str:
    """The id by which Arize's SDK is to call a `Project` or `Space` of this name."""
    return base64.b64encode(f"{kind}:{name}".encode()).decode()


def name_of(resource_id: str) -> str:
    """The name in an id from `id_of`; any other text is its own name."""
    try:
        kind, colon, name = base64.b64decode(resource_id, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return resource_id
    return name if colon and kind == "Project" else resource_id


@dataclass(frozen=True, slots=True)
class _Schema:
    project: str = ""
    prediction_id: str = ""
    timestamp: str = ""
    label: str = ""
    score: str = ""
    actual_label: str = ""
    actual_score: str = ""

    @classmethod
    def parse(cls, metadata: Mapping[bytes, bytes]) -> _Schema:
        try:
            raw = base64.b64decode(metadata.get(b"arize-schema", b""))
            top = _texts(raw)
            constants, columns = _texts(top.get(1, b"")), _texts(top.get(4, b""))
        except (binascii.Error, DecodeError):
            raise IntakeError(400, "the metadata arize-schema of the table is damaged") from None
        return cls(
            project=constants.get(1, b"").decode("utf-8", "replace"),
            prediction_id=columns.get(1, b"").decode("utf-8", "replace"),
            timestamp=columns.get(3, b"").decode("utf-8", "replace"),
            label=columns.get(4, b"").decode("utf-8", "replace"),
            score=columns.get(5, b"").decode("utf-8", "replace"),
            actual_label=columns.get(6, b"").decode("utf-8", "replace"),
            actual_score=columns.get(7, b"").decode("utf-8", "replace"),
        )


@dataclass(frozen=True, slots=True)
class _Prediction:
    id: str
    model: str
    ts: Any
    tags: Mapping[str, Any]
    labels: Mapping[str, tuple[Any, Any]]
    is_call: bool = True


def _texts(raw: bytes) -> dict[int, bytes]:
    """Length-delimited fields of a message, by number; the first of each."""
    fields: dict[int, bytes] = {}
    entries = UnknownFieldSet(empty_pb2.Empty.FromString(raw))
    for place in range(len(entries)):
        entry = entries[place]
        if isinstance(entry.data, bytes):
            fields.setdefault(entry.field_number, entry.data)
    return fields


def _span(row: Mapping[str, Any], project: str) -> SpanRecord:
    start = moment_ns(row.get("start_time"), "start_time")
    end = row.get("end_time")
    span_id = str(row.get("context.span_id") or "")
    return SpanRecord(
        name=str(row.get("name") or ""),
        start_ns=start,
        end_ns=start if is_missing(end) else moment_ns(end, "end_time"),
        trace_id=str(row.get("context.trace_id") or span_id),
        span_id=span_id,
        parent_id="" if is_missing(row.get("parent_id")) else str(row["parent_id"]),
        status=_STATUS.get(str(row.get("status_code") or "").upper(), 0),
        message="" if is_missing(row.get("status_message")) else str(row["status_message"]),
        attributes={
            name.removeprefix("attributes."): value
            for name, value in row.items()
            if name.startswith("attributes.")
        },
        resource={"openinference.project.name": project} if project else {},
        scope="arize.spans",
    )


def _evaluations(parsed: Parsed, row: Mapping[str, Any]) -> None:
    """Columns `eval.<name>.score|label|explanation` and `annotation.<name>.…` as scores."""
    groups: dict[tuple[str, str], dict[str, Any]] = {}
    for column, value in row.items():
        origin, _, rest = column.partition(".")
        name, _, part = rest.rpartition(".")
        if origin in {"eval", "annotation"} and name and not is_missing(value):
            groups.setdefault((origin, name), {})[part] = value
    for (origin, name), parts in groups.items():
        parsed.add(
            {"span": row["context.span_id"], f"{origin}.{name}": parts},
            name,
            score=parts.get("score"),
            label=parts.get("label"),
            call_id=str(row["context.span_id"]),
            trace_id=str(row.get("context.trace_id") or ""),
            project=parsed.project,
            source="human" if origin == "annotation" else "evaluator",
            comment=parts.get("explanation") or row.get("annotation.notes"),
        )


def _patch(parsed: Parsed, row: Mapping[str, Any]) -> None:
    """New metadata of a span that is stored already: kept beside it, under its id."""
    parsed.add(
        row,
        "metadata",
        label="patched",
        call_id=str(row["context.span_id"]),
        project=parsed.project,
        source="metadata",
        comment=row["patch_document"],
    )


def _from_row(row: Mapping[str, Any], schema: _Schema) -> _Prediction:
    predicted, true = (schema.score, schema.label), (schema.actual_score, schema.actual_label)
    own = {schema.prediction_id, schema.timestamp, *predicted, *true}
    return _Prediction(
        id=str(row[schema.prediction_id]),
        model=schema.project,
        ts=row.get(schema.timestamp),
        tags={name: value for name, value in row.items() if name not in own},
        labels={
            "prediction": (row.get(schema.score), row.get(schema.label)),
            "actual": (row.get(schema.actual_score), row.get(schema.actual_label)),
        },
        is_call=any(predicted) or not any(true),
    )


def _from_record(document: Mapping[str, Any]) -> _Prediction:
    prediction = _mapping(document.get("prediction"))
    actual = _mapping(document.get("actual"))
    importances = _mapping(document.get("feature_importances"))
    values = {
        **_mapping(importances.get("feature_importances")),  # where some keep their measurements
        **_mapping(prediction.get("features")),
        **_mapping(prediction.get("tags")),
    }
    return _Prediction(
        id=str(document["prediction_id"]),
        model=str(document.get("model_id") or ""),
        ts=prediction.get("timestamp") or document.get("timestamp"),
        tags={part: held for name, value in values.items() for part, held in _parts(name, value)},
        labels={
            "prediction": _judged(prediction.get("prediction_label")),
            "actual": _judged(actual.get("actual_label")),
        },
        is_call="prediction" in document or "actual" not in document,
    )


def _prediction(parsed: Parsed, item: _Prediction, now_ns: int) -> None:
    labels = dict(item.labels)
    if item.is_call:
        parsed.spans.append(_call(item, labels, now_ns))
    elif all(is_missing(score) and label is None for score, label in labels.values()):
        parsed.reject(
            f"prediction {item.id[:60]!r} tells neither a call nor a label",
            {"id": item.id, **item.tags},
        )
    for name, (score, label) in labels.items():
        if not is_missing(score) or label is not None:
            parsed.add(
                labels, name, score=score, label=label, call_id=item.id, project=item.model,
                source="model",
            )  # fmt: skip


def _call(item: _Prediction, labels: dict[str, tuple[Any, Any]], now_ns: int) -> SpanRecord:
    """The call that a prediction tells of; takes from `labels` what is the call's own answer."""
    ts = now_ns if is_missing(item.ts) else moment_ns(item.ts, "timestamp")
    is_llm = any(name in _LLM_TAGS or name.startswith(_LLM_PREFIXES) for name in item.tags)
    attributes: dict[str, Any] = {
        "openinference.span.kind": "LLM" if is_llm else "CHAIN",
        "gen_ai.response.id": item.id,
        **{name: _first(item.tags, tags) for name, tags in _READ_AS.items()},
    }
    if is_llm:
        attributes |= {name: _first(item.tags, tags) for name, tags in _READ_AS_OF_LLM.items()}
        attributes["output.value"] = labels.pop("prediction")[1]
    status = attributes["http.response.status_code"]
    failed = _FAILED_STATUS.fullmatch(str(status or "")) is not None
    attributes |= {name: value for name, value in item.tags.items() if name not in attributes}
    span_id = stand_in_id(item.model, item.id)
    return SpanRecord(
        name=item.model or "prediction",
        start_ns=ts,
        end_ns=ts + int(_float(_first(item.tags, _LATENCY_TAGS)) * 1e6),
        trace_id=span_id,
        span_id=span_id,
        status=2 if failed else 1,
        attributes=attributes,
        resource={"openinference.project.name": item.model} if item.model else {},
        scope="arize.predictions",
    )


def _judged(label: Any) -> tuple[Any, Any]:
    """(score, category) of a label in protobuf JSON, whatever its kind."""
    value = _mapping(label)
    while len(value) == 1 and isinstance(next(iter(value.values())), dict):
        value = next(iter(value.values()))
    if value and not isinstance(next(iter(value.values())), dict):
        score = value.get("score", value.get("numeric"))
        return score, value.get("category", value.get("label"))
    return None, None


def _parts(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """A feature or tag as attributes: an embedding is the text it is of and `NAME.vector`."""
    embedding = value.get("embedding") if isinstance(value, dict) and len(value) == 1 else None
    if not isinstance(embedding, dict):
        yield name, _unwrapped(value)
        return
    raw = _mapping(embedding.get("rawData", embedding.get("raw_data")))
    tokens = _mapping(raw.get("tokenArray", raw.get("token_array"))).get("tokens")
    if isinstance(tokens, list) and tokens:
        yield name, " ".join(str(token) for token in tokens)
    if embedding.get("vector"):
        yield f"{name}.vector", embedding["vector"]


def _unwrapped(value: Any) -> Any:
    """The value in {"string": x}, {"int": "1"}, {"double": 1.5}; anything else as it is."""
    if isinstance(value, dict) and len(value) == 1:
        kind, held = next(iter(value.items()))
        if kind == "int":
            return int(held) if _WHOLE.fullmatch(str(held)) else held
        if kind in {"string", "double", "bool"}:
            return held
    return value


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _first(tags: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((tags[name] for name in names if not is_missing(tags.get(name))), None)


def _float(value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return 0.0
    return number if 0 < number < 1e12 else 0.0
