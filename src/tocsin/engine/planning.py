"""What `plan`, `apply` and `backtest` do, without a word about terminals."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from tocsin.assess.health_effect import HealthEffect
from tocsin.assess.prospects import Outlook
from tocsin.domain.clock import Clock, from_minute, to_minute
from tocsin.domain.errors import Problem, SpecError
from tocsin.domain.findings import Verdict
from tocsin.engine import documents
from tocsin.engine.arranging import AHEAD
from tocsin.engine.backtest import backtest
from tocsin.engine.budgets import DAY, outlooks
from tocsin.engine.counts import CountsFile, bind, check_services
from tocsin.engine.decisions import DecisionLine, Line, lines
from tocsin.engine.files import CallsFile, open_source
from tocsin.engine.health_effect import kept_effects, replayed_effects
from tocsin.engine.reading import Unjudged, found_in
from tocsin.engine.rules import compile_desired
from tocsin.engine.settings import STATE_FILE, Settings
from tocsin.reports.responses import is_off_hours
from tocsin.routing.coverage import Gap, gaps
from tocsin.spec.apply import Application, ConfigVersion, prepare
from tocsin.spec.desired import Desired, load, restore
from tocsin.spec.lint import Finding
from tocsin.spec.plan import Page, PageDiff, PageReplay, Plan, make_plan
from tocsin.spec.yaml import Located
from tocsin.store.state import StateStore


def desired_of(settings: Settings, added: Sequence[Located] = ()) -> Desired:
    """The configuration under `--config`, without secrets. SpecError with every problem.

    added: documents made through the API.
    """
    if settings.config_dir is None:
        raise SpecError([Problem("--config", 0, "", "no directory given", "pass --config DIR")])
    return load([settings.config_dir], added=added)


def plan(settings: Settings, history: Path | None, budget: int | None, clock: Clock) -> Plan:
    """Compare `--config` with what is in force; replay both over `history` when given.

    It says as well when the escalation would call nobody, in the two weeks to come.
    """
    after = desired_of(settings, _made(settings))
    replay = None if history is None else replay_over(history)
    found = nobody_on_call(after, clock.now())
    return make_plan(
        in_force(settings), after, replay=replay, budget=budget, found=found,
        outlooks=_outlooks(settings, after, to_minute(clock.now()) // DAY + 1),
        health=_health(settings, in_force(settings), after, to_minute(clock.now())),
    )  # fmt: skip


def nobody_on_call(desired: Desired, now: datetime, ahead: timedelta = AHEAD) -> list[Finding]:
    """Warnings about every gap of the on-call schedules, up to so far ahead of `now`."""
    policy = desired.routing
    found: dict[tuple[str, int], list[Gap]] = {}
    for gap in gaps(policy.policies, policy.oncall, now, now + ahead):
        found.setdefault((gap.policy, gap.step), []).append(gap)
    return [
        Finding("oncall-gap", f"EscalationPolicy {name!r}", _gap_text(some, ahead), is_error=False)
        for (name, _), some in found.items()
    ]


def _gap_text(found: Sequence[Gap], ahead: timedelta) -> str:
    more = f", and {len(found) - 1} times more within {ahead.days} days" if found[1:] else ""
    return f"{found[0]}{more}"


def apply(
    settings: Settings, actor: str, approvals: tuple[str, ...], reason: str, clock: Clock
) -> ConfigVersion | None:
    """Make `--config` the configuration in force; None when it is already.

    Raises CannotApply when a routing test fails or a lint forbids it.
    """
    after = desired_of(settings, _made(settings))
    found = make_plan(in_force(settings), after)
    now = clock.now()
    application = None
    if found.before != after.digest:
        application = prepare(found, after, actor=actor, at=now, approvals=approvals, reason=reason)
    store = _state(settings)
    try:
        with store.transaction() as tx:
            if application is not None:
                _record(store, application)
                tx.append(application.event)
            for document in documents.superseded(store, after):
                documents.retire(tx, document, actor=actor, now=now)
    finally:
        store.close()
    return application.version if application else None


def in_force(settings: Settings) -> Desired | None:
    """The configuration applied last to the data directory, None if there is none."""
    if not _has_state(settings):
        return None
    store = _state(settings)
    try:
        versions = store.config_versions(1)
    finally:
        store.close()
    return restore(versions[0]["body"]["text"]) if versions else None


def backtest_lines(
    settings: Settings, history: Path, tell: Callable[[str], None] = lambda _: None
) -> Iterator[Line]:
    """Every decision that `--config` would have made over a file, in order.

    tell: hears at first what the file holds and how much of it was looked at, at last which
    monitors could say nothing. SpecError for a file about none of its services.
    """
    source, desired = open_source(history), desired_of(settings)
    for line in found_in(source, desired):
        tell(line)
    unjudged = Unjudged()
    yield from _decisions(desired, source, hear=unjudged.hear)
    for line in unjudged.lines():
        tell(line)


def replay_over(history: Path) -> PageReplay:
    """Replays two configurations over one file and compares whom they page."""
    source = open_source(history)

    def replay(before: Desired | None, after: Desired) -> PageDiff:
        was, state = StateStore.open(":memory:"), StateStore.open(":memory:")
        old = [] if before is None else _pages(before, source, was)
        new = _pages(after, source, state)
        effects = () if before is None else replayed_effects(was, state, before, after, source.span)
        was.close()
        known_old, known_new = {_identity(p) for p in old}, {_identity(p) for p in new}
        start, stop = source.span
        found = outlooks(after.budgets, state, stop // DAY + 1)
        state.close()
        return PageDiff(
            since=from_minute(start),
            until=from_minute(stop),
            added=tuple(page for page in new if _identity(page) not in known_old),
            removed=tuple(page for page in old if _identity(page) not in known_new),
            notes=(
                *(
                    f"PageBudget {each.budget} over this history: {prospect}"
                    for each in found
                    for prospect in each.prospects
                ),
                *map(str, effects),
            ),
        )

    return replay


def _decisions(
    desired: Desired, source: CountsFile | CallsFile, state: StateStore | None = None,
    hear: Callable[[Sequence[Verdict]], None] = lambda _: None,
) -> Iterator[Line]:  # fmt: skip
    if isinstance(source, CountsFile):
        desired, source = bind(desired, source)
    else:
        check_services(source.path, source.services, desired.services)
    for decided in backtest(compile_desired(desired), source, source.span, state=state):
        hear(decided.verdicts)
        yield from lines(decided)


def _pages(
    desired: Desired, source: CountsFile | CallsFile, state: StateStore | None = None
) -> list[Page]:
    return [
        _page(line)
        for line in _decisions(desired, source, state)
        if isinstance(line, DecisionLine) and line.kind == "page"
    ]


def _page(line: DecisionLine) -> Page:
    return Page(
        at=line.when,
        service=line.service,
        monitor=line.object,
        reason=line.reason,
        receivers=line.receivers,
        tier=line.tier,
        off_hours=is_off_hours(line.when, ZoneInfo("UTC")),
    )


def _identity(page: Page) -> tuple[object, ...]:
    return page.at, page.service, page.monitor


def _record(store: StateStore, application: Application) -> None:
    version = application.version
    store.record_config(
        version.digest,
        {"text": version.text, "approved_by": list(version.approved_by)},
        actor=version.applied_by,
        now=version.applied_at,
        reason=application.event.reason,
    )


def _made(settings: Settings) -> list[Located]:
    """Documents made through the API of the server that owns the data directory."""
    if not _has_state(settings):
        return []
    store = _state(settings)
    try:
        return documents.kept(store)
    finally:
        store.close()


def _outlooks(settings: Settings, desired: Desired, day: int) -> tuple[Outlook, ...]:
    """What page budgets would do, by what the server that owns the data directory has kept."""
    if not desired.budgets or not _has_state(settings):
        return ()
    store = _state(settings)
    try:
        return outlooks(desired.budgets, store, day)
    finally:
        store.close()


def _health(
    settings: Settings, before: Desired | None, after: Desired, minute: int
) -> tuple[HealthEffect, ...]:
    """What was kept of health scores, by the formulas of both configurations."""
    if before is None or not _has_state(settings):
        return ()
    store = _state(settings)
    try:
        return kept_effects(store, before, after, minute)
    finally:
        store.close()


def _has_state(settings: Settings) -> bool:
    return bool(settings.state_url) or (settings.data_dir / STATE_FILE).exists()


def _state(settings: Settings) -> StateStore:
    return StateStore.open(settings.state_url or settings.data_dir / STATE_FILE)
