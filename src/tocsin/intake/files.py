"""Files of rows, read as a stream: CSV, JSON lines and Parquet, plain or gzipped.

Rows come one by one with the place where they stand, so that a bad one can be named and left out
while the others go on. Nothing is guessed about a row that does not fit its header. A file is never
held in memory; the largest field or line that is read is 16 MiB.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import IO, Any, cast

import pyarrow as pa
import pyarrow.parquet

from tocsin.domain.errors import IntakeError, Problem, SpecError
from tocsin.intake.json_requests import read_json
from tocsin.intake.tables import rows

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
MAX_FIELD = 16 << 20
_PEEK_LINES = 200
_PARQUET_ROWS = 2048
_UNREADABLE = (OSError, EOFError, zlib.error, pa.ArrowException)
_CANNOT = "\x00csv: "  # starts what stands for a record that the format forbids


@dataclass(slots=True)
class FileRow:
    """A row of a file. number: of the row, from 1. where: in words. problem: why it is unusable.

    size: bytes of what it says, about.
    """

    number: int
    where: str
    row: Mapping[str, Any] = field(default_factory=dict)
    problem: str = ""
    raw: str = ""
    size: int = 0


@dataclass(slots=True)
class Progress:
    """How far a file has been read: bytes on disk, or rows of a Parquet file, of `total`."""

    done: int = 0
    total: int = 0


class RowFile:
    """A file that was looked at and found readable. SpecError when it is not.

    columns: the header, the names in the Parquet schema, or the members of the first JSON lines.
    encoding: of a CSV file without a byte order mark.
    """

    def __init__(self, path: Path, *, encoding: str = "utf-8") -> None:
        self.path = path
        self.form = _form(path)
        self.encoding = encoding
        self.progress = Progress(total=path.stat().st_size)
        self.columns: tuple[str, ...] = tuple(self._peek())

    def rows(self) -> Iterator[FileRow]:
        """Every row in order. SpecError when the file breaks off; what came before stays good."""
        reader: Callable[[], Iterator[FileRow]] = {
            ".csv": self._csv, ".tsv": self._csv, ".jsonl": self._json, ".ndjson": self._json,
            ".parquet": self._parquet,
        }[self.form]  # fmt: skip
        try:
            yield from reader()
        except (*_UNREADABLE, UnicodeError) as error:
            raise self._refused(f"cannot be read on: {_first_line(error)}") from None

    @cached_property
    def digest(self) -> bytes:
        """Sixteen bytes that stand for the content."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).digest()

    def metadata(self) -> Mapping[bytes, bytes]:
        """What a Parquet file says of itself; empty for others."""
        if self.form != ".parquet":
            return {}
        return pyarrow.parquet.read_schema(self.path).metadata or {}

    # --- looking

    def _peek(self) -> Sequence[str]:
        try:
            if self.form == ".parquet":
                with pyarrow.parquet.ParquetFile(self.path) as file:
                    self.progress.total = file.metadata.num_rows
                    return self._checked(file.schema_arrow.names)
            with self._opened() as raw:
                if self.form not in {".csv", ".tsv"}:
                    return self._members(raw)
                with self._text(raw) as text:
                    return self._checked(next(self._records(text))[1])
        except StopIteration:
            raise self._refused("is empty", "a header is needed, and rows") from None
        except (*_UNREADABLE, csv.Error, UnicodeError) as error:
            form = self.form.removeprefix(".")
            raise self._refused(f"is no readable {form} file: {_first_line(error)}") from None

    def _checked(self, names: Sequence[str]) -> Sequence[str]:
        """A header whose names are all different and not all blank; blank ones are not columns."""
        twice = [name for name, count in Counter(filter(None, names)).items() if count > 1]
        if twice:
            raise self._refused(
                f"column {', '.join(twice)} appears more than once", "rename all but one"
            )
        if not all(_is_text(name) for name in names):
            raise self._refused("has a header that is not UTF-8 text", "say --encoding")
        if not any(names):
            raise self._refused("has no column names", "the first line must name the columns")
        return names

    def _members(self, raw: IO[bytes]) -> Sequence[str]:
        names: dict[str, None] = {}
        seen = False
        for item in islice(self._lines(raw), _PEEK_LINES):
            seen = True
            names |= dict.fromkeys(item.row)
        if not seen:
            raise self._refused("is empty", "write one JSON object per line")
        if not names:
            raise self._refused("holds no JSON object in its first lines", "one object per line")
        return tuple(names)

    # --- reading

    def _opened(self) -> IO[bytes]:
        if self.path.suffix.lower() == ".gz":
            return cast(IO[bytes], gzip.open(self.path, "rb"))
        return self.path.open("rb")

    def _text(self, raw: IO[bytes]) -> IO[str]:
        head = raw.peek(4)[:4] if hasattr(raw, "peek") else b""
        encoding = self.encoding
        if head.startswith((b"\xff\xfe", b"\xfe\xff")):
            encoding = "utf-16"
        elif encoding.lower().replace("_", "-") in {"utf-8", "utf8"}:
            encoding = "utf-8-sig"
        try:
            return io.TextIOWrapper(raw, encoding, errors="surrogateescape", newline="")
        except LookupError:
            raise self._refused(
                f"encoding {self.encoding!r} is not known", "use utf-8, cp1252, latin-1, …"
            ) from None

    def _records(self, text: IO[str]) -> Iterator[tuple[int, list[str]]]:
        """(first line, fields) of every record. A record that the format forbids is an error."""
        csv.field_size_limit(MAX_FIELD)
        first = text.readline(1 << 16)
        delimiter = "\t" if self.form == ".tsv" else delimiter_of(first)

        def lines() -> Iterator[str]:
            yield first
            yield from iter(lambda: text.readline(MAX_FIELD + 1), "")

        if not first:
            return
        reader = csv.reader(lines(), delimiter=delimiter)
        while True:
            start = reader.line_num + 1
            try:
                fields = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield start, [f"{_CANNOT}{error}"]
                continue
            if fields:
                yield start, fields

    def _csv(self) -> Iterator[FileRow]:
        with self._opened() as raw, self._text(raw) as text:
            records = self._records(text)
            header = next(records)[1]
            for number, (line, fields) in enumerate(records, 1):
                self.progress.done = _position(raw)
                yield _csv_row(number, line, header, fields)

    def _json(self) -> Iterator[FileRow]:
        with self._opened() as raw:
            for item in self._lines(raw):
                self.progress.done = _position(raw)
                yield item

    def _lines(self, raw: IO[bytes]) -> Iterator[FileRow]:
        number = line = 0
        while text := raw.readline(MAX_FIELD + 1):
            line += 1
            if line == 1:
                if text.startswith((b"\xff\xfe", b"\xfe\xff")):
                    raise self._refused("is UTF-16", "write JSON lines as UTF-8")
                text = text.removeprefix(b"\xef\xbb\xbf")
            too_long = len(text) > MAX_FIELD
            while too_long and not text.endswith(b"\n") and (rest := raw.readline(MAX_FIELD)):
                text = text[:1000] + rest[-1:]
            if text.strip():
                number += 1
                yield _json_row(number, line, text, too_long=too_long)

    def _parquet(self) -> Iterator[FileRow]:
        number = 0
        # Without these two a row group is read whole before its first row is there.
        options: dict[str, Any] = {"pre_buffer": False, "buffer_size": 1 << 20}
        with pyarrow.parquet.ParquetFile(self.path, **options) as file:
            for batch in file.iter_batches(_PARQUET_ROWS, use_threads=False):
                share = batch.nbytes // max(batch.num_rows, 1)
                for row, problem in rows(batch):
                    number += 1
                    where = f"row {number}"
                    told = f"{where}: {problem}" if problem else ""
                    yield FileRow(number, where, row, told, size=share)
                self.progress.done = number

    def _refused(self, message: str, fix: str = "") -> SpecError:
        return SpecError([Problem(str(self.path), 0, "", message, fix)])


