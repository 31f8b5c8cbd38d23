"""Redaction: the engine and Python agree on every text, and nothing that is found survives."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from personal_data import CLEAN, FOUND

from tocsin.domain.checksums import (
    Cpf,
    FiscalCode,
    Iso7064,
    Key97,
    Letter,
    Luhn,
    Mod97,
    Prefix,
    Verhoeff,
    Weighted,
)
from tocsin.domain.recogniser import split
from tocsin.domain.recognisers import BY_NAME, CHECKED, GROUPS, RECOGNISERS, chosen
from tocsin.domain.redaction import clean
from tocsin.store.checks import TEXT, check_sql, digits_sql
from tocsin.store.clickhouse import ClickHouse, literal
from tocsin.store.otlp_kinds import PLANNING
from tocsin.store.redaction import clean_sql

Cleaner = Callable[[Sequence[str]], list[str]]
ROOMY = settings(
    max_examples=80, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)  # fmt: skip
PLANNED = ", ".join(f"{name} = {literal(value)}" for name, value in PLANNING.items())
SAMPLES = [(name, text, value) for name, found in FOUND.items() for text, value in found]

# What stands between values: prose, JSON, code, other scripts, and what is glued to them.
between = st.sampled_from([
    " ", ", ", "\n", '": "', "\\n", "\\n\\n", "/", "-", ".", "", ":", "=", "x", "7", "é", "電話",
    "'", "(", ") ",
    " phone: ", " ssn ", " BSN ", " api_key=", "Bearer ", "://a:",
])  # fmt: skip
pieces = st.one_of(
    st.sampled_from([value for _, _, value in SAMPLES]),
    st.sampled_from([text for _, text, _ in SAMPLES] + list(CLEAN)),
    st.sampled_from(RECOGNISERS).flatmap(lambda one: st.from_regex(one.own, fullmatch=True)),
    st.text(max_size=12),
    st.text("0123456789 -.+/()", max_size=24),
)
apart = st.sampled_from([" ", ", ", "\n", '": "', "\\n\\n", "; phone: ", " ssn ", " and "])


def texts(separators: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.lists(st.tuples(separators, pieces), min_size=1, max_size=5).map(
        lambda parts: "".join(text for part in parts for text in part).replace("\0", "")
    )


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouse]:
    path = tmp_path_factory.mktemp("redaction")
    made = ClickHouse.embedded(path / "clickhouse", memory_bytes=1 << 30)
    yield made
    made.close()


@pytest.fixture(scope="module")
def cleaned(engine: ClickHouse, tmp_path_factory: pytest.TempPathFactory) -> Cleaner:
    """Cleans texts in the engine, as a segment is: from a file, without lazy evaluation."""
    file = tmp_path_factory.mktemp("texts") / "texts.jsonl"
    source = f"file({literal(str(file))}, JSONEachRow, 't String')"
    sql = f"SELECT {clean_sql('t', RECOGNISERS)} FROM {source}"

    def run(given_texts: Sequence[str]) -> list[str]:
        file.write_text("".join(json.dumps({"t": text}) + "\n" for text in given_texts))
        return [row[0] for row in engine.rows(f"{sql} SETTINGS {PLANNED}")]

    return run


def test_every_recogniser_has_samples_here() -> None:
    assert set(FOUND) == set(BY_NAME)


@pytest.mark.parametrize(("name", "text", "value"), SAMPLES, ids=lambda part: part[:20])
def test_nothing_is_left_of_what_is_found(name: str, text: str, value: str) -> None:
    found = clean(text, chosen([name]))
    assert value not in found
    assert BY_NAME[name].replacement in found


@pytest.mark.parametrize("text", CLEAN)
def test_what_is_nobodys_stays_as_it_is(text: str) -> None:
    assert clean(text) == text


def test_the_engine_agrees_on_every_sample(cleaned: Cleaner) -> None:
    given_texts = [text for _, text, _ in SAMPLES] + list(CLEAN)
    assert cleaned(given_texts) == [clean(text) for text in given_texts]


@ROOMY
@given(st.lists(texts(between), min_size=1, max_size=25))
def test_the_engine_and_python_agree_on_any_text(cleaned: Cleaner, batch: list[str]) -> None:
    assert cleaned(batch) == [clean(text) for text in batch]


@settings(max_examples=600, deadline=None, derandomize=True)
@given(texts(apart))
def test_what_is_clean_stays_clean(text: str) -> None:
    once = clean(text)
    assert clean(once) == once


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.data())
def test_a_trigger_notices_whatever_a_form_matches(data: st.DataObject) -> None:
    recogniser = data.draw(st.sampled_from(RECOGNISERS))
    text = f" {data.draw(st.from_regex(recogniser.own, fullmatch=True))}"
    lead, value = split(re.search(recogniser.pairs, text, re.ASCII))  # type: ignore[arg-type]
    digits = sum(char in "0123456789" for char in text)
    if value and recogniser.accepts(lead, value):
        assert recogniser.occurs(text, digits)


def test_thousands_of_values_in_one_text_are_all_found(cleaned: Cleaner) -> None:
    text = " ".join(["jane@example.com"] * 3000)
    assert cleaned([text]) == [" ".join(["[email]"] * 3000)]


def test_groups_and_all_stand_for_their_members() -> None:
    assert chosen(["all"]) == RECOGNISERS
    assert {one.name for one in chosen(["payment", "email"])} == {*GROUPS["payment"], "email"}
    assert all(one.is_checked for one in CHECKED)


@pytest.mark.parametrize(
    ("check", "good"),
    [
        (Luhn(), "4111111111111111"),
        (Mod97(), "GB82WEST12345698765432"),
        (Key97((("2A", "19"), ("2B", "18"))), "255081416802538"),
        (Key97(prefixes=("", "2")), "85073003328"),
        (Weighted((9, 8, 7, 6, 5, 4, 3, 2, -1), 11), "111222333"),
        (Weighted((1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1), 10), "44051401359"),
        (Cpf(), "52998224725"),
        (Letter("TRWAGMYFPDXBNJZSQVHLCKE", "XYZ"), "X1234567L"),
        (Iso7064(), "86095742719"),
        (Verhoeff(), "234123412346"),
        (FiscalCode(), "RSSMRA85T10A562S"),
        (Prefix(("BG", "GB")), "AB123456C"),
    ],
    ids=lambda part: str(part)[:12],
)
def test_check_digits_hold_and_break_in_the_engine_as_in_python(
    engine: ClickHouse, check: object, good: str
) -> None:
    def moved(char: str) -> str:
        return str((int(char) + 1) % 10) if char.isdigit() else chr((ord(char) - 64) % 26 + 65)

    variants = [good] + [good[:i] + moved(c) + good[i + 1 :] for i, c in enumerate(good)]
    rows = engine.rows(
        f"SELECT arrayMap((c, ds) -> toUInt8({check_sql(check)}), [c], [{digits_sql(TEXT)}])[1]"  # type: ignore[arg-type]
        f" FROM (SELECT arrayJoin({variants}) AS c)"
    )
    verdicts = [bool(row[0]) for row in rows]
    assert verdicts == [check.holds(text) for text in variants]  # type: ignore[attr-defined]
    assert verdicts[0]
    assert not all(verdicts[1:]) or isinstance(check, Prefix)
