"""What a team should look at: objectives that need something, and rules that people judged."""

from __future__ import annotations

from collections.abc import Iterator

from tocsin.reports import cells, wording
from tocsin.reports.facts import Facts, ObjectiveFacts
from tocsin.reports.report import Cell, Column, Label, Measure, Section, Table
from tocsin.reports.responses import Figures, Part


def actions(facts: Facts) -> Section:
    """One line for everything that should not be left as it is, the worst first."""
    rows = tuple(sorted(_actions(facts), key=lambda row: row[0]))
    columns = (
        Column("object", "What"), Column("finding", "Finding"), Column("why", "Why", wide=True),
        Column("next", "Next", wide=True),
    )  # fmt: skip
    table = Table("actions", "To decide", columns, tuple(row[1:] for row in rows),
                  "Every objective is met and nothing waits for a verdict.")  # fmt: skip
    return Section("actions", "To decide", (table,))


def rules(found: Figures) -> Section:
    """Pages by rule: how many, how many were worth it, and what the verdicts propose."""
    proposed = {one.rule: one for one in found.proposals}
    rows = tuple(_rule(part, proposed[part.name].why if part.name in proposed else "–")
                 for part in found.rules)  # fmt: skip
    columns = (
        Column("rule", "Rule", wide=True), Column("pages", "Pages"),
        Column("off_hours", "Off-hours"), Column("unwanted", "Unwanted"),
        Column("precision", "Real"), Column("proposal", "Proposed change", wide=True),
    )  # fmt: skip
    table = Table("rules", "Pages by rule", columns, rows, "Nobody was paged.")
    return Section("rules", "Pages by rule", (table,))


# --- private -----------------------------------------------------------------------------------


def _rule(part: Part, proposal: str) -> tuple[Cell, ...]:
    real = cells.precision(part.precision)
    return (part.name, Measure(part.pages, "count"), Measure(part.off_hours, "count"),
            Measure(part.unwanted, "count"), real, proposal)  # fmt: skip


def _actions(facts: Facts) -> Iterator[tuple[int, Cell, Cell, Cell, Cell]]:
    for one in facts.objectives:
        rank, why, then = _due(one)
        if why:
            yield rank, one.title, cells.standing(one), why, then
    waiting = facts.paging.precision.unjudged
    if waiting:
        yield (
            4, wording.plural(waiting, "page"), Label("not judged", "unknown"),
            "precision and page budgets learn from verdicts only",
            "say on each incident's page: real, false, duplicate or noise",
        )  # fmt: skip
    for proposal in facts.paging.proposals:
        yield (2, proposal.rule, Label(proposal.what, "warn"), proposal.why,
               "tocsin figures --propose learned.yaml, then tocsin plan")  # fmt: skip
    for moved in facts.restated:
        yield (
            5, moved.objective, Label("restated", "unknown"),
            "the period before is counted otherwise since its report",
            "see Corrections and restatements",
        )  # fmt: skip


def _due(one: ObjectiveFacts) -> tuple[int, str, str]:
    """(rank, why, what next) of an objective; "" where nothing is to be done."""
    if one.standing == "breached":
        spent = f"{wording.percent(one.spent)} of its budget" if one.spent else "more than allowed"
        return (
            0,
            f"this period spent {spent}",
            "find what spent it below; fix it, or lower the target",
        )
    if one.standing == "no_data":
        return 1, one.incomplete or cells.NO_CALLS, "is the service silent, or is it gone?"
    if one.standing == "inconclusive":
        return (
            3, f"{wording.count(one.total)} {one.counts_in} are too few to prove it",
            "a longer period or a lower target would say more",
        )  # fmt: skip
    return 9, "", ""