def _position(raw: IO[bytes]) -> int:
    """Bytes of the file on disk that were read."""
    place: int = getattr(raw, "fileobj", raw).tell()
    return place


def _form(path: Path) -> str:
    """The suffix that says how a file is to be read, without `.gz`."""
    if not path.is_file():
        raise SpecError([Problem(str(path), 0, "", "no such file", "")])
    suffixes = [suffix.lower() for suffix in path.suffixes]
    zipped = suffixes[-1:] == [".gz"]
    form = (suffixes[:-1] if zipped else suffixes)[-1:]
    if not form or form[0] not in SUFFIXES or (zipped and form[0] == ".parquet"):
        message = f"{''.join(suffixes[-2:]) or 'no suffix'} is not a kind of file that is known"
        fix = f"use {', '.join(SUFFIXES)}; all but Parquet also with .gz"
        raise SpecError([Problem(str(path), 0, "", message, fix)])
    return form[0]


def delimiter_of(header: str) -> str:
    """What separates the names of a header: the likeliest of four, outside of quotes."""
    bare = "".join(header.split('"')[::2])
    return max((",", ";", "\t", "|"), key=lambda mark: (bare.count(mark), mark == ","))


def _csv_row(number: int, line: int, header: Sequence[str], fields: Sequence[str]) -> FileRow:
    where = f"line {line}"
    size = sum(map(len, fields))
    if len(fields) == 1 and fields[0].startswith(_CANNOT):
        return FileRow(number, where, problem=f"{where}: {fields[0].removeprefix(_CANNOT)}")
    raw = json.dumps(fields, ensure_ascii=True)[:16_000]
    if len(fields) != len(header):
        return FileRow(
            number, where, raw=raw,
            problem=f"{where}: {len(fields)} fields under {len(header)} column names;"
            " a quote that is not closed, or a separator inside a field without quotes?",
        )  # fmt: skip
    if not all(text.isascii() or _is_text(text) for text in fields):
        return FileRow(
            number, where, raw=raw, problem=f"{where}: is not UTF-8 text; say --encoding"
        )
    row = {name: text for name, text in zip(header, fields, strict=True) if name}
    return FileRow(number, where, row, size=size)


def _is_text(text: str) -> bool:
    """Whether it holds no byte that could not be decoded."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _json_row(number: int, line: int, text: bytes, *, too_long: bool) -> FileRow:
    where = f"line {line}"
    raw = text[:16_000].decode("utf-8", "replace").strip()
    if too_long:
        return FileRow(number, where, raw=raw, problem=f"{where}: longer than 16 MiB")
    try:
        row = read_json(text, where)
    except IntakeError as error:
        return FileRow(number, where, raw=raw, problem=str(error))
    if not isinstance(row, dict):
        return FileRow(number, where, raw=raw, problem=f"{where}: is not a JSON object")
    return FileRow(number, where, row, size=len(text))


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
