"""Files of columns: reading them, and every way in which a cell can be wrong, said with its place.

Numbers and times are checked as whole columns; an error names the file, the row and the column.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet

from tocsin.domain.errors import Problem, SpecError
from tocsin.engine import instants
from tocsin.intake.files import delimiter_of

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_CSV, _JSON = (".csv", ".tsv"), (".jsonl", ".ndjson")
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


def read_table(path: Path, *, as_text: bool = False) -> pa.Table:
    """The file as an Arrow table: CSV and JSON lines (also as `.gz`), Parquet.

    What separates the columns of a CSV file is told by its header. as_text: of CSV every cell as
    it stands. SpecError when its kind is unknown or it cannot be read.
    """
    form = form_of(path)
    try:
        if form == ".parquet":
            return pyarrow.parquet.read_table(path)
        if form in _CSV:
            return _read_csv(path, as_text=as_text)
        return pyarrow.json.read_json(path)
    except (pa.ArrowException, OSError, EOFError, UnicodeError) as error:
        raise unusable(path, f"cannot be read: {error}") from None


def form_of(path: Path) -> str:
    """The suffix that says how a file is read, without `.gz`; SpecError for an unknown one."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    zipped = suffixes[-1:] == [".gz"]
    form = (suffixes[:-1] if zipped else suffixes)[-1:] or [""]
    if form[0] in (*_CSV, *_JSON) or (form[0] == ".parquet" and not zipped):
        return form[0]
    told = "".join(suffixes[-2:]) if zipped else form[0]
    known = ", ".join((".parquet", *_CSV, *_JSON))
    raise unusable(path, f"{told or 'no suffix'}: use {known}; text also as .gz")


def first_line(path: Path) -> int:
    """The line of a file on which its first row stands."""
    return 2 if form_of(path) in _CSV else 1


def _read_csv(path: Path, *, as_text: bool) -> pa.Table:
    with pa.input_stream(path, compression="detect") as raw:
        head = raw.read(1 << 16)
    encoding = "utf-16" if head.startswith(_UTF16) else "utf8"
    header = head.decode(encoding, "ignore").lstrip("\ufeff\r\n").partition("\n")[0]
    options = {
        "read_options": pyarrow.csv.ReadOptions(encoding=encoding),
        "parse_options": pyarrow.csv.ParseOptions(
            delimiter=delimiter_of(header), newlines_in_values=True
        ),
    }
    if as_text:
        with pyarrow.csv.open_csv(path, **options) as reader:
            names = reader.schema.names
        options["convert_options"] = pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
        )
    return pyarrow.csv.read_csv(path, **options)


def unusable(path: Path, message: str, *, fix: str = "") -> SpecError:
    """An error about `path` as a whole, or about a row that `message` names."""
    return SpecError([Problem(str(path), 0, "", message, fix)])


def texts(table: pa.Table, name: str) -> npt.NDArray[np.object_]:
    """A column as text, empty where it is null."""
    column = pc.fill_null(pc.cast(table[name], pa.string()), "")
    return np.asarray(column.to_numpy(zero_copy_only=False), dtype=object)


def floats(table: pa.Table, name: str, path: Path) -> Floats:
    """A column of amounts; NaN where it is null, negative or not finite, or there is none.
    SpecError for one that is not numbers."""
    if name not in table.column_names:
        return np.full(table.num_rows, np.nan)
    try:
        values = pc.cast(table[name], pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    except pa.ArrowException as error:
        raise unusable(path, f"column {name} is not numbers: {error}") from None
    return np.where(np.isfinite(values) & (values >= 0), values, np.nan)


def integers(table: pa.Table, name: str, path: Path) -> Ints:
    """A column of counts. SpecError where one is missing, negative or not whole."""
    column = table[name]
    if column.null_count:
        row = pc.index(pc.is_null(column), True).as_py()
        raise unusable(path, f"row {row + 1}: {name} is empty", fix="write 0 when there were none")
    try:
        values = np.asarray(pc.cast(column, pa.int64()).to_numpy(), dtype=np.int64)
    except pa.ArrowException:
        raise unusable(path, f"column {name} is {column.type}, not whole numbers") from None
    if (values < 0).any():
        raise unusable(path, f"row {int(np.argmax(values < 0)) + 1}: {name} is negative")
    return values


def minutes_of(column: pa.ChunkedArray, name: str, path: Path) -> Ints:
    """The epoch minute that each instant lies in; see `micros_of`."""
    return micros_of(column, name, path) // 60_000_000


def micros_of(column: pa.ChunkedArray, name: str, path: Path) -> Ints:
    """Microseconds since the epoch of a column of instants, see `engine.instants`; numbers in a
    column called `minute` may be epoch minutes. SpecError for anything else."""

    def refuse(row: int | None, what: str, fix: str) -> SpecError:
        where = f"column {name}" if row is None else f"row {row + 1}: column {name}"
        return unusable(path, f"{where}: {what}", fix=fix)

    return instants.micros_of(column, refuse, in_minutes=name == "minute")
