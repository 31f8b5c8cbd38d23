"""YAML text to plain values that still know the line each of them stands on.

What is read is the YAML 1.2 core schema, with PyYAML's parser: `NO`, `on` and `12:30` are text,
`true` and `false` are the only booleans, a date stays text, and numbers are decimal, 0x or 0o.
Refused, with file and line: duplicate keys, keys that are not text, local tags, numbers that are
not finite, anchors that contain themselves, and documents that unfold beyond the limits below
(a few lines of nested aliases can otherwise stand for billions of values).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tocsin.domain.errors import Problem

Place = tuple[str | int, ...]

MAX_BYTES = 4 * 1024 * 1024
MAX_DEPTH = 40
MAX_VALUES = 100_000

_PARSER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG = "tag:yaml.org,2002:"
_MERGE = "<<"


@dataclass(frozen=True, slots=True)
class Located:
    """One YAML document: its values, and the line of every one of them.

    data: dicts, lists, str, int, float, bool, None. lines: place -> line, where a place is the
    keys and indices that lead to a value, and the line is that of its key in a mapping.
    """

    file: str
    line: int
    data: Any
    lines: Mapping[Place, int]

    def line_at(self, place: Place) -> int:
        """The line of `place`, or of the nearest thing around it that was written down."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, self.line)

    def where(self, place: Place) -> str:
        """File and line of `place`."""
        return f"{self.file}:{self.line_at(place)}"

    def problem(self, place: Place, message: str, fix: str = "") -> Problem:
        """A Problem at `place`."""
        return Problem(self.file, self.line_at(place), spell(place), message, fix)


def spell(place: Place) -> str:
    """A place as people write it: `spec.steps[0].after`."""
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def parse(text: str, file: str) -> tuple[list[Located], list[Problem]]:
    """Every document of one YAML stream, and every problem found on the way.

    A fault of syntax ends the stream there; the documents before it are still returned.
    """
    reader = _Reader(file)
    documents: list[Located] = []
    try:
        for document in reader.documents(text):
            documents.append(document)
    except _Refused as refused:
        reader.problems.append(Problem(file, refused.line, "", refused.message, refused.fix))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 0
        what = error.problem or error.context or "cannot be read"
        at = text.splitlines()[line - 1 : line] if mark else []
        fix = "indent with spaces, not tabs" if at and at[0].lstrip(" ").startswith("\t") else ""
        reader.problems.append(Problem(file, line, "", f"not valid YAML: {what}", fix))
    except yaml.YAMLError as error:
        what = getattr(error, "reason", None) or str(error).splitlines()[0]
        reader.problems.append(Problem(file, 0, "", f"not valid YAML: {what}"))
    return documents, reader.problems


def read(paths: Iterable[Path]) -> tuple[list[Located], list[Problem]]:
    """Every document under `paths`: files as they are, directories searched for *.yaml and *.yml.

    Directories are read recursively in sorted order; names that start with a dot are skipped.
    """
    documents: list[Located] = []
    problems: list[Problem] = []
    for root in paths:
        for path in _files(root, problems):
            text = _text(path, problems)
            if text is not None:
                found, faults = parse(text, str(path))
                documents += found
                problems += faults
    return documents, problems


def dump(documents: Sequence[Any]) -> str:
    """YAML text that `parse` reads back to equal values, one document after another."""
    return yaml.dump_all(
        documents, Dumper=_Dumper, explicit_start=True, sort_keys=False, allow_unicode=True
    )


# --------------------------------------------------------------------------------------------


class _Refused(Exception):
    """Text that is not worth reading on: a limit is passed or its structure makes no sense."""

    def __init__(self, line: int, message: str, fix: str = "") -> None:
        self.line, self.message, self.fix = line, message, fix
        super().__init__(message)


@dataclass(slots=True, eq=False)
class _Node:
    """A value before aliases are unfolded. Exactly one of the three contents is meant."""

    line: int
    tag: str
    kind: str
    text: str = ""
    items: list[_Node] = field(default_factory=list)
    pairs: list[tuple[_Node, _Node]] = field(default_factory=list)


