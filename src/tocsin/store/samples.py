"""Calls chosen by a hash of their ids: a bounded sample that is the same whenever it is asked for.

One call of each session is taken, or of each trace when there is none: forty turns of one
conversation say the same thing forty times, and a test that takes them for forty would alarm.
"""

# ruff: noqa: S608 (SQL text is put together from names of this package; values are parameters)

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tocsin.domain.samples import EMBEDDED, Sample, Wish, feature_kind
from tocsin.store import scores
from tocsin.store.clickhouse import DATABASE, ClickHouse
from tocsin.store.schema import ANSWERED, ENDED
from tocsin.store.totals import read_totals

# Where OpenInference puts the vector of the first text that was embedded.
VECTOR = "embedding.embeddings.0.embedding.vector"
# The first answer of messages as OpenTelemetry or OpenInference write them, else the text itself.
_TEXT = (
    "multiIf(calls.output = '', NULL, NOT startsWith(calls.output, '['), calls.output,"
    " JSON_VALUE(calls.output, '$[0].parts[0].content') != '',"
    " JSON_VALUE(calls.output, '$[0].parts[0].content'),"
    " JSON_VALUE(calls.output, '$[0].content') != '',"
    " JSON_VALUE(calls.output, '$[0].content'), calls.output)"
)
_REFUSAL = (
    r"(?i)^.{0,80}\b(i('m| am) (sorry|unable|not able)|i (can('|no)t|cannot|won't) (help|assist"
    r"|comply|provide|do that|answer|share|discuss)|as an ai\b|against my (guidelines|policy))"
)
_FORMAT = (
    "multiIf(isNull(text), NULL, match(text, '^\\s*[{{\\[]') AND isValidJSON(text), 'json',"
    " position(text, '```') > 0, 'code', match(text, '(?m)^\\s*([-*]|\\d+\\.)\\s'), 'list',"
    " match(text, '(?m)^#+ '), 'heading', 'prose')"
).replace("{{", "{").replace("text", f"({_TEXT})")  # fmt: skip
# Names of attributes, places in flattened ones written #. Long lists are told apart by a digest.
_NAMES = (
    "arrayStringConcat(arraySort(arrayDistinct(arrayMap("
    "k -> replaceRegexpAll(k, '[.][0-9]+', '.#'), mapKeys(calls.attrs)))), ' ')"
)
_SCHEMA = (
    "arrayMap(names -> if(length(names) <= 120, names, concat(substring(names, 1, 100), '... ',"
    f" substring(lower(hex(sipHash64(names))), 1, 8))), [{_NAMES}])[1]"
)
_PLAIN: Mapping[str, str] = {
    "input_tokens": "if(calls.usage_known = 1, toFloat64(calls.input_tokens), NULL)",
    "output_tokens": f"if(calls.usage_known = 1 AND {ANSWERED}, toFloat64(calls.output_tokens),"
                     " NULL)",
    "duration_ms": f"if({ANSWERED}, calls.duration_us / 1000, NULL)",
    "ttft_ms": f"if({ANSWERED} AND calls.ttft_us > 0, calls.ttft_us / 1000, NULL)",
    "cost_usd": "if(calls.cost_known = 1, calls.cost_usd, NULL)",
    "ms_per_output_token": f"if({ANSWERED} AND calls.usage_known = 1 AND calls.output_tokens > 0,"
                           " calls.duration_us / 1000 / calls.output_tokens, NULL)",
    "first_token_share": f"if({ANSWERED} AND calls.ttft_us > 0,"
                         " calls.ttft_us / calls.duration_us, NULL)",
    "input_chars": "if(calls.input = '', NULL, toFloat64(lengthUTF8(calls.input)))",
    "output_chars": f"toFloat64(lengthUTF8({_TEXT}))",
    "output_format": _FORMAT,
    "refusal": f"if(isNull({_TEXT}), NULL, if(match(assumeNotNull({_TEXT}),"
               " {refusal:String}), 'yes', 'no'))",
    "error_class": "toString(calls.error_class)",
    "schema": _SCHEMA,
    "instrumentation": "concat(toString(calls.scope), ' ',"
                       " toString(calls.res['otel.scope.version']))",
    **{name: f"nullIf(toString(calls.{name}), '')"
       for name in ("model", "response_model", "finish_reason", "prompt_version", "release")},
}  # fmt: skip


