"""SLO and CompositeSLO documents into objectives that are watched."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from tocsin.assess.absence import AbsenceConfig, usual_patience
from tocsin.assess.accounts import Correction, Slices
from tocsin.assess.burn import DAY, for_slices
from tocsin.assess.ledger import MAX_WINDOW
from tocsin.assess.monitor import Composite, Guards, Mean, Monitor, Objective, Part
from tocsin.domain.errors import Problem
from tocsin.domain.series import Ratio, SeriesId
from tocsin.spec.alerting import Alerting, alerting
from tocsin.spec.assembly import Assembly
from tocsin.spec.composites import CompositeSLOShape, met_by_all
from tocsin.spec.data_sources import unmeasurable
from tocsin.spec.documents import Document
from tocsin.spec.indicators import Named
from tocsin.spec.measures import Measure, measure
from tocsin.spec.objectives import (
    BurnRatePolicyShape,
    ObjectiveShape,
    SLIShape,
    SLOShape,
    TimeWindow,
)
from tocsin.spec.segmented import by_segment
from tocsin.spec.services import Service
from tocsin.spec.yaml import Place

SLO_SIGNAL = "slo_breach"
_ALL_SLICES = 5
_NO_PART = "a mean is no share of calls and cannot be part of a composite"
_COMPOSED = {"Occurrences": "burn", "Timeslices": "any", "RatioTimeslices": "missing"}


def objectives(assembly: Assembly, known: Mapping[str, Service], named: Named) -> Iterator[Monitor]:
    """Every SLO's objectives, then every composite, each in the order of names."""
    for document in assembly.of("SLO"):
        spec: SLOShape = document.spec
        if spec.service in known:
            build = _openslo_composite if spec.is_composite else _objectives
            yield from build(_Draft.of(assembly, document, known[spec.service], named))
    for document in assembly.of("CompositeSLO"):
        if document.spec.service in known:
            draft = _Draft.of(assembly, document, known[document.spec.service], named)
            yield from _composite(draft, {d.name: d for d in assembly.of("SLO")})