class _Reader:
    """Puts the documents of one stream together from the parser's events."""

    def __init__(self, file: str) -> None:
        self.problems: list[Problem] = []
        self._file = file
        self._events: Iterator[Any] = iter(())
        self._anchors: dict[str, _Node] = {}
        self._lines: dict[Place, int] = {}
        self._seen: set[tuple[int, str, str]] = set()
        self._values = 0

    def documents(self, text: str) -> Iterator[Located]:
        self._events = yaml.parse(text, Loader=_PARSER)
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                self._anchors, self._lines, self._values = {}, {}, 0
                root = self._compose(next(self._events), 1)
                data = self._unfold(root, (), ())
                if data is not None:
                    yield Located(self._file, root.line, data, self._lines)

    def _compose(self, event: Any, depth: int) -> _Node:
        """The node that starts with `event`, read to its end."""
        line = event.start_mark.line + 1
        if depth > MAX_DEPTH:
            raise _Refused(line, f"nested more than {MAX_DEPTH} levels deep")
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._anchors:
                raise _Refused(line, f"the alias *{event.anchor} has no &{event.anchor} before it")
            return self._anchors[event.anchor]
        node = _Node(line, event.tag or "", "scalar")
        if event.anchor:
            self._anchors[event.anchor] = node
        if isinstance(event, yaml.ScalarEvent):
            node.text = event.value
            node.tag = node.tag or (_plain_tag(event.value) if event.implicit[0] else _TAG + "str")
        elif isinstance(event, yaml.SequenceStartEvent):
            node.kind = "list"
            while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
                node.items.append(self._compose(event, depth + 1))
        else:
            node.kind = "mapping"
            while not isinstance(event := next(self._events), yaml.MappingEndEvent):
                key = self._compose(event, depth + 1)
                node.pairs.append((key, self._compose(next(self._events), depth + 1)))
        return node

    def _unfold(self, node: _Node, place: Place, around: tuple[_Node, ...]) -> Any:
        """Plain values of `node`; aliases become copies, which is what the limits count."""
        self._values += 1
        if self._values > MAX_VALUES:
            raise _Refused(
                node.line, f"unfolds to more than {MAX_VALUES:,} values", "use fewer aliases"
            )
        if node in around:
            raise _Refused(node.line, "an anchor contains itself")
        if len(around) >= MAX_DEPTH:
            raise _Refused(node.line, f"nested more than {MAX_DEPTH} levels deep")
        self._lines.setdefault(place, node.line)
        if node.kind == "scalar":
            return self._scalar(node, place)
        self._check_tag(node, place, "seq" if node.kind == "list" else "map")
        if node.kind == "list":
            inside = (*around, node)
            return [self._unfold(item, (*place, i), inside) for i, item in enumerate(node.items)]
        return self._mapping(node, place, (*around, node))

    def _mapping(self, node: _Node, place: Place, around: tuple[_Node, ...]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        first: dict[str, int] = {}
        merged: list[_Node] = []
        for key, value in node.pairs:
            if key.kind != "scalar" or key.tag != _TAG + "str":
                shown = repr(key.text) if key.kind == "scalar" else "a list or mapping"
                self._problem(key.line, place, f"a key must be text, not {shown}", "quote it")
                continue
            name = key.text
            if name in first:
                message = f"the key {name!r} is given twice"
                fix = f"first on line {first[name]}; keep one of them"
                self._problem(key.line, (*place, name), message, fix)
                continue
            first[name] = key.line
            if name == _MERGE:
                merged += value.items if value.kind == "list" else [value]
                continue
            # The line of the key, also where the value is an alias: that is where a reader looks.
            self._lines.setdefault((*place, name), key.line)
            found[name] = self._unfold(value, (*place, name), around)
        for source in merged:
            self._merge(source, found, place, around)
        return found

    def _merge(
        self, source: _Node, found: dict[str, Any], place: Place, around: tuple[_Node, ...]
    ) -> None:
        """`<<: *defaults`: keys that are not given here are taken from there."""
        if source.kind != "mapping":
            message = "what << merges must be a mapping, or a list of mappings"
            self._problem(source.line, place, message, "")
            return
        if source in around:
            raise _Refused(source.line, "an anchor contains itself")
        for name, value in self._mapping(source, place, (*around, source)).items():
            found.setdefault(name, value)

    def _scalar(self, node: _Node, place: Place) -> Any:
        convert = _CONVERT.get(node.tag)
        if convert is None:
            shown = node.tag.removeprefix(_TAG)
            self._problem(node.line, place, f"the tag {shown!r} is not supported", "remove it")
            return node.text
        try:
            value = convert(node.text)
        except ValueError:
            kind = node.tag.removeprefix(_TAG)
            self._problem(node.line, place, f"{node.text!r} is not a YAML {kind}", "")
            return None
        if isinstance(value, float) and not math.isfinite(value):
            message = f"{node.text} is not a finite number"
            self._problem(node.line, place, message, "quote it if text is meant")
            return None
        return value

    def _check_tag(self, node: _Node, place: Place, plain: str) -> None:
        if node.tag and node.tag not in (_TAG + plain, "!"):
            shown = node.tag.removeprefix(_TAG)
            self._problem(node.line, place, f"the tag {shown!r} is not supported", "remove it")

    def _problem(self, line: int, place: Place, message: str, fix: str) -> None:
        """Keep a problem once, however often an alias repeats the text it stands in."""
        if (line, spell(place[-1:]), message) not in self._seen:
            self._seen.add((line, spell(place[-1:]), message))
            self.problems.append(Problem(self._file, line, spell(place), message, fix))


_PLAIN = (
    ("null", re.compile(r"~|null|Null|NULL|")),
    ("bool", re.compile(r"true|True|TRUE|false|False|FALSE")),
    ("int", re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")),
    ("float", re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")),
    ("float", re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")),
)


def _plain_tag(text: str) -> str:
    """What an unquoted scalar is under the YAML 1.2 core schema."""
    for name, shape in _PLAIN:
        if shape.fullmatch(text):
            return _TAG + name
    return _TAG + "str"


def _integer(text: str) -> int:
    if len(text) > 64:
        raise ValueError(text)
    return int(text, 0) if text[:2] in ("0o", "0x") else int(text)


def _float(text: str) -> float:
    return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))


def _bool(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(text)
    return text.lower() == "true"


_CONVERT: Mapping[str, Callable[[str], Any]] = {
    _TAG + "null": lambda _: None,
    _TAG + "bool": _bool,
    _TAG + "int": _integer,
    _TAG + "float": _float,
    _TAG + "str": str,
    "!": str,
}


class _Dumper(yaml.SafeDumper):
    """Quotes what this reader, or a YAML 1.1 reader, would not read back as the same text."""

    def ignore_aliases(self, data: Any) -> bool:
        del data
        return True


def _represent_text(dumper: _Dumper, text: str) -> Any:
    quoted = _plain_tag(text) != _TAG + "str" or text == _MERGE
    return dumper.represent_scalar(_TAG + "str", text, style="'" if quoted else None)


_Dumper.add_representer(str, _represent_text)


def _files(root: Path, problems: list[Problem]) -> list[Path]:
    if root.is_dir():
        found = sorted(
            path
            for path in root.rglob("*")
            if path.suffix in (".yaml", ".yml")
            and path.is_file()
            and not any(part.startswith(".") for part in path.relative_to(root).parts)
        )
        if not found:
            problems.append(Problem(str(root), 0, "", "holds no *.yaml or *.yml file"))
        return found
    if not root.exists():
        problems.append(Problem(str(root), 0, "", "no such file or directory"))
        return []
    return [root]


def _text(path: Path, problems: list[Problem]) -> str | None:
    try:
        if path.stat().st_size > MAX_BYTES:
            message = f"larger than {MAX_BYTES // 1024 // 1024} MiB"
            problems.append(Problem(str(path), 0, "", message, "split it into several files"))
            return None
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        problems.append(Problem(str(path), line, "", "is not UTF-8 text", "save it as UTF-8"))
    except OSError as error:
        problems.append(Problem(str(path), 0, "", f"cannot be read: {error.strerror}"))
    return None
