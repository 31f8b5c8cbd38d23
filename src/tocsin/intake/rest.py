"""Tocsin's own REST bodies: calls, scores and changes as a JSON object, an array, or JSON lines.

One bad row never costs the others, as with spans: it is set aside with its reason and its line.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic, NamedTuple, TypeVar

from tocsin.domain.calls import KINDS
from tocsin.domain.clock import iso
from tocsin.domain.errors import IntakeError
from tocsin.intake.focus import charge
from tocsin.intake.json_requests import read_json
from tocsin.intake.mending import Rejected
from tocsin.intake.records import ERROR, OK, UNSET, SpanRecord, instant, moment_ns, stand_in_id
from tocsin.intake.scoring import score_row
from tocsin.intake.screening import odd_time

T = TypeVar("T")

MAX_ROWS = 100_000
_CALL_IDS = ("call_id", "span_id", "response_id", "prediction_id")
_SPAN_KINDS = {kind: kind.upper() for kind in KINDS}

# Member of a call -> attribute that the normaliser reads it from.
_CALL_ATTRIBUTES = {
    "provider": "gen_ai.provider.name",
    "model": "gen_ai.request.model",
    "response_model": "gen_ai.response.model",
    "response_id": "gen_ai.response.id",
    "operation": "gen_ai.operation.name",
    "input_tokens": "gen_ai.usage.input_tokens",
    "output_tokens": "gen_ai.usage.output_tokens",
    "cached_tokens": "gen_ai.usage.cache_read.input_tokens",
    "reasoning_tokens": "gen_ai.usage.reasoning.output_tokens",
    "finish_reason": "gen_ai.response.finish_reasons",
    "cost_usd": "gen_ai.usage.cost",
    "streamed": "gen_ai.request.stream",
    "http_status": "http.response.status_code",
    "session_id": "session.id",
    "user_id": "user.id",
    "prompt_version": "gen_ai.prompt.version",
    "input": "input.value",
    "output": "output.value",
}
_RESOURCE = {
    "project": "openinference.project.name",
    "service": "service.name",
    "env": "deployment.environment.name",
    "release": "service.version",
}
_CALL_MEMBERS = frozenset({
    "ts", "kind", "name", "duration_ms", "ttft_ms", "error_class", "error_type", "status_message",
    "abandoned", "trace_id", "span_id", "parent_id", "dims", "attributes", *_CALL_ATTRIBUTES,
    *_RESOURCE,
})  # fmt: skip
_CHANGE_MEMBERS = frozenset({"project", "service", "kind", "title", "labels", "ts"})


class Item(NamedTuple):
    """One row of a body: where it stands, what it says, or what is wrong with it."""

    where: str
    row: Mapping[str, Any]
    problem: str = ""
    raw: str = ""


@dataclass(frozen=True, slots=True)
class Taken(Generic[T]):
    """What was made of a body's rows, and the rows that could not be used, with their reasons."""

    made: list[T]
    rejected: list[Rejected]


def read_rows(body: bytes, *, lines: bool = False) -> list[Item]:
    """The rows of a body: one object, an array of objects, or one object per line.

    lines: the sender says that they are lines. IntakeError 400 for what is none of the three; a
    line or element that is wrong is an item with a problem.
    """
    text = body.strip()
    if not text:
        raise IntakeError(400, "the body is empty; send a JSON object, an array, or JSON lines")
    if lines or (text.startswith(b"{") and b"\n" in text and _is_lines(text)):
        told = ((n, line) for n, line in enumerate(body.splitlines(), 1) if line.strip())
        found = [_line(n, line) for n, line in islice(told, MAX_ROWS)]
        if next(told, None) is not None:
            raise _too_many()
        return found
    if text.startswith(b"["):
        rows = read_json(text)
        if len(rows) > MAX_ROWS:
            raise _too_many()
        return [_item(f"element {n}", row) for n, row in enumerate(rows, 1)]
    return [_item("element 1", read_json(text))]


def _too_many() -> IntakeError:
    return IntakeError(413, f"more than {MAX_ROWS} rows in one request; send fewer")


def take(items: Sequence[Item], make: Callable[[str, Mapping[str, Any]], T]) -> Taken[T]:
    """`make(where, row)` of every row; those for which it raises IntakeError are set aside.

    IntakeError 400 when there is not one good row: then the sender is wrong, not a row.
    """
    taken: Taken[T] = Taken([], [])
    for item in items:
        try:
            if item.problem:
                raise IntakeError(400, item.problem)
            taken.made.append(make(item.where, item.row))
        except IntakeError as error:
            body = item.raw or json.dumps(item.row, ensure_ascii=False, default=str)
            taken.rejected.append(Rejected(str(error), body))
    if taken.rejected and not taken.made:
        more = len(taken.rejected) - 1
        tail = f" (and {more} more like it: none of the rows can be used)" if more else ""
        raise IntakeError(400, taken.rejected[0].reason + tail)
    return taken


def score(where: str, row: Mapping[str, Any], now_ns: int) -> dict[str, Any]:
    """A row of `POST /api/v1/scores` as one of the table. Needed: name, and value or label."""
    where = f"{where}: score"
    made = score_row(
        _text(row, "name", where, needed=True),
        score=row.get("value", row.get("score")),
        label=row.get("label"),
        call_id=next((i for name in _CALL_IDS if (i := _text(row, name, where))), ""),
        trace_id=_text(row, "trace_id", where),
        project=_text(row, "project", where),
        service=_text(row, "service", where),
        source=_text(row, "source", where) or "api",
        annotator=_text(row, "annotator", where),
        comment=row.get("comment"),
        ts=_instant(row, where, now_ns),
        where=where,
    )
    version = row.get("version")
    if version is not None and (type(version) is not int or not 0 <= version < 1 << 63):
        raise IntakeError(400, f"{where}: version must be a whole number from 0 on")
    own = {"id": _text(row, "id", where), "version": version or 0}
    return {**made, **own, "dims": _texts(row.get("dims"), f"{where}: dims")}


