"""Chapters that several reports share: facts in, tables and drawings out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date

from tocsin.domain.clock import iso
from tocsin.domain.shares import exact_interval
from tocsin.reports import cells, wording
from tocsin.reports.facts import (
    Event,
    Facts,
    HealthFacts,
    ObjectiveFacts,
    ScoreFacts,
    SegmentFacts,
    ServiceFacts,
    Totals,
)
from tocsin.reports.report import Bars, Cell, Column, Label, Measure, Section, Table, Tone
from tocsin.reports.responses import Figures, Response, Times

MOST_LISTED = 200
MOST_NAMED = 3


def services(facts: Facts) -> Section:
    """Every service: calls, answers, latency, cost, and what changed since the period before."""
    scored = {one.service: one for one in facts.health}
    is_compared = any(one.before is not None for one in facts.services)
    columns = [Column("service", "Service"), Column("team", "Team"), Column("health", "Health")]
    for key, title in (("calls", "Calls"), ("answered", "Answered"), ("p95", "p95"),
                       ("cost", "Cost")):  # fmt: skip
        columns.append(Column(key, title))
        if is_compared and key != "answered":
            columns.append(Column(f"{key}_change", "Change"))
    rows = [tuple(_service(one, scored.get(one.name), is_compared)) for one in facts.services]
    note = "Answered: share of calls that did not fail, with the exact 95 % interval. p95 is right "
    note += "to 2 %. " + (
        "Change: against the period of the same length before."
        if is_compared
        else f"There is no change to show: {_why_no_before(facts)}."
    )
    empty = "No service is configured."
    table = Table("services", "Services", tuple(columns), tuple(rows), empty, note)
    return Section("services", "Services", (table, *_daily(facts)))


def _service(one: ServiceFacts, scored: HealthFacts | None, is_compared: bool) -> Iterator[Cell]:
    before, why = one.before or Totals(), one.now.incomplete or one.no_before
    yield one.title
    yield one.labels.get("team", "") or "–"
    yield cells.health(scored) if scored else "–"
    calls, p95, cost = cells.calls(one.now), cells.p95(one.now), cells.cost(one.now)
    yield calls
    if is_compared:
        yield cells.change(calls.value, before.calls, why)
    yield cells.success(one.now)
    yield p95
    if is_compared:
        yield cells.change(p95.value, before.p95_s, why)
    yield cost
    if is_compared:
        yield cells.change(cost.value, before.cost_usd, why)


def _why_no_before(facts: Facts) -> str:
    return next((one.no_before for one in facts.services), "") or "there is no service"


def _daily(facts: Facts) -> tuple[Bars, ...]:
    days = _days(facts.services)
    if not days:
        return ()
    shares, counts = [], []
    for day in days:
        found = [t for one in facts.services for d, t in one.days if d == day]
        whole = cells.total(found)
        counts.append(cells.calls(whole))
        shares.append(_failures(whole))
    labels = tuple(f"{day:%a %d %b}" for day in days)
    return (
        Bars("calls_by_day", "Calls by day", labels, tuple(counts)),
        Bars("failures_by_day", "Share of failed calls by day", labels, tuple(shares)),
    )


def _failures(whole: Totals) -> Measure:
    if whole.incomplete or not whole.calls:
        return Measure(None, "share", unknown=whole.incomplete or cells.NO_CALLS)
    low, high = exact_interval(whole.failed, whole.calls)
    return Measure(whole.failed / whole.calls, "share", low, high, tone="bad")


def _days(found: Sequence[ServiceFacts]) -> list[date]:
    return [day for day, _ in found[0].days] if found else []


def groups(facts: Facts, by: Sequence[str]) -> Section:
    """Services rolled up by their labels: the worst state and how many, never an average."""
    tables = []
    for label in by:
        names: dict[str, list[ServiceFacts]] = {}
        for one in facts.services:
            names.setdefault(one.labels.get(label, "") or "not labelled", []).append(one)
        rows: list[tuple[Cell, ...]] = []
        for name, members in sorted(names.items()):
            theirs = {one.name for one in members}
            mine = [o for o in facts.objectives if o.service in theirs]
            pages = [r for r in facts.responses if r.service in theirs and r.tier == 1]
            whole = cells.total(one.now for one in members)
            rows.append((
                name, Measure(len(members), "count"), worst(mine),
                Measure(len([o for o in mine if o.standing == "breached"]), "count"),
                cells.success(whole), Measure(len(pages), "count"), cells.cost(whole),
            ))  # fmt: skip
        columns = (
            Column(label, label.replace("_", " ").capitalize()), Column("services", "Services"),
            Column("worst", "Worst objective"), Column("breached", "Breached"),
            Column("answered", "Answered"), Column("pages", "Pages"), Column("cost", "Cost"),
        )  # fmt: skip
        title = f"By {label.replace('_', ' ')}"
        tables.append(
            Table(f"by_{label}", title, columns, tuple(rows), "No service is configured.")
        )
    return Section("groups", "Roll-up", tuple(tables))


def worst(found: Sequence[ObjectiveFacts]) -> Label:
    """The worst standing of some objectives; unknown comes before met."""
    if not found:
        return Label("no objective", "unknown")
    order = ("breached", "no_data", "inconclusive", "met")
    return cells.standing(min(found, key=lambda one: order.index(one.standing)))


def objectives(facts: Facts) -> Section:
    """Every objective: promised, measured, proven, and what is left."""
    rows = []
    for one in _worst_first(facts.objectives):
        target = sli_limit(one) if one.amount is not None else Measure(one.target, "share")
        counted = (
            f"{wording.count(one.total)} {one.counts_in}" if one.amount is not None
            else f"{one.bad:,} bad of {one.total:,} {one.counts_in}"
        )  # fmt: skip
        rows.append((
            one.title, one.service, cells.standing(one), target, cells.sli(one), counted,
            cells.spent(one), cells.remaining(one), one.window,
        ))  # fmt: skip
    columns = (
        Column("objective", "Objective", wide=True), Column("service", "Service"),
        Column("standing", "Proven"), Column("target", "Target"), Column("measured", "Measured"),
        Column("counts", "Counted"), Column("spent", "Budget spent"),
        Column("remaining", "Left at the end"), Column("window", "Of its window"),
    )  # fmt: skip
    note = (
        "Proven: met or breached with 95 % confidence over this period, else not proven. Budget "
        "spent: of the budget that this period's own calls make. Left at the end: of the "
        "objective's own window, as its page shows it."
    )
    table = Table(
        "objectives", "Objectives", columns, tuple(rows), "No objective is configured.", note
    )
    return Section("objectives", "Objectives", (table,))


def sli_limit(one: ObjectiveFacts) -> Measure:
    """The limit of an objective about a mean."""
    found = cells.sli(one)
    return cells.measured(found.limit, found.unit, "no limit")


def _worst_first(found: Iterable[ObjectiveFacts]) -> list[ObjectiveFacts]:
    order = {"breached": 0, "no_data": 1, "inconclusive": 2, "met": 3}
    return sorted(found, key=lambda one: (order[one.standing], -(one.spent or 0.0), one.name))


def daily_objectives(facts: Facts) -> Section:
    """Every objective day by day, against what its target allows."""
    blocks = []
    for one in _worst_first(facts.objectives):
        if one.amount is not None:
            continue
        values = []
        for _, bad, total_ in one.days:
            if not total_:
                values.append(Measure(None, "share", unknown=one.incomplete or cells.NO_CALLS))
                continue
            tone: Tone = "bad" if bad / total_ > 1 - one.target else ""
            values.append(Measure(bad / total_, "share", tone=tone))
        labels = tuple(f"{day:%a %d %b}" for day, _, _ in one.days)
        title = f"{one.title}: share of bad {one.counts_in} by day"
        blocks.append(
            Bars(f"days_{one.name}", title, labels, tuple(values), limit=round(1 - one.target, 12))
        )
    note = _unlisted(len(blocks))
    text = (note,) if note else ()
    return Section("days", "Day by day", tuple(blocks[:MOST_LISTED]), text)


def corrections(facts: Facts) -> Section:
    """What was corrected, and what of the period before is known otherwise by now."""
    rows = []
    for one in facts.objectives:
        if one.uncorrected is not None:
            bad, calls = one.uncorrected
            rows.append((
                one.title, ", ".join(one.corrections), cells.sli(one),
                cells.measured(1 - bad / calls if calls and one.amount is None else None, "share",
                         "a mean" if calls else cells.NO_CALLS),
                f"{bad:,} bad of {calls:,}",
            ))  # fmt: skip
    corrected = Table(
        "corrections", "Corrections of budgets",
        (Column("objective", "Objective", wide=True), Column("corrections", "By"),
         Column("corrected", "As reported"), Column("raw", "Without them"),
         Column("raw_counts", "Counted without them")),
        tuple(rows), "Nothing was corrected in this period.",
    )  # fmt: skip
    changed = Table(
        "restatements", "The period before, restated",
        (Column("objective", "Objective", wide=True), Column("then", "As reported then"),
         Column("now", "As known now")),
        tuple(
            (r.objective, f"{r.bad_then:,} bad of {r.total_then:,}",
             f"{r.bad_now:,} bad of {r.total_now:,}")
            for r in facts.restated
        ),
        "Nothing that is held of the period before is counted otherwise now.",
    )  # fmt: skip
    return Section("corrections", "Corrections and restatements", (corrected, changed))


def incidents(facts: Facts) -> Section:
    """What people were told, and what that came to."""
    rows = []
    for one in sorted(facts.responses, key=lambda r: (r.tier, r.opened))[:MOST_LISTED]:
        lasted = (one.resolved - one.opened).total_seconds() if one.resolved else None
        answered = (one.answered - one.told).total_seconds() if one.answered else None
        rows.append((
            one.incident, iso(one.opened), one.service or "–", one.rule,
            Label("page", "bad") if one.tier == 1 else Label("ticket", "warn"),
            cells.measured(answered, "s", "nobody acknowledged it"),
            cells.measured(lasted, "s", "not over at the as-of time"),
            _verdict(one),
        ))  # fmt: skip
    columns = (
        Column("incident", "Incident"), Column("opened", "Opened"), Column("service", "Service"),
        Column("rule", "By", wide=True), Column("tier", "As"), Column("answered", "Answered in"),
        Column("lasted", "Lasted"), Column("verdict", "Verdict"),
    )  # fmt: skip
    empty, note = "Nobody was told of anything.", _unlisted(len(facts.responses))
    table = Table("incidents", "Incidents", columns, tuple(rows), empty, note)
    return Section("incidents", "Incidents and paging", (paging(facts.paging), table))


def paging(found: Figures) -> Table:
    """Pages, their precision and how fast they were answered."""
    precision = cells.precision(found.precision)
    rows: tuple[tuple[Cell, ...], ...] = (
        ("Pages", Measure(found.pages, "count"), f"{found.off_hours} off-hours"),
        ("Unanswered pages", Measure(found.unanswered, "count"), ""),
        ("Precision", precision, "share of judged pages that were real"),
        ("Time to detect", _mean(found.to_detect), _of(found.to_detect)),
        ("Time to answer", _mean(found.to_answer), _of(found.to_answer)),
        ("Time to resolve", _mean(found.to_resolve), _of(found.to_resolve)),
    )
    columns = (Column("figure", "Figure"), Column("value", "Value"), Column("of", "", wide=True))
    return Table("paging", "What paging came to", columns, rows, "Nobody was paged.")


def _mean(times: Times) -> Measure:
    return cells.measured(times.mean_s, "s", "nothing to measure")


def _of(times: Times) -> str:
    return f"mean of {times.count}; median {wording.seconds(times.median_s)}" if times.count else ""


def _verdict(one: Response) -> Cell:
    return one.verdict or "not judged"


def segments(facts: Facts, *, only_worse: bool = False) -> Section:
    """Parts of the traffic: which of them are surely worse off."""
    shown = [s for s in facts.segments if s.is_worse or not only_worse]
    rows = tuple(_segment(one) for one in shown[:MOST_LISTED])
    columns = (
        Column("service", "Service"), Column("dimension", "Dimension"), Column("value", "Value"),
        Column("finding", "Finding"), Column("calls", "Calls"), Column("failed", "Failed"),
        Column("rest", "All others"), Column("times", "Times"),
    )  # fmt: skip
    tested = sum(one.is_judged for one in facts.segments)
    note = (
        f"{wording.plural(tested, 'segment')} of {len(facts.segments)} had enough calls and were "
        "tested together per service, with the share of false findings held at 5 % (Benjamini and "
        "Hochberg). Worse: surely at least one and a half times the share of failed calls of the "
        "rest."
    )
    note = f"{note} {_unlisted(len(shown))}".rstrip()
    empty = "No segment is surely worse off." if facts.segments else "No call names a segment."
    if facts.incomplete and not facts.segments:
        empty = f"Unknown: {facts.incomplete}."
    return Section(
        "segments", "Segments", (Table("segments", "Segments", columns, rows, empty, note),)
    )


def _segment(one: SegmentFacts) -> tuple[Cell, ...]:
    if not one.is_judged:
        finding = Label("too few calls", "unknown")
    else:
        finding = Label("worse", "bad") if one.is_worse else Label("not worse", "ok")
    share = one.failed / one.calls
    tone: Tone = "bad" if one.is_worse else ""
    times = share / one.rest if one.rest else None
    return (
        one.service, one.dimension, one.value, finding, Measure(one.calls, "count"),
        Measure(share, "share", one.low, one.high, tone=tone),
        cells.measured(one.rest, "share", "there are no others"),
        cells.measured(times, "ratio", "no failed call among the others"),
    )  # fmt: skip


def scores(found: Sequence[ScoreFacts]) -> Section:
    """Means of what evaluators, users and people said."""
    rows = tuple(
        (one.service, one.name, Measure(one.mean, "number", one.low, one.high),
         Measure(one.n, "count"))
        for one in found
    )  # fmt: skip
    columns = (
        Column("service", "Service"), Column("score", "Score"), Column("mean", "Mean"),
        Column("n", "Scores"),
    )  # fmt: skip
    note = "As the scores say it: an evaluator's own errors are not taken out."
    table = Table("scores", "Scores", columns, rows, "No score came in for this time.", note)
    return Section("scores", "Quality", (table,))


def health_scores(found: Sequence[HealthFacts]) -> Table:
    """Health scores as they were shown and told in the period."""
    rows = tuple(
        (one.title, one.service, cells.health(one),
         Measure(one.lowest, "score", unknown=one.reason if one.lowest is None else ""),
         cells.share_in(one, "warning"), cells.share_in(one, "critical"),
         Measure(sum(one.minutes.get(s, 0) for s in cells.STATE) / one.length, "share"),
         one.reason)
        for one in found
    )  # fmt: skip
    columns = (
        Column("health_score", "Health score"), Column("service", "Service"),
        Column("mean", "Mean"), Column("lowest", "Lowest"), Column("warning", "In warning"),
        Column("critical", "Critical"), Column("scored", "Scored"),
        Column("reason", "Why", wide=True),
    )  # fmt: skip
    note = "As pages showed it and alerts told it, minute by minute. Scored: the share of the "
    note += "period that had a score; the other shares are of that."
    return Table("health", "Health scores", columns, rows, "No health score is configured.", note)


def events(found: Sequence[Event], title: str = "What changed") -> Section:
    """Deploys, changes, applied configurations and decisions of gates."""
    rows = tuple(
        (iso(e.at), e.kind, e.subject or "–", e.text, e.actor or "–") for e in found[:MOST_LISTED]
    )
    columns = (
        Column("at", "At (UTC)"), Column("kind", "Kind"), Column("subject", "Of"),
        Column("text", "What", wide=True), Column("by", "By"),
    )  # fmt: skip
    empty, note = "Nothing is on record.", _unlisted(len(found))
    table = Table("events", title, columns, rows, empty, note)
    return Section("changes", title, (table,))


def _incomplete_objectives(found: Sequence[ObjectiveFacts]) -> Iterator[str]:
    """A line for every reason, with the objectives whose counts it makes incomplete."""
    by_reason: dict[str, list[str]] = {}
    for one in found:
        if one.incomplete:
            by_reason.setdefault(one.incomplete, []).append(one.title)
    for reason, titles in sorted(by_reason.items()):
        of = ", ".join(titles) if len(titles) <= MOST_NAMED else f"{len(titles)} objectives"
        yield f"{of}: {reason}"


def _unlisted(found: int) -> str:
    """How many of `found` a list leaves out, or ""."""
    return f"{found - MOST_LISTED:,} more are not listed." if found > MOST_LISTED else ""


def notes(facts: Facts) -> tuple[str, ...]:
    """What a reader has to know about the data behind all numbers."""
    said = [facts.incomplete] if facts.incomplete else []
    if facts.rolled_up:
        said.append(
            f"Not all calls of {facts.rolled_up} are kept. Sums, days and segments are counted "
            "from their hourly rollups, in which calls that came after the as-of time count as "
            "well; what only calls can tell is unknown."
        )
    said += _incomplete_objectives(facts.objectives)
    data = facts.quality
    if data is not None and data.unpriced:
        said.append(
            f"{data.unpriced:,} of {data.calls:,} calls have no known price; costs are those of "
            "the others."
        )
    if data is not None and data.without_usage:
        said.append(f"{data.without_usage:,} of {data.calls:,} calls did not report their tokens.")
    if data is not None and data.quarantined:
        said.append(f"{data.quarantined:,} inputs could not be used and are kept in quarantine.")
    if data is not None and data.ledger_broken:
        said.append(f"The audit trail is broken: {data.ledger_broken}")
    said.append("Calls are LLM calls, in the minute in which they ended; days are those of "
                f"{facts.time_zone}.")  # fmt: skip
    return tuple(said)
