"""The columns of a file of calls, in the words of the store: what `import` makes of a row, made of
whole columns.

Names that applications use in their own logs are those of `intake.columns`. A failure is given its
class (`domain.failures`), whatever the file calls it: a class, a type, an HTTP status, a flag.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tocsin.domain.failures import failure_class, is_filtered, is_unsaid
from tocsin.engine.columns import texts, unusable
from tocsin.intake.columns import ALIASES, ERRORS, SECONDS, failure_of

_TOLD = ("error_class", "error_type", "http_status", "finish_reason", "status_message")
_FAILED = 400  # HTTP statuses from here on
_HTTP_KINDS = ("", "llm", "embedding")  # whose HTTP status is that of the call itself


def in_words_of_the_store(table: pa.Table, path: Path) -> tuple[pa.Table, Mapping[str, str]]:
    """The table with the names that the store has, and a class of every failure in `error_class`.

    Also returns how the file's own words for failures were read: word -> class, the commonest
    first. SpecError for a latency without a unit.
    """
    table = _renamed(table, path)
    if not {*_TOLD, *ERRORS} & {*table.column_names}:
        return table, {}
    classes, read = _classes(table)
    table = _with(table, "error_class", pa.array(classes, pa.string()))
    if "finish_reason" in table.column_names and "truncated" not in table.column_names:
        table = _with(table, "truncated", pa.array(_cut_off(table, classes == "")))
    return table, read


def _with(table: pa.Table, name: str, column: pa.Array) -> pa.Table:
    held = table.drop_columns([name]) if name in table.column_names else table
    return held.append_column(name, column)


def _renamed(table: pa.Table, path: Path) -> pa.Table:
    held = [*table.column_names]
    if "latency" in held:
        fix = "call the column latency_ms or latency_s"
        raise unusable(path, "column latency has no unit", fix=fix)
    for place, name in enumerate(table.column_names):
        new = SECONDS.get(name) or ALIASES.get(name) or _bare(name)
        if new in held:
            continue
        if name in SECONDS:
            try:
                values = pc.multiply(pc.cast(table[name], pa.float64()), 1000.0)
            except pa.ArrowException as error:
                raise unusable(path, f"column {name} is not numbers: {error}") from None
            table = table.set_column(place, new, values)
        held[place] = new
    return table.rename_columns(held)


def _bare(name: str) -> str:
    """`dims.tier` and `attributes.top_k` are read by the names behind the dot."""
    prefix, _, rest = name.partition(".")
    return rest if rest and prefix in ("dims", "attributes") else name


def _classes(table: pa.Table) -> tuple[npt.NDArray[np.object_], Mapping[str, str]]:
    names = [name for name in (*_TOLD, *ERRORS, "kind") if name in table.column_names]
    held = {name: texts(table, name) for name in names}
    suspects = np.zeros(table.num_rows, np.bool_)
    for name in names:
        values, place = np.unique(held[name].astype(str), return_inverse=True)
        suspects |= np.array([_says_failure(name, value) for value in values])[place]
    rows = np.flatnonzero(suspects)
    found = np.full(table.num_rows, "", dtype=object)
    read = Counter[tuple[str, str]]()
    for row, *cells in zip(rows.tolist(), *(held[name][rows] for name in names), strict=True):
        word, found[row] = _failure(dict(zip(names, cells, strict=True)))
        read[word, found[row]] += 1
    named: dict[str, str] = {}
    for (word, class_), _ in read.most_common():
        named.setdefault(word, class_)
    return found, {word: class_ for word, class_ in named.items() if class_ and word != class_}


def _cut_off(table: pa.Table, answered: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Streams that ended without a reason, as the store has it (`store.normalise`): OpenAI reports
    usage after the reason, so that a stream with usage is whole."""
    held = {
        name: texts(table, name).astype(str) if name in table.column_names
        else np.full(table.num_rows, "")
        for name in ("kind", "finish_reason", "streamed", "ttft_ms", "output_tokens", "provider",
                     "abandoned")
    }  # fmt: skip
    streamed = np.isin(np.char.lower(held["streamed"]), ("true", "1", "yes", "t"))
    streamed |= ~np.isin(held["ttft_ms"], ("", "0", "0.0"))
    whole = (held["provider"] == "openai") & (held["output_tokens"] != "")
    whole |= np.isin(np.char.lower(held["abandoned"]), ("true", "1"))
    ends, place = np.unique(held["finish_reason"], return_inverse=True)
    unsaid = np.array([is_unsaid(end) for end in ends], np.bool_)[place]
    cut_off = np.isin(held["kind"], ("", "llm")) & answered & streamed & unsaid & ~whole
    return np.asarray(cut_off, np.bool_)


def _says_failure(name: str, value: str) -> bool:
    """Whether a cell alone says that its call failed, or may have."""
    if name in (*ERRORS, "error_class", "error_type"):
        return failure_of(value) != ("", 0)
    if name == "http_status":
        return _status(value) >= _FAILED
    if name == "finish_reason":
        return is_filtered(value) or value.strip().lower() == "error"
    return False


def _failure(cells: Mapping[str, str]) -> tuple[str, str]:
    """What the cells of a row call its failure, and the class of that; two "" if it did not fail,
    for the HTTP status of a tool is not that of the call."""
    told = {name: cells.get(name, "").strip() for name in _TOLD}
    for column in ("error_class", "error_type"):
        told[column] = told[column] if _says_failure(column, told[column]) else ""
    name, code = told["error_class"] or told["error_type"], _status(told["http_status"])
    for column in ERRORS:
        said, http = failure_of(cells.get(column, ""))
        name = said if said and (not name or said != "other") else name
        code = code or http
    end = told["finish_reason"]
    by_end = _says_failure("finish_reason", end)
    if not (name or by_end or (code >= _FAILED and cells.get("kind", "") in _HTTP_KINDS)):
        return "", ""
    word = name or (f"HTTP {code}" if code >= _FAILED else end)
    return word, failure_class(name, code, told["status_message"], end)


def _status(text: str) -> int:
    try:
        return int(float(text))
    except (ValueError, OverflowError):
        return 0
