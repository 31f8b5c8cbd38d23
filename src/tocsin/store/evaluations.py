"""Which calls an evaluator may judge, what it is given of them, and what people may label.

A call is chosen by a hash of its ids and the evaluator's series: with which probability is decided
before, so that it is known, and asking again chooses the same calls. What is offered to people is
chosen by another hash among what was judged, with a probability that depends on the verdict alone.
"""

# ruff: noqa: S608 (SQL text is put together from names of this package; values are parameters)

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from tocsin.domain.evaluation import Answer, Passage, Vector, human_of, propensity_of
from tocsin.domain.expressions import Expression
from tocsin.store.call_detail import call_detail, flattened
from tocsin.store.clickhouse import DATABASE, ClickHouse
from tocsin.store.expressions import Compiler
from tocsin.store.scores import holds, micros

# The probability with which the surest pass is offered to people. Lower gains little with a good
# judge and loses much with a weak one, which passes many a bad answer for sure; see the benchmark.
LEAST_WORTH = 0.5
# The share of labelled answers that are offered to somebody else as well, to see how far people
# agree: a fifth of their work, and after 200 labels 40 answers that two people judged.
SECOND = 0.2
_MOST_BESIDE = 40  # spans of one trace that are looked at for documents and vectors
_MOST_PASSAGES = 50
_BEFORE = timedelta(days=1)
_ENTRY = {"retriever": "retrieval.documents.", "reranker": "reranker.output_documents."}
_EMBEDDED = "embedding.embeddings."
_OWN_VECTORS = {
    "input": ("input.vector", "prompt.vector", "question.vector"),
    "output": ("output.vector", "response.vector", "answer.vector"),
}


@dataclass(frozen=True, slots=True)
class Frame:
    """Calls that may be judged: of a service, by how telemetry calls it, received in a window.

    where: None for all. strata: the first that holds for a call decides its place, the last place
    is of what none holds for.
    """

    series: str
    service: str
    kind: str
    since: datetime
    until: datetime
    where: Expression | None = None
    strata: tuple[Expression, ...] = ()