# --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Draft:
    """What all objectives of a document have in common."""

    assembly: Assembly
    document: Document
    service: Service
    named: Named
    window: TimeWindow
    policy: Document | None
    alerting: Alerting | None

    @classmethod
    def of(cls, assembly: Assembly, document: Document, service: Service, named: Named) -> _Draft:
        spec = document.spec
        window = spec.window if isinstance(spec, CompositeSLOShape) else spec.time_window[0]
        policy = _policy_of(assembly, document)
        entries = spec.alert_policies if isinstance(spec, SLOShape) else ()
        own = alerting(assembly, document, entries, window.duration.minutes)
        if own is not None and policy is not None and not policy.spec.slos.is_general:
            place: Place = ("spec", "alertPolicies")
            message = f"is not used: {policy.key} chooses this SLO"
            assembly.warnings.append(document.problem(place, message, "remove one of the two"))
            own = None
        draft = cls(assembly, document, service, named, window, policy, own)
        if window.calendar is None and window.duration.unit in "MQY":
            days = window.duration.minutes // DAY
            message = f"{window.duration} without a calendar rolls: it is the last {days} days"
            place = (*draft.window_at, "duration")
            assembly.warnings.append(document.problem(place, message, f"write {days}d"))
        return draft

    @property
    def window_at(self) -> Place:
        """Where the time window stands."""
        is_ours = isinstance(self.document.spec, CompositeSLOShape)
        return ("spec", "window") if is_ours else ("spec", "timeWindow", 0)

    def say(self, place: Place, message: str, fix: str = "") -> None:
        """Note a problem of the document."""
        self.assembly.problems.append(self.document.problem(place, message, fix))

    def guards(self, found: Measure | None, slices: Slices | None) -> Guards:
        guards: Guards = self.policy.spec.guards.build() if self.policy else Guards()
        if slices is not None:
            # One bad slice is many bad calls already; `minEvents` has decided which slices count.
            return replace(guards, min_bad=1, min_events=0)
        if found is not None and found.min_events is not None:
            guards = replace(guards, min_events=found.min_events)
        # No call is bad for a mean; what it must prove is `evidence`.
        return replace(guards, min_bad=0) if found is not None and found.is_mean else guards

    def _silence(self, monitor: Monitor, objective: Objective) -> Iterator[Monitor]:
        """The monitor that tells when calls stay away, where somebody wants to know."""
        policy = self.policy
        asked = policy.spec.no_data if policy else None
        severity = self.alerting.silence if self.alerting else None
        severity = severity or (asked.severity if asked else None)
        if severity is None:
            return
        after = (asked.minutes if asked else None) or usual_patience(objective)
        if policy is not None and after > MAX_WINDOW:
            place = ("spec", "noData", "alertAfter")
            message = "counts are held to the minute for three days"
            self.assembly.problems.append(policy.problem(place, message, "shorten it"))
            return
        yield replace(
            monitor,
            name=f"{monitor.name}/no-data",
            title=f"{monitor.title}: no calls",
            signal=AbsenceConfig.signal,
            severity=severity,
            series=None,
            ratio=None,
            method=AbsenceConfig(monitor, after),
        )

    def mean(self, measured: Measure) -> Mean | None:
        """What a mean with a budget is held to, and all the calls that may be a part of it."""
        ratio = measured.indicator.ratio
        if measured.mean is None:
            return None
        series = SeriesId(self.service.name, f"every {ratio.kind} {ratio.model}".rstrip())
        every = (series, Ratio("error", kind=ratio.kind, model=ratio.model))
        return replace(measured.mean, every=every)

    def monitor(
        self, target: float, *, title: str, metric: str, method: str, suffix: str = "",
        measured: Measure | None = None, counts: tuple[SeriesId, Ratio] | None = None,
        slices: Slices | None = None, composite: Composite | None = None,
        conditions: tuple[Part, ...] = (),
    ) -> Iterator[Monitor]:  # fmt: skip
        """The objective, or none when no burn policy fits its period."""
        period, document = self.window.duration.minutes, self.document
        policy = self.policy.spec if self.policy else BurnRatePolicyShape()
        try:
            steps = policy.build(period) if self.alerting is None else self.alerting.steps
        except ValueError as error:
            self.say((*self.window_at, "duration"), str(error))
            return
        if slices is not None:
            steps = for_slices(steps, slices.minutes, period)
        objective = Objective(
            target=target,
            window_minutes=period,
            steps=steps,
            guards=self.guards(measured, slices),
            metric=metric,
            calendar=self.window.build(),
            slices=slices,
            corrections=_corrections(self.assembly, document, method),
            composite=composite,
            conditions=conditions,
            mean=self.mean(measured) if measured is not None else None,
        )
        monitor = Monitor(
            name=f"slo/{document.name}{suffix}",
            title=title,
            service=self.service.name,
            signal=SLO_SIGNAL,
            severity="page" if any(step.severity == "page" for step in steps) else "ticket",
            series=counts[0] if counts else None,
            ratio=counts[1] if counts else None,
            method=objective,
            labels={
                **self.service.labels,
                **document.metadata.labels,
                **(self.alerting.labels() if self.alerting else {}),
                "slo": document.name,
                "slo_metric": metric,
            },
        )
        yield monitor
        yield from self._silence(monitor, objective)
        if self.policy and self.policy.spec.segments:
            yield from by_segment(
                self.assembly, self.policy, self.policy.spec.segments, monitor, objective
            )


def _objectives(draft: _Draft) -> Iterator[Monitor]:
    document, service = draft.document, draft.service
    spec: SLOShape = document.spec
    for i, objective in enumerate(spec.objectives):
        found = _measured(draft, document, spec, objective)
        slices = _slices(draft, ("spec", "objectives", i), objective, found) if found else None
        if found is None or (slices is None and objective.time_slice_window is not None):
            continue
        title = objective.display_name or document.metadata.display_name
        yield from draft.monitor(
            objective.share,
            title=title or f"{service.display_name}: {found.indicator.title}",
            metric=found.indicator.metric,
            method=spec.budgeting_method,
            suffix=f"-{i + 1}" if len(spec.objectives) > 1 else "",
            measured=found,
            counts=(SeriesId(service.name, found.indicator.name), found.indicator.ratio),
            slices=slices,
        )


