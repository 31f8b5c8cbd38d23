"""Which spans only wrap a call that another span already is: one call must count once.

Frameworks put spans of kind LLM, embedding or retriever around the call that the provider's own
instrumentation reports as well. Left alone, one call is counted two or three times, with its
tokens. A wrapper is demoted to kind `chain`; its attribute `tocsin.wrapper` says why. It is one if

    below    a span of its own kind and service lies below it in its trace
    same     another span of its service has the same response id; the provider's own is kept
    within   it has no response id, and a provider's span of its service and kind, in an unrelated
             trace, lies inside its time, with its model or its failure; a provider's span is
             claimed by the tightest of such wrappers only

"another span" is looked for in the segment and among the calls already stored around its time, so
that it need not arrive in the same request; it must arrive no later than its wrapper, which is
the order in which spans of one process end. A call that two services report, an application and
its gateway, is a call of each (docs/decisions/0024). The search reads the segment a second time and
looks into `calls`, which is why only segments with spans of unknown or framework scopes are read
this way.
"""

# ruff: noqa: S608 (SQL text is put together from names of this package)

from __future__ import annotations

from tocsin.store.attributes import Codebook, is_provider
from tocsin.store.normalise import SPAN, judged, spans
from tocsin.store.sqltext import derived, quoted

_WRAPPING = "('llm', 'embedding', 'retriever', 'reranker')"
_CALLING = "('llm', 'embedding')"
_SLACK_NS = 5_000_000
_LOOK_BACK = "INTERVAL 1 HOUR"
_LEVELS = 4
_MINUTE_NS = 60_000_000_000
_MINUTES = 60  # a wrapper is looked at for an hour from its start


def segment_facts(book: Codebook, source: str = "{source}") -> str:
    """SQL scalar: what decides about wrappers, an array with a tuple per span of the segment.

    The engine computes a scalar once per query, so that the segment is read once for all searches.
    """
    facts = {
        "is_own": is_provider("scope"),
        "owner": "concat(project, '\\n', service)",
    }
    rows = derived(spans(book, source), SPAN, {**judged(book), **facts}, _FACTS)
    return f"(SELECT groupArray(({', '.join(_FACTS)})) FROM (\n{rows}\n))"


def wrapper_note(facts: str) -> str:
    """SQL over `judged`: why the span is a wrapper, '' when it is a call of its own.

    facts: name of the scalar.
    """
    key = "(trace, span, own_kind, concat(project, '\\n', service))"
    reasons = (
        (_below(facts), "a call of the same kind lies below it"),
        (_same(facts), "another span has the same response id"),
        (_within(facts), "a call of the provider lies within it"),
    )
    tests = ", ".join(f"{key} IN (\n{keys}\n), {quoted(why)}" for keys, why in reasons)
    return f"multiIf({tests}, '')"


_FACTS = (
    "trace", "span", "parent", "own_kind", "call_id", "is_own", "t0", "t1", "owner",
    "request_model", "error_class",
)  # fmt: skip


def _rows(facts: str) -> str:
    """The facts as a table."""
    columns = ", ".join(f"fact.{place} AS {name}" for place, name in enumerate(_FACTS, start=1))
    return f"(SELECT {columns} FROM (SELECT arrayJoin({facts}) AS fact))"


def _moment(facts: str, pick: str, fact: str) -> str:
    time = f"{pick}(f -> f.{_FACTS.index(fact) + 1}, {facts})"
    return f"fromUnixTimestamp64Micro(toInt64(intDiv({time}, 1000)))"


def _stored(facts: str, columns: str, where: str) -> str:
    """Calls of other segments around the time of this one."""
    return (
        f"SELECT {columns} FROM tocsin.calls WHERE calls.seg != {{seg}}"
        f" AND calls.ts >= {_moment(facts, 'arrayMin', 't0')} - {_LOOK_BACK}"
        f" AND calls.ts <= {_moment(facts, 'arrayMax', 't1')} AND {where}"
    )


_OWNER = "concat(calls.project, '\\n', calls.service)"


