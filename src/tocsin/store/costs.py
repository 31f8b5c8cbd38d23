"""Both sides of a reconciliation of costs: priced calls, and the lines of bills that hold."""

# ruff: noqa: S608 (SQL text is put together from names of this package; values are parameters)

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

from tocsin.reports.costs import Charge, CostLine, Spent, reconcile
from tocsin.store.clickhouse import DATABASE, ClickHouse
from tocsin.store.prices import provider_named
from tocsin.store.retention import Keeping
from tocsin.store.schema import ENDED

_PRICED_KINDS = "('llm', 'embedding', 'reranker')"


class Costs:
    """What bills and the price book say about the same days."""

    def __init__(self, engine: ClickHouse, keeping: Keeping) -> None:
        self._engine = engine
        self._keeping = keeping

    def lines(self, start: date, stop: date) -> list[CostLine]:
        """Days [start, stop), by day, provider and model."""
        values = {"start": str(start), "stop": str(stop)}
        known = [str(row[0]) for row in self._engine.rows(_KNOWN)]
        # The first whole day of which every call is there.
        since = datetime.fromtimestamp(self._keeping.complete_since(), UTC)
        kept = since.date() if since.time() == datetime.min.time() else since.date() + _DAY
        spent = [_spent(row) for row in self._engine.rows(_SPENT, values)]
        charges = [_charge(row) for row in self._engine.rows(_CHARGES, values)]
        return reconcile([each for each in spent if each.day >= kept], charges, known, kept)


_DAY = timedelta(days=1)
_WINDOW = "d >= toDate({start:String}) AND d < toDate({stop:String})"
_KNOWN = f"SELECT DISTINCT model FROM {DATABASE}.prices"
_SPENT = (
    f"SELECT toDate({ENDED}) AS d, toString(calls.provider) AS p,"
    " toString(if(empty(calls.response_model), calls.model, calls.response_model)) AS m,"
    " count(), sum(calls.cost_known), sum(calls.cost_usd * calls.cost_known)"
    f" FROM {DATABASE}.calls AS calls WHERE calls.kind IN {_PRICED_KINDS}"
    " AND calls.ts >= toDateTime64({start:String}, 6, 'UTC') - INTERVAL 1 DAY"
    " AND calls.ts < toDateTime64({stop:String}, 6, 'UTC')"
    f" AND {_WINDOW} GROUP BY d, p, m"
)
# Of several bills over one day of one account, the one that came last holds.
_LATEST = (
    "SELECT (provider, account, toDate(ts)), argMax(export, recv)"
    f" FROM {DATABASE}.billing GROUP BY provider, account, toDate(ts)"
)
_CHARGES = (
    "SELECT toDate(ts) AS d, toString(provider), resource, sku, about, toString(service), tags,"
    " toString(currency), sum(billed), count(billed) = count(), sum(effective),"
    f" count(effective) = count() FROM {DATABASE}.billing WHERE {_WINDOW}"
    f" AND ((provider, account, toDate(ts)), export) GLOBAL IN ({_LATEST})"
    " GROUP BY d, provider, resource, sku, about, service, tags, currency"
)


def _spent(row: Any) -> Spent:
    day, provider, model, calls, priced, cost = row
    return Spent(day, provider_named(provider), model, int(calls), int(priced), float(cost))


def _charge(row: Any) -> Charge:
    day, provider, resource, sku, about, service, tags, currency, *costs = row
    billed, has_billed, effective, has_effective = costs
    return Charge(
        day, provider, (resource, about, sku, service), dict(tags),
        float(billed) if has_billed else None,
        float(effective) if has_effective else None,
        currency,
    )  # fmt: skip
