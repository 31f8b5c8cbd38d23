"""The one screen the demo prints: where to look, what happened, what to try next."""

from __future__ import annotations

from datetime import timedelta

from rich.console import Console
from rich.table import Table

from tocsin.demo.labels import Scorecard
from tocsin.demo.replay import Progress
from tocsin.demo.traces import TraceReplay
from tocsin.demo.traffic import Traffic
from tocsin.engine.settings import Settings


def show(
    console: Console,
    card: Scorecard,
    settings: Settings,
    source: Traffic | TraceReplay,
    progress: Progress,
    spent: timedelta,
    *,
    stays: bool,
) -> None:
    """What a run came to, honestly: caught, missed, how fast, and every false page.

    stays: the server goes on running, so that its addresses are worth printing.
    """
    summary = card.summary
    days = (progress.stop - progress.start) / timedelta(days=1)
    console.print()
    console.rule("[bold]Tocsin demo")
    console.print(
        f"{summary['calls']:,} calls of {_count(summary['services'], 'service')} over "
        f"{f'{days:.1f} days' if days >= 2 else f'{24 * days:.1f} hours'}, "
        f"replayed in {spent.total_seconds():.0f} s."
    )
    if isinstance(source, Traffic):
        _show_labels(console, card)
    else:
        _show_trace(console, source)
    _show_messages(console, card)
    _show_next(console, settings, stays=stays)


def _show_labels(console: Console, card: Scorecard) -> None:
    incidents = card.summary["incidents"]
    speed = incidents["seconds_to_page"]
    console.print(
        f"Incidents: [bold]{incidents['caught']} of {incidents['labelled']} caught[/], "
        f"to the page {_span(speed['p50'])} in the middle, {_span(speed['max'])} at most."
    )
    table = Table(box=None, pad_edge=False)
    for column in ("what was scripted", "services", "should", "did", "after", ""):
        table.add_column(column)
    for outcome in card.outcomes:
        label = outcome.label
        good = outcome.caught if label.real else outcome.actual != "page"
        table.add_row(
            label.id,
            ", ".join(label.services) if len(label.services) < 4 else "all",
            label.expect,
            f"[{'green' if good else 'red'}]{outcome.actual}[/]",
            _span(outcome.seconds),
            outcome.reason,
        )
    console.print(table)
    pages = card.summary["pages"]
    console.print(f"Pages: {pages['sent']} incidents paged, [bold]{pages['false']} falsely[/].")
    for page in card.false_pages:
        console.print(f"  false: {page.incident.title}: {page.reason}")


def _show_trace(console: Console, source: TraceReplay) -> None:
    console.print(f"Mapping: {source.mapping.name}.")
    for name, why in source.mapping.unknown.items():
        console.print(f"  {name} is unknown: {why}")
    for why, count in source.skipped.items():
        console.print(f"  {count:,} rows left out: {why}")


def _show_messages(console: Console, card: Scorecard) -> None:
    messages = card.summary["messages"]
    console.print(
        f"Messages: {messages['sent']} sent. Not sent: {messages['grouped']} grouped, "
        f"{messages['digested']} digested, {messages['inhibited']} inhibited."
    )


def _show_next(console: Console, settings: Settings, *, stays: bool) -> None:
    console.print()
    lines = [
        ("make demo", "the same, with a dashboard that stays"),
        (".venv/bin/tocsin plan --config examples/demo", "read its configuration"),
        ("docs/start/first-steps.md", "send your own traffic"),
    ]
    if stays:
        lines[0:1] = [
            (f"{settings.base_url}/", "the dashboard, live from here on"),
            (f"{settings.base_url}/messages", "what the receivers got"),
            (f"{settings.base_url}/incidents", "why each page was sent"),
        ]
    for what, why in lines:
        console.print(f"  {what:<46} {why}", highlight=False)
    console.print()


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _span(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
