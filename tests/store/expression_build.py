"""Calls, random expressions over them, and what an expression says, told directly.

A call is a mapping: field name -> value, (field name, key) -> value; what is absent is unknown.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st
from telemetry_build import MINUTE, NOW

from tocsin.domain.calls import SYSTEM_FAILURES
from tocsin.domain.clock import iso
from tocsin.domain.expressions import Apply, Constant, Expression, Field
from tocsin.store.telemetry import SCORE_ROWS, Telemetry

DECIMAL = re.compile(r"[+-]?(\d{1,15}(\.\d{0,15})?|\.\d{1,15})([eE][+-]?\d{1,2})?")
PLAIN = {
    "=": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt,
    ">=": operator.ge, "+": operator.add, "-": operator.sub, "*": operator.mul,
    "not": operator.not_, "negative": operator.neg, "lower": str.lower,
    "length": lambda text: float(len(text)), "contains": lambda text, part: part in text,
    "starts_with": str.startswith, "ends_with": str.endswith,
    "in": lambda value, *items: value in items,
    "matches": lambda text, pattern: re.search(pattern, text, re.DOTALL) is not None,
    "/": lambda a, b: a / b if b != 0 else None,
    "number": lambda text: float(text) if DECIMAL.fullmatch(text) else None,
}  # fmt: skip


def told(expression: Expression, call: Mapping[Any, Any]) -> Any:
    """The value, None where it is unknown."""
    if isinstance(expression, Constant):
        return expression.value
    if isinstance(expression, Field):
        return call.get((expression.name, expression.key) if expression.key else expression.name)
    return _applied(expression, call)


def _applied(apply: Apply, call: Mapping[Any, Any]) -> Any:
    args = [told(arg, call) for arg in apply.args]
    if apply.op == "and":
        return False if False in args else (None if None in args else True)
    if apply.op == "or":
        return True if True in args else (None if None in args else False)
    if apply.op == "known":
        return args[0] is not None
    if apply.op == "coalesce":
        return next((arg for arg in args if arg is not None), None)
    return None if None in args else PLAIN[apply.op](*args)


# --- random expressions, as people would write them ---

CHARACTERS = "ab'\"\\%{}:;-_`\n\t\0 é)(/*,.0"
NUMBERS = ("latency_ms", "input_tokens", "total_tokens", "cost_usd", "documents", "score('judge')")
DURATIONS = ("latency", "elapsed", "ttft")
TEXTS = (
    "model", "env", "error_class", "status", "finish_reason", "user_id", "label('judge')",
    "attributes['size']", "attributes['it''s; -- \\']", "dimensions['tier']",
)  # fmt: skip
TRUTHS = ("error", "failed", "truncated", "streamed", "policy_violation", "true", "false")
PATTERNS = ("^a", "b$", "a.b", "[ab]+", r"\d", "(a|b)'", r"\\", ".")


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


texts = st.text(CHARACTERS, max_size=4).map(quoted)
amounts = st.one_of(
    st.sampled_from(["0", "1", "1.5", "2k", ".5", "3M", "10%", "0.1", "1e3"]),
    st.integers(0, 5000).map(str),
)
spans = st.tuples(st.integers(0, 3000), st.sampled_from(["ms", "s", "min"])).map(
    lambda pair: f"{pair[0]}{pair[1]}"
)


def of_type(kind: str, depth: int) -> st.SearchStrategy[str]:
    """Expressions of one type, with at most `depth` operators inside of each other."""
    leaves = {
        "truth": st.sampled_from(TRUTHS),
        "number": st.one_of(st.sampled_from(NUMBERS), amounts),
        "duration": st.one_of(st.sampled_from(DURATIONS), spans),
        "text": st.one_of(st.sampled_from(TEXTS), texts),
    }
    if depth == 0:
        return leaves[kind]
    inner = {name: of_type(name, depth - 1) for name in leaves}

    def put(form: str, *parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        return st.tuples(*parts).map(lambda found: form.format(*found))

    number, duration, text = inner["number"], inner["duration"], inner["text"]
    order = st.sampled_from(["<", "<=", ">", ">=", "=", "!="])
    both = st.sampled_from(["and", "or"])
    sign = st.sampled_from(["+", "-", "*", "/"])
    grown = {
        "truth": (
            put("({} {} {})", inner["truth"], both, inner["truth"]),
            put("not {}", inner["truth"]).map(lambda found: f"({found})"),
            put("({} {} {})", number, order, number),
            put("({} {} {})", duration, order, duration),
            put("({} {} {})", text, st.sampled_from(["=", "!="]), text),
            put("({} {} ({}, {}))", text, st.sampled_from(["in", "not in"]), texts, texts),
            put("({} in ({}, {}))", number, amounts, amounts),
            put("({} matches {})", text, st.sampled_from(PATTERNS).map(quoted)),
            put("{}({}, {})", st.sampled_from(["contains", "starts_with", "ends_with"]), text,
                texts),
            put("known({})", st.one_of(*inner.values())),
        ),
        "number": (
            put("({} {} {})", number, sign, number),
            put("({} / {})", duration, duration),
            put("coalesce({}, {})", number, number),
            put("number({})", text),
            put("length({})", text),
            put("(-{})", number),
        ),
        "duration": (
            put("({} {} {})", duration, st.sampled_from(["+", "-"]), duration),
            put("({} * {})", duration, number),
            put("coalesce({}, {})", duration, duration),
        ),
        "text": (put("coalesce({}, {})", text, text), put("lower({})", text)),
    }  # fmt: skip
    return st.one_of(leaves[kind], *grown[kind])


# --- calls and scores ---

N = 48
START = MINUTE - 8
WORDS = ["", "a", "ab", "a\nb", "it's", "Aé", "12", "-3.5", "1e3", "nan", "0x1", ".5", "\\", "é)("]


def calls() -> list[dict[str, Any]]:
    rng = np.random.default_rng(11)

    def one_of(values: list[Any]) -> Any:
        return values[int(rng.integers(len(values)))]

    return [
        {
            "span_id": f"{number + 1:016x}",
            "trace_id": f"{number // 2 + 1:032x}",
            "response_id": f"r{number}" if number % 3 else "",
            "duration_us": int(one_of([0, 500, 1_500_000, 2_000_000, 61_000_000])),
            "ttft_us": int(one_of([0, 400_000])),
            "usage_known": int(rng.integers(2)),
            "input_tokens": int(rng.integers(3000)),
            "output_tokens": int(rng.integers(900)),
            "cost_known": int(rng.integers(2)),
            "cost_usd": float(rng.random() / 20),
            "error_class": one_of(["", "", "", "timeout", "content_filter", "bad_request"]),
            "finish_reason": one_of(["", "stop", "length", "content_filter"]),
            "truncated": int(rng.random() < 0.2),
            "streamed": int(rng.integers(2)),
            "model": one_of(["", "gpt-4o", "ab"]),
            "env": one_of(WORDS),
            "user_id": one_of(WORDS),
            "attrs": {
                k: v
                for k, v in {
                    "size": one_of(WORDS), "it's; -- \\": one_of(WORDS),
                    "retrieval.documents.count": one_of(["", "0", "4"]),
                }.items()
                if v
            },
            "dims": {"tier": "free"} if rng.integers(2) else {},
        }
        for number in range(N)
    ]  # fmt: skip


CALLS = calls()
# call, what the score names it by, value, label, minutes after NOW
JUDGED: list[tuple[int, str, float | None, str, int]] = [
    (0, "span", 0.9, "ok", 0), (0, "span", 0.2, "bad", 5), (1, "span", None, "odd", 0),
    (4, "response", 0.4, "", 0), (5, "response", 1.0, "ok", 0), (5, "span", 0.0, "bad", 0),
    (10, "trace", 0.7, "ok", 0), (11, "span", 0.1, "bad", 0), (20, "trace", 0.3, "", 0),
]  # fmt: skip


def known(number: int) -> dict[Any, Any]:
    """The call as the oracle takes it: what is unknown is absent."""
    c = CALLS[number]
    answered = not c["error_class"] and not c["truncated"] and c["duration_us"] > 0
    ms, usage = c["duration_us"] / 1000, bool(c["usage_known"])
    filtered = "content_filter" in (c["error_class"], c["finish_reason"])
    found: dict[Any, Any] = {
        "latency": ms if answered else None,
        "latency_ms": ms if answered else None,
        "elapsed": ms or None,
        "ttft": c["ttft_us"] / 1000 if answered and c["ttft_us"] else None,
        "input_tokens": float(c["input_tokens"]) if usage else None,
        "total_tokens": float(c["input_tokens"] + c["output_tokens"]) if usage else None,
        "output_tokens": float(c["output_tokens"]) if usage else None,
        "cost_usd": c["cost_usd"] if c["cost_known"] else None,
        "documents": float(c["attrs"].get("retrieval.documents.count", "nan")),
        "error": c["error_class"] != "",
        "failed": c["error_class"] in SYSTEM_FAILURES or bool(c["truncated"]),
        "truncated": bool(c["truncated"]),
        "streamed": bool(c["streamed"]),
        "policy_violation": filtered,
        "status": "error" if c["error_class"] else "ok",
        "error_class": c["error_class"],
        **{name: c[name] or None for name in ("model", "env", "user_id", "finish_reason")},
        **{("attributes", key): value or None for key, value in c["attrs"].items()},
        **{("dimensions", key): value for key, value in c["dims"].items()},
        **judged(number),
    }
    if math.isnan(found["documents"]):
        found["documents"] = None
    return {name: value for name, value in found.items() if value is not None}


def judged(number: int) -> dict[Any, Any]:
    """The newest score that names the call; by span before response before trace."""
    found: dict[Any, Any] = {}
    for way in ("trace", "response", "span"):
        mine = [j for j in JUDGED if j[1] == way and
                (j[0] // 2 == number // 2 if way == "trace" else j[0] == number)]  # fmt: skip
        if mine:
            newest = max(mine, key=lambda j: j[4])
            if newest[2] is not None:
                found["score", "judge"] = newest[2]
            found["label", "judge"] = newest[3] or None
    return found


def score_row(line: int, at: tuple[int, str, float | None, str, int]) -> dict[str, Any]:
    number, way, value, label, later = at
    call = CALLS[number]
    names = {
        "span": {"span_id": call["span_id"], "call_id": call["span_id"]},
        "response": {"call_id": call["response_id"]},
        "trace": {"trace_id": call["trace_id"]},
    }[way]
    return {
        "ts": iso(NOW.replace(minute=later)), "recv": iso(NOW), "name": "judge", "line": line,
        "project": "shop", "service": "chat", "value": value if value is not None else math.nan,
        "label": label, "annotator": f"a{line}", **names,
    }  # fmt: skip


def fill(store: Telemetry) -> None:
    """Put the calls and their scores into a store."""
    at = pa.array([START * 60_000_000 + n * 10_000_000 - c["duration_us"] for n, c in
                   enumerate(CALLS)], pa.timestamp("us", tz="UTC"))  # fmt: skip
    text = pa.map_(pa.string(), pa.string())
    columns: dict[str, Any] = {
        name: pa.array([list(c[name].items()) for c in CALLS], text)
        if name in ("attrs", "dims")
        else pa.array([c[name] for c in CALLS])
        for name in CALLS[0]
    }
    table = pa.table({
        **columns, "ts": at, "project": pa.array(["shop"] * N), "service": pa.array(["chat"] * N),
        "kind": pa.array(["llm"] * N),
    })  # fmt: skip
    store.add_calls(table)
    store.flush()
    store.add_rows(SCORE_ROWS, [score_row(i, j) for i, j in enumerate(JUDGED)])
    store.flush()
