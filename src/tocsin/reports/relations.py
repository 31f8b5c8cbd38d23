"""Whether quality still means business: a score and an outcome, and how well one goes with the
other, week by week."""

from __future__ import annotations

from collections.abc import Sequence

from tocsin.reports import cells
from tocsin.reports.facts import Followed, Week
from tocsin.reports.report import Bars, Cell, Column, Label, Measure, Section, Table


def relations(found: Sequence[Followed]) -> Section:
    """Every pair, week by week."""
    text = (
        "The rank correlation of a score with an outcome, over a sample of the calls that have "
        "both, one of each session. The interval holds for yes-and-no outcomes. Weaker: surely "
        "(as its detector asks) less than in the weeks before that are shown.",
    )
    columns = (
        Column("week", "Week from"), Column("relation", "Correlation"), Column("pairs", "Pairs"),
        Column("finding", "Against the weeks before"),
    )  # fmt: skip
    blocks: list[Table | Bars] = []
    for one in found:
        title = f"{one.outcome} with {one.quality}, {one.service}"
        rows = tuple(
            (f"{week.begin:%Y-%m-%d}", _measure(week), Measure(week.pairs, "count"), _finding(week))
            for week in one.weeks
        )
        blocks.append(
            Bars(f"strength_{one.name}", f"Strength of: {title}",
                 tuple(f"{week.begin:%d %b}" for week in one.weeks),
                 tuple(_strength(week) for week in one.weeks))
        )  # fmt: skip
        blocks.append(Table(f"relation_{one.name}", title, columns, rows, cells.NO_CALLS))
    if not found:
        empty = "No detector of kind correlation follows a score and an outcome."
        blocks.append(Table("relations", "Relations", columns, (), empty))
    return Section("relations", "Scores and outcomes", tuple(blocks), text)


def _measure(week: Week) -> Measure:
    tone = "bad" if week.is_weaker else ""
    return Measure(week.value, "number", week.low, week.high, week.unknown, tone=tone)  # type: ignore[arg-type]


def _strength(week: Week) -> Measure:
    """The size of a relation, whichever its sign, so that bars stand up."""
    if week.value is None or week.low is None or week.high is None:
        return Measure(None, "number", unknown=week.unknown)
    low, high = sorted((abs(week.low), abs(week.high)))
    if week.low < 0 < week.high:
        low = 0.0
    return Measure(abs(week.value), "number", low, high, tone="bad" if week.is_weaker else "")


def _finding(week: Week) -> Cell:
    if week.value is None:
        return Label("unknown", "unknown")
    if week.is_weaker is None:
        return Label("nothing before", "unknown")
    return Label("weaker", "bad") if week.is_weaker else Label("not weaker", "ok")
