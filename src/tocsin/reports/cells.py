"""Facts as cells: a number with its interval, what it is held against, and why it is unknown."""

from __future__ import annotations

from collections.abc import Iterable

from tocsin.domain.precision import Precision
from tocsin.domain.shares import exact_interval
from tocsin.reports import wording
from tocsin.reports.facts import HealthFacts, ObjectiveFacts, Totals
from tocsin.reports.report import Label, Measure, Tone, Unit

NO_CALLS = "no calls in this time"
_STANDING: dict[str, tuple[str, Tone]] = {
    "met": ("met", "ok"), "breached": ("breached", "bad"),
    "inconclusive": ("not proven", "warn"), "no_data": ("unknown", "unknown"),
}  # fmt: skip
STATE: dict[str, Tone] = {"ok": "ok", "warning": "warn", "critical": "bad"}


def calls(totals: Totals) -> Measure:
    """How many calls there were, unless some are gone."""
    if totals.incomplete:
        return Measure(None, "count", unknown=totals.incomplete)
    return Measure(totals.calls, "count")


def success(totals: Totals) -> Measure:
    """The share of calls that were answered, with its exact interval."""
    if totals.incomplete or not totals.calls:
        return Measure(None, "share", unknown=totals.incomplete or NO_CALLS)
    low, high = exact_interval(totals.calls - totals.failed, totals.calls)
    return Measure(1 - totals.failed / totals.calls, "share", low, high)


def p95(totals: Totals) -> Measure:
    """The time within which 95 % of the answered calls were answered."""
    if totals.incomplete:
        return Measure(None, "s", unknown=totals.incomplete)
    return measured(totals.p95_s, "s", "no answered call")


def measured(value: float | None, unit: Unit, unknown: str) -> Measure:
    """A number that may be unknown."""
    return Measure(value, unit, unknown="" if value is not None else unknown)


def cost(totals: Totals) -> Measure:
    """What the priced calls cost; the others are said to be unpriced, not free."""
    if totals.incomplete:
        return Measure(None, "usd", unknown=totals.incomplete)
    if not totals.calls:
        return Measure(0.0, "usd")
    unpriced = totals.calls - totals.priced
    if totals.cost_usd is None:
        return Measure(None, "usd", unknown="no call has a price")
    note = f"{wording.plural(unpriced, 'call')} without a price" if unpriced else ""
    return Measure(totals.cost_usd, "usd", unknown=note)


def total(parts: Iterable[Totals]) -> Totals:
    """Services together; quantiles do not add up and are left out."""
    found = list(parts)
    known = [one.cost_usd for one in found if one.cost_usd is not None]
    return Totals(
        calls=sum(one.calls for one in found),
        failed=sum(one.failed for one in found),
        cost_usd=sum(known) if known else None,
        priced=sum(one.priced for one in found),
        tokens=sum(one.tokens for one in found),
        used=sum(one.used for one in found),
        incomplete=next((one.incomplete for one in found if one.incomplete), ""),
    )


def sli(one: ObjectiveFacts) -> Measure:
    """What an objective measured over the period, beside what it promises."""
    tone = standing(one).tone
    if one.amount is not None:
        value, low, high, limit, unit = one.amount
        known: Unit = "usd" if unit == "usd" else ("s" if unit == "ms" else "number")
        factor = 0.001 if unit == "ms" else 1.0
        scaled = [None if v is None else v * factor for v in (value, low, high, limit)]
        return Measure(
            scaled[0], known, scaled[1], scaled[2], limit=scaled[3], tone=tone,
            unknown=(one.incomplete or NO_CALLS) if value is None else "",
        )  # fmt: skip
    if one.sli is None:
        return Measure(None, "share", unknown=one.incomplete or NO_CALLS)
    return Measure(one.sli, "share", one.low, one.high, limit=one.target, tone=tone)


def standing(one: ObjectiveFacts) -> Label:
    """What the period proves about an objective."""
    text, tone = _STANDING[one.standing]
    return Label(text, tone)


def spent(one: ObjectiveFacts) -> Measure:
    """How much of the budget of the period's own calls was spent."""
    if one.spent is None:
        return Measure(None, "share", unknown="a mean has no share of bad calls" if one.total
                       else one.incomplete or NO_CALLS)  # fmt: skip
    tone: Tone = "bad" if one.spent > 1 else ("warn" if one.spent > 0.75 else "ok")
    return Measure(one.spent, "share", tone=tone)


def remaining(one: ObjectiveFacts) -> Measure:
    """What was left of its own budget at the end of the period, as pages show it."""
    if one.remaining is None:
        why = one.incomplete or one.window_incomplete or NO_CALLS
        return Measure(None, "budget", unknown=why)
    tone: Tone = "bad" if one.remaining < 0 else ("warn" if one.remaining < 0.25 else "ok")
    return Measure(one.remaining, "budget", tone=tone)


def health(one: HealthFacts) -> Measure:
    """The mean of a health score; the state that it would be is its tone."""
    if one.mean is None:
        return Measure(None, "score", unknown=one.reason)
    return Measure(one.mean, "score", limit=one.warning, tone=STATE.get(one.state, ""))


def share_in(one: HealthFacts, state: str) -> Measure:
    """The share of the minutes with a score that a health score was in a state."""
    scored = sum(one.minutes.get(each, 0) for each in STATE)
    if not scored:
        return Measure(None, "share", unknown=one.reason)
    minutes = one.minutes.get(state, 0)
    return Measure(minutes / scored, "share", tone=STATE[state] if minutes else "")


def precision(found: Precision) -> Measure:
    """The share of judged pages that were real."""
    waiting = found.unjudged
    why = f"none of {wording.plural(waiting, 'page')} judged" if waiting else "nobody was paged"
    why = "" if found.share is not None else why
    return Measure(found.share, "share", found.low, found.high, unknown=why)


def change(now: float | None, before: float | None, why: str) -> Measure:
    """A change, in parts of what was before."""
    if now is None or not before:
        return Measure(None, "share", unknown=why or "nothing to compare with")
    return Measure(now / before - 1, "share")
