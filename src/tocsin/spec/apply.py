"""`tocsin apply`: the record of a change of configuration, ready to be stored.

Nothing is written here. The engine puts the version into the state store and the event into the
ledger, in one transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from tocsin.domain.errors import TocsinError
from tocsin.domain.findings import LedgerEvent
from tocsin.spec.desired import Desired
from tocsin.spec.plan import Plan

EVENT_KIND = "config.applied"


class CannotApply(TocsinError):
    """A plan that must not be carried out; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class ConfigVersion:
    """One version of the configuration as it is kept: `text` is canonical, `digest` its SHA-256."""

    digest: str
    previous: str
    text: str
    applied_at: datetime
    applied_by: str
    approved_by: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Application:
    """What to store: the version, and the ledger's line about it."""

    version: ConfigVersion
    event: LedgerEvent


def prepare(
    plan: Plan,
    desired: Desired,
    *,
    actor: str,
    at: datetime,
    approvals: Sequence[str] = (),
    reason: str = "",
    needs_second_person: bool = False,
    allow_over_budget: bool = False,
) -> Application:
    """The record of `actor` applying `desired` at `at`, as `plan` showed it.

    Raises CannotApply when the plan has errors or failed tests, is over its page budget (unless
    allowed), is for another configuration, or lacks the approval of somebody other than `actor`.
    """
    others = tuple(dict.fromkeys(person for person in approvals if person != actor))
    _check(plan, desired, actor, allow_over_budget=allow_over_budget)
    if needs_second_person and not others:
        raise CannotApply(
            f"a change by {actor} needs the approval of a second person; none was given"
        )
    version = ConfigVersion(
        digest=desired.digest,
        previous=plan.before,
        text=desired.text,
        applied_at=at,
        applied_by=actor,
        approved_by=others,
        reason=reason,
    )
    event = LedgerEvent(
        at=at,
        kind=EVENT_KIND,
        actor=actor,
        subject=f"config/{desired.digest[:16]}",
        reason=reason or _summary(plan),
        data={
            "digest": desired.digest,
            "previous": plan.before or None,
            "approvals": list(others),
            "changes": plan.to_json()["changes"],
            "tests": len(plan.tests),
            "pages_added": len(plan.pages.added) if plan.pages else None,
            "pages_removed": len(plan.pages.removed) if plan.pages else None,
            "over_budget": plan.is_over_budget,
        },
    )
    return Application(version, event)


def _check(plan: Plan, desired: Desired, actor: str, *, allow_over_budget: bool) -> None:
    if not actor:
        raise CannotApply("somebody must apply it: no actor was given")
    if plan.after != desired.digest:
        raise CannotApply("the configuration changed after the plan was made; plan again")
    if not plan.is_applicable:
        raise CannotApply("the plan has failed tests or errors; `tocsin plan` lists them")
    if plan.is_over_budget and not allow_over_budget:
        added = len(plan.pages.added) if plan.pages else 0
        raise CannotApply(f"the plan adds {added} pages, more than the budget of {plan.budget}")


def _summary(plan: Plan) -> str:
    counts = {what: sum(c.what == what for c in plan.changes) for what in _WORDS}
    told = ", ".join(f"{number} {what}" for what, number in counts.items() if number)
    return told or "no changes"


_WORDS = ("added", "changed", "removed")
