"""Commands that need a file and nothing else: no server, no configuration, no database."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from tocsin.cli.terminal import Output, err, out, told

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tocsin.assess.gauges.kind import GaugeConfig
    from tocsin.engine.detecting import Alert, Scored
    from tocsin.engine.drift_files import DriftReport


def detect(
    file: Annotated[Path, typer.Argument(help="CSV, JSONL or Parquet: a timestamp and a value")],
    key: Annotated[
        str, typer.Option(help="columns that tell several series apart, with commas")
    ] = "",
    budget: Annotated[
        float | None,
        typer.Option(min=0.001, help="false alerts a week to tolerate, over all series"),
    ] = None,
    evidence: Annotated[
        float | None, typer.Option(min=1.0, help="-log10 p to ask for, instead of a budget [3.5]")
    ] = None,
    use: Annotated[str, typer.Option(help="another kind of gauge detector")] = "committee",
    settings: Annotated[
        list[str] | None,
        typer.Option("--with", help="a setting of that kind, as name=value: limit=500"),
    ] = None,
    timestamp: Annotated[str, typer.Option(help="column of times [timestamp, time, ts, ...]")] = "",
    value: Annotated[
        str, typer.Option(help="column of values [value, or the only other one]")
    ] = "",
    output: Output = Output.TEXT,
) -> None:
    """What would have rung over a file of values, each judged only by what lay before it.

    One line an alert: series, start (when it rings), end, score (-log10 p at its strongest), p,
    reason. Standard error says how many values could be judged.

    Exit code: 0 done, alerts or not; 3 there are too few values to judge any; 1 the file cannot be
    used.
    """
    from tocsin.engine.detecting import alerts_by, alerts_of, config_of, score
    from tocsin.engine.value_files import read_values

    if budget is not None and evidence is not None:
        raise typer.BadParameter("give --budget or --evidence, not both")
    if use != "committee" and (budget is not None or evidence is not None):
        raise typer.BadParameter("--budget and --evidence are about the committee")
    with told():
        config = config_of(use, _settings(settings or []))
        series = read_values(file, key=key, timestamp=timestamp, value=value)
        scored = score(series, config)
        found = list(
            alerts_of(scored, budget=budget, evidence=evidence)
            if use == "committee" and not settings
            else alerts_by(scored, config)
        )
    _write(found, output)
    for line in _judged(scored, config, len(found)):
        err.print(line, markup=False, highlight=False, soft_wrap=True)
    if not any(one.judged for one in scored):
        raise typer.Exit(3)


def _write(found: Sequence[Alert], output: Output) -> None:
    records = [asdict(one) for one in found]
    if output is Output.JSON:
        sys.stdout.write(json.dumps(records) + "\n")
    elif output is Output.JSONL:
        sys.stdout.writelines(json.dumps(record) + "\n" for record in records)
    else:
        for one in found:
            text = f"{one.start}  {one.series}  {one.score:.1f}  {one.reason}"
            out.print(text, markup=False, highlight=False, soft_wrap=True)


def _settings(options: list[str]) -> dict[str, str]:
    pairs = [option.partition("=") for option in options]
    for option, (name, _, text) in zip(options, pairs, strict=True):
        if not (name.strip() and text.strip()):
            raise typer.BadParameter(f"--with {option}: write it like limit=500")
    return {name.strip(): text.strip() for name, _, text in pairs}


def _judged(scored: Sequence[Scored], config: GaugeConfig, alerts: int) -> Iterator[str]:
    """What became of the values: rows that do not count, how many could be judged, and why not."""
    import numpy as np

    from tocsin.engine.detecting import needed

    if repeated := sum(one.series.repeated for one in scored):
        yield f"{repeated:,} rows repeat a time; the later one counts"
    if crowded := sum(one.crowded for one in scored):
        yield (
            f"{crowded:,} values are closer together than is usual in their series: the mean of"
            " each usual step is judged"
        )
    points = sum(len(one.series.values) for one in scored)
    judged = sum(one.judged for one in scored)
    yield (
        f"{alerts:,} alerts in {len(scored):,} series; {judged:,} of {points:,} values could be"
        " judged"
    )
    blind = [one for one in scored if not one.judged]
    if blind:
        names = ", ".join(one.series.name for one in blind[:5])
        more = f" and {len(blind) - 5} more" if len(blind) > 5 else ""
        steps = [one.grid.step_s for one in blind]
        step_s = max(steps, key=steps.count)
        least = needed(config, step_s)
        asked = f"{least:,} values in a row" if least else "more than a month of values"
        has = max(int(np.isfinite(one.series.values).sum()) for one in blind)
        yield (
            f"nothing could be judged of {names}{more}: {asked}, {step_s:,} s apart, are needed;"
            f" there are {has:,}"
        )


def explain(
    file: Annotated[Path, typer.Argument(help="CSV, JSONL or Parquet")],
    actual: Annotated[str, typer.Option(help="column of what happened [actual]")] = "",
    predict: Annotated[str, typer.Option(help="column of what was expected [predict]")] = "",
    total: Annotated[
        str, typer.Option(help="column of calls, when `actual` counts the bad ones [total]")
    ] = "",
    window: Annotated[str, typer.Option(help="column that says baseline or current [window]")] = "",
    time: Annotated[str, typer.Option(help="column of times, for --at [ts, time, timestamp]")] = "",
    at: Annotated[
        str, typer.Option(help="rows from this time on are compared with those before")
    ] = "",
    until: Annotated[str, typer.Option(help="rows from this time on are left out")] = "",
    dimensions: Annotated[
        str, typer.Option(help="columns to slice by, with commas; all others by default")
    ] = "",
    most: Annotated[int | None, typer.Option(min=1, help="at most this many slices")] = None,
    output: Output = Output.JSON,
) -> None:
    """Which slices explain why the numbers of a table are not what was expected.

    Give dimension columns and `actual` with `predict`, or two windows of `actual`; with `total`,
    `actual` counts the bad ones among so many calls.

    Exit code: 0 done, also when no slice stands out; 1 the file cannot be used.
    """
    from tocsin.engine.explain import Columns, explain_file

    with told():
        names = tuple(name.strip() for name in dimensions.split(",") if name.strip())
        columns = Columns(actual, predict, total, window, time, at, until, names)
        account = explain_file(file, columns, most=most)
    if output is Output.TEXT:
        _show(account)
    else:
        indent = None if output is Output.JSONL else 2
        sys.stdout.write(json.dumps(account, ensure_ascii=False, indent=indent) + "\n")


def _show(account: dict[str, Any]) -> None:
    for line in account["lines"] or ["no slice stands out"]:
        out.print(escape(line), soft_wrap=True, highlight=False)
    if not account["slices"]:
        return
    table = Table(box=None, pad_edge=False)
    figures = [name for name in account["slices"][0] if name != "where"]
    table.add_column("slice")
    for name in figures:
        table.add_column(name, justify="right")
    for found in account["slices"]:
        where = " and ".join(f"{name}={value}" for name, value in found["where"].items())
        shown = ("-" if found[n] is None else f"{found[n]:,.4g}" for n in figures)
        table.add_row(escape(where), *shown)
    out.print(table)


def drift(
    reference: Annotated[Path, typer.Argument(help="what is usual: CSV, JSONL or Parquet")],
    current: Annotated[Path, typer.Argument(help="what is compared with it")],
    columns: Annotated[str, typer.Option(help="only these, with commas")] = "",
    level: Annotated[
        float, typer.Option(min=0.0001, max=0.5, help="how often a false alarm is acceptable")
    ] = 0.05,
    seed: Annotated[int, typer.Option(help="of the draws without drift")] = 0,
    embed: Annotated[
        Path | None, typer.Option(help="folder of an ONNX model that embeds texts (extra embed)")
    ] = None,
    output: Output = Output.TEXT,
) -> None:
    """Whether one file of values is distributed like another, column by column.

    Numbers, categories, texts and embeddings (lists of numbers) are told apart by themselves.
    Thresholds come from dealing the values out anew at the very sizes of the two files.

    Exit code: 0 no drift, 2 drift, 3 too few values to say, 1 a file cannot be used.
    """
    from tocsin.engine.drift_files import drift_of_files

    with told():
        names = [name.strip() for name in columns.split(",") if name.strip()]
        report = drift_of_files(
            reference, current, columns=names, level=level, seed=seed, embed=embed
        )
    if output is Output.TEXT:
        _show_drift(report)
    else:
        indent = None if output is Output.JSONL else 2
        sys.stdout.write(json.dumps(report.as_json(), ensure_ascii=False, indent=indent) + "\n")
    raise typer.Exit({"no drift": 0, "drift": 2, "unknown": 3}[report.verdict])


def _show_drift(report: DriftReport) -> None:
    from tocsin.assess.drift.comparison import PRIMARY

    table = Table(box=None, pad_edge=False)
    for name in ("feature", "statistic", "value", "threshold", "p", "adjusted p", "verdict"):
        right = name in ("value", "threshold", "p", "adjusted p")
        table.add_column(name, justify="right" if right else "left")
    table.add_column("what moved", overflow="fold")
    for feature in report.features:
        primary, verdict = feature.primary, "drift" if feature.drifted(report.level) else "-"
        figures = (
            ("", "", "", "")
            if primary is None or feature.adjusted is None
            else (f"{primary.value:.4g}", f"{primary.threshold:.4g}", f"{primary.p:.2g}",
                  f"{feature.adjusted:.2g}")
        )  # fmt: skip
        moved = "\n".join(feature.moved) if verdict == "drift" else feature.unknown
        named = PRIMARY[feature.kind] if primary else ""
        table.add_row(escape(feature.name), named, *figures,
                      "unknown" if feature.unknown else verdict, escape(moved))  # fmt: skip
    out.print(table)
    for line in report.schema:
        out.print(escape(line), highlight=False)
    for name, why in report.skipped.items():
        out.print(f"[dim]{escape(name)} is not compared: {escape(why)}[/]", highlight=False)
    rows = f"{report.rows[0]:,} and {report.rows[1]:,} rows"
    found = f"{len(report.drifted)} of {len(report.features)} features drifted"
    if report.schema:
        found += f", {len(report.schema)} columns came, went or changed their kind"
    out.print(f"[bold]{report.verdict}[/]: {found}; {rows}", highlight=False)