@dataclass(frozen=True, slots=True)
class Chosen:
    """A call to be judged. propensity: with which it was chosen."""

    trace_id: str
    span_id: str
    at: datetime
    propensity: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the judge said of a call that people may label. propensity: with which the call was
    chosen to be judged, worth: with which it is offered to people."""

    trace_id: str
    span_id: str
    at: datetime
    score: float
    label: str
    explanation: str
    propensity: float
    worth: float


@dataclass(frozen=True, slots=True)
class Queue:
    """What is worth labelling. judged, labelled: of the window; offered: left to be labelled."""

    judged: int
    labelled: int
    offered: int
    verdicts: tuple[Verdict, ...]


class Evaluations:
    """Reads from one ClickHouse."""

    def __init__(self, engine: ClickHouse) -> None:
        self._engine = engine

    def counts(self, frame: Frame) -> dict[int, int]:
        """How many calls there are of each stratum, by its place."""
        sql, values = _framed(frame)
        rows = self._engine.rows(f"SELECT stratum, count() FROM ({sql}) GROUP BY stratum", values)
        return {int(place): int(count) for place, count in rows}

    def choose(self, frame: Frame, rates: Sequence[float], most: int) -> list[Chosen]:
        """The calls that are chosen with these probabilities by stratum; the earliest `most`."""
        sql, values = _framed(frame)
        rows = self._engine.rows(
            f"SELECT trace_id, span_id, ts, rate FROM (SELECT *,"
            f" {{rates:Array(Float64)}}[stratum + 1] AS rate FROM ({sql})) WHERE draw < rate"
            " ORDER BY ts, span_id LIMIT {most:UInt32}",
            {**values, "rates": list(rates), "most": most},
        )
        return [
            Chosen(str(trace), str(span), at.replace(tzinfo=UTC), float(rate))
            for trace, span, at, rate in rows
        ]

    def answers(self, wanted: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Answer]:
        """Calls by trace and span id with what was retrieved for them, as far as they are known."""
        ids = list(dict.fromkeys(wanted))
        if not ids:
            return {}
        rows = self._engine.records(
            "SELECT trace_id, span_id, project, service, ts, input, output, attrs, dims, model,"
            " provider, env, release, prompt_version, session_id, user_id, finish_reason, name"
            f" FROM {DATABASE}.calls AS calls WHERE span_id IN {{spans:Array(String)}}"
            " AND (trace_id, span_id) IN {ids:Array(Tuple(String, String))}"
            " ORDER BY recv DESC LIMIT 1 BY trace_id, span_id",
            {"spans": [span for _, span in ids], "ids": ids},
        )
        beside = self._beside([row for row in rows if row["trace_id"]])
        found = {}
        for row in rows:
            answer = self._answer(row, beside.get(row["trace_id"], ()))
            found[answer.trace_id, answer.span_id] = answer
        return found

    def queue(
        self,
        series: str,
        name: str,
        service: str,
        passes: float,
        since: datetime,
        limit: int,
        who: str = "",
    ) -> Queue:
        """What people may label of what `series` judged since: an even draw from those offered.

        who: somebody with a name is also offered some of what one other labelled (`SECOND`), among
        the rest, so that a second label is given like a first one.

        What the judge failed is offered always; what it passed the likelier the less sure it was,
        and never with less than `LEAST_WORTH`.
        """
        by_call, values = _judged(series, name, service, passes, since, who)
        judged, labelled, waiting = self._engine.rows(
            f"SELECT count(), countIf(labelled), countIf({_OFFERED}) FROM ({by_call})", values
        )[0]
        order = f"ORDER BY {_draw('order', 'span_id')} LIMIT {{limit:UInt32}}"
        verdicts = self._verdicts(
            f"({by_call}) WHERE {_OFFERED} {order}", values | {"limit": limit}
        )
        return Queue(int(judged), int(labelled), int(waiting), verdicts)

    def offered(
        self,
        series: str,
        name: str,
        service: str,
        passes: float,
        since: datetime,
        span_id: str,
        who: str = "",
    ) -> Verdict | None:
        """The verdict on one call, if it is of the queue of `who`."""
        by_call, values = _judged(series, name, service, passes, since, who)
        where = f"({by_call}) WHERE {_OFFERED} AND span_id = {{span:String}}"
        return next(iter(self._verdicts(where, values | {"span": span_id})), None)

    def doubles(
        self, series: str, name: str, service: str, passes: float, since: datetime
    ) -> tuple[float, float, float, float, int]:
        """Answers with labels of several people, weighed by one over their chance: (pairs that are
        both good, split, both bad, squares of the weights, answers)."""
        by_call, values = _judged(series, name, service, passes, since)
        [row] = self._engine.rows(
            "SELECT sum(w * good * (good - 1) / pairs), sum(w * 2 * good * bad / pairs),"
            " sum(w * bad * (bad - 1) / pairs), sum(w * w), count()"
            " FROM (SELECT 1 / (propensity * worth) AS w,"
            " toInt64(arrayCount(one -> one.2 >= 0.5, said)) AS good,"
            " toInt64(length(said)) - good AS bad, length(said) * (length(said) - 1) AS pairs"
            f" FROM ({by_call}) WHERE length(said) > 1 AND length(said) = length(people))",
            values,
        )
        good, split, bad, squares, answers = row
        return float(good), float(split), float(bad), float(squares), int(answers)

    def _verdicts(self, source: str, values: Mapping[str, Any]) -> tuple[Verdict, ...]:
        rows = self._engine.rows(
            "SELECT trace, span_id, at, score, verdict, why, propensity, worth FROM " + source,
            values,
        )
        return tuple(
            Verdict(str(trace), str(span), at.replace(tzinfo=UTC), float(score), str(label),
                    str(why), float(propensity), float(worth))
            for trace, span, at, score, label, why, propensity, worth in rows
        )  # fmt: skip

    def _beside(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, list[dict[str, Any]]]:
        """Retrievals and embeddings of the same traces, in the order of time."""
        if not rows:
            return {}
        found = self._engine.records(
            f"SELECT trace_id, kind, attrs FROM {DATABASE}.calls AS calls"
            " WHERE trace_id IN {traces:Array(String)} AND trace_id != ''"
            " AND kind IN ('retriever', 'reranker', 'embedding')"
            " AND ts >= fromUnixTimestamp64Micro({start:Int64}, 'UTC')"
            " AND ts < fromUnixTimestamp64Micro({stop:Int64}, 'UTC')"
            f" ORDER BY ts LIMIT {_MOST_BESIDE} BY trace_id",
            {
                "traces": list({row["trace_id"] for row in rows}),
                "start": micros(min(row["ts"] for row in rows).replace(tzinfo=UTC) - _BEFORE),
                "stop": micros(max(row["ts"] for row in rows).replace(tzinfo=UTC) + _BEFORE),
            },
        )
        by_trace: dict[str, list[dict[str, Any]]] = {}
        for row in found:
            by_trace.setdefault(row["trace_id"], []).append(row)
        return by_trace

    def _answer(self, row: Mapping[str, Any], beside: Iterable[Mapping[str, Any]]) -> Answer:
        attributes = row["attrs"]
        texts = row["input"], row["output"]
        texts = texts if any(texts) else flattened(attributes)
        if not any(texts):
            detail = call_detail(self._engine, row["trace_id"], row["span_id"])
            texts = (detail.input, detail.output) if detail is not None else texts
        asked, said = spoken(texts[0], with_roles=True), spoken(texts[1])
        passages, embedded = _beside_of(beside)
        vectors = _vectors(attributes, embedded, asked, said, {one.text for one in passages})
        return Answer(
            trace_id=row["trace_id"], span_id=row["span_id"], project=row["project"],
            service=row["service"], at=row["ts"].replace(tzinfo=UTC), input=asked, output=said,
            context=tuple(
                one if one.vector is not None else replace(one, vector=embedded.get(one.text))
                for one in passages
            ),
            metadata=_metadata(row), vectors=vectors,
        )  # fmt: skip


def spoken(text: str, *, with_roles: bool = False) -> str:
    """What a text of a call says: of messages as instrumentations write them, their contents.

    >>> spoken('[{"role": "user", "parts": [{"type": "text", "content": "Hello"}]}]')
    'Hello'
    """
    if text[:1] not in ("[", "{"):
        return text
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return text
    messages = found.get("messages", [found]) if isinstance(found, dict) else found
    is_message = (
        isinstance(messages, list)
        and bool(messages)
        and all(isinstance(m, dict) and _MESSAGE & set(m) for m in messages)
    )
    if not is_message:
        return text  # JSON that was asked for
    parts = []
    for message in messages:
        said = _content(message)
        role = str(message.get("role") or "")
        if said:
            parts.append(f"{role}: {said}" if with_roles and role and len(messages) > 1 else said)
    return "\n\n".join(parts)


# --- private -----------------------------------------------------------------------------------


_MESSAGE = {"content", "parts", "message", "tool_calls"}


def _content(message: Any) -> str:
    """The text of a message: OpenAI, Anthropic, OpenTelemetry's parts, choices."""
    if isinstance(message, str):
        return message
    if isinstance(message, list):
        return "\n".join(filter(None, map(_content, message)))
    if not isinstance(message, dict):
        return ""
    for name in ("content", "parts", "text", "message"):
        if message.get(name):
            return _content(message[name])
    return ""