def _openslo_composite(draft: _Draft) -> Iterator[Monitor]:
    """The objectives of an SLO, each with an indicator of its own, as OpenSLO composes them."""
    spec: SLOShape = draft.document.spec
    parts = []
    for i, objective in enumerate(spec.objectives):
        found = _measured(draft, draft.document, objective, objective, ("spec", "objectives", i))
        if found is None:
            continue
        if found.is_mean:
            draft.say(("spec", "objectives", i), _NO_PART)
            continue
        slices = _slices(draft, ("spec", "objectives", i), objective, found)
        series = SeriesId(draft.service.name, found.indicator.name)
        name = objective.display_name or found.indicator.name
        budget = round(1.0 - objective.share, 12)
        weight = objective.composite_weight
        parts.append(Part(name, series, found.indicator.ratio, weight, budget, slices))
    yield from _composed(draft, tuple(parts), _COMPOSED[spec.budgeting_method], None)


def _composite(draft: _Draft, slos: Mapping[str, Document]) -> Iterator[Monitor]:
    spec: CompositeSLOShape = draft.document.spec
    if spec.method == "event":
        yield from _event(draft, slos)
        return
    parts = []
    for i, component in enumerate(spec.components):
        found = _component(draft, ("spec", "components", i, "slo"), component.slo, slos)
        if found is None:
            continue
        slo, measured = found
        objective: ObjectiveShape = slo.spec.objectives[0]
        share = objective.time_slice_target or objective.share
        slices = None
        if spec.method == "all":
            minutes = spec.time_slice_window or _ALL_SLICES
            few = "ignore" if measured.insufficient == "pool" else measured.insufficient
            slices = Slices(minutes, share, measured.min_events or 1, few, measured.no_data)
        indicator = measured.indicator
        parts.append(
            Part(slo.name, SeriesId(slo.spec.service, indicator.name), indicator.ratio,
                 component.weight, round(1.0 - objective.share, 12), slices)
        )  # fmt: skip
    method = {"weighted": "weighted", "all": "any", "openslo": "burn"}[spec.method]
    yield from _composed(draft, tuple(parts), method, spec.share)


def _composed(
    draft: _Draft, parts: tuple[Part, ...], method: str, target: float | None
) -> Iterator[Monitor]:
    spec, name = draft.document.spec, draft.document.metadata.display_name
    if not parts:
        return
    cuts = {part.slices.minutes for part in parts if part.slices}
    if len(cuts) > 1:
        message = "the objectives of a composite have one timeSliceWindow"
        draft.say(("spec", "objectives"), message)
        return
    if any(part.slices and part.slices.insufficient == "pool" for part in parts):
        draft.say(("spec", "objectives"), "slices of a composite cannot be pooled")
        return
    absent = spec.when_absent if isinstance(spec, CompositeSLOShape) else "ignore"
    names = ", ".join(part.name for part in parts)
    yield from draft.monitor(
        target if target is not None else 1.0 - max(part.budget for part in parts),
        title=name or f"{draft.service.display_name}: {names}",
        metric="composite",
        method="Timeslices" if cuts else "Occurrences",
        slices=parts[0].slices,
        composite=Composite(method, parts, absent),  # type: ignore[arg-type]
    )


def _event(draft: _Draft, slos: Mapping[str, Document]) -> Iterator[Monitor]:
    """A composite whose calls are good when they meet every condition."""
    spec: CompositeSLOShape = draft.document.spec
    conditions: list[str | Ratio] = []
    names: list[str] = []
    for i, one in enumerate(spec.good):
        if isinstance(one, str):
            conditions.append(one)
            names.append(one)
            continue
        place = ("spec", "good", i, "slo")
        found = _component(draft, place, one.slo, slos)
        if found is None:
            return
        try:
            met_by_all([found[1].indicator.ratio], spec.kind)
        except ValueError as error:
            draft.say(place, f"SLO {one.slo!r} cannot be a condition: {error}")
            return
        conditions.append(found[1].indicator.ratio)
        names.append(one.slo)
    name, service = draft.document.name, draft.service.name
    yield from draft.monitor(
        spec.share,
        title=draft.document.metadata.display_name or f"{draft.service.display_name}: {name}",
        metric="composite",
        method="Occurrences",
        counts=(SeriesId(service, f"composite {name}"), met_by_all(conditions, spec.kind)),
        conditions=tuple(
            Part(text, SeriesId(service, text), met_by_all([each], spec.kind))
            for text, each in zip(names, conditions, strict=True)
        ),
    )


