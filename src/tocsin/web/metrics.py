"""`/metrics`: objectives and Tocsin's own vitals as Prometheus and OpenMetrics read them.

Unknown is absent, never 0: an objective without calls has no ratio, and says `no_data` in its
status. Ratios are shares (0 to 1) and lengths of time are seconds, as the format asks. Counters
begin at 0 with the process and count judged minutes, so that they grow once a minute.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import get_args

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
    StateSetMetricFamily,
)
from prometheus_client.exposition import choose_encoder
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tocsin.alerts.holding import RULES
from tocsin.assess.budget import ObjectiveStatus, Standing
from tocsin.domain.clock import from_minute
from tocsin.domain.findings import IncidentState, Verdict
from tocsin.engine.health import service_health
from tocsin.engine.house import House
from tocsin.spec.prometheus import names
from tocsin.web.health_metrics import health_families
from tocsin.web.readiness import readiness

_BY_OBJECTIVE = ("slo", "service")
_SEVERITIES = ("page", "ticket")
Families = Iterator[Metric]


class Exposition:
    """Answers scrapes about one house. blind: why nothing is judged, or "", as the pages say it."""

    def __init__(self, house: House, blind: Callable[[], str]) -> None:
        self._house = house
        self._blind = blind
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def routes(self) -> list[Route]:
        """The one route."""
        return [Route("/metrics", self.answer, methods=["GET"])]

    async def answer(self, request: Request) -> Response:
        """Everything now, in the format that the client prefers."""
        encode, kind = choose_encoder(request.headers.get("accept", ""))
        body = await run_in_threadpool(encode, self._registry)
        return Response(body, headers={"content-type": kind})

    def collect(self) -> Iterable[Metric]:
        """Every family of metrics; called by the registry, in a worker thread."""
        yield from objective_families(
            self._house.statuses(),
            {m.name: m.labels.get("team", "") for m in self._house.rules.monitors.monitors},
            self._house.tally.read(),
            self._house.standing.verdicts,
        )
        yield from health_families(list(service_health(self._house)))
        yield from _evaluation(self._house)
        yield from _ingest(self._house)
        yield from _work(self._house)
        yield from _process(readiness(self._house, self._blind()).checks)


def objective_families(
    statuses: Sequence[ObjectiveStatus],
    teams: Mapping[str, str],
    counters: Mapping[str, tuple[int, int]],
    verdicts: Mapping[str, Verdict],
) -> Families:
    """What there is to tell about objectives.

    teams, counters (bad, total), verdicts: by the name of the objective's monitor.
    """
    yield from _promised(statuses, teams)
    yield from _counted(statuses, counters)
    yield from _standing(statuses)
    yield from _burning(statuses, verdicts)


# --- private -----------------------------------------------------------------------------------


def _promised(statuses: Sequence[ObjectiveStatus], teams: Mapping[str, str]) -> Families:
    info = InfoMetricFamily(names.INFO, "What an objective is called.", labels=_BY_OBJECTIVE)
    target = _gauge(names.OBJECTIVE, "Share of calls that must be good.")
    period = _gauge(names.PERIOD, "Length of the period of the budget.")
    for one in statuses:
        about = {"title": one.title, "period": one.period_name, "metric": one.metric,
                 "team": teams.get(one.monitor, "")}  # fmt: skip
        info.add_metric(_name(one), about)
        target.add_metric(_name(one), one.target)
        period.add_metric(_name(one), one.period_minutes * 60.0)
    yield from (info, target, period)


def _counted(
    statuses: Sequence[ObjectiveStatus], counters: Mapping[str, tuple[int, int]]
) -> Families:
    events = CounterMetricFamily(
        names.EVENTS, "Calls that an objective counts, in judged minutes.", labels=_BY_OBJECTIVE
    )
    bad_events = CounterMetricFamily(
        names.BAD_EVENTS, "Of these, calls that are bad for it.", labels=_BY_OBJECTIVE
    )
    for one in statuses:
        if one.monitor not in counters:
            continue
        bad, total = counters[one.monitor]
        events.add_metric(_name(one), total)
        bad_events.add_metric(_name(one), bad)
    yield from (events, bad_events)


def _standing(statuses: Sequence[ObjectiveStatus]) -> Families:
    sli = _gauge(names.SLI, "Share of good calls in the period of the budget so far.")
    remaining = _gauge(
        names.REMAINING, "Share of the error budget that is left; below 0 when overspent."
    )
    exhaustion = _gauge(
        names.EXHAUSTION, "Time in which the budget is spent at the speed of now; 0 when it is."
    )
    status = StateSetMetricFamily(
        names.STATUS, "Whether an objective is met, as far as its counts prove it.",
        labels=_BY_OBJECTIVE,
    )  # fmt: skip
    for one in statuses:
        left = one.minutes_to_exhaustion
        for family, value in (
            (sli, one.sli),
            (remaining, one.remaining),
            (exhaustion, None if left is None else left * 60.0),
        ):
            if value is not None:
                family.add_metric(_name(one), value)
        status.add_metric(_name(one), {name: name == one.standing for name in get_args(Standing)})
    yield from (sli, remaining, exhaustion, status)


def _burning(statuses: Sequence[ObjectiveStatus], verdicts: Mapping[str, Verdict]) -> Families:
    burn = _gauge(
        names.BURN_RATE, "How many times faster than allowed the budget is spent.", "window"
    )
    firing = _gauge(names.FIRING, "1 while a burn-rate rule of this severity holds.", "severity")
    for one in statuses:
        for window, rate in _burn_rates(one).items():
            burn.add_metric([*_name(one), names.duration(window)], rate)
        verdict = verdicts.get(one.monitor)
        rules = {} if verdict is None else verdict.evidence.get(RULES, {})
        for severity in _SEVERITIES:
            firing.add_metric([*_name(one), severity], float(severity in rules))
    yield from (burn, firing)


def _name(status: ObjectiveStatus) -> tuple[str, str]:
    """The values of the labels slo and service."""
    return status.monitor.removeprefix("slo/"), status.service


def _burn_rates(status: ObjectiveStatus) -> dict[int, float]:
    """Burn rate by window in minutes, shortest first; windows without calls are left out."""
    found: dict[int, float | None] = {}
    for burn in status.burns:
        found[burn.step.short_minutes] = burn.short_burn
        found[burn.step.long_minutes] = burn.long_burn
    return {window: rate for window, rate in sorted(found.items()) if rate is not None}


def _evaluation(house: House) -> Families:
    judged = from_minute(house.standing.minute + 1)
    yield _value(names.UP_TO, "End of the last judged minute.", judged.timestamp())
    lag = (house.clock.now() - judged).total_seconds()
    yield _value(names.EVALUATION_LAG, "How long ago that is.", max(lag, 0.0))
    yield _value(
        names.EVALUATION, "How long the last evaluation took, reading included.",
        house.pulse.duration_s,
    )  # fmt: skip
    yield CounterMetricFamily(
        names.EVALUATION_FAILURES, "Evaluations that failed and were tried again.",
        value=house.pulse.failures,
    )  # fmt: skip


def _ingest(house: House) -> Families:
    loader = house.telemetry.loader()
    yield _value(
        names.INGEST_LAG, "Age of the oldest accepted telemetry that is not loaded.", loader.lag_s
    )
    yield _value(
        names.SEGMENTS_WAITING, "Accepted segments that wait to be loaded.", loader.waiting_segments
    )
    yield CounterMetricFamily(names.SEGMENTS, "Segments loaded.", value=loader.loaded_segments)
    yield CounterMetricFamily(
        names.INGESTED, "Bytes of segments loaded.", value=loader.loaded_bytes, unit="bytes"
    )
    yield CounterMetricFamily(
        names.INGEST_FAILURES, "Loads that failed and were tried again.", value=loader.failures
    )
    yield _value(
        names.BACKLOG, "Bytes accepted and not loaded; intake answers 429 at its limit.",
        house.telemetry.writer.backlog_bytes,
    )  # fmt: skip


def _work(house: House) -> Families:
    counts = house.state.counts()
    effects = GaugeMetricFamily(
        names.EFFECTS, "Things to do (messages, escalations, digests), by state.", labels=["state"]
    )
    for state, number in sorted(counts["effects"].items()):
        effects.add_metric([state], number)
    yield effects
    yield _value(
        names.OVERDUE, "Things that should have been tried more than two minutes ago.",
        house.state.overdue(house.clock.now()),
    )  # fmt: skip
    incidents = GaugeMetricFamily(names.INCIDENTS, "Live incidents by state.", labels=["state"])
    for found in IncidentState:
        if found.is_live:
            incidents.add_metric([found.value], counts["incidents"].get(found.value, 0))
    yield incidents


def _process(checks: Mapping[str, str]) -> Families:
    ready = GaugeMetricFamily(
        names.READY, "1 while a part does its work, as /readyz says it.", labels=["part"]
    )
    for part, wrong in checks.items():
        ready.add_metric([part], float(not wrong))
    yield ready
    yield InfoMetricFamily(
        names.BUILD,
        "The version that runs.",
        value={"version": importlib.metadata.version("tocsin")},
    )


def _gauge(name: str, about: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, about, labels=[*_BY_OBJECTIVE, *labels], unit=_unit(name))


def _value(name: str, about: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, about, value=value, unit=_unit(name))


def _unit(name: str) -> str:
    """The unit that a name ends in, which the format wants to be told once more."""
    last = name.rpartition("_")[2]
    return last if last in ("seconds", "bytes", "ratio") else ""