def _draw(salt: str, *columns: str) -> str:
    """SQL: a number in [0, 1) that depends on the series, the salt and the columns alone."""
    return f"cityHash64({{series:String}}, '{salt}', {', '.join(columns)}) / 18446744073709551616."


# Somebody without a name may be whoever labelled it before.
_SECOND = (
    "{who:String} != '' AND length(people) = 1 AND NOT has(people, {who:String})"
    f" AND NOT has(people, 'anonymous') AND {_draw('second', 'span_id')} < {SECOND}"
)
_OFFERED = f"(NOT labelled OR ({_SECOND})) AND {_draw('people', 'span_id')} < worth"


def _judged(
    series: str, name: str, service: str, passes: float, since: datetime, who: str = ""
) -> tuple[str, dict[str, Any]]:
    """SQL: a row for every call that `series` judged since, with what is known of its labels: what
    was `said` by whom, and by which `people`, without the door by which each came."""
    where = (
        "service = {service:String} AND name IN ({series:String}, {chance:String},"
        " {human:String}) AND ts >= fromUnixTimestamp64Micro({since:Int64}, 'UTC')"
    )
    sql = (
        "SELECT span_id, any(trace_id) AS trace, anyIf(value, name = {series:String}) AS score,"
        " anyIf(toString(label), name = {series:String}) AS verdict,"
        " anyIf(comment, name = {series:String}) AS why,"
        " maxIf(ts, name = {series:String}) AS at,"
        " anyIf(value, name = {chance:String}) AS propensity,"
        " countIf(name = {human:String}) > 0 AS labelled,"
        " groupArrayIf((replaceRegexpOne(toString(annotator), '^(api|web):', ''), value),"
        " name = {human:String} AND NOT isNaN(value)) AS said,"
        " arrayDistinct(said.1) AS people,"
        " countIf(name = {series:String} AND NOT isNaN(value)) > 0 AS judged,"
        " if(score < {passes:Float64}, 1.,"
        " greatest({least:Float64}, 1. - (score - {passes:Float64}) / {spare:Float64})) AS worth"
        f" FROM {DATABASE}.scores AS s WHERE {where} AND span_id != '' AND {holds(where)}"
        " GROUP BY span_id HAVING judged AND propensity > 0"
    )
    values = {
        "series": series, "chance": propensity_of(series), "human": human_of(name),
        "service": service, "since": micros(since), "passes": passes, "who": who,
        "spare": max(1.0 - passes, 1e-6), "least": LEAST_WORTH,
    }  # fmt: skip
    return sql, values


