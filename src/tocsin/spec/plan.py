"""`tocsin plan`: what would change, whether its tests pass, and what it would have paged.

A Plan is frozen: `apply` carries out exactly what was shown. How many pages a change adds or takes
away is found by replaying both configurations over history; the engine does that and passes the
function in, so that plan, backtest and the live server share one tick.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from tocsin.assess.health_effect import HealthEffect
from tocsin.assess.prospects import Outlook
from tocsin.domain.clock import iso
from tocsin.domain.errors import Problem
from tocsin.routing.simulate import TestResult, run_tests
from tocsin.routing.tree import compile_policy
from tocsin.spec.desired import Desired
from tocsin.spec.diff import DocumentChange, FieldChange, compare
from tocsin.spec.lint import Finding, lint

UNCHANGED, FAILED, CHANGED, OVER_BUDGET = 0, 1, 2, 3

_NO_PAGES = "not computed: no stored history was given to replay"


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a replay: when, about what, who was paged, and whether at night."""

    at: datetime
    service: str
    monitor: str
    reason: str
    receivers: tuple[str, ...] = ()
    people: tuple[str, ...] = ()
    tier: int = 1
    off_hours: bool = False


@dataclass(frozen=True, slots=True)
class PageDiff:
    """Pages that only the old or only the new configuration sends over [since, until).

    notes: what else a reader must know (recall on labelled incidents, minutes without data, ...).
    """

    since: datetime
    until: datetime
    added: tuple[Page, ...] = ()
    removed: tuple[Page, ...] = ()
    notes: tuple[str, ...] = ()


