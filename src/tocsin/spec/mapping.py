"""Mapping files: which column of a file means what, in which unit, and what it does not have.

See `mappings/README.md` for the format. Everything wrong with a mapping is one SpecError that names
the file, the line, and what to write instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from tocsin.domain.calls import ERROR_CLASSES
from tocsin.domain.errors import Problem, SpecError
from tocsin.spec import yaml

UNITS_NS = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000}
CLOCKS = ("absolute", "relative", "sequence")

TEXT_FIELDS = (
    "service", "provider", "model", "tenant", "region", "release", "prompt_version",
    "finish_reason", "error_message",
)  # fmt: skip
TOKEN_FIELDS = ("input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens")
DURATION_FIELDS = ("duration", "ttft")
# What a replay shows as unknown where a mapping does not fill it; the rest matters to imports only.
FIELDS = (*TEXT_FIELDS, *TOKEN_FIELDS, *DURATION_FIELDS, "error")
DETAIL_FIELDS = (
    "project", "env", "kind", "name", "operation", "response_model", "response_id", "trace_id",
    "span_id", "parent_id", "session_id", "user_id", "input", "output", "cost_usd", "http_status",
)  # fmt: skip
SCORE_FIELDS = (
    "call_id", "trace_id", "service", "project", "name", "value", "label", "source", "annotator",
    "comment", "id", "version",
)  # fmt: skip
CHANGE_FIELDS = ("service", "project", "kind", "title")

# section of a mapping -> what the file then holds, the fields it may fill, those it must
SECTIONS: Mapping[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    "call": ("calls", (*FIELDS, *DETAIL_FIELDS), ("service",)),
    "score": ("scores", SCORE_FIELDS, ("name",)),
    "change": ("changes", CHANGE_FIELDS, ("service", "kind", "title")),
}

_KEYS = {"name", "about", "time", "dims", "absent", *SECTIONS}
_TIME_KEYS = {"column", "as", "unit", "rate_per_s"}
_COMMON_KEYS = {"column", "optional"}
_HOW_TO_NAME = ("name a column, or a constant", "name a column, or {constant: my-service}")


@dataclass(frozen=True, slots=True)
class TimeColumn:
    """When calls began. unit_ns: of numbers; rate_per_s: of a sequence."""

    column: str
    clock: str
    unit_ns: int = 1_000_000_000
    rate_per_s: float = 1.0


@dataclass(frozen=True, slots=True)
class Source:
    """Where one field of a call comes from: a column, or the same text for every call.

    unit_ns: of a duration. ok, classes, otherwise: how the `error` column is read.
    """

    column: str = ""
    constant: str = ""
    prefix: str = ""
    optional: bool = False
    unit_ns: int = 1_000_000
    ok: tuple[str, ...] = ()
    classes: Mapping[str, str] = field(default_factory=dict)
    otherwise: str = "other"


@dataclass(frozen=True, slots=True)
class TraceMapping:
    """A mapping that was read and found sound.

    holds: what the file's rows are (calls, scores, changes). dims: name of a dimension -> column.
    absent: fields the file lacks, and why.
    """

    name: str
    file: str
    about: str
    time: TimeColumn
    fields: Mapping[str, Source]
    absent: Mapping[str, str]
    holds: str = "calls"
    dims: Mapping[str, str] = field(default_factory=dict)

    @property
    def needed(self) -> frozenset[str]:
        """Columns without which this mapping does not fit."""
        columns = {s.column for s in self.fields.values() if s.column and not s.optional}
        return frozenset({self.time.column, *columns, *self.dims.values()} - {""})

    def column_of(self, name: str) -> str:
        """The column that a field is read from, "" for one that no column holds."""
        return self.fields[name].column if name in self.fields else ""

    @property
    def used(self) -> frozenset[str]:
        """All columns it would read if they were there."""
        return self.needed | {s.column for s in self.fields.values() if s.column}

    @property
    def unknown(self) -> Mapping[str, str]:
        """Every field this mapping cannot fill, with the reason if one is given."""
        return {
            name: self.absent.get(name, "the mapping names no column for it")
            for name in FIELDS
            if name not in self.fields
        }


def read_mapping(path: Path) -> TraceMapping:
    """The mapping in a file. SpecError when there is anything wrong with it."""
    documents, problems = yaml.read([path])
    return _one(documents, problems, str(path))


def built_in() -> list[TraceMapping]:
    """The mappings that come with the package, by name."""
    folder = resources.files("tocsin.spec").joinpath("mappings")
    found = []
    for entry in sorted(folder.iterdir(), key=lambda e: e.name):
        if entry.name.endswith(".yaml"):
            documents, problems = yaml.parse(entry.read_text("utf-8"), entry.name)
            found.append(_one(documents, problems, entry.name))
    return found


def detect(path: Path, columns: Sequence[str], known: Sequence[TraceMapping]) -> TraceMapping:
    """The mapping that explains most columns of a file; SpecError when none fits, or two alike."""
    have = frozenset(columns)
    fitting = [m for m in known if m.needed <= have]
    if not fitting:
        nearest = min(known, key=lambda m: (len(m.needed - have), m.name))
        lacking = ", ".join(sorted(nearest.needed - have))
        raise _refused(
            str(path), 0, "",
            f"no known mapping fits its columns ({', '.join(columns)}); the nearest,"
            f" {nearest.name}, also needs {lacking}",
            "write a mapping file and pass it with --mapping",
        )  # fmt: skip

    def rank(mapping: TraceMapping) -> tuple[int, int]:
        return len(mapping.used & have), len(mapping.needed)

    best = max(fitting, key=rank)
    equals = [m.name for m in fitting if rank(m) == rank(best)]
    if len(equals) > 1:
        raise _refused(
            str(path), 0, "", f"fits {' and '.join(equals)} alike", "choose one with --mapping"
        )
    return best


def check_columns(mapping: TraceMapping, path: Path, columns: Iterable[str]) -> None:
    """SpecError for every column that `mapping` needs and the file does not have."""
    have = list(columns)
    missing = sorted(mapping.needed - set(have))
    if missing:
        raise SpecError(
            [
                Problem(
                    str(path), 0, f"column {name}", f"is missing, and {mapping.file} reads it",
                    f"the file has {', '.join(have)}; name one of them, or set optional: true",
                )
                for name in missing
            ]
        )  # fmt: skip


# --------------------------------------------------------------------------------------------


def _refused(file: str, line: int, place: str, message: str, fix: str = "") -> SpecError:
    return SpecError([Problem(file, line, place, message, fix)])


def _one(documents: Sequence[yaml.Located], problems: list[Problem], file: str) -> TraceMapping:
    if not problems and len(documents) != 1:
        problems = [Problem(file, 0, "", f"holds {len(documents)} documents", "write exactly one")]
    if problems:
        raise SpecError(problems)
    reader = _Reader(documents[0])
    mapping = reader.mapping()
    if reader.problems or mapping is None:
        raise SpecError(reader.problems)
    return mapping


class _Reader:
    """Checks one mapping document and collects what is wrong with it."""

    def __init__(self, document: yaml.Located) -> None:
        self.problems: list[Problem] = []
        self._document = document

    def mapping(self) -> TraceMapping | None:
        data = self._document.data
        if not self._is_mapping((), data):
            return None
        self._known((), data, _KEYS)
        section = self._section(data)
        time = self._time(data.get("time"), optional=section != "call")
        fields = self._fields(section, data.get(section))
        dims = data.get("dims", {})
        if not self._is_mapping(("dims",), dims):
            dims = {}
        absent = data.get("absent", {})
        if self._is_mapping(("absent",), absent):
            self._known(("absent",), absent, FIELDS)
        if self.problems or time is None:
            return None
        name = str(data.get("name") or Path(self._document.file).stem)
        reasons = {str(k): str(v) for k, v in absent.items()}
        about = str(data.get("about", ""))
        columns = {str(dimension): str(column) for dimension, column in dims.items()}
        return TraceMapping(
            name, self._document.file, about, time, fields, reasons, SECTIONS[section][0], columns
        )

    def _section(self, data: Mapping[str, Any]) -> str:
        """Which of the sections it has; faults go to `call`, which is what most files hold."""
        found = [section for section in SECTIONS if section in data]
        if len(found) > 1:
            self._fault((found[1],), f"stands beside {found[0]}", "a file holds one kind of row")
        return found[0] if found else "call"

    def _fault(self, place: yaml.Place, message: str, fix: str = "") -> None:
        self.problems.append(self._document.problem(place, message, fix))

    def _is_mapping(self, place: yaml.Place, value: Any) -> bool:
        if isinstance(value, dict):
            return True
        self._fault(place, "must be a mapping", "the README beside the built-in mappings shows how")
        return False

    def _known(self, place: yaml.Place, value: Mapping[str, Any], keys: Iterable[str]) -> None:
        for key in value:
            if key not in keys:
                self._fault((*place, key), "is not known here", f"use {', '.join(sorted(keys))}")

    def _time(self, value: Any, *, optional: bool) -> TimeColumn | None:
        place: yaml.Place = ("time",)
        if value is None and optional:
            return TimeColumn("", "absolute")
        if not self._is_mapping(place, value):
            return None
        self._known(place, value, _TIME_KEYS)
        clock = value.get("as", "absolute")
        if not value.get("column"):
            self._fault((*place, "column"), "is missing", "name the column that says when")
        if clock not in CLOCKS:
            self._fault((*place, "as"), f"is {clock!r}", f"use {', '.join(CLOCKS)}")
        if clock == "relative" and "unit" not in value:
            self._fault((*place, "unit"), "is missing", f"use one of {', '.join(UNITS_NS)}")
        rate = value.get("rate_per_s", 0)
        if clock == "sequence" and not (isinstance(rate, int | float) and rate > 0):
            self._fault(
                (*place, "rate_per_s"), "must be above 0", "a sequence has no clock: say how fast"
            )
            rate = 1
        unit = self._unit(place, value, "s")
        return TimeColumn(str(value.get("column", "")), str(clock), unit, float(rate or 1))

    def _unit(self, place: yaml.Place, value: Mapping[str, Any], default: str) -> int:
        unit = value.get("unit", default)
        if unit not in UNITS_NS:
            self._fault((*place, "unit"), f"is {unit!r}", f"use one of {', '.join(UNITS_NS)}")
            return 1
        return UNITS_NS[unit]

    def _fields(self, section: str, value: Any) -> dict[str, Source]:
        place: yaml.Place = (section,)
        if not self._is_mapping(place, value):
            return {}
        _, fields, needed = SECTIONS[section]
        self._known(place, value, fields)
        for name in needed:
            if name not in value:
                self._fault((*place, name), "is missing", _HOW_TO_NAME[name == "service"])
        found = {name: self._source(section, name, value[name]) for name in fields if name in value}
        return {name: source for name, source in found.items() if source is not None}

    def _source(self, section: str, name: str, value: Any) -> Source | None:
        place: yaml.Place = (section, name)
        if not self._is_mapping(place, value):
            return None
        extra = {"constant", "prefix"}
        if name in TOKEN_FIELDS:
            extra = set()
        if name in DURATION_FIELDS:
            extra = {"unit"}
            if "unit" not in value:
                self._fault(place, "has no unit", f"add unit: one of {', '.join(UNITS_NS)}")
        if name == "error":
            extra = {"ok", "classes", "otherwise"}
        self._known(place, value, _COMMON_KEYS | extra)
        if ("column" in value) == ("constant" in value):
            self._fault(place, "must have either a column or a constant")
        if name == "error":
            self._check_classes(place, value)
        return Source(
            column=str(value.get("column", "")),
            constant=str(value.get("constant", "")),
            prefix=str(value.get("prefix", "")),
            optional=value.get("optional") is True,
            unit_ns=self._unit(place, value, "ms"),
            ok=tuple(str(v) for v in value.get("ok", ())),
            classes={str(k): str(v) for k, v in (value.get("classes") or {}).items()},
            otherwise=str(value.get("otherwise", "other")),
        )

    def _check_classes(self, place: yaml.Place, value: Mapping[str, Any]) -> None:
        named = [*(value.get("classes") or {}).values(), value.get("otherwise", "other")]
        for name in named:
            if name not in ERROR_CLASSES:
                self._fault(place, f"{name!r} is no error class", f"use {', '.join(ERROR_CLASSES)}")
