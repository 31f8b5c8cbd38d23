"""A report as data: one model from which HTML, PDF, CSV and JSON are made.

A number is a `Measure`: with its interval where it has one, and with a reason where it is unknown.
Nothing here knows what a report is about; `kinds` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

Tone = Literal["ok", "warn", "bad", "unknown", ""]
Unit = Literal["share", "count", "usd", "s", "ratio", "number", "budget", "score"]


@dataclass(frozen=True, slots=True)
class Measure:
    """A number. unit: share (0 to 1), count, usd, s, ratio (times), budget (share of one that is
    left), score (0 to 100), number.

    value: None is unknown, and `unknown` says why. low, high: its 95 % interval, None where it has
    none. limit: what it is held against, such as a target. tone: how it is doing.
    """

    value: float | None
    unit: Unit = "number"
    low: float | None = None
    high: float | None = None
    unknown: str = ""
    limit: float | None = None
    tone: Tone = ""

    def __post_init__(self) -> None:
        if self.value is None and not self.unknown:
            raise ValueError("what is unknown says why")


@dataclass(frozen=True, slots=True)
class Label:
    """A word with a tone: breached, met, unknown."""

    text: str
    tone: Tone = ""


Cell = str | Measure | Label


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table. key: its name in files. wide: text that may run over several lines."""

    key: str
    title: str
    wide: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells, the first of which names the row. empty: what is said instead of no rows."""

    id: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    empty: str
    note: str = ""

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"{self.id}: {len(row)} cells under {len(self.columns)} columns")


@dataclass(frozen=True, slots=True)
class Bars:
    """Measures of one unit, drawn as columns. limit: a line across all of them."""

    id: str
    title: str
    labels: tuple[str, ...]
    values: tuple[Measure, ...]
    limit: float | None = None
    note: str = ""


Block = Table | Bars


@dataclass(frozen=True, slots=True)
class Section:
    """A chapter. text: paragraphs before its blocks."""

    id: str
    title: str
    blocks: tuple[Block, ...] = ()
    text: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Tile:
    """One of the few things to see first."""

    label: str
    value: Cell
    note: str = ""


@dataclass(frozen=True, slots=True)
class Input:
    """What a report was made from: rows of a table, and a digest (SHA-256) over all of them."""

    name: str
    rows: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Version:
    """A configuration that was in force. since: from when on, None before anything on record."""

    digest: str
    since: datetime | None


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a report rests on. The same manifest gives the same bytes.

    as_of: only what was received by then is in it. tocsin: the version that made it.
    """

    template: str
    since: datetime
    until: datetime
    as_of: datetime
    time_zone: str
    tocsin: str
    configurations: tuple[Version, ...] = ()
    inputs: tuple[Input, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Report:
    """A report over [since, until) of its manifest. notes: what a reader has to know about all."""

    name: str
    title: str
    subtitle: str
    tiles: tuple[Tile, ...]
    sections: tuple[Section, ...]
    notes: tuple[str, ...]
    manifest: Manifest