def _below(facts: str) -> str:
    """Keys of spans with a call of the same kind and service up to four levels below."""
    steps = (
        "SELECT trace, groupArray(span) AS spans, groupArray(parent) AS parents,"
        f" groupArray((own_kind, owner)) AS calls FROM {_rows(facts)} GROUP BY trace"
    )
    steps = (
        f"SELECT trace, spans, parents, arrayFilter(c -> c.1 IN {_WRAPPING}, calls) AS of_kind,"
        f" arrayFilter((p, c) -> c.1 IN {_WRAPPING}, parents, calls) AS up1 FROM (\n{steps}\n)"
    )
    for level in range(2, _LEVELS + 1):
        above = f"arrayMap(p -> parents[indexOf(spans, p)], up{level - 1}) AS up{level}"
        steps = f"SELECT *, {above} FROM (\n{steps}\n)"
    ups = ", ".join(f"up{level}" for level in range(1, _LEVELS + 1))
    kinds = ", ".join(["of_kind"] * _LEVELS)
    here = (
        f"SELECT trace, pair.1, pair.2.1, pair.2.2 FROM (\n{steps}\n)"
        f" ARRAY JOIN arrayZip(arrayConcat({ups}), arrayConcat({kinds})) AS pair"
        " WHERE pair.1 != ''"
    )
    stored = _stored(
        facts,
        f"unhex(calls.trace_id), unhex(calls.parent_id), toString(calls.kind), {_OWNER}",
        f"calls.kind IN {_WRAPPING} AND calls.parent_id != ''"
        f" AND calls.trace_id IN (SELECT lower(hex(trace)) FROM {_rows(facts)})",
    )
    return f"{here}\nUNION ALL\n{stored}"


def _same(facts: str) -> str:
    """Keys of calls whose response id another span has, all but one of them."""
    told = f"call_id != '' AND own_kind IN {_CALLING}"
    stored = _stored(
        facts,
        f"{_OWNER}, calls.response_id",
        f"calls.kind IN {_CALLING} AND calls.response_id IN"
        f" (SELECT call_id FROM {_rows(facts)} WHERE {told})",
    )
    ranked = (
        f"SELECT trace, span, own_kind, owner, (owner, call_id) IN (\n{stored}\n) AS is_stored,"
        " row_number() OVER (PARTITION BY owner, own_kind, call_id"
        f" ORDER BY is_own DESC, t1 - t0, span) AS place FROM {_rows(facts)} WHERE {told}"
    )
    return f"SELECT trace, span, own_kind, owner FROM (\n{ranked}\n) WHERE place > 1 OR is_stored"


def _within(facts: str) -> str:
    """Keys of calls without response id around a provider's span elsewhere."""
    columns = "trace, span, own_kind, t0, t1, owner, request_model, error_class"
    wrappers = (
        f"SELECT {columns} FROM {_rows(facts)}"
        f" WHERE NOT is_own AND call_id = '' AND own_kind IN {_CALLING}"
    )
    claimed_by_id = f"SELECT call_id FROM {_rows(facts)} WHERE NOT is_own AND call_id != ''"
    stored = _stored(
        facts,
        "unhex(calls.trace_id) AS trace, unhex(calls.span_id) AS span,"
        " toString(calls.kind) AS own_kind,"
        " toUInt64(toUnixTimestamp64Micro(calls.ts)) * 1000 AS t0,"
        f" t0 + calls.duration_us * 1000 AS t1, {_OWNER} AS owner,"
        " toString(calls.model) AS request_model, toString(calls.error_class) AS error_class",
        f"calls.kind IN {_CALLING} AND {is_provider('calls.scope')}"
        f" AND {_OWNER} IN (SELECT owner FROM (\n{wrappers}\n))",
    )
    leaves = (
        f"SELECT {columns} FROM {_rows(facts)}"
        f" WHERE is_own AND own_kind IN {_CALLING} AND call_id NOT IN ({claimed_by_id})"
        f"\nUNION ALL\n{stored}"
    )
    claims = (
        "SELECT argMin((wrapper.trace, wrapper.span, wrapper.own_kind, wrapper.owner),"
        " (wrapper.t1 - wrapper.t0, wrapper.span)) AS claim"
        f" FROM (\n{leaves}\n) AS leaf INNER JOIN (\n{wrappers}\n) AS wrapper"
        " ON leaf.owner = wrapper.owner AND leaf.own_kind = wrapper.own_kind"
        " WHERE leaf.trace != wrapper.trace"
        f" AND leaf.t0 + {_SLACK_NS} >= wrapper.t0 AND leaf.t1 <= wrapper.t1 + {_SLACK_NS}"
        " AND (leaf.request_model = wrapper.request_model"
        " OR (leaf.error_class != '' AND leaf.error_class = wrapper.error_class))"
        " GROUP BY leaf.trace, leaf.span"
    )
    return f"SELECT claim.1, claim.2, claim.3, claim.4 FROM (\n{claims}\n)"
