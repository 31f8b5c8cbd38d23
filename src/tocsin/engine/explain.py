"""`tocsin explain`: which slices of a table explain why its numbers are not what was expected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tocsin.assess.breakdown.account import Wording, additive_account, ratio_account
from tocsin.assess.breakdown.cells import Cells
from tocsin.assess.breakdown.ratio import Counts
from tocsin.domain.clock import iso
from tocsin.domain.errors import Problem, SpecError
from tocsin.engine import instants
from tocsin.engine.columns import micros_of, read_table

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

ACTUAL = ("actual", "real", "value")
PREDICT = ("predict", "predicted", "expected", "forecast")
BASELINE = frozenset({"baseline", "before", "reference"})
CURRENT = frozenset({"current", "now", "after", "incident"})
_MOST = 1e18  # squares of amounts are added up


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns of a table mean what; "" looks for the usual names.

    total: calls, when `actual` counts the bad ones among them. window: a column that says of every
    row whether it is of the baseline or of now; or time and at: rows from `at` (up to `until`) are
    now, those before it the baseline. dimensions: what to slice by, all other columns if empty.
    """

    actual: str = ""
    predict: str = ""
    total: str = ""
    window: str = ""
    time: str = ""
    at: str = ""
    until: str = ""
    dimensions: tuple[str, ...] = ()


def explain_file(path: Path, columns: Columns, *, most: int | None = None) -> dict[str, Any]:
    """The ranked slices of a file, see `breakdown.account`; SpecError names the row and column."""
    return explain_table(read_table(path), columns, path, most=most)


def explain_table(
    table: pa.Table, columns: Columns, path: Path, *, most: int | None = None
) -> dict[str, Any]:
    """As `explain_file`. Rows of one combination of values, in one window, are added up."""
    sheet = _Sheet(table, path)
    actual = sheet.one_of("actual", columns.actual, ACTUAL)
    predict = sheet.one_of("predict", columns.predict, PREDICT, needed=False)
    total = sheet.one_of("total", columns.total, ("total",), needed=False)
    window = sheet.one_of("window", columns.window, ("window",), needed=False)
    time = sheet.one_of("time", columns.time, ("ts", "time", "timestamp"), needed=False)
    if columns.at and not time:
        raise sheet.wrong("there is no column of times for --at", "name it with --time")
    taken = {actual, predict, total, window, time} - {""}
    names = columns.dimensions or tuple(n for n in table.column_names if n not in taken)
    cells, of = sheet.cells(names)
    values = sheet.amounts(actual)
    limit = {} if most is None else {"most": most}
    if window or columns.at:
        now, then = (
            sheet.at(time, columns.at, columns.until) if columns.at else sheet.windows(window)
        )
    elif predict or total:
        now, then = np.ones(len(values), np.bool_), np.zeros(len(values), np.bool_)
    else:
        raise sheet.wrong(
            "nothing to compare with",
            "give a column `predict`, a column `window` (baseline, current), or --time and --at",
        )

    def added(amounts: Floats, which: Mask) -> Floats:
        summed = np.bincount(of, np.where(which, amounts, 0.0), len(cells))
        return summed.astype(np.float64, copy=False)

    if total:
        calls = sheet.amounts(total)
        if (row := np.flatnonzero(values > calls)).size:
            raise sheet.wrong(f"row {row[0] + 1}: {actual} is more than {total}")
        counts = Counts(*(added(a, w) for w in (now, then) for a in (values, calls)))
        return ratio_account(cells, counts, wording=Wording("bad ones", "to be bad"), **limit)
    if predict:
        return additive_account(
            cells, added(values, now), added(sheet.amounts(predict), now), **limit
        )
    longer = sheet.lengths(time, now, then)
    return additive_account(cells, added(values, now), added(values, then) * longer, **limit)


