"""The command about prices: what a model costs on a day, and who says so."""

from __future__ import annotations

import json
from datetime import date
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from tocsin.cli.terminal import ConfigDir, Output, fail, out, told

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tocsin.store.prices import Price, Tier


def prices(
    model: Annotated[str, typer.Argument(help="a model, or a part of its name")],
    provider: Annotated[str, typer.Option(help="of this provider only")] = "",
    on: Annotated[str, typer.Option(help="the day; today by default")] = "",
    config: ConfigDir = None,
    output: Output = Output.TEXT,
) -> None:
    """Show what a model costs on a day: your own prices (`PriceBook`) before the packaged ones.

    Exit code: 1 when nobody has a price for it; its calls cost unknown, and are counted.
    """
    from tocsin.domain.clock import SystemClock
    from tocsin.engine.planning import desired_of
    from tocsin.engine.settings import from_environment
    from tocsin.store.prices import price_book

    with told():
        settings = from_environment(config_dir=config)
        overrides = desired_of(settings).prices if settings.config_dir is not None else ()
        day = _day(on) if on else SystemClock().now().date()
        book = price_book(overrides)
        found = [
            price
            for (owner, name), listed in sorted(book.items())
            for price in listed
            if owner == price.maker and model.lower() in name and provider.lower() in ("", owner)
            if price.valid_from <= day <= price.valid_to
        ]
        if not found:
            names = sorted({name for _, name in book})
            alike = ", ".join(get_close_matches(model.lower(), names))
            fix = f"there are {alike}" if alike else "write a PriceBook document"
            fail(f"nobody has a price for {model!r} on {day}: its calls cost unknown; {fix}")
            raise typer.Exit(1)
        _show(found, output)


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a day such as 2026-07-01") from None


def _show(found: Sequence[Price], output: Output) -> None:
    rows = [_row(price, tier) for price in found for tier in (price.base, *price.longer)]
    if output is not Output.TEXT:
        lines = rows if output is Output.JSONL else [rows]
        print("\n".join(json.dumps(line) for line in lines))  # noqa: T201
        return
    table = Table(box=None, pad_edge=False)
    titles = ("provider", "model", "from", "to", "above", "input", "cached", "written", "output")
    for title in (*titles, "a call", "says"):
        table.add_column(title, overflow="fold")
    for row in rows:
        table.add_row(*("" if cell in (None, 0) else f"{cell}" for cell in row.values()))
    out.print(table)
    out.print("US dollars for a million tokens; above: input tokens of one call.")


def _row(price: Price, tier: Tier) -> dict[str, Any]:
    from tocsin.store.prices import BEGINNING, END

    return {
        "provider": price.provider,
        "model": price.model,
        "from": None if price.valid_from == BEGINNING else price.valid_from.isoformat(),
        "to": None if price.valid_to == END else price.valid_to.isoformat(),
        "above_input_tokens": tier.above,
        "input_per_mtok": round(tier.input * 1e6, 9),
        "cached_per_mtok": round(tier.cached * 1e6, 9),
        "cache_write_per_mtok": round(tier.written * 1e6, 9),
        "output_per_mtok": round(tier.output * 1e6, 9),
        "per_call": tier.request,
        "source": price.source,
    }
