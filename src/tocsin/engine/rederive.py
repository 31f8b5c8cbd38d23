"""A recorded decision derived again, from nothing but the ledger and the configuration it names.

An entry of a decision holds the alert's labels and facts and the digest of the configuration that
was in force. That configuration is compiled anew and asked once more, with what else was firing at
the time (as the ledger tells it) for inhibition. The answer is the same, or it differs and how, or
it cannot be known and why: never silently the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tocsin.alerts.causes import PREFIX
from tocsin.alerts.silence import SilenceWindow, suppressions
from tocsin.domain.clock import parse_iso
from tocsin.domain.findings import Decision
from tocsin.engine.rules import Rules
from tocsin.routing.classify import Classified, classify, tier_of
from tocsin.routing.tree import TIER_MEANS, route, tried_routes
from tocsin.store.ledger import LedgerEntry
from tocsin.store.rows import from_us

DECISIONS = ("alert.routed", "alert.suppressed")
STATES = (*DECISIONS, "alert.firing", "alert.stale", "alert.resolved", "alert.pending",
          "alert.received", "tocsin.watched")  # fmt: skip
_COMPARED = ("tier", "route", "receivers", "policy", "digest", "run", "suppressed_by", "trail")

_FOLDED = f"inhibition:{PREFIX}"

Answer = Literal["same", "differs", "unknown"]


@dataclass(frozen=True, slots=True)
class Tried:
    """One rule that was asked. stage: classify, suppress or route. effect: what it did."""

    stage: str
    rule: str
    matched: bool
    effect: str = ""


@dataclass(frozen=True, slots=True)
class Rederived:
    """What came of deriving a decision again. differences: field by field, in words."""

    answer: Answer
    why: str
    differences: tuple[str, ...] = ()
    tried: tuple[Tried, ...] = ()


def rederive(
    entry: LedgerEntry,
    rules: Rules | None,
    windows: Sequence[SilenceWindow],
    history: Callable[[], Sequence[LedgerEntry]],
) -> Rederived:
    """Decide once more what `entry` records.

    rules: the configuration that the entry names, None when it is not there. windows: silences and
    maintenance that people made beside it. history: every entry about an alert's state up to then;
    asked only when the configuration inhibits.
    """
    data = entry.data
    if "facts" not in data:
        why = "it was recorded by a release that did not keep what the decision followed from"
        return Rederived("unknown", why)
    if rules is None:
        what = f"the configuration {str(data.get('config', ''))[:16] or '(none)'}"
        return Rederived("unknown", f"{what} is not among those that were recorded")
    if data["labels"].get("monitor", "").startswith(PREFIX):
        why = (
            "a common cause is told to whom the alerts that it explains would have been told;"
            " what was decided about each of those can be derived again"
        )
        return Rederived("unknown", why)
    if _is_cause(data["labels"]):
        why = "a common cause is told as the alerts are that it explains; derive those"
        return Rederived("unknown", why)
    at = from_us(entry.at_us)
    found = classify(rules.router.rules, data["labels"], data["facts"])
    seen: dict[str, Mapping[str, str | float]] = {entry.subject: {**found.labels, **found.facts}}
    if rules.inhibitions:
        seen = _others(rules, history(), entry) | seen
    quiet = suppressions(seen, [*rules.silences, *windows], rules.inhibitions, at)
    muted = quiet.muted.get(entry.subject, "")
    recorded = str(data["suppressed_by"])
    notes = ""
    is_rule = recorded.startswith("inhibition:") and not recorded.startswith(_FOLDED)
    if is_rule and not muted and _lingers(history(), entry):
        muted = recorded
        notes = "; what inhibited it had just ended and still explained it"
    if not muted and _was_explained(rules, history, entry, recorded):
        muted = recorded
        notes = "; what explains it was firing, and its service uses that"
    elif recorded.startswith(_FOLDED) and not muted and _cause_fires(history(), entry):
        muted = recorded
        notes = "; it was folded under its cause, which was firing"
    decision = route(rules.router, found, muted)
    tried = (*_classified(rules, data), *_suppressed(muted), *_routes(rules, found, decision))
    differences = tuple(_differences(data, decision))
    if differences:
        return Rederived("differs", "deriving it again gives another decision", differences, tried)
    config = str(data["config"])[:16]
    why = f"configuration {config} asked again decides the same{notes}"
    return Rederived("same", why, (), tried)


# --- private -----------------------------------------------------------------------------------


def _others(
    rules: Rules, entries: Sequence[LedgerEntry], entry: LedgerEntry
) -> dict[str, Mapping[str, str | float]]:
    """Every other alert that was firing, as classification saw it.

    Facts of others are those of their last recorded decision; how long they fire is known exactly.
    """
    now = from_us(entry.at_us)
    labels: dict[str, Mapping[str, str]] = {}
    facts: dict[str, Mapping[str, float]] = {}
    since: dict[str, str] = {}
    for each in entries:
        if each.at_us > entry.at_us:
            break
        key = each.subject
        if each.kind in DECISIONS:
            facts[key] = each.data.get("facts", {})
            continue
        state = str(each.data.get("state") or each.kind.removeprefix("alert."))
        if state in ("firing", "stale"):
            if _is_cause(each.data["labels"]):
                continue
            labels[key] = each.data["labels"]
            since.setdefault(key, str(each.data.get("since", "")))
        else:
            labels.pop(key, None)
            since.pop(key, None)
    seen: dict[str, Mapping[str, str | float]] = {}
    for key, known in labels.items():
        started = since.get(key, "")
        lasting = {"for": (now - parse_iso(started)).total_seconds()} if started else {}
        found = classify(rules.router.rules, known, {**facts.get(key, {}), **lasting})
        seen[key] = {**found.labels, **found.facts}
    return seen


def _is_cause(labels: Mapping[str, str]) -> bool:
    is_ours = labels.get("source", "") == "tocsin"
    return is_ours and labels.get("monitor", "").startswith(PREFIX)


def _cause_fires(entries: Sequence[LedgerEntry], entry: LedgerEntry) -> bool:
    """Whether the common cause that `entry` was folded under was firing, or had just been."""
    name = str(entry.data["suppressed_by"]).removeprefix("inhibition:")
    return any(
        each.kind == "alert.firing"
        and each.at_us <= entry.at_us
        and each.data["labels"].get("monitor") == name
        for each in entries
    )


def _lingers(entries: Sequence[LedgerEntry], entry: LedgerEntry) -> bool:
    """Whether the same rule inhibited the same alert before; see `alerts.inhibit.lingering`."""
    return any(
        each.subject == entry.subject
        and each.seq < entry.seq
        and each.data.get("suppressed_by") == entry.data["suppressed_by"]
        for each in entries
        if each.kind in DECISIONS
    )


def _was_explained(
    rules: Rules, history: Callable[[], Sequence[LedgerEntry]], entry: LedgerEntry, recorded: str
) -> bool:
    """Whether a common cause is recorded that was firing, and that the service uses."""
    monitor = recorded.removeprefix("inhibition:")
    if not monitor.startswith(PREFIX):
        return False
    labels = entry.data["labels"]
    firing = _others(rules, history(), entry).values()
    return any(
        other.get("monitor") == monitor
        and labels.get("service", "")
        in rules.used.users(str(other.get("dependency", "")), labels.get("env", ""))
        for other in firing
    )


def _classified(rules: Rules, data: Mapping[str, Any]) -> Iterator[Tried]:
    labels: Mapping[str, str] = data["labels"]
    for rule in rules.router.rules:
        found = classify((rule,), labels, data["facts"])
        changed = {name: value for name, value in found.labels.items()
                   if labels.get(name) != value}  # fmt: skip
        effect = ", ".join(f"{name}={value}" for name, value in changed.items())
        if found.faults:
            effect = "; ".join(found.faults)
        elif found.matched and not changed:
            effect = "sets what was set already"
        yield Tried("classify", rule.name, bool(found.matched), effect)
        labels = found.labels


def _suppressed(muted: str) -> Iterator[Tried]:
    if muted:
        yield Tried("suppress", muted, True, "nobody is told")


def _routes(rules: Rules, found: Classified, decision: Decision) -> Iterator[Tried]:
    ends = decision.route.split(", ")
    for name, matched in tried_routes(rules.router, found):
        effect = "the walk ends here" if matched and name in ends else "adds" if matched else ""
        yield Tried("route", name, matched, effect)
    if decision.route == "unmatched":
        tier = tier_of(decision.labels.get("tier", "")) or decision.tier
        yield Tried("route", "unmatched", True, f"fails open: {TIER_MEANS[tier]}")


def _differences(data: Mapping[str, Any], decision: Decision) -> Iterator[str]:
    for name in _COMPARED:
        was, now = data[name], getattr(decision, name)
        now = list(now) if isinstance(now, tuple) else now
        if was != now:
            yield f"{name}: recorded {_said(was)}, derived {_said(now)}"


def _said(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "nothing"
    return str(value) or "nothing"
