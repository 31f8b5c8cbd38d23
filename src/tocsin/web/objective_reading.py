"""Objectives of a running Tocsin: where they stand, where a budget went, and what lay near."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt

from tocsin.alerts.freeze import Freeze, freezes
from tocsin.alerts.lifecycle import alert_labels, identity_of
from tocsin.assess.budget_rules import BudgetRuleConfig, whole_budgets
from tocsin.assess.monitor import Monitor, Objective
from tocsin.domain.clock import from_minute, to_minute
from tocsin.domain.findings import Incident, Judgement
from tocsin.domain.series import Change
from tocsin.engine.as_of import objective_named
from tocsin.engine.house import House
from tocsin.store.rows import from_us
from tocsin.web import portraits
from tocsin.web.desk import Missing
from tocsin.web.objective_detail import Annotation, ObjectiveDetail, PolicyRule
from tocsin.web.objective_views import ObjectiveView
from tocsin.web.objective_words import sentences
from tocsin.web.tone import Tone
from tocsin.web.views import ChartView, Marker, Series, Unit

NEAR = timedelta(hours=2)  # before a breach, and shortly after it began
_SLACK = timedelta(minutes=5)  # a deploy is recorded when it is done, and hurts from when it began
MOST_INCIDENTS = 500
MOST_CHANGES = 30
POINTS = 168
_DRIFTS = ("drift", "model_change")
_UNITS: dict[str, tuple[Unit, float]] = {"usd": ("usd", 1.0), "ms": ("s", 0.001)}

Floats = npt.NDArray[np.float64]


def views(house: House, blind: str) -> list[ObjectiveView]:
    """Every objective, least budget first. blind: why nothing is known about the last minutes."""
    verdicts = house.standing.verdicts
    held = _held(freezes(house.state.alerts().values()))
    found = portraits.worst_first(
        replace(
            portraits.objective_view(status, verdicts.get(status.monitor)),
            held=held.get(status.monitor.removeprefix("slo/"), ()),
        )
        for status in house.statuses()
    )
    if not blind:
        return found
    # What was true minutes ago is not known to be true now.
    return [replace(view, tone=Tone.UNKNOWN, reason=blind) for view in found]


def detail(house: House, name: str, known: Iterable[ObjectiveView]) -> ObjectiveDetail:
    """One of the objectives `known`; NotFound when there is none of this name."""
    monitor = objective_named(house, name)
    short = monitor.name.removeprefix("slo/")
    view = next((one for one in known if one.name == short), None)
    if view is None:
        raise Missing(f"nothing is known of objective {short} yet: no minute was judged")
    now = house.clock.now()
    since = view.period_from or now
    changes = _changes(house, monitor.service, since, now)
    incidents = house.state.list_incidents(MOST_INCIDENTS)
    breaches = list(_episodes(house, monitor, incidents, since))
    drifts = [
        episode
        for other in house.rules.monitors.monitors
        if other.service == monitor.service and other.signal in _DRIFTS
        for episode in _episodes(house, other, incidents, since)
    ]
    notes = sorted(_annotations(breaches, drifts, changes), key=lambda note: note.at, reverse=True)
    return ObjectiveDetail(
        view=view,
        updated=now,
        charts=tuple(_charts(house, monitor, view, breaches, notes)),
        annotations=tuple(notes),
        policies=tuple(_policies(house, monitor)),
        explanation=tuple(sentences(asdict(view))),
    )


# --------------------------------------------------------------------------------------------


def _held(found: Sequence[Freeze]) -> dict[str, tuple[str, ...]]:
    """What is held back because of each objective, in words."""
    words: dict[str, tuple[str, ...]] = {}
    for freeze in found:
        said = "deploys frozen" if freeze.hold == "block" else "deploys need approval"
        words[freeze.slo] = tuple(dict.fromkeys((*words.get(freeze.slo, ()), said)))
    return words


def _changes(house: House, service: str, since: datetime, now: datetime) -> list[Change]:
    found = house.telemetry.changes(to_minute(since), to_minute(now) + 1)
    known = house.desired.services.get(service)
    names = ("", service, known.service_name if known else service)
    return [change for change in found if change.service in names]


@dataclass(frozen=True, slots=True)
class _Episode:
    """One time that an alert of a monitor fired. until: None while it does."""

    title: str
    begin: datetime
    until: datetime | None
    reason: str
    link: str


def _episodes(
    house: House, monitor: Monitor, incidents: Sequence[Incident], since: datetime
) -> Iterator[_Episode]:
    """Every time that a monitor's alert fired, by the ledger, and was not over before `since`."""
    config = house.rules.lifecycle
    labels = alert_labels(monitor.verdict(Judgement.BREACH, 0), config)
    key = identity_of(labels, config.identity)
    mine = [incident for incident in incidents if key in incident.alerts]
    began: tuple[datetime, str] | None = None
    for entry in house.state.entries_about(key):
        if entry.kind == "alert.firing" and began is None:
            began = (from_us(entry.at_us), entry.reason)
        elif entry.kind == "alert.resolved" and began is not None:
            if (over := from_us(entry.at_us)) >= since:
                yield _episode(monitor, began, over, mine)
            began = None
    if began is not None:
        yield _episode(monitor, began, None, mine)


def _episode(
    monitor: Monitor, began: tuple[datetime, str], until: datetime | None, mine: Sequence[Incident]
) -> _Episode:
    where = next((i.id for i in mine if until is None or i.opened <= until), "")
    link = f"/incidents/{where}" if where else ""
    return _Episode(monitor.title, began[0], until, began[1], link)