def change(
    where: str, row: Mapping[str, Any], now_ns: int, *, needs_service: bool = True
) -> dict[str, Any]:
    """A row of `POST /api/v1/changes`. Needed: service (as a rule), kind, title.

    A member that no change has becomes a label.
    """
    where = f"{where}: change"
    others = _others(row, _CHANGE_MEMBERS)
    made = {
        "project": _text(row, "project", where),
        "service": _text(row, "service", where, needed=needs_service),
        "kind": _text(row, "kind", where, needed=True),
        "title": _text(row, "title", where, needed=True),
        "labels": _texts(others, where) | _texts(row.get("labels"), f"{where}: labels"),
    }
    ts = _instant(row, where, now_ns)
    return {**made, "ts": ts} if ts else made


# What makes rows of each of Tocsin's own doors: (where, row, now_ns) -> row of the table.
MAKERS: Mapping[str, Callable[[str, Mapping[str, Any], int], dict[str, Any]]] = {
    "scores": score,
    "changes": change,
    "billing": charge,
}


def call(where: str, row: Mapping[str, Any], project: str = "", *, seed: str = "") -> SpanRecord:
    """A row of `POST /api/v1/calls` as a span. Needed: ts, service.

    A call without an id gets one from its content, `where` it stands, and `seed`. A member that no
    call has becomes an attribute.
    """
    place, where = where, f"{where}: call"
    start = moment_ns(row.get("ts"), f"{where}: ts")
    duration_ms = _number(row, "duration_ms", where)
    kind = _text(row, "kind", where) or "llm"
    if kind not in _SPAN_KINDS:
        raise IntakeError(400, f"{where}: kind {kind!r} is not one of {', '.join(KINDS)}")
    attributes = _others(row, _CALL_MEMBERS)
    attributes |= _mapping(row.get("attributes"), f"{where}: attributes")
    attributes["openinference.span.kind"] = _SPAN_KINDS[kind]
    attributes |= {name: row[member] for member, name in _CALL_ATTRIBUTES.items() if member in row}
    if (ttft_ms := _number(row, "ttft_ms", where)) > 0:
        attributes["gen_ai.response.time_to_first_chunk"] = ttft_ms / 1000
    failure = _text(row, "error_class", where) or _text(row, "error_type", where)
    if failure:
        attributes["error.type"] = failure
    for name, value in _texts(row.get("dims"), f"{where}: dims").items():
        attributes[f"tocsin.segment.{name}"] = value
    resource = {name: _text(row, member, where) for member, name in _RESOURCE.items()}
    if project:
        resource["openinference.project.name"] = project
    if not resource["service.name"]:
        raise IntakeError(400, f"{where}: service is missing")
    span_id = _text(row, "span_id", where) or stand_in_id(json.dumps(row, default=str), place, seed)
    return SpanRecord(
        name=_text(row, "name", where) or kind,
        start_ns=start,
        end_ns=start + int(duration_ms * 1e6),
        trace_id=_text(row, "trace_id", where) or span_id,
        span_id=span_id,
        parent_id=_text(row, "parent_id", where),
        # Of a stream whose reader walked away nobody knows how it would have ended.
        status=ERROR if failure else UNSET if row.get("abandoned") is True else OK,
        message=_text(row, "status_message", where),
        attributes=attributes,
        resource={name: value for name, value in resource.items() if value},
        scope="tocsin.api",
    )


def _is_lines(text: bytes) -> bool:
    first = text.split(b"\n", 1)[0].strip()
    try:
        return isinstance(read_json(first), dict)
    except IntakeError:
        return False


def _line(number: int, line: bytes) -> Item:
    where = f"line {number}"
    try:
        return _item(where, read_json(line))
    except IntakeError as error:
        return Item(where, {}, f"{where}: {error}", line.decode("utf-8", "replace"))


def _item(where: str, row: Any) -> Item:
    if isinstance(row, dict):
        return Item(where, row)
    return Item(where, {}, f"{where} is not a JSON object", json.dumps(row, default=str))


def _instant(row: Mapping[str, Any], where: str, now_ns: int) -> str:
    """RFC 3339 text of the member `ts`, "" when there is none."""
    if row.get("ts") in (None, ""):
        return ""
    nanoseconds = moment_ns(row["ts"], f"{where}: ts")
    if odd := odd_time(nanoseconds, nanoseconds, now_ns):
        raise IntakeError(400, f"{where}: ts: {odd}")
    return iso(instant(nanoseconds, f"{where}: ts"))


def _text(row: Mapping[str, Any], member: str, where: str, *, needed: bool = False) -> str:
    value = row.get(member)
    if value is None or value == "":
        if needed:
            raise IntakeError(400, f"{where}: {member} is missing")
        return ""
    if isinstance(value, dict | list):
        raise IntakeError(400, f"{where}: {member} must be text")
    return str(value)


def _number(row: Mapping[str, Any], member: str, where: str) -> float:
    value = row.get(member)
    if value is None:
        return 0.0
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise IntakeError(400, f"{where}: {member} must be a number")
    return float(value) if abs(value) < 1e12 else 0.0


def _mapping(value: Any, where: str) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise IntakeError(400, f"{where} must be an object")
    return value


def _others(row: Mapping[str, Any], known: frozenset[str]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in known and value is not None}


def _texts(value: Any, where: str) -> dict[str, str]:
    return {str(name): str(member) for name, member in _mapping(value, where).items()}
