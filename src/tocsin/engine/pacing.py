"""How densely an evaluator may sample now, so that its budget lasts for the day.

The rates are decided before anybody looks at which calls there are, from what was spent until then:
every call still has a known probability of being chosen, and weights by its inverse stay right
however often the rates change. What changes is only how much the sample says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from tocsin.spec.judging import ConfiguredEvaluator
from tocsin.store.judging import DayOfJudging

AHEAD = 0.25  # of a day's budget: so much more than its even part may be spent at any time
AT_A_TIME = 0.2  # of what is free: so that a peak does not take all of it at once
_KNOWN_AFTER = 5  # requests after which their mean cost is believed
_UNTIL_THEN = 20
MOST_AT_ONCE = 20_000
RAREST = 1e-4  # a call that stood for more than ten thousand others would say nothing about them


@dataclass(frozen=True, slots=True)
class Rates:
    """Probabilities by stratum. thinned: the factor to what is configured."""

    by_stratum: tuple[float, ...]
    thinned: float


def paced(
    configured: ConfiguredEvaluator, counts: Mapping[int, int], spent: DayOfJudging, now: datetime
) -> Rates:
    """The rates for calls of which there are `counts` by stratum. spent: on this day until now."""
    wanted = [one.rate for one in configured.strata]
    expected = sum(rate * counts.get(place, 0) for place, rate in enumerate(wanted))
    free = min(MOST_AT_ONCE, _free(configured, spent, now))
    thinned = 1.0 if expected <= max(free, 0.0) else max(free, 0.0) / expected
    rates = [rate * thinned for rate in wanted]
    return Rates(tuple(_at_least(rate) for rate in rates), thinned)


def _free(configured: ConfiguredEvaluator, spent: DayOfJudging, now: datetime) -> float:
    """How many calls may be chosen now."""
    part = min(1.0, _part_of_day(now) + AHEAD)
    found = float("inf")
    if configured.daily_calls is not None:
        found = configured.daily_calls * part - spent.chosen
    if configured.daily_usd is not None:
        if spent.asked >= _KNOWN_AFTER:
            mean = spent.usd / spent.asked
            waiting = max(spent.chosen - spent.judged - spent.failed, 0)
            left = configured.daily_usd * part - spent.usd - waiting * mean
            found = min(found, left / mean if mean > 0 else float("inf"))
        else:
            found = min(found, (_UNTIL_THEN - spent.chosen) / AT_A_TIME)
    return AT_A_TIME * found


def _part_of_day(now: datetime) -> float:
    at = now.astimezone(UTC)
    return (at.hour * 3600 + at.minute * 60 + at.second) / 86_400


def _at_least(rate: float) -> float:
    return rate if rate >= RAREST else 0.0


def is_spent(configured: ConfiguredEvaluator, spent: DayOfJudging, usd: float) -> str:
    """Why a request that costs at most `usd` may not be made today; "" when it may."""
    calls, money = configured.daily_calls, configured.daily_usd
    if calls is not None and spent.asked >= calls:
        return f"today's {calls} requests are spent"
    if money is not None and spent.usd + usd > money:
        return f"today's {money:g} US dollars are spent"
    return ""


def in_all(parts: Sequence[DayOfJudging]) -> DayOfJudging:
    """Several days together."""
    return DayOfJudging(
        sum(one.candidates for one in parts), sum(one.chosen for one in parts),
        sum(one.judged for one in parts), sum(one.failed for one in parts),
        sum(one.asked for one in parts), sum(one.unpriced for one in parts),
        sum(one.usd for one in parts),
    )  # fmt: skip
