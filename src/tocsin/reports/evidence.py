"""Evidence for the NIST AI Risk Management Framework: what was measured, under whose function.

The ids are those of the outcomes in NIST AI 100-1 (January 2023), chapter 5; what each is said to
show here is in our own words. Tocsin can show that something was measured, decided and recorded. It
cannot show that a policy is good or that people know it, and says nothing of such outcomes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from tocsin.reports import wording
from tocsin.reports.facts import Facts
from tocsin.reports.report import Cell, Column, Label, Section, Table

FUNCTIONS = {
    "GOVERN": "Who may decide, by which rules, on what record",
    "MAP": "What is watched, whose it is and who depends on it",
    "MEASURE": "What was measured, how surely, and on whom",
    "MANAGE": "What was done about what was found",
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """One outcome of the framework. shows: what evidence of it is, in our words. find: the evidence
    in some facts, or "" where there is none."""

    id: str
    shows: str
    find: Callable[[Facts], str]

    @property
    def function(self) -> str:
        """GOVERN, MAP, MEASURE or MANAGE."""
        return self.id.split()[0]


def nist_ai_rmf(facts: Facts) -> tuple[Section, ...]:
    """A chapter per function. Evidence that is missing is said to be missing, never left out."""
    return tuple(_function(name, facts) for name in FUNCTIONS)


# --- private -----------------------------------------------------------------------------------


def _function(name: str, facts: Facts) -> Section:
    rows = tuple(_row(one, facts) for one in OUTCOMES if one.function == name)
    columns = (
        Column("id", "Outcome"), Column("shows", "Shown by", wide=True),
        Column("state", "Evidence"), Column("found", "Found", wide=True),
    )  # fmt: skip
    title = name.capitalize()
    return Section(
        name.lower(), title, (Table(f"nist_{name.lower()}", FUNCTIONS[name], columns, rows, ""),)
    )


def _row(one: Outcome, facts: Facts) -> tuple[Cell, ...]:
    found = one.find(facts)
    state = Label("there is", "ok") if found else Label("none", "unknown")
    return one.id, one.shows, state, found or "nothing on record in this period"


def _documents(*kinds: str) -> Callable[[Facts], str]:
    def find(facts: Facts) -> str:
        held: Mapping[str, int] = facts.quality.documents if facts.quality else {}
        said = [f"{held[kind]} {kind}" for kind in kinds if held.get(kind)]
        return ", ".join(said) + " in the configuration in force" if said else ""

    return find


def _ledger(facts: Facts) -> str:
    data = facts.quality
    if data is None or not data.ledger:
        return ""
    if data.ledger_broken:
        return f"{data.ledger:,} entries, the chain is broken: {data.ledger_broken}"
    return f"{data.ledger:,} entries of an unbroken hash chain, the last {data.ledger_head[:16]}"


def _happened(kinds: tuple[str, ...], noun: str) -> Callable[[Facts], str]:
    def find(facts: Facts) -> str:
        count = sum(event.kind in kinds for event in facts.events)
        return wording.plural(count, noun) if count else ""

    return find


def _owners(facts: Facts) -> str:
    owned = sum(bool(one.labels.get("team")) for one in facts.services)
    return (
        f"{owned} of {wording.plural(len(facts.services), 'service')} name a team" if owned else ""
    )


def _contexts(facts: Facts) -> str:
    said = [
        f"{one.title}: {one.labels['risk_tier']} risk, {one.labels.get('exposure', 'unknown')}"
        for one in facts.services
        if one.labels.get("risk_tier")
    ]
    return "; ".join(said[:12]) + ("; …" if len(said) > 12 else "")


def _objectives(facts: Facts) -> str:
    proven = [one.standing for one in facts.objectives]
    parts = [f"{proven.count(s)} {w}" for s, w in _WORDS if proven.count(s)]  # type: ignore[arg-type]
    return f"{wording.plural(len(proven), 'objective')}: {', '.join(parts)}" if proven else ""


_WORDS = (("met", "met"), ("breached", "breached"), ("inconclusive", "not proven"),
          ("no_data", "without data"))  # fmt: skip


def _calls(facts: Facts) -> str:
    calls = sum(one.now.calls for one in facts.services)
    return f"{calls:,} production calls measured" if calls else ""


def _scores(facts: Facts) -> str:
    if not facts.scores:
        return ""
    return f"{sum(s.n for s in facts.scores):,} scores of {len(facts.scores)} kinds, with intervals"


def _segments(facts: Facts) -> str:
    judged = [one for one in facts.segments if one.is_judged]
    worse = sum(one.is_worse for one in judged)
    if not judged:
        return ""
    return f"{wording.plural(len(judged), 'segment')} tested together, {worse} surely worse off"


def _trend(facts: Facts) -> str:
    pairs = [(one.now, one.before) for one in facts.services if one.before and one.before.calls]
    if not pairs:
        return ""
    now, then = (
        sum(t.failed for t in some) / max(sum(t.calls for t in some), 1)
        for some in zip(*pairs, strict=True)
    )
    return f"{wording.percent(now)} of calls failed, {wording.percent(then)} in the period before"


def _told(facts: Facts) -> str:
    count = len(facts.responses)
    resolved = sum(one.resolved is not None for one in facts.responses)
    return (
        f"{wording.plural(count, 'incident')} told to people, {resolved} resolved" if count else ""
    )


def _verdicts(facts: Facts) -> str:
    p = facts.paging.precision
    return f"{p.judged} of {facts.paging.pages} pages judged by responders" if p.judged else ""


def _recovery(facts: Facts) -> str:
    times = facts.paging.to_resolve
    if times.mean_s is None:
        return ""
    return f"pages resolved in {wording.seconds(times.mean_s)} on average, over {times.count}"


def _unknown(facts: Facts) -> str:
    return "; ".join(_gaps(facts)) or "nothing was unknown"


def _gaps(facts: Facts) -> Iterator[str]:
    data = facts.quality
    silent = sum(one.standing == "no_data" for one in facts.objectives)
    if silent:
        yield f"{wording.plural(silent, 'objective')} without data"
    if data is not None and data.unpriced:
        yield f"{wording.plural(data.unpriced, 'call')} without a price"
    if facts.incomplete:
        yield facts.incomplete


OUTCOMES: tuple[Outcome, ...] = (
    Outcome("GOVERN 1.2", "rules about trustworthy operation, as versioned configuration",
            _documents("SLO", "CompositeSLO", "ErrorBudgetPolicy", "Redaction", "Retention")),
    Outcome("GOVERN 1.4", "a record of decisions that shows when it was changed", _ledger),
    Outcome("GOVERN 1.5", "reviews of the rules: configurations that were applied, and by whom",
            _happened(("config.applied", "config.document"), "applied change")),
    Outcome("GOVERN 2.1", "every service has somebody who answers for it", _owners),
    Outcome("GOVERN 6.1", "terms with providers, as agreements that are measured",
            _documents("VendorAgreement")),
    Outcome("MAP 1.1", "what is in use and for whom", _contexts),
    Outcome("MAP 1.5", "how much risk is accepted, as objectives with budgets", _objectives),
    Outcome("MAP 4.1", "what comes from third parties and how it is watched",
            _documents("Source", "VendorAgreement", "Webhook")),
    Outcome("MEASURE 1.1", "metrics chosen for the risks, as indicators, detectors and scores",
            _documents("Indicator", "Detector", "Evaluator", "HealthScore", "BreachMonitor")),
    Outcome("MEASURE 2.4", "behaviour in production is monitored", _calls),
    Outcome("MEASURE 2.5", "validity and reliability, held against objectives", _objectives),
    Outcome("MEASURE 2.11", "fairness: parts of the traffic compared with the rest", _segments),
    Outcome("MEASURE 2.13", "how well the measuring works: what was unknown", _unknown),
    Outcome("MEASURE 3.3", "what users and evaluators said", _scores),
    Outcome("MEASURE 4.2", "what people who know said of the measuring: responders' verdicts",
            _verdicts),
    Outcome("MEASURE 4.3", "improvement or decline since the period before", _trend),
    Outcome("MANAGE 1.1", "whether to go on: gates and frozen deploys",
            _happened(("gate.decided", "deploys.frozen", "deploys.released"), "decision")),
    Outcome("MANAGE 2.3", "who is called and how a failure is answered",
            _documents("OnCallSchedule", "EscalationPolicy", "Routing", "Playbook")),
    Outcome("MANAGE 3.1", "third parties are watched over time",
            _documents("Source", "VendorAgreement")),
    Outcome("MANAGE 4.1", "incidents were told, answered and recovered from", _recovery),
    Outcome("MANAGE 4.3", "incidents were told to those concerned and recorded", _told),
)  # fmt: skip