def _framed(frame: Frame) -> tuple[str, dict[str, Any]]:
    compiler = Compiler()
    strata = "".join(
        f"ifNull({compiler.sql(one)}, 0), {place}, " for place, one in enumerate(frame.strata)
    )
    place = f"multiIf({strata}{len(frame.strata)})" if strata else "0"
    where = f" AND ifNull({compiler.sql(frame.where)}, 0)" if frame.where is not None else ""
    sql = (
        f"SELECT trace_id, span_id, ts, {place} AS stratum,"
        f" {_draw('judge', 'trace_id', 'span_id')} AS draw"
        f" FROM {DATABASE}.calls AS calls WHERE service = {{service:String}}"
        " AND kind = {kind:String} AND span_id != ''"
        " AND recv >= fromUnixTimestamp64Micro({since:Int64}, 'UTC')"
        f" AND recv < fromUnixTimestamp64Micro({{until:Int64}}, 'UTC'){where}"
    )
    values = {
        "series": frame.series, "service": frame.service, "kind": frame.kind,
        "since": micros(frame.since), "until": micros(frame.until),
    }  # fmt: skip
    return sql, {**compiler.parameters, **values}


def _metadata(row: Mapping[str, Any]) -> dict[str, str]:
    named = ("model", "provider", "env", "release", "prompt_version", "session_id", "user_id",
             "finish_reason", "name", "service")  # fmt: skip
    own = {name: str(row[name]) for name in named if row[name]}
    return {**row["attrs"], **row["dims"], **own}


def _beside_of(rows: Iterable[Mapping[str, Any]]) -> tuple[list[Passage], dict[str, Vector]]:
    """What was retrieved, and the vectors of texts that were embedded. What a reranker kept stands
    in place of what was retrieved."""
    by_kind: dict[str, list[Passage]] = {"retriever": [], "reranker": []}
    embedded: dict[str, Vector] = {}
    for row in rows:
        attributes = row["attrs"]
        if row["kind"] == "embedding":
            for place in _places(attributes, _EMBEDDED):
                prefix = f"{_EMBEDDED}{place}.embedding."
                vector = _vector(attributes.get(f"{prefix}vector", ""))
                if vector is not None:
                    embedded.setdefault(attributes.get(f"{prefix}text", ""), vector)
            continue
        start = _ENTRY[row["kind"]]
        for place in _places(attributes, start):
            prefix = f"{start}{place}.document."
            by_kind[row["kind"]].append(
                Passage(
                    attributes.get(f"{prefix}content", ""),
                    _number(attributes.get(f"{prefix}score", "")),
                    _vector(attributes.get(f"{prefix}embedding", "")),
                )
            )
    return (by_kind["reranker"] or by_kind["retriever"])[:_MOST_PASSAGES], embedded


def _vectors(
    attributes: Mapping[str, str], embedded: Mapping[str, Vector], asked: str, said: str,
    passages: set[str],
) -> dict[str, Vector]:  # fmt: skip
    """Vectors of the call's own texts: those that it carries, else of the same text in its trace.

    The first text of the trace that is neither a document nor the answer is what was asked: an
    application embeds the question, and not the prompt that it makes of it.
    """
    found: dict[str, Vector] = {}
    for name, names in _OWN_VECTORS.items():
        own = next((v for n in names if (v := _vector(attributes.get(n, ""))) is not None), None)
        if own is not None:
            found[name] = own
    if said in embedded:
        found.setdefault("output", embedded[said])
    others = [text for text in embedded if text != said and text not in passages]
    if asked in embedded or others:
        found.setdefault("input", embedded[asked if asked in embedded else others[0]])
    return found


def _places(attributes: Mapping[str, str], prefix: str) -> list[int]:
    found = {
        name[len(prefix) :].partition(".")[0] for name in attributes if name.startswith(prefix)
    }
    return sorted(int(place) for place in found if place.isdecimal() and len(place) < 5)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _vector(text: str) -> Vector | None:
    if not text.startswith("["):
        return None
    try:
        return tuple(float(value) for value in json.loads(text)) or None
    except (ValueError, TypeError):
        return None
