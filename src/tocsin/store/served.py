"""Runs statements of other processes in the embedded engine, one at a time per handle, bounded.

A request goes: parse (in the engine) -> `fence.check` -> put the body in a file, and that file in
the place of `input()` or of external tables -> print -> run. Handles are kept in a pool; settings
of a request are taken back after it, and a handle that cannot be reset is closed.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import re
import shutil
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from tocsin.domain.errors import StoreError
from tocsin.store import fence
from tocsin.store.clickhouse import DATABASE, literal
from tocsin.store.fence import Forbidden, Functions, Scope, Tree

ACCESS_DENIED, TOO_LARGE, TOO_MANY, NOT_SUPPORTED = 497, 307, 202, 48
_CODE = re.compile(r"Code: (\d+)")
_NAME = re.compile(r"[A-Za-z_]\w*")
_DESCRIBE = re.compile(r"\s*DESC(?:RIBE)?\s+(?:TABLE\s+)?(?=\S)", re.I)
_VALUES = re.compile(
    r"\s*INSERT\s+INTO\s+(?:TABLE\s+)?[\w.`]+\s*(?:\([\w\s,.`]*\))?\s*VALUES\s*(?=\()", re.I
)
# The parts of a statement: texts, names in quotes, comments, where the rows begin, all else.
_PARTS = re.compile(
    rb"'(?:[^'\\]|\\.|'')*'|\"(?:[^\"\\]|\\.)*\"|`(?:[^`\\]|\\.)*`|--[^\n]*|/\*.*?\*/"
    rb"|(?P<rows>\bFORMAT\s+\w+[ \t]*\r?\n)|\w+|[^\w'\"`/-]+|.",
    re.I | re.S,
)
_LONGEST_STATEMENT = 1 << 20
_ALWAYS = {
    "max_query_size": "104857600",
    "max_ast_elements": "10000000",
    "max_expanded_ast_elements": "10000000",
    "input_format_values_interpret_expressions": "0",  # else a row could call any function
    "input_format_values_deduce_templates_of_expressions": "0",
}


class Refused(StoreError):
    """A request that failed. code: ClickHouse's error code."""

    def __init__(self, message: str, code: int) -> None:
        self.code = code
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one request may take. handles: how many run at the same time."""

    body_bytes: int = 256 << 20
    result_bytes: int = 512 << 20
    memory_bytes: int = 1_000_000_000
    seconds: int = 300
    handles: int = 6

    @property
    def settings(self) -> dict[str, int]:
        """The same as settings of the engine."""
        return {
            "max_execution_time": self.seconds,
            "max_memory_usage": self.memory_bytes,
            "max_result_bytes": self.result_bytes,
            "max_result_rows": 100_000_000,
            "max_rows_to_read": 1 << 40,
            "max_bytes_to_read": 1 << 50,
        }


@dataclass(frozen=True, slots=True)
class External:
    """A table that came with a request."""

    name: str
    format: str
    structure: str
    path: Path


@dataclass(frozen=True, slots=True)
class Asked:
    """One request. text: the statement; body: a file with the rows of an INSERT."""

    text: str
    scope: Scope
    body: Path | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    externals: Sequence[External] = ()
    default_format: str = "TabSeparated"
    query_id: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of it. format: "" for statements without rows."""

    body: bytes
    format: str
    summary: Mapping[str, str]


