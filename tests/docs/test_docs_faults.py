"""Every test that the table of faults names is there; a renamed one is found here."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", (ROOT / "docs/operate/faults.md").read_text())


@cache
def names_in(path: str) -> frozenset[str]:
    nodes = ast.walk(ast.parse((ROOT / path).read_text()))
    return frozenset(node.name for node in nodes if isinstance(node, ast.FunctionDef))


@pytest.mark.parametrize(("path", "test"), NAMED)
def test_every_test_that_holds_a_fault_exists(path: str, test: str) -> None:
    assert test in names_in(path)


def test_the_table_names_a_test_for_every_fault() -> None:
    lines = (ROOT / "docs/operate/faults.md").read_text().splitlines()
    rows = [line for line in lines if line.startswith("| ")][1:]
    assert len(rows) > 30
    assert all("::test_" in row for row in rows)
