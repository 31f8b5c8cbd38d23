"""From what stores and the window know to what a page shows: cards, charts, objectives, rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt

from tocsin.alerts.holding import RULES
from tocsin.assess.band import expected_band
from tocsin.assess.budget import ObjectiveStatus, sli_interval
from tocsin.assess.burn import span, unreachable
from tocsin.assess.monitor import Objective
from tocsin.domain.calls import Call
from tocsin.domain.clock import from_minute
from tocsin.domain.findings import Incident, Judgement, Verdict
from tocsin.domain.series import Change, MinuteBlock
from tocsin.store.reads import Timeline
from tocsin.web.objective_views import BurnView, ObjectiveView
from tocsin.web.tone import Tone
from tocsin.web.views import (
    CallRow,
    ChangeView,
    ChartView,
    IncidentRow,
    Marker,
    Series,
    Unit,
)

AT_RISK = 0.25
QUIET_MIN = 15
MOST_MARKERS = 6
BAND_SPAN = 72
# What an incident is about, by the beginning of its signal -> the chart of it.
_PLAIN = {"cost": "cost", "token": "tokens", "volume": "requests", "no_data": "requests"}

Floats = npt.NDArray[np.float64]
Spans = tuple[tuple[datetime, datetime | None], ...]


def objective_view(status: ObjectiveStatus, verdict: Verdict | None) -> ObjectiveView:
    """One objective, with the tone its budget and its last verdict give it."""
    tone, reason = _standing(status, verdict)
    low, high = sli_interval(status)
    return ObjectiveView(
        name=status.monitor.removeprefix("slo/"),
        title=status.title,
        service=status.service,
        tone=tone,
        target=status.target,
        window=status.period_name,
        sli=status.sli,
        bad=status.bad,
        total=status.total,
        budget_left=status.remaining,
        burns=tuple(
            BurnView(
                long=span(burn.step.long_minutes),
                short=span(burn.step.short_minutes),
                long_burn=burn.long_burn,
                short_burn=burn.short_burn,
                threshold=burn.step.factor,
                severity=burn.step.severity,
                is_firing=burn.is_over,
            )
            for burn in status.burns
        ),
        reason=reason,
        standing=status.standing,
        period_from=from_minute(status.counted_from),
        period_to=from_minute(status.period[1]),
        budget_left_projected=status.remaining_projected if status.is_calendar else None,
        exhausted_in_minutes=status.minutes_to_exhaustion,
        exhausted_earliest=status.forecast.earliest if status.forecast else None,
        exhausted_latest=status.forecast.latest if status.forecast else None,
        counts_in=status.counts_in,
        coverage=status.coverage,
        corrections=status.correction.names if status.correction else (),
        corrected_minutes=status.correction.minutes if status.correction else 0,
        sli_uncorrected=status.correction.sli if status.correction else None,
        budget_left_uncorrected=status.correction.remaining if status.correction else None,
        sli_low=low,
        sli_high=high,
        rules=dict(verdict.evidence.get(RULES, {})) if verdict is not None else {},
        unreachable=_unreachable(status),
        mean=status.mean,
    )


def worst_first(objectives: Iterable[ObjectiveView]) -> list[ObjectiveView]:
    """Least budget first, unknown ones last."""
    return sorted(
        objectives,
        key=lambda view: (view.budget_left is None, view.budget_left or 0.0, view.name),
    )


def incident_row(incident: Incident, verdict: str = "") -> IncidentRow:
    """One line of the incident list."""
    return IncidentRow(
        id=incident.id,
        title=incident.title,
        service=incident.labels.get("service", ""),
        signal=incident.labels.get("signal", ""),
        state=incident.state,
        tier=incident.tier,
        opened=incident.opened,
        updated=incident.updated,
        resolved=incident.resolved,
        acknowledged_by=incident.acknowledged_by,
        suppressed_by=incident.suppressed_by,
        alerts=len(incident.alerts),
        verdict=verdict,
    )


def call_row(call: Call) -> CallRow:
    """One call; empty text is None, because it was not said."""
    return CallRow(
        ts=call.ts,
        project=call.project,
        service=call.service,
        kind=call.kind,
        name=call.name,
        provider=call.provider or None,
        model=call.model or None,
        input_tokens=call.input_tokens,
        output_tokens=call.output_tokens,
        usage_known=call.usage_known,
        cost_usd=call.cost_usd,
        error_class=call.error_class or None,
        status_message=call.status_message or None,
        ttft_ms=call.ttft_ms,
        duration_ms=call.duration_ms,
        truncated=call.truncated,
        finish_reason=call.finish_reason or None,
        trace_id=call.trace_id,
        span_id=call.span_id,
        parent_id=call.parent_id or None,
        response_id=call.response_id or None,
        env=call.env or None,
        release=call.release or None,
        prompt_version=call.prompt_version or None,
    )


def change_view(change: Change) -> ChangeView:
    """Something somebody did."""
    return ChangeView(
        at=from_minute(change.at_minute),
        service=change.service,
        kind=change.kind,
        title=change.title,
        labels=dict(change.labels),
    )


def spans_of(incidents: Iterable[Incident], signals: Iterable[str]) -> Spans:
    """When incidents about one of `signals` lasted; an end of None is still going on."""
    wanted = frozenset(signals)
    return tuple(
        (incident.opened, None if incident.state.is_live else incident.resolved)
        for incident in incidents
        if incident.labels.get("signal", "") in wanted
    )


def series(timeline: Timeline, values: npt.NDArray[np.number]) -> Series:
    """Values of a timeline, one a step."""
    return Series(
        from_minute(timeline.start), timeline.step_minutes * 60, np.asarray(values, np.float64)
    )


def latency_chart(
    service: str, timeline: Timeline, incidents: Sequence[Incident], changes: Sequence[Change]
) -> ChartView:
    """p95 latency against its robust rolling band; incidents teach nothing about what is usual."""
    p95_s = timeline.p95_ms / 1000
    spans = spans_of(incidents, ("latency_p95", "latency_p99", "slo_breach"))
    inside = _inside(timeline, spans)
    band = expected_band(np.where(inside, np.nan, p95_s), span=BAND_SPAN, scale="log")
    return ChartView(
        service=service,
        title="p95 latency",
        unit="s",
        measure="slow",
        series=series(timeline, p95_s),
        low=band.lower,
        expected=band.expected,
        high=band.upper,
        anomalous=inside & (p95_s > band.upper),
        anomalies=spans,
        changes=markers(changes),
        status=_since(spans),
        tone=Tone.BAD if any(stop is None for _, stop in spans) else Tone.OK,
        reason="" if np.isfinite(p95_s).any() else "no finished calls in this window",
    )


def percentile_chart(service: str, timeline: Timeline) -> ChartView:
    """p50, p95 and p99 together: where the body and where the tail of latency are."""
    p95_s = timeline.p95_ms / 1000
    return ChartView(
        service=service,
        title="latency percentiles",
        unit="s",
        measure="slow",
        series=series(timeline, p95_s),
        reason="" if np.isfinite(p95_s).any() else "no finished calls in this window",
        extra=(
            ("p50", series(timeline, timeline.p50_ms / 1000)),
            ("p99", series(timeline, timeline.p99_ms / 1000)),
        ),
    )


def feedback_chart(service: str, timeline: Timeline, block: MinuteBlock) -> ChartView:
    """The share of ratings that are thumbs down, per step of the timeline."""
    step, steps = timeline.step_minutes, len(timeline.n)
    bad, total = (
        counts[0, : steps * step].reshape(steps, step).sum(axis=1).astype(np.float64)
        for counts in (block.bad, block.total)
    )
    share = np.divide(bad, total, out=np.full(steps, np.nan), where=total > 0)
    return ChartView(
        service=service,
        title="thumbs down",
        unit="ratio",
        measure="feedback",
        series=series(timeline, share),
        reason="" if total.any() else "nobody rated an answer in this window",
    )


def failure_chart(
    service: str, timeline: Timeline, incidents: Sequence[Incident], changes: Sequence[Change]
) -> ChartView:
    """The share of failed calls against its band, which knows how few calls there were."""
    counts = timeline.n.astype(np.float64)
    share = np.divide(
        timeline.failed, counts, out=np.full(len(counts), np.nan), where=timeline.n > 0
    )
    spans = spans_of(incidents, ("error_rate", "slo_breach", "truncation"))
    inside = _inside(timeline, spans)
    band = expected_band(np.where(inside, np.nan, share), span=BAND_SPAN, counts=counts)
    return ChartView(
        service=service,
        title="failure rate",
        unit="ratio",
        measure="failed",
        series=series(timeline, share),
        low=band.lower,
        expected=band.expected,
        high=band.upper,
        anomalous=inside & (share > band.upper),
        anomalies=spans,
        changes=markers(changes),
        status=_since(spans),
        tone=Tone.BAD if any(stop is None for _, stop in spans) else Tone.OK,
        reason="" if timeline.n.any() else "no calls in this window",
    )


def plain_charts(service: str, timeline: Timeline) -> tuple[ChartView, ...]:
    """Volume, tokens and cost over time."""
    step = timeline.step_minutes
    shown: tuple[tuple[str, str, Unit, Floats], ...] = (
        ("requests", "calls", "per_min", timeline.n / step),
        ("tokens", "tokens", "tokens", timeline.tokens),
        ("cost", "cost", "usd", timeline.cost_usd),
    )
    return tuple(
        ChartView(
            service=service,
            title=title,
            unit=unit,
            measure=measure,
            series=series(timeline, values),
            reason="" if np.isfinite(values).any() else f"no {title} is known in this window",
        )
        for title, measure, unit, values in shown
    )


def markers(changes: Iterable[Change]) -> tuple[Marker, ...]:
    """Changes as marks of a chart, the latest ones."""
    found = [Marker(from_minute(change.at_minute), change.title) for change in changes]
    return tuple(found[-MOST_MARKERS:])


def firing_by_service(incidents: Iterable[Incident]) -> Mapping[str, int]:
    """Live incidents that are told, per service."""
    found: dict[str, int] = {}
    for incident in incidents:
        if incident.state.is_live and not incident.suppressed_by:
            name = incident.labels.get("service", "")
            found[name] = found.get(name, 0) + 1
    return found


def is_failing(incidents: Iterable[Incident]) -> bool:
    """Whether one of them is live and about failures."""
    live = [i for i in incidents if i.state.is_live]
    return any(i.labels.get("signal", "") in ("error_rate", "truncation") for i in live)


def chart_for(
    incident: Incident, service: str, timeline: Timeline, changes: Sequence[Change]
) -> ChartView:
    """The chart that shows what an incident is about."""
    signal = incident.labels.get("signal", "")
    metric = incident.labels.get("slo_metric", "")
    for prefix, title in _PLAIN.items():
        if (metric or signal).startswith(prefix):
            plain = next(c for c in plain_charts(service, timeline) if c.title == title)
            return replace(
                plain, anomalies=spans_of([incident], [signal]), changes=markers(changes)
            )
    is_latency = signal.startswith("latency") or metric == "latency"
    draw = latency_chart if is_latency else failure_chart
    return draw(service, timeline, [incident], changes)


def _standing(status: ObjectiveStatus, verdict: Verdict | None) -> tuple[Tone, str]:
    if verdict is not None and verdict.judgement is Judgement.BREACH:
        return Tone.BAD, verdict.reason
    if status.remaining is None:
        why = verdict.reason if verdict is not None else "no calls in its window"
        return Tone.UNKNOWN, why
    if status.remaining <= 0:
        return Tone.BAD, "the error budget is used up"
    if status.remaining < AT_RISK:
        return Tone.WARN, f"less than {AT_RISK:.0%} of the error budget is left"
    if verdict is not None:
        return Tone.UNKNOWN, verdict.reason
    if quiet := _quiet_minutes(status):
        return Tone.UNKNOWN, f"no calls in the last {span(quiet)}"
    return Tone.OK, ""


def _unreachable(status: ObjectiveStatus) -> tuple[str, ...]:
    if status.mean is not None:
        return ()
    steps = tuple(burn.step for burn in status.burns)
    return unreachable(Objective(status.target, status.period_minutes, steps))


def _quiet_minutes(status: ObjectiveStatus) -> int:
    """The shortest window of at least QUIET_MIN minutes, if it had no calls; 0 if it had.

    A budget that is left says nothing about a source that fell silent.
    """
    found = [(b.step.short_minutes, b.short_burn) for b in status.burns]
    found += [(b.step.long_minutes, b.long_burn) for b in status.burns]
    long_enough = [each for each in found if each[0] >= QUIET_MIN]
    minutes, burn = min(long_enough, key=lambda each: each[0], default=(0, 0.0))
    return minutes if burn is None else 0


def _inside(timeline: Timeline, spans: Spans) -> npt.NDArray[np.bool_]:
    steps = len(timeline.n)
    begin = from_minute(timeline.start)
    width = timedelta(minutes=timeline.step_minutes)
    inside = np.zeros(steps, np.bool_)
    for start, stop in spans:
        first = max(int((start - begin) // width), 0)
        last = steps if stop is None else min(int((stop - begin) // width) + 1, steps)
        inside[first : max(last, first)] = True
    return inside


def _since(spans: Spans) -> str:
    live = [start for start, stop in spans if stop is None]
    return f"anomaly since {min(live):%H:%M}" if live else ""