class SampleReader:
    """Reads samples of one service from one ClickHouse; see `domain.ports.MinuteSource`."""

    def __init__(self, engine: ClickHouse) -> None:
        self._engine = engine

    def sample(self, wish: Wish, start: int, stop: int) -> Sample:
        """At most `wish.most` calls that ended in epoch minutes [start, stop)."""
        if wish.per:
            return read_totals(self._engine, wish, start, stop)
        values: dict[str, Any] = {
            "service": wish.service, "kind": wish.kind, "start": start, "stop": stop,
            "most": wish.most, "refusal": _REFUSAL,
        }  # fmt: skip
        having = ""
        for number, name in enumerate(wish.scored):
            values[f"scored{number}"] = name
            having += f" AND {_has_score(f'{{scored{number}:String}}')}"
        selected = []
        for number, name in enumerate(wish.features):
            prefix, _, rest = name.partition(":")
            values[f"name{number}"] = rest or VECTOR
            selected.append(_column(name, prefix, f"{{name{number}:String}}"))
        rows = self._engine.rows(
            f"""SELECT calls.trace_id, calls.span_id, calls.response_id, {", ".join(selected)}
            FROM {DATABASE}.calls AS calls
            WHERE {ENDED} >= {_at("start")} AND {ENDED} < {_at("stop")}
              AND calls.ts >= {_at("start")} - INTERVAL 1 DAY AND calls.ts < {_at("stop")}
              AND calls.service = {{service:String}} AND calls.kind = {{kind:String}}{having}
            ORDER BY cityHash64(calls.trace_id, calls.span_id), calls.trace_id, calls.span_id
            LIMIT 1 BY if(calls.session_id != '', calls.session_id,
              if(calls.trace_id != '', calls.trace_id, calls.span_id))
            LIMIT {{most:UInt32}}""",
            values,
        )
        columns = list(zip(*rows, strict=True)) or [()] * (3 + len(wish.features))
        told = {
            name: _vectors(column) if _is_written(name) else tuple(column)
            for name, column in zip(wish.features, columns[3:], strict=True)
        }
        named = [name for name in wish.features if name.startswith("score:")]
        for name in named:
            told[name] = self._scores(name.partition(":")[2], wish, start, *columns[1:3])
        return Sample(told, tuple(zip(columns[0], columns[1], strict=True)))

    def _scores(
        self, name: str, wish: Wish, start: int, spans: tuple[str, ...], answers: tuple[str, ...]
    ) -> tuple[float | None, ...]:
        """The score of each call, by its span or its response; None for those that have none."""
        of_name = "name = {name:String} AND service = {service:String} AND ts >= " + _at("start")
        rows = self._engine.rows(
            f"SELECT lower(call_id), value FROM {DATABASE}.scores WHERE {of_name}"
            f" AND has({{ids:Array(String)}}, lower(call_id)) AND NOT isNaN(value)"
            f" AND {scores.holds(of_name)}",
            {"name": name, "service": wish.service, "start": start,
             "ids": [*spans, *(answer.lower() for answer in answers if answer)]},
        )  # fmt: skip
        found = {str(name): float(value) for name, value in rows}
        return tuple(
            found.get(span, found.get(answer.lower()))
            for span, answer in zip(spans, answers, strict=True)
        )


def _is_written(name: str) -> bool:
    """Whether it is a vector as text; texts that others embed stay as they are."""
    return feature_kind(name) == "embedding" and not name.startswith(EMBEDDED)


def _has_score(name: str) -> str:
    """SQL: a call has a score of this name, whichever of its ids it was told by."""
    scored = (
        f"SELECT lower(call_id) FROM {DATABASE}.scores WHERE name = {name}"
        f" AND service = {{service:String}} AND ts >= {_at('start')} AND NOT isNaN(value)"
    )
    return f"(lower(calls.span_id) IN ({scored}) OR lower(calls.response_id) IN ({scored}))"


def _column(name: str, prefix: str, parameter: str) -> str:
    """SQL of a feature; what people named is a parameter."""
    if name in _PLAIN:
        return _PLAIN[name]
    if name.startswith(EMBEDDED):
        return _TEXT if name == f"{EMBEDDED}output" else "nullIf(calls.input, '')"
    if prefix == "score":
        return "NULL"  # looked up for the calls that were chosen
    if prefix == "dimension":
        return f"nullIf(toString(calls.dims[{parameter}]), '')"
    if prefix == "number":
        return f"toFloat64OrNull(calls.attrs[{parameter}])"
    return f"nullIf(calls.attrs[{parameter}], '')"


def _at(name: str) -> str:
    return f"toDateTime64({{{name}:Int64}} * 60, 6, 'UTC')"


def _vectors(texts: tuple[Any, ...]) -> tuple[tuple[float, ...] | None, ...]:
    """Vectors as attributes hold them, JSON arrays; what is none is unknown."""
    return tuple(_vector(text) for text in texts)


def _vector(text: str | None) -> tuple[float, ...] | None:
    if not text or not text.startswith("["):
        return None
    try:
        found = json.loads(text)
        return tuple(float(value) for value in found)
    except (ValueError, TypeError):
        return None
