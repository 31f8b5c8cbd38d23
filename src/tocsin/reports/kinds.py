"""Which chapters each report has."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tocsin.reports import cells, relations, review, sections, vendor_sections, wording
from tocsin.reports.evidence import nist_ai_rmf
from tocsin.reports.facts import Facts, Part
from tocsin.reports.report import Manifest, Measure, Report, Section, Tile, Tone

Build = Callable[[Facts], tuple[Section, ...]]


@dataclass(frozen=True, slots=True)
class Template:
    """A kind of report: its title, what it answers, and how its chapters are made.

    needs: what of the facts is read for it alone. by: labels of services that are rolled up first,
    unless somebody chose others.
    """

    name: str
    title: str
    answers: str
    build: Build
    needs: frozenset[Part]
    by: tuple[str, ...] = ()


def _executive(facts: Facts) -> tuple[Section, ...]:
    return (
        sections.services(facts),
        sections.objectives(facts),
        Section("health", "Health", (sections.health_scores(facts.health),)),
        sections.incidents(facts),
        sections.segments(facts, only_worse=True),
        sections.events(facts.events),
    )


def _sla(facts: Facts) -> tuple[Section, ...]:
    return (
        sections.objectives(facts),
        sections.daily_objectives(facts),
        sections.corrections(facts),
        sections.incidents(facts),
    )


def _review(facts: Facts) -> tuple[Section, ...]:
    return (
        review.actions(facts),
        sections.objectives(facts),
        sections.incidents(facts),
        review.rules(facts.paging),
        sections.corrections(facts),
        sections.events(facts.events),
    )


def _segments(facts: Facts) -> tuple[Section, ...]:
    return (sections.segments(facts), sections.services(facts))


def _vendors(facts: Facts) -> tuple[Section, ...]:
    return (vendor_sections.agreements(facts.contracts), vendor_sections.comparison(facts))


def _business(facts: Facts) -> tuple[Section, ...]:
    return (relations.relations(facts.relations), sections.scores(facts.scores),
            sections.events(facts.events))  # fmt: skip


def _nist(facts: Facts) -> tuple[Section, ...]:
    return (
        *nist_ai_rmf(facts),
        vendor_sections.agreements(facts.contracts),
        sections.objectives(facts),
        sections.scores(facts.scores),
        sections.segments(facts, only_worse=True),
        sections.incidents(facts),
        sections.events(facts.events),
    )


def _needs(*parts: Part) -> frozenset[Part]:
    return frozenset(parts)


TEMPLATES: Mapping[str, Template] = {
    each.name: each
    for each in (
        Template("executive", "Reliability of AI services", "How are we doing, and what does it"
                 " cost?", _executive,
                 _needs("health", "segments", "events", "days", "before"), ("team", "risk_tier")),
        Template("sla", "Service levels", "Was what we promised kept, and how sure is that?", _sla,
                 _needs("restated")),
        Template("review", "SLO review", "What should we change this week?", _review,
                 _needs("restated", "events")),
        Template("segments", "Segments", "Is anybody worse off than the rest?", _segments,
                 _needs("segments", "health", "days", "before")),
        Template("vendors", "Vendors", "Who does the same work better, and who owes what?",
                 _vendors, _needs("contracts", "providers", "models")),
        Template("business", "Quality and outcomes", "Does quality still mean business?",
                 _business, _needs("relations", "scores", "events")),
        Template("nist-ai-rmf", "Evidence for the NIST AI RMF", "What was measured and done that"
                 " an auditor can check?", _nist,
                 _needs("contracts", "scores", "segments", "events", "before")),
    )
}  # fmt: skip


def build(
    template: Template, facts: Facts, manifest: Manifest, name: str, title: str, by: Sequence[str]
) -> Report:
    """The report of `template`. by: labels of services that are rolled up."""
    return Report(
        name=name,
        title=title or template.title,
        subtitle=template.answers,
        tiles=_tiles(facts),
        sections=(*([sections.groups(facts, by)] if by else []), *template.build(facts)),
        notes=sections.notes(facts),
        manifest=manifest,
    )


def _tiles(facts: Facts) -> tuple[Tile, ...]:
    whole = cells.total(one.now for one in facts.services)
    proven = [one.standing for one in facts.objectives]
    breached, met = proven.count("breached"), proven.count("met")
    tone: Tone = "bad" if breached else ("ok" if proven and met == len(proven) else "")
    others = len(proven) - met - breached
    said = f"{breached} breached, {others} not proven" if proven else "no objective is configured"
    paging = facts.paging
    return (
        Tile("Objectives met", Measure(met, "count", tone=tone), f"of {len(proven)}: {said}"),
        Tile("Answered", cells.success(whole)),
        Tile("Calls", cells.calls(whole),
             wording.plural(len(facts.services), "service")),
        Tile("Pages", Measure(paging.pages, "count"),
             f"{paging.off_hours} off-hours, {paging.unanswered} unanswered"),
        Tile("Cost", cells.cost(whole)),
    )  # fmt: skip