class Served:
    """The embedded engine of one directory, for callers outside this process."""

    def __init__(self, path: Path, bounds: Bounds | None = None) -> None:
        """path: the directory of the engine, open in this process already."""
        self.bounds = bounds or Bounds()
        self._path = path
        self._connect = importlib.import_module("chdb").connect
        self._idle: list[Any] = []
        self._lock = threading.Lock()
        self._slots = threading.BoundedSemaphore(self.bounds.handles)
        self._running: dict[str, threading.Event] = {}
        self.files = Path(tempfile.mkdtemp(prefix="tocsin-store-"))
        with self._handle() as conn:
            rows = _json(
                conn,
                "SELECT name, alias_to, categories, is_aggregate, case_insensitive"
                " FROM system.functions",
            )
            self._functions = Functions.of([tuple(row) for row in rows])
        self._parsed = lru_cache(maxsize=32)(self._parse)

    def close(self) -> None:
        """Wait for what runs, close every handle, remove what is left of bodies."""
        for _ in range(self.bounds.handles):
            self._slots.acquire()
        with self._lock:
            idle, self._idle = self._idle, []
        for conn in idle:
            conn.close()
        shutil.rmtree(self.files, ignore_errors=True)

    def run(self, asked: Asked) -> Answer:
        """Run one request; blocks. Refused when it may not, cannot, or takes too much."""
        if not self._slots.acquire(timeout=self.bounds.seconds):
            raise Refused("too many requests run at the same time; try again", TOO_MANY)
        try:
            with self._named(asked.query_id):
                return self._answer(asked)
        except Forbidden as error:
            raise Refused(str(error), ACCESS_DENIED) from None
        except (RuntimeError, UnicodeDecodeError, ValueError) as error:
            raise _refused(error, self.files) from None
        finally:
            self._slots.release()

    def split(self, body: bytes) -> tuple[str, bytes] | None:
        """Statement and rows of a body that holds both; None when it is a statement alone."""
        if body[:4096].lstrip()[:6].lower() != b"insert":
            return None
        if end := _end_of_statement(body):
            return body[:end].decode().rstrip(), body[end:]
        if values := _VALUES.match(body.decode()):
            text = values.group()
            head = re.sub(r"VALUES\s*$", "FORMAT Values", text, flags=re.I)
            return head, body[len(text.encode()) :]
        return None

    def _answer(self, asked: Asked) -> Answer:
        describe = _DESCRIBE.match(asked.text)
        text = asked.text
        if describe:  # not a statement the engine gives a tree of; what it asks about is
            text = f"SELECT * FROM {text[describe.end() :]}"  # noqa: S608 (it is inspected next)
        tree = json.loads(self._parsed(text))
        fence.check(tree, asked.scope, self._functions, lambda t: json.loads(self._parsed(t)))
        fence.limit(tree, self.bounds.settings)
        kind = fence.kind_of(tree)
        if kind == "KillQueryQuery":
            return self._await_end(tree)
        form = self._form(tree, asked, inserts=kind == "InsertQuery")
        self._place_files(tree, asked, form)
        has_rows = kind in {"SelectWithUnionQuery", "SelectIntersectExceptQuery", "ExplainQuery"}
        return self._execute(tree, asked, form if has_rows else "", describes=bool(describe))

    def _form(self, tree: Tree, asked: Asked, *, inserts: bool) -> str:
        """The format of the rows that come or go, taken out of the tree."""
        told = tree.pop("format_ast", None)
        form = tree.get("format") or (told or {}).get("name") or asked.default_format
        listed = fence.INPUT_FORMATS if inserts else fence.OUTPUT_FORMATS
        if form not in listed and (asked.body or not inserts):
            raise Forbidden(f"the format {form} is not let through")
        return str(form)

    def _place_files(self, tree: Tree, asked: Asked, form: str) -> None:
        sources = {
            table.name: _file(table.path, table.format, table.structure)
            for table in asked.externals
        }
        fence.replace_tables(tree, sources, set(sources))
        if fence.kind_of(tree) != "InsertQuery":
            return
        if asked.body is None:
            if not tree.get("select"):
                raise Refused("INSERT without rows", 108)
            return
        if tree.get("select"):
            for structure in _structures(tree):
                fence.replace_tables(tree, {"input": _file(asked.body, form, structure)}, ())
            tree.pop("format", None)
        else:
            tree["infile"] = {
                "type": "Literal", "value": {"field_type": "String", "value": str(asked.body)},
            }  # fmt: skip

    def _execute(self, tree: Tree, asked: Asked, form: str, *, describes: bool) -> Answer:
        settings = self._settings(asked.settings)
        with self._handle() as conn:
            text = _scalar(conn, f"formatQueryFromJSON({literal(json.dumps(tree))})")
            if describes:
                text = re.sub(r"^SELECT \*\s+FROM", "DESCRIBE TABLE", text)
            with self._set(conn, settings):
                found = conn.query(text, form or "TabSeparated", params=dict(asked.parameters))
            body = bytes(found.bytes() or b"")
            counts = (found.rows_read(), found.bytes_read())
        told = ("read_rows", "read_bytes") if form else ("written_rows", "written_bytes")
        summary = {name: str(count) for name, count in zip(told, counts, strict=True)}
        return Answer(body if form else b"", form, summary)

    def _settings(self, given: Mapping[str, str]) -> dict[str, str]:
        """The settings of a request, each listed, limits lowered, a protobuf schema as a file."""
        kept: dict[str, str] = {}
        schema = {k: v for k, v in given.items() if k.startswith("format_schema")}
        for name, value in given.items():
            if name in schema:
                continue
            if name in fence.LIMITS:
                kept[name] = str(fence.lowered(value, self.bounds.settings[name]))
            elif name == "readonly":
                continue  # decided by the token
            elif name in fence.SETTINGS:
                kept[name] = value
            else:
                raise Forbidden(f"the setting {name} is not let through")
        if schema:
            kept["format_schema"] = self._schema(schema)
        return kept

    def _schema(self, told: Mapping[str, str]) -> str:
        text = told.get("format_schema", "")
        message = told.get("format_schema_message_name", "")
        if told.get("format_schema_source") != "string" or not _NAME.fullmatch(message):
            raise Forbidden("a format schema is given as text, with the name of its message")
        if "import" in text or "proto3" not in text:  # an import would read a file
            raise Forbidden("a format schema is proto3 without imports")
        file = self.files / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.proto"
        if not file.exists():
            fresh = file.with_suffix(f".{threading.get_ident()}")
            fresh.write_text(text)
            fresh.replace(file)
        return f"{file}:{message}"

    def _await_end(self, tree: Tree) -> Answer:
        """KILL QUERY … SYNC: the engine cannot be told to stop, so its end is waited for."""
        texts = set(_texts(tree.get("where_expression")))
        with self._lock:
            waited = [event for name, event in self._running.items() if name in texts]
        for event in waited:
            if not event.wait(self.bounds.seconds):
                raise Refused("the statement is still running; try again", 159)
        return Answer(b"", "TabSeparated", {})

    @contextmanager
    def _named(self, query_id: str) -> Iterator[None]:
        if not query_id:
            yield
            return
        done = threading.Event()
        with self._lock:
            if query_id in self._running:
                raise Refused(f"a query with the id {query_id} is running already", 216)
            self._running[query_id] = done
        try:
            yield
        finally:
            with self._lock:
                del self._running[query_id]
            done.set()

    @contextmanager
    def _handle(self) -> Iterator[Any]:
        with self._lock:
            conn = self._idle.pop() if self._idle else None
        if conn is None:
            conn = self._open()
        try:
            yield conn
        except BaseException:
            self._give_back(conn)
            raise
        self._give_back(conn)

    def _open(self) -> Any:
        conn = self._connect(str(self._path))
        conn.query(f"USE {DATABASE}")
        for name, value in {**_ALWAYS, **self.bounds.settings}.items():
            conn.query(f"SET {name} = {value}")
        return conn

    def _give_back(self, conn: Any) -> None:
        with self._lock:
            self._idle.append(conn)

    @contextmanager
    def _set(self, conn: Any, settings: Mapping[str, str]) -> Iterator[None]:
        done = []
        try:
            for name, value in settings.items():
                conn.query(f"SET {name} = {literal(value)}")
                done.append(name)
            yield
        finally:
            limits = self.bounds.settings
            for name in done:
                conn.query(f"SET {name} = {limits.get(name, 'DEFAULT')}")

    def _parse(self, text: str) -> str:
        with self._handle() as conn:
            return _scalar(conn, f"parseQueryToJSON({literal(text)})")


