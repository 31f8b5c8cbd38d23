"""Expressions say the same in SQL, over a file, and told directly; their texts are only values."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest
from expression_build import CHARACTERS, START, N, fill, known, of_type, quoted, told
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from telemetry_build import FOREVER, clock

from tocsin.domain.expressions import Field
from tocsin.engine.predicates import evaluate
from tocsin.indicators.language.parser import parse
from tocsin.store.conditions import score_joins
from tocsin.store.expressions import Compiler
from tocsin.store.telemetry import Telemetry

FUZZ = settings(
    deadline=None, max_examples=12, derandomize=True, database=None,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Telemetry]:
    with Telemetry.open(tmp_path_factory.mktemp("x"), clock(), retention=FOREVER) as made:
        fill(made)
        yield made


def in_sql(store: Telemetry, *expressions: Any) -> list[list[Any]]:
    """The values of every expression for every call, by the store."""
    compiler = Compiler()
    columns = ", ".join(
        f"{compiler.sql(expression)} AS v{i}" for i, expression in enumerate(expressions)
    )
    maps, joins = score_joins(compiler, ["judge"], f"toDateTime64({START} * 60, 6, 'UTC')")
    rows = store._engine.rows(
        f"{maps} SELECT calls.span_id, {columns} FROM tocsin.calls AS calls{joins}"
        " ORDER BY calls.span_id",
        compiler.parameters,
    )
    assert len(rows) == N
    return [[plain(row[1 + i]) for row in rows] for i in range(len(expressions))]


def in_arrow(expression: Any) -> list[Any]:
    """The same over Arrow."""
    kinds = {"truth": pa.bool_(), "text": pa.string()}

    def column(field: Field) -> Any:
        at = (field.name, field.key) if field.key else field.name
        values = [known(number).get(at) for number in range(N)]
        return pa.array(values, kinds.get(field.type, pa.float64()))

    return [plain(value) for value in evaluate(expression, column, N).to_pylist()]


def plain(value: Any) -> Any:
    """NaN, which is not equal to itself, as a text."""
    return "nan" if isinstance(value, float) and math.isnan(value) else value


@FUZZ
@given(st.lists(of_type("truth", 4), min_size=25, max_size=25))
def test_sql_and_arrow_say_what_an_expression_says(store: Telemetry, texts: list[str]) -> None:
    expressions = [parse(text) for text in texts]
    for text, expression, values in zip(
        texts, expressions, in_sql(store, *expressions), strict=True
    ):
        want = [plain(told(expression, known(number))) for number in range(N)]
        assert values == want, text
        assert in_arrow(expression) == want, text


@FUZZ
@given(st.lists(of_type("number", 3), min_size=25, max_size=25))
def test_so_do_numbers(store: Telemetry, texts: list[str]) -> None:
    expressions = [parse(text, "number") for text in texts]
    for text, expression, values in zip(
        texts, expressions, in_sql(store, *expressions), strict=True
    ):
        want = [plain(told(expression, known(number))) for number in range(N)]
        assert values == want, text
        assert in_arrow(expression) == want, text


@given(st.text(CHARACTERS, max_size=12), st.text(min_size=1, max_size=12))
@settings(deadline=None, max_examples=300, derandomize=True, database=None)
def test_hostile_texts_are_values_and_never_sql(text: str, key: str) -> None:
    """The SQL of an expression does not depend on the texts in it."""

    def sql(value: str, name: str) -> str:
        written = (
            f"attributes[{quoted(name)}] = {quoted(value)} or model in ({quoted(value)}, 'q')"
            f" or contains(output, {quoted(value)}) or score({quoted(name)}) > 1"
            f" or label({quoted(name)}) = 'z'"
        )
        return re.sub(r"\{x\d+:", "{x:", Compiler().sql(parse(written)))

    assert sql(text, key) == sql("harmless", "name")


def test_hostile_texts_find_what_they_say(store: Telemetry) -> None:
    for text in ("' OR 1 = 1 --", "'); DROP TABLE tocsin.calls; --", "{x0:String}", "\\", "é)("):
        found = in_sql(store, parse(f"env = {quoted(text)}"))[0]
        assert found == [told(parse(f"env = {quoted(text)}"), known(n)) for n in range(N)]
    assert store._engine.rows("SELECT count() FROM tocsin.calls") == [(N,)]