@dataclass(frozen=True, slots=True)
class _Sheet:
    """A table, and complaints about it that say where."""

    table: pa.Table
    path: Path

    def wrong(self, what: str, fix: str = "") -> SpecError:
        return SpecError([Problem(str(self.path), 0, "", what, fix)])

    def one_of(
        self, role: str, named: str, usual: Sequence[str], *, needed: bool = True
    ) -> str:  # fmt: skip
        """The column for a role: the one that was named, or the first of the usual names."""
        have = self.table.column_names
        if named and named not in have:
            raise self.wrong(f"there is no column {named!r}", f"there are {', '.join(have)}")
        found = named or next((name for name in usual if name in have), "")
        if needed and not found:
            raise self.wrong(
                f"no column {usual[0]!r} (or {', '.join(usual[1:])})", f"name it with --{role}"
            )
        return found

    def cells(self, names: Sequence[str]) -> tuple[Cells, npt.NDArray[np.intp]]:
        """Every combination of dimension values, and the one of each row."""
        for name in names:
            if name not in self.table.column_names:
                have = ", ".join(self.table.column_names)
                raise self.wrong(f"there is no column {name!r} to slice by", f"there are {have}")
        if not names:
            raise self.wrong(
                "there are no columns to slice by", "give one for each dimension: model, region"
            )
        codes, values = [], []
        for name in names:
            column = pc.fill_null(pc.cast(self.table[name], pa.string()), "")
            found = column.combine_chunks().dictionary_encode()
            codes.append(np.asarray(found.indices, dtype=np.intp))
            values.append(tuple(found.dictionary.to_pylist()))
        rows = np.stack(codes, axis=1)
        unique, of = np.unique(rows, axis=0, return_inverse=True)
        coded = tuple(unique[:, place].astype(np.intp) for place in range(len(names)))
        return Cells(tuple(names), coded, tuple(values)), of.reshape(-1)

    def amounts(self, name: str) -> Floats:
        """A column of numbers from 0 up."""
        column = self.table[name]
        if column.null_count:
            row = pc.index(pc.is_null(column), True).as_py()
            raise self.wrong(f"row {row + 1}: {name} is empty", "write 0 when there was none")
        try:
            values = np.asarray(pc.cast(column, pa.float64()).to_numpy(), dtype=np.float64)
        except pa.ArrowException:
            raise self._no_number(column, name) from None
        if (row := np.flatnonzero(~((values >= 0) & (values <= _MOST)))).size:
            raise self.wrong(
                f"row {row[0] + 1}: {name} is {values[row[0]]:g}",
                f"amounts are numbers from 0 to {_MOST:g}",
            )
        return values

    def _no_number(self, column: pa.ChunkedArray, name: str) -> SpecError:
        """The first cell of a column of texts that is no number."""
        if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
            return self.wrong(f"column {name} is {column.type}, not numbers")
        for row, cell in enumerate(column.to_pylist(), 1):
            try:
                float(cell)
            except ValueError:
                fix = "write a point in front of decimals" if "," in cell else ""
                return self.wrong(f"row {row}: {name} {cell[:60]!r} is no number", fix)
        return self.wrong(f"column {name} is {column.type}, not numbers")

    def windows(self, name: str) -> tuple[Mask, Mask]:
        """Rows of now, and of the baseline, by a column of names."""
        texts = np.asarray(pc.utf8_lower(pc.cast(self.table[name], pa.string())).to_pylist())
        now = np.isin(texts, sorted(CURRENT))
        then = np.isin(texts, sorted(BASELINE))
        if (row := np.flatnonzero(~(now | then))).size:
            raise self.wrong(
                f"row {row[0] + 1}: {name} is {str(texts[row[0]])!r}", "write baseline or current"
            )
        for which, noun, known in ((now, "current", CURRENT), (then, "baseline", BASELINE)):
            if not which.any():
                others = ", ".join(sorted(known - {noun}))
                raise self.wrong(f"column {name}: no row says {noun} (or {others})")
        return now, then

    def at(self, name: str, at: str, until: str) -> tuple[Mask, Mask]:
        """Rows of now, and of the baseline, by a column of times."""
        seconds = self._seconds(self.table[name], name)
        start = self._instant(at, "--at")
        stop = self._instant(until, "--until") if until else np.inf
        now, then = (seconds >= start) & (seconds < stop), seconds < start
        span = f"{_iso(seconds.min())} to {_iso(seconds.max())}" if len(seconds) else "nothing"
        for which, where in ((now, f"from --at {at} on"), (then, f"before --at {at}")):
            if not which.any():
                until_too = f" and before --until {until}" if until and which is now else ""
                raise self.wrong(f"no row lies {where}{until_too}", f"{name} has {span}")
        return now, then

    def lengths(self, time: str, now: Mask, then: Mask) -> float:
        """How many times as long as the baseline the window is: by their instants, if known."""
        if not time:
            return 1.0
        seconds = self._seconds(self.table[time], time)
        return len(np.unique(seconds[now])) / len(np.unique(seconds[then]))

    def _seconds(self, column: pa.ChunkedArray, name: str) -> Floats:
        return micros_of(column, name, self.path) / 1e6

    def _instant(self, text: str, option: str) -> float:
        def refuse(_: int | None, what: str, fix: str) -> SpecError:
            return self.wrong(f"{option} {what}", fix)

        return float(instants.micros_of(pa.chunked_array([[text]]), refuse)[0]) / 1e6


def _iso(seconds: float) -> str:
    return iso(datetime.fromtimestamp(seconds, UTC))
