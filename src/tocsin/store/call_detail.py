"""One call with all that is kept about it: its texts, attributes, events, log records and scores.

Instrumentations put prompts and answers into attributes of the span, whole or message by message,
or into log records beside it, which arrive in requests of their own, before the span or after it.
Log records are joined by trace and span id when a call is read, so the order in which they came
does not matter.

Source: OpenTelemetry semantic conventions for GenAI, "Events", as recorded from opentelemetry
instrumentations of OpenAI: `gen_ai.<role>.message` and `gen_ai.choice` (a body each), and
`gen_ai.client.inference.operation.details` (attributes).
"""

# ruff: noqa: S608 (SQL text is put together from names of this package; values are parameters)

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tocsin.domain.calls import Call
from tocsin.store.clickhouse import DATABASE, ClickHouse
from tocsin.store.reads import CALL_COLUMNS, call_of
from tocsin.store.schema import SCORE_VERSION

_MOST = 500  # log records, and scores, that are read of one call
_DETAILS = "gen_ai.client.inference.operation.details"
_CHOICE = "gen_ai.choice"
_PART = re.compile(
    r"(?P<side>gen_ai\.prompt|gen_ai\.completion|llm\.input_messages|llm\.output_messages)"
    r"\.(?P<place>\d{1,6})\.(?:message\.)?(?P<part>role|content|tool_calls\..+)$"
)
_ANSWERS = ("gen_ai.completion", "llm.output_messages")


@dataclass(frozen=True, slots=True)
class Note:
    """Something said at a moment of a call: an event of its span or a log record. body: text."""

    ts: datetime
    name: str
    body: str
    attributes: Mapping[str, str]
    severity: str = ""


@dataclass(frozen=True, slots=True)
class Judgement:
    """A score of a call as it holds. value: None when there is only a label."""

    ts: datetime
    name: str
    value: float | None
    label: str
    source: str
    comment: str


@dataclass(frozen=True, slots=True)
class CallDetail:
    """A call and all about it. input, output: text, mostly JSON; "" when nobody sent it.

    content_from: where they come from, `span` or `log records`; "" when there are none.
    """

    call: Call
    input: str
    output: str
    content_from: str
    attributes: Mapping[str, str]
    resource: Mapping[str, str]
    events: Sequence[Note]
    logs: Sequence[Note]
    scores: Sequence[Judgement]


def call_detail(engine: ClickHouse, trace_id: str, span_id: str) -> CallDetail | None:
    """The call of this span, None when there is none. Ids: hex as the calls have them."""
    ids = {"trace": trace_id.lower(), "span": span_id.lower()}
    found = engine.records(
        f"SELECT {CALL_COLUMNS}, input, output, attrs, res, ev_name, ev_ts, ev_attrs"
        f" FROM {DATABASE}.calls WHERE trace_id = {{trace:String}} AND span_id = {{span:String}}"
        " ORDER BY recv DESC LIMIT 1",
        ids,
    )
    if not found:
        return None
    [row] = found
    texts = row.pop("input"), row.pop("output")
    attributes, resource = row.pop("attrs"), row.pop("res")
    events = [
        Note(ts.replace(tzinfo=UTC), name, "", told)
        for name, ts, told in zip(
            row.pop("ev_name"), row.pop("ev_ts"), row.pop("ev_attrs"), strict=True
        )
    ]
    logs = _logs(engine, ids)
    texts = texts if any(texts) else flattened(attributes)
    asked, answered = texts if any(texts) else content(logs)
    source = "span" if any(texts) else "log records" if asked or answered else ""
    scores = _scores(engine, ids["span"], row["response_id"], row["project"])
    return CallDetail(
        call_of(row), asked, answered, source, attributes, resource, events, logs, scores
    )


def flattened(attributes: Mapping[str, str]) -> tuple[str, str]:
    """Input and output of a call whose messages are spread over attributes, one for each part."""
    sides: tuple[dict[int, dict[str, str]], ...] = ({}, {})
    for name, value in attributes.items():
        found = _PART.match(name)
        if found is not None:
            side = sides[found["side"] in _ANSWERS]
            side.setdefault(int(found["place"]), {})[found["part"]] = value
    asked, answered = ([side[place] for place in sorted(side)] for side in sides)
    return _written(asked), _written(answered)


def content(logs: Sequence[Note]) -> tuple[str, str]:
    """Input and output of a call as its log records tell them: a JSON list of messages each."""
    told: tuple[list[Any], list[Any]] = ([], [])
    for note in logs:
        if note.name == _DETAILS:
            told[0].extend(_listed(note.attributes.get("gen_ai.system_instructions", "")))
            told[0].extend(_listed(note.attributes.get("gen_ai.input.messages", "")))
            told[1].extend(_listed(note.attributes.get("gen_ai.output.messages", "")))
        elif note.name == _CHOICE and note.body:
            told[1].append(_read(note.body))
        elif note.body and note.name.startswith("gen_ai.") and note.name.endswith(".message"):
            role = note.name.removeprefix("gen_ai.").removesuffix(".message")
            message = _read(note.body)
            told[0].append({"role": role, **message} if isinstance(message, dict) else message)
    return _written(told[0]), _written(told[1])


def _logs(engine: ClickHouse, ids: Mapping[str, str]) -> list[Note]:
    rows = engine.records(
        f"SELECT ts, event, severity, body, attrs FROM {DATABASE}.logs"
        " WHERE trace_id = {trace:String} AND span_id = {span:String}"
        f" ORDER BY ts LIMIT {_MOST}",
        ids,
    )
    return [
        Note(r["ts"].replace(tzinfo=UTC), r["event"], r["body"], r["attrs"], r["severity"])
        for r in rows
    ]


def _scores(engine: ClickHouse, span_id: str, response_id: str, project: str) -> list[Judgement]:
    """The version that holds of every score about this span, or about its response."""
    rows = engine.records(
        "SELECT ts, name, value, isNaN(value) AS no_value, label, source, comment FROM"
        f" (SELECT * FROM {DATABASE}.scores WHERE call_id = {{span:String}}"
        " OR (call_id = {response:String} AND call_id != '' AND project = {project:String})"
        f" ORDER BY {SCORE_VERSION} DESC LIMIT 1 BY key) ORDER BY name, ts LIMIT {_MOST}",
        {"span": span_id, "response": response_id, "project": project},
    )
    return [
        Judgement(
            r["ts"].replace(tzinfo=UTC), r["name"], None if r["no_value"] else r["value"],
            r["label"], r["source"], r["comment"],
        )
        for r in rows
    ]  # fmt: skip


def _read(text: str) -> Any:
    """The value of a JSON text, the text itself when it is none."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _listed(text: str) -> list[Any]:
    if not text:
        return []
    value = _read(text)
    return value if isinstance(value, list) else [value]


def _written(messages: list[Any]) -> str:
    return json.dumps(messages, ensure_ascii=False) if messages else ""
