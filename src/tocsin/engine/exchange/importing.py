"""Carries the rows of a file into Tocsin in batches, each once however often the import is run.

Where a batch begins and ends follows from the file alone. Its name is made of the file's content,
the way it is read, and its first row, and whoever takes it remembers the name: an import that was
interrupted goes on where it stopped, and one that is run again adds nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from tocsin.domain.batches import batch_name
from tocsin.domain.errors import IntakeError, StoreError
from tocsin.engine.exchange.contents import Contents, Made, Wishes, is_older, look
from tocsin.engine.exchange.targets import Target
from tocsin.intake.files import FileRow, RowFile
from tocsin.store.schema import Retention

# Part of the names of batches: a change of either begins every import anew.
BATCH_ROWS, BATCH_BYTES = 5_000, 4 << 20
_MAX_ROW = 8 << 20


@dataclass(slots=True)
class Imported:
    """What became of a file.

    rows: that it holds. accepted: taken now. known: had been taken before (those among them that
    were set aside then are not told apart). rejected: set aside now. faded: of the accepted, calls
    too old to be kept one by one.
    """

    file: str
    kind: str
    rows: int = 0
    accepted: int = 0
    known: int = 0
    rejected: int = 0
    faded: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    rejected_file: str = ""


Watch = Callable[[Imported, int, int], None]  # so far, bytes or rows done, of how many


def import_file(
    path: Path,
    target: Target,
    wishes: Wishes,
    *,
    encoding: str = "utf-8",
    rejects: Path | None = None,
    watch: Watch = lambda *_: None,
) -> Imported:
    """Import one file. SpecError when it cannot be read or understood, StoreError when it cannot be
    taken; what was taken before that stays.

    rejects: where rows that are set aside go, by default FILE.rejected.jsonl.
    """
    file = RowFile(path, encoding=encoding)
    contents = look(file, wishes)
    so_far = Imported(str(path), contents.kind)
    with _Rejects(rejects or path.with_name(f"{path.name}.rejected.jsonl")) as aside:
        for first, batch in _batches(file.rows()):
            name = batch_name(file.digest, contents.kind, contents.reading, BATCH_ROWS, first)
            so_far.rows += len(batch)
            if target.knows(name):
                so_far.known += len(batch)
            else:
                _carry(batch, contents, target, name, so_far, aside, wishes)
            watch(so_far, file.progress.done, file.progress.total)
    so_far.rejected_file = str(aside.path) if aside.count else ""
    return so_far


def _carry(
    batch: Sequence[FileRow], contents: Contents, target: Target, name: bytes, so_far: Imported,
    aside: _Rejects, wishes: Wishes,
) -> None:  # fmt: skip
    """Make a batch what it is to be, set aside what cannot be, and hand it over."""
    made: list[Made] = []
    for item in batch:
        try:
            made.append(_made(item, contents))
        except IntakeError as error:
            so_far.rejected += 1
            reason = str(error).removeprefix(f"{item.where}: ")
            if reason in so_far.reasons or len(so_far.reasons) < 20:
                so_far.reasons[reason] = so_far.reasons.get(reason, 0) + 1
            aside.put(item, str(error))
    aside.flush()
    if not made:
        return
    if contents.kind == "calls" and contents.door == "calls":
        target.spans([span for each in made for span in each.spans], name)
    else:
        target.rows(contents.door, [row for each in made for row in each.rows], name)
    so_far.accepted += len(made)
    so_far.faded += sum(is_older(each, wishes.now, Retention().raw_days) for each in made)


def _made(item: FileRow, contents: Contents) -> Made:
    if item.problem:
        raise IntakeError(400, item.problem)
    if item.size > _MAX_ROW:
        raise IntakeError(400, f"{item.where}: larger than {_MAX_ROW >> 20} MiB")
    try:
        return contents.make(item)
    except (OverflowError, RecursionError) as error:
        raise IntakeError(400, f"{item.where}: {error}") from None


def _batches(rows: Iterator[FileRow]) -> Iterator[tuple[int, list[FileRow]]]:
    """(number of the first row, rows), cut by rows and bytes."""
    batch: list[FileRow] = []
    size = 0
    for item in rows:
        if batch and (len(batch) >= BATCH_ROWS or size + item.size > BATCH_BYTES):
            yield batch[0].number, batch
            batch, size = [], 0
        batch.append(item)
        size += item.size
    if batch:
        yield batch[0].number, batch


class _Rejects:
    """The file beside a file with what could not be used of it, one JSON object per row.

    Rows that a former run wrote are not written twice.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.count = 0
        self._open: IO[str] | None = None
        self._stack = ExitStack()
        self._written: set[int] = set()

    def __enter__(self) -> _Rejects:
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def put(self, item: FileRow, reason: str) -> None:
        """Write one row down."""
        self.count += 1
        if self._open is None:
            self._open = self._opened()
        if item.number in self._written:
            return
        told = {"row": item.number, "where": item.where, "reason": reason}
        content = item.raw or item.row
        self._open.write(json.dumps({**told, "content": content}, default=str) + "\n")

    def flush(self) -> None:
        """Hand what was written to the operating system."""
        if self._open is not None:
            self._open.flush()

    def _opened(self) -> IO[str]:
        try:
            if self.path.exists():
                with self.path.open() as before:
                    self._written = {number for line in before if (number := _row_of(line))}
            return self._stack.enter_context(self.path.open("a"))
        except OSError as error:
            raise StoreError(
                f"rows that cannot be used cannot be written to {self.path}: {error.strerror};"
                " choose another place with --rejected"
            ) from None


def _row_of(line: str) -> int:
    """The row that a line of such a file is about; 0 for one that was cut short."""
    try:
        return int(json.loads(line)["row"])
    except (ValueError, KeyError, TypeError):
        return 0