def _annotations(
    breaches: Sequence[_Episode], drifts: Sequence[_Episode], changes: Sequence[Change]
) -> Iterator[Annotation]:
    """Breaches, and what lay near one of them; the newest changes also when none did."""
    began = [episode.begin for episode in breaches]
    for one in breaches:
        yield Annotation(one.begin, "breach", one.title, one.reason, one.until, one.link)
    for one in drifts:
        text = ": ".join(part for part in (_near(one.begin, began), one.reason) if part)
        yield Annotation(one.begin, "drift", one.title, text, one.until, one.link)
    for change in changes[-MOST_CHANGES:]:
        at = from_minute(change.at_minute)
        labels = ", ".join(f"{name} {value}" for name, value in change.labels.items())
        text = "; ".join(part for part in (_near(at, began), labels) if part)
        yield Annotation(at, "change", f"{change.kind}: {change.title}", text)


def _near(at: datetime, began: Sequence[datetime]) -> str:
    """How long before the next breach something was, "" when it was not near one."""
    for start in sorted(began):
        if start - NEAR <= at <= start + _SLACK:
            minutes = round((start - at).total_seconds() / 60)
            told = f"{minutes} min before" if minutes >= 0 else f"{-minutes} min into"
            return f"{told} the breach of {start:%d %b %H:%M}"
    return ""


def _policies(house: House, monitor: Monitor) -> Iterator[PolicyRule]:
    verdicts = house.standing.verdicts
    firing = {a.labels.get("monitor"): a for a in house.state.alerts().values()}
    for rule in house.rules.monitors.monitors:
        config = rule.method
        if not isinstance(config, BudgetRuleConfig) or config.objective.name != monitor.name:
            continue
        verdict, alert = verdicts.get(rule.name), firing.get(rule.name)
        is_unknown = verdict is not None and verdict.judgement is Judgement.UNKNOWN
        yield PolicyRule(
            policy=rule.labels["budget_policy"],
            rule=rule.labels["budget_rule"],
            when=config.condition.text,
            actions=config.actions,
            state="holds" if alert is not None else "unknown" if is_unknown else "idle",
            reason=alert.reason if alert is not None else verdict.reason if verdict else "",
        )


def _charts(
    house: House, monitor: Monitor, view: ObjectiveView, breaches: Sequence[_Episode],
    notes: Sequence[Annotation],
) -> Iterator[ChartView]:  # fmt: skip
    """Where the budget of the period went, and what was bad in it, hour by hour or finer."""
    objective = monitor.method
    assert isinstance(objective, Objective)  # noqa: S101 (found as one)
    with house.undisturbed():
        minute = house.standing.minute
        (whole,) = whole_budgets(house.window, [monitor], minute)
        start, step, counts = _steps(house, monitor, minute)
    bad, total = counts[:, 0], counts[:, 1]
    share = np.divide(bad, total, out=np.full(len(bad), np.nan), where=total > 0)
    marks = tuple(
        Marker(note.at, note.title if note.kind == "change" else f"drift: {note.title}")
        for note in reversed(notes)
        if note.kind in ("change", "drift")
    )
    spans = tuple((one.begin, one.until) for one in breaches)

    def chart(title: str, values: Floats, unit: Unit, limit: float, said: str) -> ChartView:
        return ChartView(
            service=view.title, title=title, unit=unit,
            series=Series(from_minute(start), step * 60, values),
            anomalies=spans, changes=marks[-portraits.MOST_MARKERS :],
            threshold=limit, threshold_label=said, tone=view.tone,
            reason="" if np.isfinite(values).any() else "nothing was counted in this period",
        )  # fmt: skip

    if whole is not None:
        spent = np.cumsum(bad) / whole.allowed
        yield chart("spent of the whole period's budget", spent, "ratio", 1.0, "all of it")
    if objective.mean is None:
        yield chart("share of bad " + view.counts_in, share, "ratio", objective.budget, "allowed")
        return
    unit, scale = _UNITS.get(objective.mean.unit, ("count", 1.0))
    values = scale * (objective.mean.expected + share * objective.mean.width)
    yield chart("mean", values, unit, scale * objective.mean.limit, "limit")


def _steps(house: House, monitor: Monitor, minute: int) -> tuple[int, int, Floats]:
    """(first minute, minutes a step, counts [step, (bad, total)]) of the period so far: by the hour
    when it is long, and of at most three days where counts of single hours are not held."""
    ledger, end = house.window.ledger, minute + 1
    objective = monitor.method
    assert isinstance(objective, Objective)  # noqa: S101 (found as one)
    row = int(ledger.rows([monitor])[0])
    elapsed = max(min(end - objective.period_at(minute)[0], ledger.covered(end, 10**9)), 1)
    hourly = ledger.hourly(end, elapsed, row)
    if elapsed > 2 * 1440 and len(hourly):
        return (end // 60 - len(hourly)) * 60, *_coarser(hourly)
    width = min(elapsed, ledger.raw.reach)
    step = max(-(-width // POINTS), objective.slices.minutes if objective.slices else 1)
    count = max(width // step, 1)
    edges = [end - step * (count - 1 - n) for n in range(count)]
    held = np.array([ledger.sums(edge, step, np.array([row]))[:, 0] for edge in edges])
    return end - step * count, step, held


def _coarser(hourly: Floats) -> tuple[int, Floats]:
    """(minutes a step, counts) of at most 2 x POINTS steps of whole hours."""
    hours = -(-len(hourly) // (2 * POINTS))
    count = -(-len(hourly) // hours)
    padded = np.zeros((count * hours, 2))
    padded[: len(hourly)] = hourly
    return 60 * hours, padded.reshape(count, hours, 2).sum(axis=1)
