"""Which detectors share which page budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tocsin.assess.detectors import StaticThresholdConfig
from tocsin.assess.gauges.kind import GaugeConfig
from tocsin.assess.gauges.slices import SlicesConfig
from tocsin.assess.monitor import Monitor, Objective
from tocsin.assess.page_budget import FLOOR, Member, PageBudget, own_threshold
from tocsin.assess.segments import SegmentsConfig
from tocsin.spec.assembly import Assembly
from tocsin.spec.documents import Document
from tocsin.spec.explain import suggest
from tocsin.spec.page_budgets import PageBudgetShape
from tocsin.spec.services import Service
from tocsin.spec.yaml import Place


def page_budgets(
    assembly: Assembly, known: Mapping[str, Service], monitors: Sequence[Monitor]
) -> tuple[PageBudget, ...]:
    """Every PageBudget with the detectors that share it; no detector shares two."""
    stated = {d.name for d in assembly.of("Detector") if "threshold" in d.spec.settings}
    owners: dict[str, Document] = {}
    found = []
    for document in assembly.of("PageBudget"):
        spec: PageBudgetShape = document.spec
        services = [service for service in known.values() if spec.covers(service)]
        _check(assembly, document, services, known)
        for service in services:
            owner = owners.setdefault(service.name, document)
            if owner is not document:
                message = f"service {service.name!r} shares {owner.key} already"
                place: Place = ("spec", "team" if spec.team else "services")
                assembly.problems.append(document.problem(place, message, "keep one of them"))
        names = {service.name for service in services}
        members = {
            monitor.name: _member(monitor, own, stated)
            for monitor in monitors
            if monitor.service in names and (own := own_threshold(monitor)) is not None
        }
        _warn(assembly, document, members)
        for monitor in monitors:
            if monitor.service in names and (why := _outside(monitor)):
                message = f"{monitor.name} pages outside of the budget: {why[0]}"
                assembly.warnings.append(document.problem(("spec",), message, why[1]))
        found.append(PageBudget(document.name, spec.pages_per_week, spec.tickets_per_week, members))
    return tuple(found)


def _member(monitor: Monitor, own: float, stated: set[str]) -> Member:
    least = own if monitor.labels.get("detector") in stated else FLOOR
    return Member(monitor.service, least, monitor.severity == "page")


def _outside(monitor: Monitor) -> tuple[str, str] | None:
    """Why a page of it cannot be under a budget, and what to do, where people would expect it.

    A limit that somebody chose and a promise are outside by intent.
    """
    method = monitor.method
    if monitor.severity != "page" or isinstance(method, Objective):
        return None
    is_compared = isinstance(method, SegmentsConfig) and method.budget is None
    inner = method.inner if isinstance(method, SlicesConfig) else method
    is_gauge = isinstance(inner, GaugeConfig) and not isinstance(inner, StaticThresholdConfig)
    if is_compared or (isinstance(method, SlicesConfig) and is_gauge):
        return "segments have limits of their own", "make it a ticket"
    if is_gauge and not (isinstance(inner, GaugeConfig) and inner.is_p):
        fix = "make it a ticket, or use committee, count_scan or pace_shift"
        return "its evidence is no probability", fix
    return None


def _check(
    assembly: Assembly,
    document: Document,
    services: Sequence[Service],
    known: Mapping[str, Service],
) -> None:
    team = document.spec.team
    if team and not services:
        teams = sorted({service.team for service in known.values() if service.team})
        message = f"no service has the team {team!r}"
        fix = suggest(team, teams) if teams else "give a Service this team"
        assembly.problems.append(document.problem(("spec", "team"), message, fix))


def _warn(assembly: Assembly, document: Document, members: Mapping[str, Member]) -> None:
    if any(member.pages for member in members.values()):
        return
    message = "no detector that can share it asks for severity: page, so it changes no page"
    fix = "give a count_scan, pace_shift or committee of these services severity: page"
    assembly.warnings.append(document.problem(("spec",), message, fix))
