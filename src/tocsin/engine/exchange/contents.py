"""Decides what a file holds, by its columns, and how its rows become Tocsin's.

Nothing is guessed: a file that could be two things is an error that says how to choose.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from tocsin.domain.errors import IntakeError, Problem, SpecError
from tocsin.engine.exchange.restoring import RESTORED, restored_kind
from tocsin.intake import columns, focus, rest
from tocsin.intake.files import FileRow, RowFile
from tocsin.intake.records import SpanRecord
from tocsin.intake.scopes import SILENT_SCOPE
from tocsin.intake.screening import odd_time
from tocsin.spec.mapped import MappedRows
from tocsin.spec.mapping import TraceMapping, built_in, check_columns, detect, read_mapping

KINDS = ("calls", "scores", "changes", "billing")
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a person said about a file.

    kind: what it holds, "" to find out. mapping: a mapping file. defaults: members for rows that
    lack them (service, project). start: when a file without a clock began. undated: rows of scores
    and changes without a time count at the moment of the import. now: that moment.
    """

    now: datetime
    kind: str = ""
    mapping: Path | None = None
    defaults: Mapping[str, str] = field(default_factory=dict)
    start: datetime | None = None
    undated: bool = False


@dataclass(frozen=True, slots=True)
class Made:
    """What one row of a file became: spans, or rows as a door of `/api/v1` takes them."""

    spans: Sequence[SpanRecord] = ()
    rows: Sequence[Row] = ()


@dataclass(frozen=True, slots=True)
class Contents:
    """What a file holds. make: one row, IntakeError when it is unusable. reading: names the way it
    is read, so that the same file read otherwise is another import. door: where its rows go."""

    kind: str
    make: Callable[[FileRow], Made]
    reading: str
    door: str


def look(file: RowFile, wishes: Wishes) -> Contents:
    """What `file` holds and how it is read. SpecError when that cannot be told."""
    restored = restored_kind(file.columns)
    if restored and wishes.kind in ("", restored) and wishes.mapping is None:
        convert = RESTORED[restored]
        return Contents(
            restored, lambda item: Made(rows=[convert(item.where, item.row)]), "export",
            f"restore/{restored}",
        )  # fmt: skip
    mapping = _mapping(file, wishes)
    kind = mapping.holds if mapping is not None else wishes.kind or _kind(file)
    if wishes.kind and wishes.kind != kind:
        raise _refused(file, f"--mapping reads {kind}, --kind says {wishes.kind}", "choose one")
    if mapping is None and kind == "calls":
        _needs(file, wishes)
    finish = "finish_reason" if mapping is None else mapping.column_of("finish_reason")
    rows = _Rows(wishes, mapping, file.digest.hex(), tells_finish=finish in file.columns)
    makers = {
        "calls": rows.calls, "scores": rows.scores, "changes": rows.changes,
        "billing": rows.billing,
    }  # fmt: skip
    way = (mapping.time, mapping.fields, mapping.dims) if mapping is not None else ()
    reading = f"{way} {sorted(wishes.defaults.items())} {wishes.start} {wishes.undated}"
    return Contents(kind, makers[kind], reading, kind)


