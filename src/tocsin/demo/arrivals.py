"""When calls arrive and who makes them: doubly random, weakly seasonal, bursty.

The rate of a service is a mild daily wave times a slow log-normal wander; sessions arrive at that
rate, over-dispersed minute by minute, and each session is a handful of calls of one user. That
gives what is published of real LLM traffic: hour-of-day peak/trough of 1.4-2.2, autocorrelation at
one day of 0.1-0.5, a coefficient of variation of inter-arrival times above 1 with a heavy tail, and
hours in which nothing happens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate

import numpy as np

from tocsin.demo.fleet import Service
from tocsin.demo.script import Effect
from tocsin.demo.spans import Floats, Ints, Mask

HOUR_S = 3600.0
HORIZON_DAYS = 75  # longer than any replay; a live demo that outlasts it starts the wander again

_WANDER_SD = 0.22  # of ln(rate), hourly
_WANDER_MEMORY = 0.86  # autocorrelation of the wander at one hour
_TENANT_SD = 0.20  # of ln(share of a tenant), daily
_AWAY = 0.06  # share of sessions served by another region than the tenant's own


def wander(rng: np.random.Generator, count: int, memory: float, sd: float) -> Floats:
    """A stationary AR(1) series: mean 0, standard deviation `sd`, lag-1 correlation `memory`."""
    shocks = rng.standard_normal(count) * sd
    shocks[1:] *= np.sqrt(1 - memory**2)
    return np.fromiter(accumulate(shocks.tolist(), lambda x, e: memory * x + e), float, count)


@dataclass(frozen=True)
class Climate:
    """The slow processes behind one service's arrivals, over the horizon.

    rate: sessions per minute of each minute. quiet: minutes in which nobody calls, as usual here.
    shares: of each tenant, by day.
    """

    rate: Floats
    quiet: Mask
    shares: Floats

    @classmethod
    def of(
        cls, service: Service, start: datetime, scale: float, rng: np.random.Generator
    ) -> Climate:
        """Draw the processes of one service from `rng`, whatever length is needed later."""
        hours = HORIZON_DAYS * 24
        drift = wander(rng, hours + 1, _WANDER_MEMORY, _WANDER_SD)
        shares = np.array([t.share for t in service.tenants])
        noise = np.stack([wander(rng, HORIZON_DAYS, 0.7, _TENANT_SD) for _ in service.tenants], 1)
        by_day = shares * np.exp(noise)
        minute = np.arange(hours * 60)
        level = np.interp(minute / 60, np.arange(hours + 1), drift) - _WANDER_SD**2 / 2
        level += _season(service, start, minute)
        calls = service.calls_per_day / 1440 * scale
        return cls(
            rate=calls / _mean_turns(service) * np.exp(level),
            quiet=_quiet(service, hours * 60, rng),
            shares=by_day / by_day.sum(axis=1, keepdims=True),
        )

    def at(self, minute: int) -> int:
        """The place of a minute after the start in the horizon."""
        return minute % self.rate.size


def _season(service: Service, start: datetime, minute: Ints) -> Floats:
    """ln of the daily and weekly shape at each minute after `start`, mean about 0."""
    since_midnight = start.hour * 60 + start.minute
    hour = ((minute + since_midnight) / 60) % 24
    angle = 2 * np.pi * (hour - service.peak) / 24
    wave = service.swing * np.cos(angle) + 0.25 * service.swing * np.cos(2 * angle + 0.6)
    weekday = (start.weekday() + (minute + since_midnight) // 1440) % 7
    mean = (5 + 2 * service.weekend) / 7
    return np.asarray(wave + np.log(np.where(weekday >= 5, service.weekend, 1.0) / mean))


def _quiet(service: Service, minutes: int, rng: np.random.Generator) -> Mask:
    quiet = np.zeros(minutes, np.bool_)
    count = rng.poisson(service.gaps_per_day * HORIZON_DAYS)
    begins = rng.integers(0, minutes, count)
    for begin, length in zip(begins, rng.uniform(15, 62, count), strict=True):
        quiet[begin : begin + int(length)] = True
    return quiet


def _mean_turns(service: Service) -> float:
    sessions = service.sessions
    return (1 - sessions.fanout) * sessions.turns + sessions.fanout * sessions.fanout_size


@dataclass(slots=True)
class Draft:
    """Calls before they are made, ordered by session and turn.

    begin: seconds after the start of the run at which the session began. first, last: whether the
    call opens or closes its session. batch: which batch job it belongs to, -1 for none. pause_s:
    silence before this call. together: whether the session's calls run in parallel. luck: one
    number per session, which decides about rollouts.
    """

    session: Ints
    turn: Ints
    begin: Floats
    tenant: Ints
    region: Ints
    first: Mask
    last: Mask
    batch: Ints
    pause_s: Floats
    together: Mask
    luck: Floats

    def __len__(self) -> int:
        return self.turn.size


@dataclass(frozen=True, slots=True)
class _Sessions:
    begin: Floats
    tenant: Ints
    size: Ints
    hurry: Mask
    batch: Ints


def arrivals(
    service: Service,
    climate: Climate,
    effects: Sequence[Effect],
    hour: int,
    rng: np.random.Generator,
) -> Draft:
    """The calls of the sessions that begin in `hour` (hours after the start of the run)."""
    groups = [_ordinary(service, climate, effects, hour, rng)]
    names = [t.name for t in service.tenants]
    for number, effect in enumerate(effects):
        if effect.batch:
            tenant = names.index(effect.limits["tenant"])
            groups.append(_job(effect, number, tenant, hour, rng))
    merged = _Sessions(
        *(
            np.concatenate([getattr(g, name) for g in groups])
            for name in ("begin", "tenant", "size", "hurry", "batch")
        )
    )
    return _expand(service, merged, rng)


def _ordinary(
    service: Service,
    climate: Climate,
    effects: Sequence[Effect],
    hour: int,
    rng: np.random.Generator,
) -> _Sessions:
    minute = hour * 60 + np.arange(60)
    place = minute % climate.rate.size
    share = climate.shares[(hour // 24) % HORIZON_DAYS].copy()
    rate = climate.rate[place].copy()
    names = [t.name for t in service.tenants]
    for effect in effects:
        strength = effect.strength(np.asarray(minute + 0.5, np.float64))
        rate *= effect.factors.get("calls", 1.0) ** strength
        if "mix" in effect.factors:
            tenant = names.index(effect.limits["tenant"])
            growth = 1 + (effect.factors["mix"] - 1) * float(strength.mean())
            rate *= 1 + share[tenant] * (growth - 1)
            share[tenant] *= growth
            share /= share.sum()
    shape = service.sessions.dispersion
    count = rng.poisson(rate * rng.gamma(shape, 1 / shape, 60) * ~climate.quiet[place])
    begin = (np.repeat(minute, count) + rng.random(count.sum())) * 60.0
    total = begin.size
    tenant_of = np.minimum(np.searchsorted(share.cumsum(), rng.random(total)), share.size - 1)
    hurry = rng.random(total) < service.sessions.fanout
    size = _sizes(service, hurry, rng)
    for effect in effects:
        if "turns" in effect.factors:
            mine = _tenant_mask(effect, names, tenant_of)
            factor = effect.factors["turns"] ** (effect.strength(begin / 60) * mine)
            size = np.where(mine, np.maximum(np.rint(size * factor), 1), size).astype(np.int64)
    return _Sessions(begin, tenant_of, size, hurry, np.full(total, -1))


def _job(
    effect: Effect, number: int, tenant: int, hour: int, rng: np.random.Generator
) -> _Sessions:
    """A batch job asks in clumps: a worker pool takes five to twenty documents at a time."""
    minute = hour * 60 + np.arange(60)
    clump = 12.0
    rate = (
        effect.batch["calls_per_minute"]
        / clump
        * effect.strength(np.asarray(minute + 0.5, np.float64))
    )
    count = rng.poisson(rate)
    begin = (np.repeat(minute, count) + rng.random(count.sum())) * 60.0
    total = begin.size
    return _Sessions(
        begin, np.full(total, tenant), rng.integers(5, 20, total), np.ones(total, np.bool_),
        np.full(total, number),
    )  # fmt: skip


def _tenant_mask(effect: Effect, names: Sequence[str], tenant: Ints) -> Mask:
    wanted = effect.limits.get("tenant")
    if wanted is None:
        return np.ones(tenant.size, np.bool_)
    return np.asarray(tenant == names.index(wanted))


def _sizes(service: Service, hurry: Mask, rng: np.random.Generator) -> Ints:
    """Calls per session: geometric, and larger where a program fans out."""
    sessions = service.sessions
    plain = rng.geometric(1 / sessions.turns, hurry.size)
    fans = 2 + rng.geometric(1 / max(sessions.fanout_size - 2, 1.0), hurry.size)
    return np.minimum(np.where(hurry, fans, plain), 60).astype(np.int64)


def _expand(service: Service, sessions: _Sessions, rng: np.random.Generator) -> Draft:
    count = sessions.begin.size
    of = np.repeat(np.arange(count), sessions.size)
    starts = np.cumsum(sessions.size) - sessions.size
    turn = np.arange(of.size) - starts[of]
    pause = rng.exponential(1.0, of.size) * service.sessions.pause_s
    pause = np.where(sessions.hurry[of], pause / 20, pause)
    tenants = service.tenants
    places = sorted({t.region for t in tenants})
    home = np.array([places.index(t.region) for t in tenants])
    away = rng.random(count) < _AWAY
    region = (home[sessions.tenant] + away) % len(places)
    return Draft(
        session=of,
        turn=turn,
        begin=sessions.begin[of],
        tenant=sessions.tenant[of],
        region=region[of],
        first=turn == 0,
        last=turn == sessions.size[of] - 1,
        batch=sessions.batch[of],
        pause_s=np.where(turn == 0, 0.0, pause),
        together=sessions.hurry[of],
        luck=rng.random(count)[of],
    )
