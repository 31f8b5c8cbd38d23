"""`tocsin slo`: where every error budget stands, and which rules hold and why."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table

from tocsin.cli.terminal import ConfigDir, DataDir, Output, Url, logs, out, told
from tocsin.domain.errors import TocsinError
from tocsin.web.objective_words import amount_text, found_text, sentences, share, target, times

if TYPE_CHECKING:
    from tocsin.engine.settings import Settings

slo = typer.Typer(help="Where error budgets stand: list, show, explain.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="name of the objective")]
View = dict[str, Any]
MOST_SHOWN = 20
_COLOURS = {"ok": "green", "warn": "yellow", "bad": "red", "unknown": "blue"}


@slo.command("list")
def every(
    service: Annotated[str, typer.Option(help="only this service")] = "",
    url: Url = None,
    data_dir: DataDir = None,
    config: ConfigDir = None,
    output: Output = Output.TEXT,
) -> None:
    """Every objective, least budget first.

    Exit code: 0 none is breached, 2 some are, 1 there is no answer.
    """
    with told():
        found = [v for v in _objectives(url, data_dir, config) if service in ("", v["service"])]
        if output is Output.TEXT:
            _show_all(found)
        else:
            _print(found, output)
        raise typer.Exit(2 if any(view["tone"] == "bad" for view in found) else 0)


@slo.command()
def show(
    name: Name,
    url: Url = None,
    data_dir: DataDir = None,
    config: ConfigDir = None,
    output: Output = Output.TEXT,
    as_of: Annotated[
        str, typer.Option("--as-of", help="as it was known at this time (RFC 3339), beside now")
    ] = "",
) -> None:
    """One objective in figures: SLI with its interval, budget, burn per window.

    With --as-of: by the calls and scores received by then, under the configuration in force then.
    """
    with told():
        if as_of:
            _known_at(name, as_of, url, data_dir, config, output)
            return
        view = _one(name, _objectives(url, data_dir, config))
        if output is Output.TEXT:
            _show(view)
        else:
            print(json.dumps(view))  # noqa: T201


@slo.command()
def explain(
    name: Name,
    url: Url = None,
    data_dir: DataDir = None,
    config: ConfigDir = None,
    output: Output = Output.TEXT,
) -> None:
    """One objective in words: which rules hold and why, and which never can."""
    with told():
        view = _one(name, _objectives(url, data_dir, config))
        told_in_words = list(sentences(view))
        if output is Output.TEXT:
            out.print("\n".join(told_in_words), markup=False, highlight=False, soft_wrap=True)
        else:
            print(json.dumps({"name": name, "explanation": told_in_words}))  # noqa: T201


@slo.command()
def recount(
    name: Name,
    url: Url = None,
    data_dir: DataDir = None,
    config: ConfigDir = None,
    output: Output = Output.TEXT,
) -> None:
    """Count an objective from raw rows again and compare it with what decides.

    Exit code: 0 they are equal, 2 they differ, 1 there is no answer.
    """
    from tocsin.domain.clock import SystemClock
    from tocsin.web.reading import recounted

    with told():
        found = recounted(_settings(url, data_dir, config), SystemClock(), name)
        if output is Output.TEXT:
            _show_both(found, "held", "counted")
            out.print("equal" if found["equal"] else escape("; ".join(found["differs"])))
            if found["incomplete"]:
                out.print(f"[yellow]{escape(found['incomplete'])}[/]", highlight=False)
        else:
            print(json.dumps(found))  # noqa: T201
        raise typer.Exit(0 if found["equal"] else 2)


# --- private -----------------------------------------------------------------------------------


def _settings(url: str | None, data_dir: Any, config: Any) -> Settings:
    from tocsin.engine.settings import from_environment

    logs(logging.ERROR)
    return from_environment(url=url, data_dir=data_dir, config_dir=config)


def _objectives(url: str | None, data_dir: Any, config: Any) -> list[View]:
    from tocsin.domain.clock import SystemClock
    from tocsin.web.reading import objectives

    return objectives(_settings(url, data_dir, config), SystemClock())


def _known_at(
    name: str, text: str, url: str | None, data_dir: Any, config: Any, output: Output
) -> None:
    from tocsin.domain.clock import SystemClock, parse_iso
    from tocsin.web.reading import known_at

    try:
        at = parse_iso(text)
    except ValueError:
        raise TocsinError(f"--as-of {text!r} is no time such as 2026-03-02T14:05:00Z") from None
    found = known_at(_settings(url, data_dir, config), SystemClock(), name, at)
    if output is not Output.TEXT:
        print(json.dumps(found))  # noqa: T201
        return
    if found["then"] is None:
        out.print(f"{escape(name)} was not configured then.", highlight=False)
    _show_both(found, "then", "now")
    for sentence in (*found["rewritten"], found["incomplete"]):
        if sentence:
            out.print(f"[yellow]{escape(sentence)}[/]", highlight=False)
    _show_restated(found)


def _show_both(found: View, first: str, second: str) -> None:
    views = [found[first], found[second]]
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for heading in (first, second):
        table.add_column(heading, justify="right")
    lines: dict[str, Callable[[View], str]] = {
        "found": found_text,
        "bad": lambda view: "-" if view["mean"] else f"{view['bad']:,}",
        "of": lambda view: f"{view['total']:,} {view['counts_in']}",
        "budget left": lambda view: share(view["budget_left"]),
        "proven": lambda view: str(view["standing"]).replace("_", " "),
        "target": lambda view: f"{target(view)} over {view['window']}",
        "corrections": lambda view: ", ".join(view["corrections"]) or "none",
    }
    for label, text in lines.items():
        table.add_row(f"[dim]{label}[/]", *("-" if v is None else escape(text(v)) for v in views))
    out.print(f"[bold]{escape(found['name'])}[/] after {found['until']}", highlight=False)
    out.print(table)


def _show_restated(found: View) -> None:
    if not found["restated"]:
        if found["then"] is not None:
            out.print("No hour is counted otherwise now.", highlight=False)
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("hours that changed")
    table.add_column("indicator")
    for heading in ("bad then", "of", "bad now", "of"):
        table.add_column(heading, justify="right")
    for one in found["restated"][:MOST_SHOWN]:
        counts = (one["bad_then"], one["total_then"], one["bad_now"], one["total_now"])
        table.add_row(one["hour"], escape(one["indicator"]), *(f"{count:,}" for count in counts))
    out.print(table)
    if (more := found["restated_hours"] - MOST_SHOWN) > 0:
        out.print(f"and {more} more (--output json)", highlight=False)


def _one(name: str, views: list[View]) -> View:
    from tocsin.spec.explain import suggest

    wanted = name.removeprefix("slo/")
    for view in views:
        if view["name"] == wanted:
            return view
    hint = suggest(wanted, [view["name"] for view in views]) or "none is configured"
    raise TocsinError(f"there is no objective {wanted!r} ({hint})")


def _print(views: list[View], output: Output) -> None:
    for record in views if output is Output.JSONL else [views]:
        print(json.dumps(record))  # noqa: T201


def _show_all(views: list[View]) -> None:
    if not views:
        out.print("No objective is configured.")
        return
    table = Table(box=None, pad_edge=False)
    for column in ("objective", "service", "state", "proven"):
        table.add_column(column)
    for column in ("target", "good", "budget left", "burn"):
        table.add_column(column, justify="right")
    table.add_column("rules")
    for view in views:
        burns = [b["long_burn"] for b in view["burns"] if b["long_burn"] is not None]
        table.add_row(
            escape(view["name"]), escape(view["service"]), _state(view),
            view["standing"].replace("_", " "),
            target(view), found_text(view), share(view["budget_left"]),
            f"{max(burns):.3g}x" if burns else "?", ", ".join(view["rules"]),
        )  # fmt: skip
    # Names are to be copied: in a narrow terminal lines run on, and no cell is cut short.
    unbounded = out.options.update(max_width=1000)
    table.width = Measurement.get(out, unbounded, table).maximum
    out.print(table, crop=False, soft_wrap=True)


def _show(view: View) -> None:
    out.print(f"[bold]{escape(view['title'])}[/]  {_state(view)}", highlight=False)
    lines = {
        "objective": f"{view['name']}, service {view['service']}",
        "target": f"{target(view)} over {view['window']}",
        **(_mean_lines(view) if view["mean"] else _share_lines(view)),
        "proven": view["standing"].replace("_", " "),
        "budget left": share(view["budget_left"]),
    }
    if view["exhausted_in_minutes"]:
        lines["lasts"] = f"{view['exhausted_in_minutes'] / 60:,.1f} h at the speed of now"
    if view["reason"]:
        lines["because"] = view["reason"]
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, text in lines.items():
        table.add_row(f"[dim]{name}[/]", escape(text))
    out.print(table)
    burns = Table(box=None, pad_edge=False)
    for column in ("windows", "", "burn long", "burn short", "fires above", ""):
        burns.add_column(column)
    for burn in view["burns"]:
        burns.add_row(
            f"{burn['long']} / {burn['short']}", burn["severity"], times(burn["long_burn"]),
            times(burn["short_burn"]), times(burn["threshold"]),
            "[red]over both[/]" if burn["is_firing"] else "",
        )  # fmt: skip
    out.print(burns)


def _share_lines(view: View) -> dict[str, str]:
    good = share(view["sli"])
    if view["sli_low"] is not None:
        good += f"  (95 %: {share(view['sli_low'])} to {share(view['sli_high'])})"
    counts = f"{view['bad']:,} bad of {view['total']:,} {view['counts_in']}"
    return {"good": good, "counts": counts}


def _mean_lines(view: View) -> dict[str, str]:
    mean, found = view["mean"], found_text(view)
    if mean["low"] is not None:
        found += f"  (95 %: {amount_text(mean, 'low')} to {amount_text(mean, 'high')})"
    counts = f"{view['total']:,} {view['counts_in']}"
    if mean["known"] is not None:
        counts += f", {share(mean['known'])} of all, have a known value"
    return {"expected": amount_text(mean, "expected"), "mean": found, "counts": counts}


def _state(view: View) -> str:
    tone = view["tone"]
    words = {"ok": "ok", "warn": "at risk", "bad": "breached", "unknown": "unknown"}
    return f"[{_COLOURS.get(tone, 'blue')}]{words.get(tone, tone)}[/]"