def _end_of_statement(body: bytes) -> int:
    """Where the rows begin that stand behind `FORMAT name`; 0 when none do."""
    for part in _PARTS.finditer(body, 0, _LONGEST_STATEMENT):
        if part["rows"]:
            return part.end()
    return 0


def _file(path: Path, form: str, structure: str) -> Tree:
    """The table function that reads a body."""
    parts = (str(path), form, structure) if structure else (str(path), form)
    arguments = [{"type": "Literal", "value": {"field_type": "String", "value": p}} for p in parts]
    return {
        "type": "Function",
        "name": "file",
        "arguments": {"type": "ExpressionList", "children": arguments},
    }


def _structures(tree: Any) -> Iterator[str]:
    """The structure that `input('…')` of an INSERT is given."""
    if isinstance(tree, dict):
        function = tree.get("table_function")
        if isinstance(function, dict) and function.get("name") == "input":
            yield from _texts(function.get("arguments"))
        for child in list(tree.values()):
            yield from _structures(child)
    elif isinstance(tree, list):
        for child in tree:
            yield from _structures(child)


def _texts(tree: Any) -> Iterator[str]:
    """Every string literal below a node."""
    if isinstance(tree, dict):
        value = tree.get("value")
        if tree.get("type") == "Literal" and isinstance(value, dict):
            if isinstance(value.get("value"), str):
                yield value["value"]
            return
        for child in tree.values():
            yield from _texts(child)
    elif isinstance(tree, list):
        for child in tree:
            yield from _texts(child)


def _scalar(conn: Any, expression: str) -> str:
    return str(_json(conn, f"SELECT {expression}")[0][0])


def _json(conn: Any, sql: str) -> list[list[Any]]:
    data: list[list[Any]] = json.loads(conn.query(sql, "JSONCompact").bytes())["data"]
    return data


def _refused(error: Exception, files: Path) -> Refused:
    text = str(error).split(": In scope SELECT parseQueryToJSON(")[0].replace(str(files), "…")
    found = _CODE.search(text)
    return Refused(text, int(found[1]) if found else 1000)