def _component(
    draft: _Draft, place: Place, name: str, slos: Mapping[str, Document]
) -> tuple[Document, Measure] | None:
    """An SLO that is part of a composite, and what it counts."""
    slo = slos.get(name)
    if slo is None:
        return None  # `references` says so
    spec: SLOShape = slo.spec
    if len(spec.objectives) != 1 or spec.is_composite:
        draft.say(place, f"SLO {name!r} has several objectives; name one with a single one")
        return None
    found, problems = _measure_of(draft, slo, spec, spec.objectives[0], ("spec",))
    if found is not None and found.is_mean:
        draft.say(place, f"SLO {name!r}: {_NO_PART}")
        return None
    return None if problems or found is None else (slo, found)


def _measured(
    draft: _Draft, document: Document, owner: SLOShape | ObjectiveShape,
    objective: ObjectiveShape, at: Place = ("spec",),
) -> Measure | None:  # fmt: skip
    found, problems = _measure_of(draft, document, owner, objective, at)
    draft.assembly.problems += problems
    return found


def _measure_of(
    draft: _Draft, document: Document, owner: SLOShape | ObjectiveShape,
    objective: ObjectiveShape, at: Place,
) -> tuple[Measure | None, list[Problem]]:  # fmt: skip
    sli, place, source = _indicator_of(draft.assembly, document, owner, at)
    if sli is None:
        return None, []
    foreign = list(unmeasurable(draft.assembly, sli, source, place))
    if foreign:
        return None, foreign
    return measure(sli, objective, source.located, place, draft.named)


def _indicator_of(
    assembly: Assembly, document: Document, owner: SLOShape | ObjectiveShape, at: Place
) -> tuple[SLIShape | None, Place, Document]:
    """The SLI of an SLO or an objective, where it stands, and the document it stands in."""
    if owner.indicator is not None:
        return owner.indicator.spec, (*at, "indicator", "spec"), document
    for candidate in assembly.of("SLI"):
        if candidate.name == owner.indicator_ref:
            return candidate.spec, ("spec",), candidate
    return None, (), document


def _policy_of(assembly: Assembly, document: Document) -> Document | None:
    """The one BurnRatePolicy for an SLO, if any. A policy without a selector yields to others."""
    chosen: list[Document] = []
    general: list[Document] = []
    for policy in assembly.of("BurnRatePolicy"):
        slos = policy.spec.slos
        if slos.is_general:
            general.append(policy)
        elif slos.chooses(document.name, document.metadata.labels):
            chosen.append(policy)
    found = chosen or general
    for extra in found[1:]:
        message = f"SLO {document.name!r} is selected by {found[0].key} already"
        assembly.problems.append(extra.problem(("spec", "slos"), message, "narrow one of them"))
    return found[0] if found else None


def _corrections(assembly: Assembly, document: Document, method: str) -> tuple[Correction, ...]:
    """Every BudgetCorrection that chooses an SLO, or everything."""
    return tuple(
        one.spec.build(one.name, method)
        for one in assembly.of("BudgetCorrection")
        if one.spec.slos.covers(document.name, document.metadata.labels)
    )


def _slices(draft: _Draft, at: Place, objective: ObjectiveShape, found: Measure) -> Slices | None:
    if objective.time_slice_window is None:
        return None
    try:
        return Slices(
            objective.time_slice_window,
            objective.time_slice_target if found.slice_target is None else found.slice_target,
            found.min_events or 1,
            found.insufficient,
            found.no_data,
        )
    except ValueError as error:
        draft.say((*at, "timeSliceWindow"), str(error))
        return None
