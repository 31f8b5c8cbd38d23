"""Heavy hitter: one user, session or key uses far more than the crowd: a loop, abuse, an attack."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import numpy.typing as npt

from tocsin.assess.drift.looking import Looking, LookingConfig
from tocsin.assess.monitor import Monitor
from tocsin.assess.wording import amount, span
from tocsin.domain.figures import percent
from tocsin.domain.findings import Judgement, Verdict
from tocsin.domain.samples import AMOUNTS, Look, Sample, Wish, check_key

Floats = npt.NDArray[np.float64]
Amount = Literal["calls", "total_tokens", "input_tokens", "output_tokens", "cost_usd", "errors",
                 "policy_violations"]  # fmt: skip
assert get_args(Amount) == AMOUNTS  # noqa: S101 (one list, written where a type checker sees it)

_COUNTED = ("calls", "errors", "policy_violations")  # of these 0 is known
_TAIL = 100  # of the crowd, from which its tail is told
_MIN_TAIL = 10
_LEAST_SHAPE = 0.15  # of the tail: no crowd ends as if cut off
_MOST_TOLD = 3
_MOST = 300.0
_WORDS = {"calls": "calls", "total_tokens": "tokens", "input_tokens": "input tokens",
          "output_tokens": "output tokens", "cost_usd": "", "errors": "errors",
          "policy_violations": "policy violations"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class HeavyHitterConfig(LookingConfig):
    """Settings of heavy hitters.

    per: session_id, user_id, trace_id, dimension:NAME or attribute:NAME. amount: what is added up
    of its calls: calls, total_tokens, input_tokens, output_tokens, cost_usd, errors or
    policy_violations. of_kind: of which kind of call, llm, tool or agent for example. times: how
    many times the 99th percentile of the crowd at least. at_least: an amount below which nobody is
    told. min_calls: stretches of all keys in the reference that make a crowd. min_share: of
    everything in the window that one key must have. The other settings: window_hours,
    reference_days (or since and until), every_minutes, most (keys that are looked at), level.
    """

    kind: ClassVar[str] = "heavy_hitter"
    signal: ClassVar[str] = "token_usage"

    per: str = "session_id"
    amount: Amount = "total_tokens"
    of_kind: str = "llm"
    times: float = 5.0
    at_least: float = 20.0
    window_hours: int = 1
    every_minutes: int = 15
    level: float = 0.001
    min_share: float = 0.0

    def __post_init__(self) -> None:
        LookingConfig.__post_init__(self)
        check_key(self.per)
        if self.amount not in AMOUNTS:
            raise ValueError(f"amount is one of {', '.join(AMOUNTS)}, not {self.amount!r}")
        if not self.times >= 1.0 or not self.at_least >= 0.0:
            raise ValueError("times is at least 1, at_least 0 or more")

    def sampled(self) -> tuple[tuple[str, ...], str]:
        """What is added up, and of which kind of call."""
        beside = ("calls", "input_tokens", "output_tokens", "errors", "policy_violations")
        return tuple(dict.fromkeys((self.amount, *beside))), self.of_kind

    def added_by(self) -> str:
        """The key by which it is added up."""
        return self.per


@dataclass(frozen=True, slots=True)
class Crowd:
    """What keys usually use in one stretch of time: the largest totals, and how many there are."""

    totals: Floats
    population: int

    @property
    def high(self) -> float:
        """The 99th percentile, or the least that is known where it is lower than that."""
        place = int(self.population * 0.01)
        return float(self.totals[min(place, len(self.totals) - 1)])

    def evidence(self, total: float) -> float:
        """-log10 P(a key uses as much): a Pareto tail, fitted to the hundred largest (Hill)."""
        largest = self.totals[self.totals > 0.0]
        count = min(_TAIL, self.population // 10, len(largest) - 1)
        exceeding = int((self.totals >= total).sum())
        plain = float(np.log10((self.population + 1.0) / (exceeding + 1.0)))
        if count < _MIN_TAIL or total <= largest[count]:
            return plain
        shape = max(float(np.log(largest[:count] / largest[count]).mean()), _LEAST_SHAPE)
        within = float(np.log10(total / largest[count])) / shape
        return min(within + float(np.log10(self.population / count)), _MOST)


class HeavyHitter(Looking):
    """Rings when one key uses far more than any of the crowd.

    What: what every session, user or other key used in the last hour, against what keys used in
    hours of the reference: the probability of so much in the tail of the crowd, times the number of
    keys that were looked at. A key that has used half as much before is known to be large and rings
    for nobody. Loops of agents are sessions with calls without end; abuse is a user with tokens
    without end; attempts at injection are policy violations, or input tokens, of one user.

    Assumes: keys are alike, or those that are not have shown it in the reference.

    Misleads: on the first day of a large customer; where a batch job is given a new key for each
    run; where nobody sets the key, and everything is one. Users who take turns to stay small are
    not seen: declare a dimension that they share.

    Parameters: see `HeavyHitterConfig`.

    >>> from tocsin.assess.window import Window
    >>> settings = HeavyHitterConfig(amount="calls")
    >>> monitor = Monitor("detector/loops", "Loops", "support", "token_usage", "ticket", None,
    ...                   None, settings)
    >>> def used(*calls):
    ...     keys = tuple(f"s{n}" for n in range(len(calls)))
    ...     columns = {"key": keys, "calls": calls}
    ...     return Sample(columns, (("t", "s"),) * len(calls), len(calls))
    >>> crowd = sorted(np.random.default_rng(1).poisson(4.0, 2000).tolist(), reverse=True)
    >>> window, wish = Window([monitor]), settings.wish("support")
    >>> window.looks[wish] = Look(wish.boundary(30_000_000), used(*crowd), used(420, 6, 5, 5, 3))
    >>> [v.reason for v in HeavyHitter([monitor]).judge(window, 30_000_000)]
    ['session_id s0 had 420 calls in 1 h (96 % of all), 99 of 100 have up to 9']

    Paper: Hill, "A simple general approach to inference about the tail of a distribution", Annals
    of Statistics 3 (1975); Cormode and Muthukrishnan, "What's hot and what's not: tracking most
    frequent items dynamically", ACM TODS 30 (2005) for the name.
    """

    config = HeavyHitterConfig

    def lacking(self, settings: HeavyHitterConfig, look: Look) -> str:
        """Why there is no crowd, or nothing to be seen of it now; "" when there is."""
        if look.reference.population < settings.min_calls:
            return (
                f"too few of {settings.per} to make a crowd: {look.reference.population:,}"
                f" stretches of {settings.window_hours} h in the reference,"
                f" {settings.min_calls:,} are needed"
            )
        amounts = look.window.columns.get(settings.amount, ())
        if settings.amount not in _COUNTED and look.window.population and not any(amounts):
            return f"no call told its {settings.amount} in the last {settings.window_hours} h"
        return ""

    def compare(
        self, monitor: Monitor, settings: HeavyHitterConfig, wish: Wish, look: Look,
        rng: np.random.Generator,
    ) -> Verdict | None:  # fmt: skip
        """What a look at a crowd says."""
        crowd = Crowd(
            np.array(look.reference.columns[settings.amount], np.float64), look.reference.population
        )
        before = _largest(look.reference, settings.amount)
        used = np.array(look.window.columns.get(settings.amount, ()), np.float64)
        everything = max(float(used.sum()), 1e-12)
        least = max(settings.at_least, settings.times * crowd.high)
        needed = -np.log10(settings.level)
        found = []
        for row in np.flatnonzero(used >= least).tolist():
            total, key = float(used[row]), str(look.window.columns["key"][row])
            evidence = crowd.evidence(total) - np.log10(max(look.window.population, 1))
            is_known = before.get(key, 0.0) >= total / 2.0
            if evidence >= needed and total >= settings.min_share * everything and not is_known:
                found.append((row, key, total, float(evidence)))
        if not found:
            return None
        reference, stretch = wish.spans(look.boundary)
        _, key, total, evidence = found[0]
        more = f"; and {len(found) - 1} more" if len(found) > 1 else ""
        return monitor.verdict(
            Judgement.BREACH,
            look.boundary - 1,
            value=round(total, 6),
            expected=round(crowd.high, 6),
            unit="usd" if settings.amount == "cost_usd" else settings.amount,
            score=round(evidence, 2),
            window=stretch,
            reason=(
                f"{settings.per} {key} had {_told(total, settings.amount)} in"
                f" {span(60 * settings.window_hours)} ({percent(total / everything)} of all), 99 of"
                f" 100 have up to {_told(crowd.high, settings.amount, short=True)}{more}"
            ),
            evidence={
                "reference": list(reference),
                "crowd": crowd.population,
                "keys": [_facts(look.window, row, wish) for row, *_ in found[:_MOST_TOLD]],
                "found": len(found),
                "log10_p": round(-evidence, 2),
            },
        )


def _largest(sample: Sample, name: str) -> dict[str, float]:
    """The largest total of every key."""
    found: dict[str, float] = {}
    for key, total in zip(sample.columns["key"], sample.columns[name], strict=True):
        found.setdefault(str(key), float(total))  # the largest comes first
    return found


def _told(total: float, name: str, *, short: bool = False) -> str:
    shown = amount(total, "usd" if name == "cost_usd" else "")
    return shown if short or not _WORDS[name] else f"{shown} {_WORDS[name]}"


def _facts(sample: Sample, row: int, wish: Wish) -> dict[str, Any]:
    """A key with everything that was added up of it, and a call of its."""
    features: Sequence[str] = [name for name in wish.features if name in sample.columns]
    told = {name: sample.columns[name][row] for name in features}
    return {"key": sample.columns["key"][row], **told, "example": "/".join(sample.calls[row])}
