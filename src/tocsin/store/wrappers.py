"""Which spans only wrap a call that another span already is: one call must count once.

Frameworks put spans of kind LLM, embedding or retriever around the call that the provider's own
instrumentation reports as well. Left alone, one call is counted two or three times, with its
tokens. A wrapper is demoted to kind `chain`; its attribute `tocsin.wrapper` says why. It is one if

    below    a span of its own kind lies below it in its trace
    same     another span has the same response id; the provider's own span is kept
    within   it has no response id, and a provider's span of its service and kind, in an unrelated
             trace, lies inside its time, with its model or its failure; a provider's span is
             claimed by the tightest of such wrappers only

"another span" is looked for in the segment and among the calls already stored around its time, so
that it need not arrive in the same request; it must arrive no later than its wrapper, which is
the order in which spans end. The search costs about three more passes over the segment, which is
why only segments with spans of unknown or framework scopes are read this way.
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


def wrapper_note(book: Codebook, source: str = "{source}") -> str:
    """SQL over `judged`: why the span is a wrapper, '' when it is a call of its own."""
    key = "(item.trace_id, item.span_id, own_kind)"
    reasons = (
        (_below(book, source), "a call of the same kind lies below it"),
        (_same(book, source), "another span has the same response id"),
        (_within(book, source), "a call of the provider lies within it"),
    )
    tests = ", ".join(f"{key} IN (\n{keys}\n), {quoted(why)}" for keys, why in reasons)
    return f"multiIf({tests}, '')"


def _facts(book: Codebook, source: str, *wanted: str) -> str:
    """What decides about wrappers, one row per span."""
    facts = {
        "trace": "item.trace_id",
        "span": "item.span_id",
        "parent": "item.parent_span_id",
        "t0": "item.t0",
        "t1": "item.t1",
        "is_own": is_provider("scope"),
    }
    return derived(spans(book, source), SPAN, {**judged(book), **facts}, wanted)


def _times(book: Codebook, source: str, pick: str) -> str:
    facts = _facts(book, source, "t0", "t1")
    return f"(SELECT fromUnixTimestamp64Micro(toInt64(intDiv({pick}, 1000))) FROM (\n{facts}\n))"


def _stored(book: Codebook, source: str, columns: str, where: str) -> str:
    """Calls of other segments around the time of this one."""
    return (
        f"SELECT {columns} FROM tocsin.calls WHERE calls.seg != {{seg}}"
        f" AND calls.ts >= {_times(book, source, 'min(t0)')} - {_LOOK_BACK}"
        f" AND calls.ts <= {_times(book, source, 'max(t1)')} AND {where}"
    )


def _below(book: Codebook, source: str) -> str:
    """(trace, span, kind) of spans with a call of the same kind up to four levels below."""
    facts = _facts(book, source, "trace", "span", "parent", "own_kind")
    columns = ["trace", "spans", "parents", f"arrayFilter(k -> k IN {_WRAPPING}, kinds) AS of_kind"]
    climb = f"arrayFilter((p, k) -> k IN {_WRAPPING}, parents, kinds) AS up1"
    steps = (
        "SELECT trace, groupArray(span) AS spans, groupArray(parent) AS parents,"
        f" groupArray(own_kind) AS kinds FROM (\n{facts}\n) GROUP BY trace"
    )
    steps = f"SELECT {', '.join(columns)}, {climb} FROM (\n{steps}\n)"
    for level in range(2, _LEVELS + 1):
        above = f"arrayMap(p -> parents[indexOf(spans, p)], up{level - 1}) AS up{level}"
        steps = f"SELECT *, {above} FROM (\n{steps}\n)"
    ups = ", ".join(f"up{level}" for level in range(1, _LEVELS + 1))
    kinds = ", ".join(["of_kind"] * _LEVELS)
    here = (
        f"SELECT trace, pair.1, pair.2 FROM (\n{steps}\n)"
        f" ARRAY JOIN arrayZip(arrayConcat({ups}), arrayConcat({kinds})) AS pair"
        " WHERE pair.1 != ''"
    )
    traces = f"SELECT DISTINCT lower(hex(trace)) FROM (\n{_facts(book, source, 'trace')}\n)"
    stored = _stored(
        book,
        source,
        "unhex(calls.trace_id), unhex(calls.parent_id), toString(calls.kind)",
        f"calls.kind IN {_WRAPPING} AND calls.parent_id != '' AND calls.trace_id IN ({traces})",
    )
    return f"{here}\nUNION ALL\n{stored}"


def _same(book: Codebook, source: str) -> str:
    """(trace, span, kind) of calls whose response id another span has, all but one of them."""
    told = (
        f"SELECT * FROM (\n{_facts(book, source, *_SAME_FACTS)}\n)"
        f" WHERE call_id != '' AND own_kind IN {_CALLING}"
    )
    ids = f"SELECT call_id FROM (\n{_facts(book, source, 'call_id')}\n) WHERE call_id != ''"
    stored = _stored(
        book,
        source,
        "calls.response_id",
        f"calls.kind IN {_CALLING} AND calls.response_id IN ({ids})",
    )
    ranked = (
        f"SELECT trace, span, own_kind, call_id IN (\n{stored}\n) AS is_stored,"
        " row_number() OVER (PARTITION BY own_kind, call_id ORDER BY is_own DESC, t1 - t0, span)"
        f" AS place FROM (\n{told}\n)"
    )
    return f"SELECT trace, span, own_kind FROM (\n{ranked}\n) WHERE place > 1 OR is_stored"


_SAME_FACTS = ("trace", "span", "own_kind", "call_id", "is_own", "t0", "t1")
_WITHIN_FACTS = (
    "trace", "span", "own_kind", "call_id", "is_own", "t0", "t1", "service", "request_model",
    "error_class",
)  # fmt: skip


def _within(book: Codebook, source: str) -> str:
    """(trace, span, kind) of calls without response id around a provider's span elsewhere."""
    facts = _facts(book, source, *_WITHIN_FACTS)
    told = (
        f"SELECT call_id FROM (\n{_facts(book, source, 'call_id', 'is_own')}\n)"
        " WHERE NOT is_own AND call_id != ''"
    )
    stored = _stored(
        book,
        source,
        "unhex(calls.trace_id) AS trace, unhex(calls.span_id) AS span, toString(calls.kind) AS"
        " own_kind, toUInt64(toUnixTimestamp64Nano(CAST(calls.ts, 'DateTime64(9)'))) AS t0,"
        " t0 + calls.duration_us * 1000 AS t1, toString(calls.service) AS service,"
        " toString(calls.model) AS request_model, toString(calls.error_class) AS error_class",
        f"calls.kind IN {_CALLING} AND {is_provider('calls.scope')}",
    )
    columns = (
        "trace, span, own_kind, t0, t1, toString(service) AS service, request_model, error_class"
    )
    wrappers = (
        f"SELECT {columns} FROM (\n{facts}\n)"
        f" WHERE NOT is_own AND call_id = '' AND own_kind IN {_CALLING}"
    )
    leaves = (
        f"SELECT {columns} FROM (\n{facts}\n)"
        f" WHERE is_own AND own_kind IN {_CALLING} AND call_id NOT IN (\n{told}\n)"
        f"\nUNION ALL\n{stored}"
    )
    claimed = (
        "SELECT argMin((wrapper.trace, wrapper.span, wrapper.own_kind),"
        " (wrapper.t1 - wrapper.t0, wrapper.span)) AS claim"
        f" FROM (\n{leaves}\n) AS leaf INNER JOIN (\n{wrappers}\n) AS wrapper"
        " ON leaf.service = wrapper.service AND leaf.own_kind = wrapper.own_kind"
        " WHERE leaf.trace != wrapper.trace"
        f" AND leaf.t0 + {_SLACK_NS} >= wrapper.t0 AND leaf.t1 <= wrapper.t1 + {_SLACK_NS}"
        " AND (leaf.request_model = wrapper.request_model"
        " OR (leaf.error_class != '' AND leaf.error_class = wrapper.error_class))"
        " GROUP BY leaf.trace, leaf.span"
    )
    return f"SELECT claim.1, claim.2, claim.3 FROM (\n{claimed}\n)"
