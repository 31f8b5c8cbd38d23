"""HealthScore documents into monitors: how a server measures each of their components."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from tocsin.assess.health import HealthConfig, formula_of
from tocsin.assess.health_monitor import Counted, HealthScoreConfig, Measured, config_of
from tocsin.assess.health_segments import HealthSegmentsConfig
from tocsin.assess.monitor import Monitor, Objective
from tocsin.domain.expressions import Apply, Field
from tocsin.domain.series import Charge, Ratio, SeriesId
from tocsin.indicators.catalogue import AVAILABILITY
from tocsin.indicators.custom import averaged
from tocsin.spec.assembly import Assembly
from tocsin.spec.documents import Document
from tocsin.spec.health import (
    ON_DEMAND,
    SHADOW,
    ComponentShape,
    HealthScoreShape,
    HealthSegmentsShape,
)
from tocsin.spec.indicators import Named
from tocsin.spec.segments import confirmation
from tocsin.spec.services import Service

_LATENCY = re.compile(
    r"(p\d{2}(?:_\d)?|median)_(?:llm_|inference_|response_)?latency_(seconds|s|ms|milliseconds)"
)
_FAILURES, _SUCCESSES = ("error_rate", "failure_rate"), ("success_rate", "availability")
_RETRIEVAL = re.compile("retriev|chunk|context|document")
_COSTS = ("cost_per_query", "cost_per_query_usd", "cost_usd")


def health_scores(
    assembly: Assembly, known: Mapping[str, Service], monitors: Iterable[Monitor], named: Named
) -> Iterator[Monitor]:
    """A monitor for every document that names a service. monitors: those that are there already,
    objectives and detectors among them."""
    held = {monitor.name: monitor for monitor in monitors}
    for document in assembly.of("HealthScore"):
        spec: HealthScoreShape = document.spec
        for remark in spec.remarks():
            assembly.warnings.append(document.problem(("spec",), remark))
        if not spec.service:
            assembly.warnings.append(document.problem(("kind",), ON_DEMAND))
        elif spec.service in known:
            if spec.mode == "shadow":
                assembly.warnings.append(document.problem(("spec", "mode"), SHADOW))
            whole = _monitor(assembly, document, known[spec.service], held, named)
            yield whole
            if spec.segments is not None:
                yield _segments(whole, spec.segments, alerts=spec.mode == "alerting")


# --------------------------------------------------------------------------------------------


def _monitor(
    assembly: Assembly, document: Document, service: Service, held: Mapping[str, Monitor],
    named: Named,
) -> Monitor:  # fmt: skip
    spec: HealthScoreShape = document.spec
    measured = [
        one
        for place, part in enumerate(spec.parts)
        if (one := _measured(assembly, document, place, part, service, held, named)) is not None
    ]
    config = spec.build()
    title = spec.title(document.name, document.metadata.display_name)
    return Monitor(
        name=f"health/{document.name}",
        title=title,
        service=service.name,
        signal=HealthScoreConfig.signal,
        severity="page",
        series=None,
        ratio=None,
        method=HealthScoreConfig(
            health=config,
            measured=tuple(measured),
            calls=(SeriesId(service.name, AVAILABILITY.name), AVAILABILITY.ratio),
            window_minutes=spec.minutes,
            alerts=spec.mode == "alerting",
            digest=_digest(config, spec),
        ),
        labels={**service.labels, **document.metadata.labels, "health_score": document.name},
    )


def _segments(whole: Monitor, shape: HealthSegmentsShape, *, alerts: bool) -> Monitor:
    config = config_of(whole)
    confirm, of = confirmation(shape.confirm)
    minute = timedelta(minutes=1)
    return replace(
        whole,
        name=f"{whole.name}/segments",
        title=f"{whole.title}, by {' and '.join(shape.by)}",
        severity="ticket",
        method=HealthSegmentsConfig(
            score=whole.name,
            health=config.health,
            measured=config.measured,
            by=shape.by,
            min_events=shape.min_events,
            fdr=shape.fdr,
            confirm=confirm,
            of=of,
            window_minutes=shape.window // minute,
            every_minutes=shape.every // minute,
            alerts=alerts and shape.masked_alert,
        ),
        labels={**whole.labels, "by": ",".join(shape.by)},
    )


def _digest(config: HealthConfig, spec: HealthScoreShape) -> str:
    """Of everything that a score depends on beside what is measured."""
    sources = [part.model_dump(mode="json", exclude={"curve"}) for part in spec.parts]
    whole: dict[str, Any] = {
        "formula": formula_of(config), "sources": sources, "window": spec.minutes,
    }  # fmt: skip
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()[:16]


def _measured(
    assembly: Assembly, document: Document, place: int, part: ComponentShape, service: Service,
    held: Mapping[str, Monitor], named: Named,
) -> Measured | None:  # fmt: skip
    if part.from_slo:
        monitor = held.get(f"slo/{part.from_slo}")
        if monitor is None or not isinstance(monitor.method, Objective):
            return None  # that there is no such SLO is said elsewhere
        return Measured(part.metric, "budget", objective=monitor)
    if part.from_detector:
        return _finding(assembly, document, place, part, service, held)
    if part.indicator is not None:
        at = ("spec", "components", place, "indicator")
        found, problems = part.indicator.build(named, document.located, at)
        assembly.problems += problems
        series = () if found is None else ((SeriesId(service.name, found.name), found.ratio),)
        return Measured(part.metric, "good", series=series) if series else None
    if part.value:
        return Measured(part.metric, "mean", series=_mean(service, part.value))
    return _by_name(part.metric, service)


def _finding(
    assembly: Assembly, document: Document, place: int, part: ComponentShape, service: Service,
    held: Mapping[str, Monitor],
) -> Measured | None:  # fmt: skip
    names = (f"detector/{part.from_detector}", f"detector/{part.from_detector}/{service.name}")
    for name in names:
        if name in held and held[name].service == service.name:
            return Measured(part.metric, "finding", finds=name)
    if any(name == names[0] or name.startswith(f"{names[0]}/") for name in held):
        message = f"Detector {part.from_detector!r} does not watch {service.name}"
        at = ("spec", "components", place, "fromDetector")
        assembly.problems.append(document.problem(at, message, "name one that does"))
    return None


def _by_name(metric: str, service: Service) -> Measured:
    name = metric.lower()
    if timed := _LATENCY.fullmatch(name):
        quantile = 0.5 if timed[1] == "median" else float(f"0.{timed[1][1:].replace('_', '')}")
        unit_ms = 1000.0 if timed[2] in ("s", "seconds") else 1.0
        return Measured(metric, "latency", quantile, unit_ms)
    if name in _FAILURES or name in _SUCCESSES:
        series = (SeriesId(service.name, AVAILABILITY.name), AVAILABILITY.ratio)
        return Measured(metric, "bad" if name in _FAILURES else "good", series=(series,))
    if name in _COSTS:
        return Measured(metric, "mean", series=_mean(service, "cost_usd"))
    # People name the score of `relevance` after the score, or after what it is. What is said of
    # retrieval is said of its own calls, or of those that answer from it.
    short = metric.removesuffix("_score")
    scores = (metric,) if short == metric else (metric, short)
    kinds = ("retriever", "llm") if _RETRIEVAL.search(name) else ("llm",)
    pairs = [c for kind in kinds for s in scores for c in _score(service, s, kind)]
    return Measured(metric, "mean", series=tuple(pairs))


def _score(service: Service, name: str, kind: str) -> tuple[Counted, Counted]:
    charge = Charge(Field("score", "number", name), 0.0, 1.0)
    return _with_square(service, f"score {name} of {kind} calls", charge, kind)


def _mean(service: Service, value: str) -> tuple[Counted, Counted]:
    found = averaged(value)
    assert found.ratio.charge is not None  # noqa: S101 (`averaged` says so)
    return _with_square(service, found.name, found.ratio.charge, found.ratio.kind)


def _with_square(service: Service, name: str, charge: Charge, kind: str) -> tuple[Counted, Counted]:
    """What a number of calls and its square add up to."""
    squared = Apply("*", (charge.value, charge.value), "number")
    square = Charge(squared, 0.0, charge.limit**2)
    return (
        (SeriesId(service.name, name), Ratio("charge", kind=kind, charge=charge)),
        (SeriesId(service.name, f"square of {name}"), Ratio("charge", kind=kind, charge=square)),
    )
