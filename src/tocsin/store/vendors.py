"""Calls by vendor: in strata for a comparison, in slots for a contract, one by one as proof.

A vendor answers for errors that are its own: overload, timeouts, server errors, connections that
break, streams that end early. What the caller did (a bad request, a wrong key, a refused topic) is
left out altogether, and refusals for the rate are counted apart.
"""

# ruff: noqa: S608 (SQL text is put together from names of this package; values are parameters)

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tocsin.reports.vendors import Strand
from tocsin.store.clickhouse import DATABASE, ClickHouse, literal
from tocsin.store.minute_sql import ended_between
from tocsin.store.minutes import MINUTE
from tocsin.store.schema import ANSWERED, ENDED

ITS_OWN = ("overloaded", "timeout", "server", "connection", "other")
LIMITED = ("rate_limit",)
PROOF = (
    "ts", "duration_us", "ttft_us", "service", "provider", "model", "response_model", "response_id",
    "trace_id", "span_id", "error_class", "error_type", "status_message", "truncated", "streamed",
    "input_tokens", "output_tokens", "usage_known",
)  # fmt: skip


def _among(classes: Sequence[str]) -> str:
    return f"calls.error_class IN ({', '.join(map(literal, classes))})"


FAILED = f"(calls.truncated = 1 OR {_among(ITS_OWN)})"
ELIGIBLE = f"(calls.error_class = '' OR {_among((*ITS_OWN, *LIMITED))})"
_LLM = f"calls.kind = 'llm' AND {ended_between()}"
# Buckets of tokens: 4-fold for prompts, 2-fold for answers, whose length decides the time.
_SIZES = (
    "if(calls.usage_known, toInt32(floor(log2(greatest(calls.input_tokens, 1)) / 2)), -1),"
    " if(calls.usage_known, toInt32(floor(log2(greatest(calls.output_tokens, 1)))), -1)"
)


def _log(column: str) -> str:
    """SQL: the natural logarithm of seconds, in millionths: integers add up in any order."""
    return f"toInt128(round(log(greatest({column}, 1) / 1e6) * 1e6))"


def _logs(column: str, when: str) -> str:
    return f"countIf({when}), sumIf({_log(column)}, {when}), sumIf(pow2, {when})".replace(
        "pow2", f"{_log(column)} * {_log(column)}"
    )


class Vendors:
    """Reads epoch minutes [start, stop) of one engine, which may see a part of all rows only."""

    def __init__(self, engine: ClickHouse) -> None:
        self._engine = engine

    def strands(self, start: int, stop: int, *, by_model: bool = False) -> list[Strand]:
        """Every vendor (provider, or provider and model) in every stratum."""
        vendor = (
            "concat(toString(provider), ' ', toString(model))"
            if by_model
            else ("toString(provider)")
        )
        first = f"{ANSWERED} AND calls.ttft_us > 0"
        rows = self._engine.rows(
            f"SELECT {vendor} AS v, service, {_SIZES}, count(), countIf({FAILED}),"
            f" countIf({_among(LIMITED)}), {_logs('calls.ttft_us', first)},"
            f" {_logs('calls.duration_us', ANSWERED)}, sum(calls.cost_known),"
            " sum(toDecimal128(calls.cost_usd * calls.cost_known, 12)),"
            " sum(toDecimal128(pow(calls.cost_usd * calls.cost_known, 2), 16))"
            f" FROM {DATABASE}.calls AS calls WHERE {_LLM} AND provider != '' AND {ELIGIBLE}"
            " GROUP BY ALL ORDER BY ALL",
            {"start": start, "stop": stop, "grain": MINUTE},
        )
        return [_strand(row) for row in rows]

    def slots(
        self, start: int, stop: int, provider: str, models: Sequence[str], minutes: int
    ) -> list[tuple[int, int]]:
        """(failed, eligible) of every slot of `minutes` in which there were calls."""
        rows = self._engine.rows(
            f"SELECT intDiv(toUnixTimestamp({ENDED}), {{slot:Int64}}) AS slot, countIf({FAILED}),"
            f" count() FROM {DATABASE}.calls AS calls WHERE {self._of(models)}"
            " GROUP BY slot ORDER BY slot",
            self._values(start, stop, provider, models) | {"slot": max(minutes, 1) * 60},
        )
        return [(int(failed), int(calls)) for _, failed, calls in rows]

    def cost(
        self, start: int, stop: int, provider: str, models: Sequence[str]
    ) -> tuple[float, int, int]:
        """(dollars, priced calls, all calls) of a provider."""
        [row] = self._engine.rows(
            "SELECT sum(toDecimal128(calls.cost_usd * calls.cost_known, 12)), sum(cost_known),"
            f" count() FROM {DATABASE}.calls AS calls WHERE {self._of(models, every=True)}",
            self._values(start, stop, provider, models),
        )
        return float(row[0]), int(row[1]), int(row[2])

    def proof(self, start: int, stop: int, provider: str, models: Sequence[str]) -> Any:
        """Every call that counts, as an Arrow table in the order of time and id, with what it
        counts as."""
        return self._engine.table(
            f"SELECT {', '.join(f'toString({c}) AS {c}' if c in _TEXTS else c for c in PROOF)},"
            f" {FAILED} AS is_failed, {_among(LIMITED)} AS is_limited"
            f" FROM {DATABASE}.calls AS calls WHERE {self._of(models)}"
            " ORDER BY calls.ts, calls.trace_id, calls.span_id, calls.response_id",
            self._values(start, stop, provider, models),
        )

    def _of(self, models: Sequence[str], *, every: bool = False) -> str:
        chosen = f"{_LLM} AND provider = {{provider:String}}"
        if models:
            chosen += " AND model IN {models:Array(String)}"
        return chosen if every else f"{chosen} AND {ELIGIBLE}"

    def _values(
        self, start: int, stop: int, provider: str, models: Sequence[str]
    ) -> dict[str, Any]:
        return {
            "start": start, "stop": stop, "grain": MINUTE, "provider": provider,
            "models": list(models),
        }  # fmt: skip


_TEXTS = ("service", "provider", "model", "response_model", "error_class", "error_type")


def _strand(row: Any) -> Strand:
    vendor, workload, prompt, answer, eligible, failed, limited, *rest = row
    first_n, first, first2, whole_n, whole, whole2, priced, cost, cost2 = rest
    return Strand(
        str(vendor), str(workload), () if prompt < 0 else (int(prompt), int(answer)),
        int(eligible), int(failed), int(limited),
        int(first_n), first / 1e6, first2 / 1e12, int(whole_n), whole / 1e6, whole2 / 1e12,
        int(priced), float(cost), float(cost2),
    )  # fmt: skip