PageReplay = Callable[[Desired | None, Desired], PageDiff]


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything there is to say about replacing `before` by `after` (digests; "" for nothing).

    pages: None when no history was replayed. budget: how many pages may be added over the replay.
    health: what was kept of health scores whose formula changes, scored both ways.
    """

    before: str
    after: str
    changes: tuple[DocumentChange, ...]
    tests: tuple[TestResult, ...]
    findings: tuple[Finding, ...]
    warnings: tuple[Problem, ...]
    pages: PageDiff | None = None
    budget: int | None = None
    outlooks: tuple[Outlook, ...] = ()
    health: tuple[HealthEffect, ...] = ()

    @property
    def is_applicable(self) -> bool:
        """Whether nothing forbids it: every test passes and no finding is an error."""
        return all(test.passed for test in self.tests) and not any(
            finding.is_error for finding in self.findings
        )

    @property
    def is_over_budget(self) -> bool:
        """Whether it adds more pages than the budget allows."""
        pages, budget = self.pages, self.budget
        return pages is not None and budget is not None and len(pages.added) > budget

    @property
    def exit_code(self) -> int:
        """0 no change, 1 cannot be applied, 2 changes within budget, 3 changes over budget."""
        if not self.is_applicable:
            return FAILED
        if not self.changes:
            return UNCHANGED
        return OVER_BUDGET if self.is_over_budget else CHANGED

    def to_json(self) -> dict[str, Any]:
        """The plan as plain data: changes, tests, findings, warnings, pages, exit code."""
        pages = self.pages
        return {
            "before": self.before or None,
            "after": self.after,
            "changes": [_change_json(change) for change in self.changes],
            "tests": [
                {"name": test.name, "passed": test.passed, "reason": test.reason}
                for test in self.tests
            ],
            "findings": [asdict(finding) for finding in self.findings],
            "warnings": [asdict(warning) for warning in self.warnings],
            "pages": _pages_json(pages) if pages is not None else None,
            "pages_note": "" if pages is not None else _NO_PAGES,
            "budget": self.budget,
            "page_budgets": [asdict(outlook) for outlook in self.outlooks],
            "health": [asdict(effect) for effect in self.health],
            "applicable": self.is_applicable,
            "exit_code": self.exit_code,
        }

    def __str__(self) -> str:
        return explain_plan(self)


def make_plan(
    before: Desired | None,
    after: Desired,
    *,
    replay: PageReplay | None = None,
    budget: int | None = None,
    found: Sequence[Finding] = (),
    outlooks: Sequence[Outlook] = (),
    health: Sequence[HealthEffect] = (),
) -> Plan:
    """Compare `after` with what runs now (None: nothing does), run its tests, lint it, replay both.

    found: findings that depend on more than the text, such as on what day it is. outlooks: what
    page budgets would do, by what was seen until now. health: what changed formulas would have
    done.
    The replay is skipped when nothing changed or when the plan cannot be applied anyway.
    """
    changes = compare(before.data if before else {}, after.data)
    tests = run_tests(compile_policy(after.routing))
    plan = Plan(
        before=before.digest if before else "",
        after=after.digest,
        changes=changes,
        tests=tests,
        findings=(*lint(after), *_regrouped(before, after), *found),
        warnings=after.warnings,
        budget=budget,
        outlooks=tuple(outlooks),
        health=tuple(health),
    )
    if replay is None or not changes or not plan.is_applicable:
        return plan
    fields = {name: getattr(plan, name) for name in Plan.__dataclass_fields__ if name != "pages"}
    return Plan(**fields, pages=replay(before, after))


def explain_plan(plan: Plan) -> str:
    """The plan as text for a terminal, ending in one line that says what to do."""
    lines = _change_lines(plan.changes)
    lines += _section("warnings", [str(warning) for warning in plan.warnings])
    lines += _section("findings", [str(finding) for finding in plan.findings])
    lines += _outlook_lines(plan.outlooks)
    lines += _section("health scores by both formulas", [str(effect) for effect in plan.health])
    lines += _test_lines(plan.tests)
    lines += _page_lines(plan)
    return "\n".join([*lines, "", _verdict(plan)])


# --------------------------------------------------------------------------------------------


def _regrouped(before: Desired | None, after: Desired) -> list[Finding]:
    """What happens to incidents that are open when the labels that make them up change."""
    old = before.routing.defaults.group_by if before else ()
    new = after.routing.defaults.group_by
    if set(old) == set(new) or not old:
        return []
    what = (
        f"alerts are grouped by {', '.join(new)} and no longer by {', '.join(old)}: incidents that "
        "are open when this is applied end, what still fires begins new ones, and who has one in "
        "hand is called again; apply it while nothing is open"
    )
    return [Finding("regrouped", "group_by", what, is_error=False)]


_SIGNS = {"added": "+", "changed": "~", "removed": "-"}


def _change_lines(changes: Sequence[DocumentChange]) -> list[str]:
    if not changes:
        return ["No changes: what runs is what is written."]
    counts = {what: sum(change.what == what for change in changes) for what in _SIGNS}
    told = ", ".join(f"{number} {what}" for what, number in counts.items() if number)
    lines = [f"Documents: {told}"]
    for change in changes:
        lines.append(f"  {_SIGNS[change.what]} {change.key}")
        lines += [f"      {_field_text(field)}" for field in change.fields]
    return lines


def _field_text(field: FieldChange) -> str:
    if field.what == "added":
        return f"{field.path}: {_value(field.new)} (added)"
    if field.what == "removed":
        return f"{field.path}: {_value(field.old)} (removed)"
    return f"{field.path}: {_value(field.old)} -> {_value(field.new)}"


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}: {_value(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return str(value)


def _section(title: str, lines: Sequence[str]) -> list[str]:
    return ["", f"{title.capitalize()}: {len(lines)}", *(f"  {line}" for line in lines)] * bool(
        lines
    )


def _test_lines(tests: Sequence[TestResult]) -> list[str]:
    if not tests:
        return ["", "Routing tests: none are written"]
    failed = [test for test in tests if not test.passed]
    lines = ["", f"Routing tests: {len(tests) - len(failed)} of {len(tests)} pass"]
    return lines + [f"  failed: {test.name}: {test.reason}" for test in failed]


def _page_lines(plan: Plan) -> list[str]:
    pages = plan.pages
    if pages is None:
        return ["", f"Pages: {_NO_PAGES}"] if plan.changes else []
    days = (pages.until - pages.since).total_seconds() / 86400
    allowed = f" (budget {plan.budget})" if plan.budget is not None else ""
    lines = [
        "",
        f"Pages over {days:.3g} d of history: {len(pages.added)} added{allowed}, "
        f"{len(pages.removed)} removed",
    ]
    for sign, listed in (("+", pages.added), ("-", pages.removed)):
        for page in listed:
            to = ", ".join(page.people or page.receivers)
            night = ", off-hours" if page.off_hours else ""
            where = f"{page.service} {page.monitor}"
            lines.append(f"  {sign} {iso(page.at)} {where}: {page.reason} -> {to}{night}")
    return lines + [f"  {note}" for note in pages.notes]


def _outlook_lines(outlooks: Sequence[Outlook]) -> list[str]:
    """What each page budget, and less and more than it, would do."""
    lines = []
    for outlook in outlooks:
        name = f"Page budget {outlook.budget}"
        if not outlook.hours:
            lines += [
                "",
                f"{name}: nothing is known of its detectors yet; it asks for much at first",
            ]
            continue
        lines += ["", f"{name}, by {outlook.hours:,} judged hours (no guarantee):"]
        lines += [f"  {prospect}" for prospect in outlook.prospects]
    return lines


def _verdict(plan: Plan) -> str:
    failed = sum(not test.passed for test in plan.tests)
    errors = sum(finding.is_error for finding in plan.findings)
    if not plan.is_applicable:
        reasons = [f"{failed} failed tests"] * bool(failed) + [f"{errors} errors"] * bool(errors)
        return f"Cannot be applied: {' and '.join(reasons)}."
    if not plan.changes:
        return "Nothing to apply."
    if plan.is_over_budget:
        return "Over the page budget: raise the budget or change the configuration."
    return "Ready: `tocsin apply` makes it so."


def _change_json(change: DocumentChange) -> dict[str, Any]:
    return {
        "what": change.what,
        "api_version": change.api_version,
        "kind": change.kind,
        "name": change.name,
        "fields": [asdict(field) for field in change.fields],
    }


def _pages_json(pages: PageDiff) -> dict[str, Any]:
    def listed(entries: tuple[Page, ...]) -> list[dict[str, Any]]:
        return [{**asdict(page), "at": iso(page.at)} for page in entries]

    return {
        "since": iso(pages.since),
        "until": iso(pages.until),
        "added": listed(pages.added),
        "removed": listed(pages.removed),
        "notes": list(pages.notes),
    }