class _Rows:
    """The rows of one file, each made what the file holds."""

    def __init__(
        self, wishes: Wishes, mapping: TraceMapping | None, digest: str, *, tells_finish: bool
    ) -> None:
        self._wishes = wishes
        self._mapped = None if mapping is None else MappedRows(mapping, wishes.start)
        self._digest = digest
        self._tells_finish = tells_finish
        self._now_ns = int(wishes.now.timestamp() * 1e6) * 1000

    def calls(self, item: FileRow) -> Made:
        row = columns.call_row(item.where, self._own(item))
        span = rest.call(item.where, {**self._wishes.defaults, **row}, seed=self._digest)
        if odd := odd_time(span.start_ns, span.end_ns, self._now_ns):
            raise IntakeError(400, f"{item.where}: {odd}")
        # A file without the column does not say of any stream that it was cut off.
        return Made(spans=[span if self._tells_finish else replace(span, scope=SILENT_SCOPE)])

    def scores(self, item: FileRow) -> Made:
        found = columns.score_rows(item.where, self._own(item))
        return Made(rows=[self._dated(item, row, rest.score) for row in found])

    def changes(self, item: FileRow) -> Made:
        return Made(
            rows=[self._dated(item, columns.change_row(item.where, self._own(item)), rest.change)]
        )

    def billing(self, item: FileRow) -> Made:
        told = focus.told(item.row, self._digest)
        focus.charge(item.where, told)
        return Made(rows=[told])

    def _own(self, item: FileRow) -> Row:
        return item.row if self._mapped is None else self._mapped.row(item.where, item.row)

    def _dated(
        self, item: FileRow, row: Row, check: Callable[[str, Row, int], dict[str, Any]]
    ) -> Row:
        """The row as its door takes it: checked by the same code, its time written out."""
        row = {**self._wishes.defaults, **row}
        checked = check(item.where, row, self._now_ns)
        if "ts" not in checked and not self._wishes.undated:
            raise IntakeError(
                400,
                f"{item.where}: has no time and would count as news of today; add a column ts, or"
                " say --undated",
            )
        return {**row, "ts": checked["ts"]} if "ts" in checked else row


def _mapping(file: RowFile, wishes: Wishes) -> TraceMapping | None:
    """The mapping to read with; None for a file in Tocsin's own names."""
    if wishes.mapping is not None:
        chosen = read_mapping(wishes.mapping)
        check_columns(chosen, file.path, file.columns)
    else:
        known = [m for m in built_in() if m.name != "calls" and m.needed <= set(file.columns)]
        if wishes.kind not in ("", "calls") or not known or _is_own(file):
            return None
        chosen = detect(file.path, file.columns, known)
    if chosen.time.clock != "absolute" and wishes.start is None:
        raise _refused(
            file, f"{chosen.file} has no clock of its own ({chosen.time.clock} times)",
            "say with --start when it began",
        )  # fmt: skip
    return chosen


def _is_own(file: RowFile) -> bool:
    """Whether the columns of calls are in Tocsin's own names rather than in those of a trace."""
    return detect(file.path, file.columns, built_in()).name == "calls"


def _kind(file: RowFile) -> str:
    """What the columns say, and nothing else."""
    have = set(file.columns)
    only_calls = sorted(have & columns.ONLY_CALLS)
    judged = bool(
        ("name" in have and have & {"value", "score", "label"})
        or (have & set(columns.CALL_IDS) and have & set(columns.WIDE_SCORES))
    )
    signs = {
        "billing": focus.is_focus(have),
        "changes": {"service", "kind", "title"} <= have,
        "scores": judged,
        "calls": bool(only_calls or not (judged or "title" in have)) and _has_calls(have),
    }
    found = [kind for kind, sign in signs.items() if sign]
    if len(found) == 1:
        return found[0]
    if found:
        raise _refused(file, f"could hold {' or '.join(found)}", f"say --kind {found[0]}")
    raise _refused(
        file, f"has the columns {', '.join(file.columns[:30])}, and nothing known is made of them",
        "calls need ts and service; scores name, and value or label; changes service, kind and"
        " title; a bill the columns of FOCUS. Or write a mapping and pass it with --mapping",
    )  # fmt: skip


def _has_calls(have: set[str]) -> bool:
    return bool(have & set(columns.TIMES)) and bool(
        have & {"service", "service_name"} or have & columns.ONLY_CALLS
    )


def _needs(file: RowFile, wishes: Wishes) -> None:
    have = {*file.columns, *wishes.defaults}
    if not have & {"service", "service_name"}:
        raise _refused(file, "has no column service", "say --service NAME for all of its calls")
    if not have & set(columns.TIMES):
        raise _refused(file, "has no column ts", "name the column that says when with --mapping")


def _refused(file: RowFile, message: str, fix: str) -> SpecError:
    return SpecError([Problem(str(file.path), 0, "", message, fix)])


def is_older(made: Made, now: datetime, days: int) -> bool:
    """Whether the calls of a row are older than single calls are kept."""
    oldest = int((now - timedelta(days=days)).timestamp() * 1e6) * 1000
    return any(span.start_ns < oldest for span in made.spans)
