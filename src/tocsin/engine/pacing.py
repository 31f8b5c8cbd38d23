"""How densely an evaluator may sample now, so that its budget lasts for the day.

The rates are decided before anybody looks at which calls there are, from what was spent until then:
every call still has a known probability of being chosen, and weights by its inverse stay right
however often the rates change. What changes is only how much the sample says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from tocsin.spec.judging import ConfiguredEvaluator
from tocsin.store.judging import DayOfJudging

AHEAD = 0.25  # of what is left of a day's budget by the clock: so much may be spent at any time
AT_A_TIME = 0.2  # of what is free: so that a peak does not take all of it at once
LEAST = 0.1  # of the even part, whatever was spent: a call without a chance is one nobody sees
_KNOWN_AFTER = 5  # requests after which their mean cost is believed
_UNTIL_THEN = 20
MOST_AT_ONCE = 20_000
MOST_WAITING = 50_000
RAREST = 1e-4  # a call that stood for more than ten thousand others would say nothing about them


@dataclass(frozen=True, slots=True)
class Rates:
    """Probabilities by stratum. thinned: the factor to what is configured."""

    by_stratum: tuple[float, ...]
    thinned: float


def paced(
    configured: ConfiguredEvaluator, counts: Mapping[int, int], spent: DayOfJudging, now: datetime,
    lasting: timedelta, waiting: int = 0,
) -> Rates:  # fmt: skip
    """The rates for calls of which there are `counts` by stratum. spent: on this day until now.
    lasting: how long they took to arrive. waiting: chosen and not judged yet; what comes faster
    than it is judged is thinned as well.
    """
    wanted = [one.rate for one in configured.strata]
    expected = sum(rate * counts.get(place, 0) for place, rate in enumerate(wanted))
    free = min(MOST_AT_ONCE, MOST_WAITING - waiting, _free(configured, spent, now, lasting))
    thinned = 1.0 if expected <= max(free, 0.0) else max(free, 0.0) / expected
    rates = [rate * thinned for rate in wanted]
    return Rates(tuple(_at_least(rate) for rate in rates), thinned)


def _free(
    configured: ConfiguredEvaluator, spent: DayOfJudging, now: datetime, lasting: timedelta
) -> float:
    """How many calls may be chosen now: never none, so that each has a chance."""
    part = _part_of_day(now)
    allowed = part + AHEAD * (1.0 - part)
    even = LEAST * (lasting / timedelta(days=1))
    found = float("inf")
    if configured.daily_calls is not None:
        left = configured.daily_calls * allowed - spent.chosen
        found = max(AT_A_TIME * left, configured.daily_calls * even)
    if configured.daily_usd is None:
        return found
    if spent.asked < _KNOWN_AFTER:
        return min(found, max(_UNTIL_THEN - spent.chosen, 1))
    mean = spent.usd / spent.asked
    if mean <= 0.0:
        return found
    waiting = max(spent.chosen - spent.judged - spent.failed, 0)
    left = configured.daily_usd * allowed - spent.usd - waiting * mean
    return min(found, max(AT_A_TIME * left, configured.daily_usd * even) / mean)


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
