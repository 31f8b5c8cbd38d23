"""`tocsin slo`: where every error budget stands, and which rules hold and why."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from tocsin.cli.terminal import ConfigDir, DataDir, Output, Url, logs, out, told
from tocsin.domain.errors import TocsinError

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
        sentences = list(_sentences(view))
        if output is Output.TEXT:
            out.print("\n".join(sentences), markup=False, highlight=False, soft_wrap=True)
        else:
            print(json.dumps({"name": name, "explanation": sentences}))  # noqa: T201


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
        "found": _found,
        "bad": lambda view: "-" if view["mean"] else f"{view['bad']:,}",
        "of": lambda view: f"{view['total']:,} {view['counts_in']}",
        "budget left": lambda view: _share(view["budget_left"]),
        "proven": lambda view: str(view["standing"]).replace("_", " "),
        "target": lambda view: f"{_target(view)} over {view['window']}",
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
            _target(view), _found(view), _share(view["budget_left"]),
            f"{max(burns):.3g}x" if burns else "?", ", ".join(view["rules"]),
        )  # fmt: skip
    out.print(table)


def _show(view: View) -> None:
    out.print(f"[bold]{escape(view['title'])}[/]  {_state(view)}", highlight=False)
    lines = {
        "objective": f"{view['name']}, service {view['service']}",
        "target": f"{_target(view)} over {view['window']}",
        **(_mean_lines(view) if view["mean"] else _share_lines(view)),
        "proven": view["standing"].replace("_", " "),
        "budget left": _share(view["budget_left"]),
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
            f"{burn['long']} / {burn['short']}", burn["severity"], _times(burn["long_burn"]),
            _times(burn["short_burn"]), _times(burn["threshold"]),
            "[red]over both[/]" if burn["is_firing"] else "",
        )  # fmt: skip
    out.print(burns)


def _sentences(view: View) -> Iterator[str]:
    mean, budget = view["mean"], 1.0 - view["target"]
    if mean:
        yield (
            f"{view['title']}: the mean of {view['counts_in']} over {view['window']} is held to"
            f" {_amount(mean, 'limit')}; the budget is what lies between the expected"
            f" {_amount(mean, 'expected')} and that."
        )
    else:
        yield (
            f"{view['title']}: at least {_share(view['target'])} of {view['counts_in']} must be"
            f" good over {view['window']}; {_share(budget)} may be bad."
        )
    if view["budget_left"] is None:
        yield f"Nothing is known: {view['reason']}."
    else:
        proven = {
            "met": "surely within the budget",
            "breached": "surely beyond the budget",
            "inconclusive": "which proves neither that it is met nor that it is not",
        }.get(view["standing"], view["standing"])
        found = (
            f"The mean of {view['total']:,} is {_found(view)}"
            if mean
            else f"{view['bad']:,} of {view['total']:,} were bad: {_share(view['sli'])} good"
        )
        yield f"{found}, {proven}; {_share(view['budget_left'])} of the budget is left."
    for severity, reason in view["rules"].items():
        yield f"The {severity} rule holds: {reason}."
    for burn in view["burns"]:
        yield _step_sentence(burn, _asked(burn, mean, budget), set(view["rules"]))
    yield from (f"Never or hardly: {sentence}." for sentence in view["unreachable"])


def _asked(burn: View, mean: View | None, budget: float) -> str:
    """What a step needs to see, in the objective's own terms."""
    if mean is None:
        return f"{_share(burn['threshold'] * budget)} bad"
    width = mean["limit"] - mean["expected"]
    return f"a mean of {_in_unit(mean['expected'] + burn['threshold'] * width, mean)}"


def _step_sentence(burn: View, asked: str, holding: set[str]) -> str:
    name = f"{burn['long']} / {burn['short']} {burn['severity']}"
    asks = f"above {_times(burn['threshold'])} ({asked}) over both"
    now = f"now {_times(burn['long_burn'])} and {_times(burn['short_burn'])}"
    if burn["is_firing"]:
        says = (
            "fires" if burn["severity"] in holding else "is over both, and its guards hold it back"
        )
    elif burn["long_burn"] is None or burn["short_burn"] is None:
        says = "cannot say: a window has no calls"
    elif burn["long_burn"] > burn["threshold"]:
        says = "is over: the short window has recovered"
    else:
        says = "does not fire"
    return f"{name}: {asks}; {now}: it {says}."


def _share_lines(view: View) -> dict[str, str]:
    good = _share(view["sli"])
    if view["sli_low"] is not None:
        good += f"  (95 %: {_share(view['sli_low'])} to {_share(view['sli_high'])})"
    counts = f"{view['bad']:,} bad of {view['total']:,} {view['counts_in']}"
    return {"good": good, "counts": counts}


def _mean_lines(view: View) -> dict[str, str]:
    mean, found = view["mean"], _found(view)
    if mean["low"] is not None:
        found += f"  (95 %: {_amount(mean, 'low')} to {_amount(mean, 'high')})"
    counts = f"{view['total']:,} {view['counts_in']}"
    if mean["known"] is not None:
        counts += f", {_share(mean['known'])} of all, have a known value"
    return {"expected": _amount(mean, "expected"), "mean": found, "counts": counts}


def _target(view: View) -> str:
    mean = view["mean"]
    return f"mean {_amount(mean, 'limit')}" if mean else _share(view["target"])


def _found(view: View) -> str:
    return _amount(view["mean"], "value") if view["mean"] else _share(view["sli"])


def _amount(mean: View, name: str) -> str:
    return "?" if mean[name] is None else _in_unit(mean[name], mean)


def _in_unit(value: float, mean: View) -> str:
    from tocsin.assess.wording import amount

    return amount(value, mean["unit"])


def _state(view: View) -> str:
    tone = view["tone"]
    words = {"ok": "ok", "warn": "at risk", "bad": "breached", "unknown": "unknown"}
    return f"[{_COLOURS.get(tone, 'blue')}]{words.get(tone, tone)}[/]"


def _share(value: float | None) -> str:
    return "?" if value is None else f"{100 * value:.4g} %"


def _times(value: float | None) -> str:
    return "?" if value is None else f"{value:.3g}x"
