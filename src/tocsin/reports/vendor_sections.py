"""Chapters about vendors: who does the same work better, and who owes what."""

from __future__ import annotations

from collections.abc import Sequence
from zoneinfo import ZoneInfo

from tocsin.reports import cells, wording
from tocsin.reports.facts import Facts
from tocsin.reports.report import Cell, Column, Label, Measure, Section, Table, Unit
from tocsin.reports.vendors import Comparison, Contract, Standing

_MEASURES: dict[str, tuple[str, Unit]] = {
    "failed": ("Share of failed calls", "share"),
    "limited": ("Share refused for the rate", "share"),
    "first_token": ("Time to the first token", "s"),
    "duration": ("Time of a whole answer", "s"),
    "cost": ("Cost of a call", "usd"),
}


def comparison(facts: Facts) -> Section:
    """Every measure at the same work, by provider and by model."""
    text = (
        "Computed per workload and, for answered calls, per size of prompt and answer, then mixed "
        "by the shares that all compared vendors together have: what each would show if all did "
        "the same work. Times are geometric means. Two whose intervals overlap are not told apart.",
    )
    both = [("provider", facts.providers), ("model", facts.models)]
    tables = [_table(one, what) for what, found in both for one in found if one.standings]
    if not tables:
        why = facts.incomplete or "no call names its provider"
        text = (f"There is nothing to compare: {why}.",)
    return Section("comparison", "At the same work", tuple(tables), text)


def agreements(found: Sequence[Contract]) -> Section:
    """Every agreement, month by month: counted as it says, and the credits owed."""
    columns = (
        Column("agreement", "Agreement"), Column("month", "Month"), Column("promise", "Promised"),
        Column("availability", "Kept"), Column("standing", "Standing"),
        Column("counted", "Counted"), Column("credit", "Credit"), Column("fee", "Of the fee"),
        Column("fee_from", "Fee from"), Column("owed", "Owed"),
    )  # fmt: skip
    note = (
        "Counted as the agreement says, on the calls made from here: the provider's own errors "
        "only. Credits follow the point value, as contracts do; broken or kept is said where the "
        "exact 95 % interval of the calls proves it. All services count, also where the report is "
        "about some. The calls behind it: tocsin vendor evidence."
    )
    rows = tuple(_contract(one) for one in found)
    table = Table("agreements", "Agreements", columns, rows, "No VendorAgreement is set.", note)
    return Section("agreements", "What was promised", (table,))


# --- private -----------------------------------------------------------------------------------


def _table(found: Comparison, what: str) -> Table:
    title, unit = _MEASURES[found.measure]
    columns = (
        Column(what, what.capitalize()), Column("value", "At the same work"),
        Column("raw", "As it was"), Column("calls", "Calls"), Column("apart", "Told apart"),
    )  # fmt: skip
    rows = tuple(
        _row(one, unit, found.standings[at + 1 : at + 2]) for at, one in enumerate(found.standings)
    )
    note = (
        f"{wording.plural(found.strata, 'stratum', 'strata')} in common, with "
        f"{wording.percent(found.coverage)} of the calls."
        if found.strata
        else ""
    )
    return Table(f"{found.measure}_by_{what}", f"{title}, by {what}", columns, rows,
                 "No call names a provider.", note)  # fmt: skip


def _row(one: Standing, unit: Unit, following: Sequence[Standing]) -> tuple[Cell, ...]:
    value = Measure(one.value, unit, one.low, one.high, unknown=one.why)
    apart: Cell = "–"
    if one.high is not None and following and following[0].low is not None:
        is_apart = one.high < following[0].low
        apart = f"better than {following[0].vendor}" if is_apart else "not from the next"
    return (
        one.vendor, value, cells.measured(one.raw, unit, "no calls"),
        Measure(one.calls, "count"), apart,
    )  # fmt: skip


def _contract(one: Contract) -> tuple[Cell, ...]:
    terms = one.terms
    value, why, standing = one.availability, _uncounted(one), _standing(one)
    kept = Measure(
        value, "share", one.low, one.high, "" if value is not None else why,
        limit=terms.committed, tone=standing.tone,
    )  # fmt: skip
    counts_in = f"slots of {terms.slot_minutes} min" if terms.slot_minutes else "calls"
    credit = Measure(
        None if one.credit_percent is None else one.credit_percent / 100, "share",
        unknown="" if one.credit_percent is not None else why,
    )  # fmt: skip
    of_kept = "of what is kept: " if one.incomplete else ""
    zone = ZoneInfo(terms.time_zone)
    begin, end = one.since.astimezone(zone), one.until.astimezone(zone)
    month = f"{begin:%B %Y}" + ("" if one.is_over else f", up to {end:%d %b %H:%M}")
    fee = cells.measured(
        one.fee_usd, "usd", one.incomplete or "no call has a price, and no fee is given"
    )
    unpaid = why if value is None else "the fee is unknown"
    return (
        terms.title, month, Measure(terms.committed, "share"), kept, standing,
        f"{of_kept}{one.bad:,} bad of {one.total:,} {counts_in}; {one.calls:,} calls", credit, fee,
        one.fee_from, cells.measured(one.owed_usd, "usd", unpaid),
    )  # fmt: skip


def _uncounted(one: Contract) -> str:
    """Why nothing was counted."""
    if one.incomplete or not one.calls:
        return one.incomplete or cells.NO_CALLS
    slots = f"no slot of {one.terms.slot_minutes} min"
    return f"{slots} had the {wording.plural(one.terms.least, 'call')} that the agreement asks for"


def _standing(one: Contract) -> Label:
    if one.availability is None:
        return Label("unknown", "unknown")
    running = "" if one.is_over else " so far"
    is_broken = one.availability < one.terms.committed
    word, tone = ("broken", "bad") if is_broken else ("kept", "ok")
    if one.low is None or one.high is None:
        return Label(word + running, tone)  # type: ignore[arg-type]
    proven = one.high < one.terms.committed if is_broken else one.low >= one.terms.committed
    if proven:
        return Label(word + running, tone)  # type: ignore[arg-type]
    return Label(f"{word}, not proven{running}", "bad" if is_broken else "warn")
