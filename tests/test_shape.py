"""The size of things: a module one can read in a sitting, a function one can hold in mind."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = (ROOT / "src" / "tocsin", ROOT / "sdk" / "src" / "tocsin_sdk")
MODULES = sorted(
    path for source in SOURCES for path in source.rglob("*.py") if "migrations" not in path.parts
)
MAX_MODULE_LINES = 500
MAX_FUNCTION_LINES = 60
MAX_DEPTH = 3
DRAWERS = {"utils.py", "helpers.py", "common.py", "base.py", "manager.py", "misc.py"}


def source_of(path: Path) -> Path:
    return next(source for source in SOURCES if path.is_relative_to(source))


def name_of(path: Path) -> str:
    return str(path.relative_to(source_of(path).parent))


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_can_be_read_in_one_sitting(path: Path) -> None:
    lines = len(path.read_text().splitlines())
    assert lines <= MAX_MODULE_LINES, f"{lines} lines: ask what this module really is"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_function_can_be_held_in_mind(path: Path) -> None:
    long = [
        f"{node.name} has {node.end_lineno - node.lineno + 1} lines"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 > MAX_FUNCTION_LINES
    ]
    assert not long, long


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_has_a_docstring_and_a_name_that_says_something(path: Path) -> None:
    assert path.name not in DRAWERS, "name the thing, not the drawer"
    assert len(path.relative_to(source_of(path)).parts) <= MAX_DEPTH, "packages nest too deep"
    tree = ast.parse(path.read_text())
    assert not tree.body or ast.get_docstring(tree), "say in one sentence what this module is for"


@pytest.mark.parametrize("path", [p for p in MODULES if "store" in p.parts], ids=name_of)
def test_sql_never_asks_the_database_what_time_it_is(path: Path) -> None:
    texts = [
        node.value.lower()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    for call in ("now()", "now64(", "current_timestamp", "today()", "yesterday()"):
        assert not any(call in text for text in texts), f"{call}: time is a query parameter"
