"""Reference pages say what the code says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from docs_pages import ROOT, blocks, commands, generator, name, pages

from tocsin.engine.settings import Settings, from_environment
from tocsin.indicators.catalogue import NAMES
from tocsin.indicators.language.vocabulary import (
    ENTRIES,
    FIELDS,
    FUNCTIONS,
    LOOKUPS,
    WORDS,
)
from tocsin.indicators.limits import PRESETS
from tocsin.intake.bodies import BodyLimits
from tocsin.intake.front import routes
from tocsin.intake.rest import MAX_ROWS
from tocsin.routing.simulate import run_tests
from tocsin.routing.tree import compile_policy
from tocsin.spec.desired import load
from tocsin.spec.documents import KINDS
from tocsin.spec.gates import ON_DEMAND
from tocsin.spec.health import SHADOW
from tocsin.store.otlp_kinds import TABLES as SIGNAL_TABLES
from tocsin.store.schema import TABLES, Retention
from tocsin.store.segments import Limits
from tocsin.store.tables import METADATA

REFERENCE = ROOT / "docs" / "reference"
INTAKE = REFERENCE / "intake.md"
GLOSSARY = REFERENCE / "glossary.md"
WITH_DOCUMENTS = [
    page for page in pages() if any("apiVersion:" in text for text in blocks(page, "yaml"))
]
MIB = 1 << 20


class NoIntake:
    """Stands where an intake would; making routes asks nothing of it."""


@pytest.mark.parametrize("file", sorted(generator().pages()))
def test_generated_pages_are_up_to_date(file: str) -> None:
    assert (REFERENCE / file).read_text("utf-8") == generator().pages()[file], "run make docs"


def test_every_command_has_a_section() -> None:
    text = (REFERENCE / "cli.md").read_text("utf-8")
    assert re.findall(r"^## tocsin (\w+(?: \w+)?)$", text, re.M) == list(commands())


@pytest.mark.parametrize("variable", sorted(generator().VARIABLES))
def test_every_documented_variable_sets_its_field(variable: str) -> None:
    about = generator().VARIABLES[variable]
    value: Any = getattr(from_environment({variable: about.example}), about.field)
    assert value != getattr(from_environment({}), about.field)
    assert f"`{variable}`" in (REFERENCE / "settings.md").read_text("utf-8")


def test_defaults_without_environment_are_those_of_settings() -> None:
    assert from_environment({}) == Settings(data_dir=Path("tocsin-data"))


@pytest.mark.parametrize("page", WITH_DOCUMENTS, ids=name)
def test_documents_of_a_page_load_together(page: Path, tmp_path: Path) -> None:
    documents = [text for text in blocks(page, "yaml") if "apiVersion:" in text]
    (tmp_path / "page.yaml").write_text("\n---\n".join(documents), encoding="utf-8")
    desired = load([tmp_path])
    assert desired.documents
    assert not [
        warning for warning in desired.warnings if warning.message not in (ON_DEMAND, SHADOW)
    ]
    assert not [one for one in run_tests(compile_policy(desired.routing)) if not one.passed]


def test_every_endpoint_of_intake_is_documented() -> None:
    text = INTAKE.read_text("utf-8")
    for route in routes(NoIntake()):  # type: ignore[arg-type]
        if not route.path.startswith("/opentelemetry.proto.collector."):
            assert f"`{route.path}`" in text, route.path


def test_limits_of_intake_are_those_of_the_code() -> None:
    text, limits, bodies = INTAKE.read_text("utf-8"), Limits(), BodyLimits()
    assert f"| {bodies.wire_bytes // MIB} MiB |" in text
    assert f"| {bodies.unpacked_bytes // MIB} MiB |" in text
    assert f"| {MAX_ROWS:,} |" in text
    assert f"| {limits.backlog_bytes // (1 << 30)} GiB |" in text
    assert f"below {limits.min_free_bytes // MIB} MiB nothing" in text


def test_retention_of_the_operating_page_is_that_of_the_store() -> None:
    page = (ROOT / "docs" / "operate" / "README.md").read_text("utf-8")
    text, keep = " ".join(page.split()), Retention()
    assert keep.raw_days == keep.minutes_days
    assert f"kept for {keep.raw_days} days" in text
    assert f"rollup per hour for {keep.hours_days}." in text


def test_glossary_has_every_table_and_every_kind() -> None:
    carried = set(re.findall(r"`(\w+)`", GLOSSARY.read_text("utf-8")))
    tables = {table.name for table in (*TABLES, *SIGNAL_TABLES)} | set(METADATA.tables)
    assert tables | {kind.name for kind in KINDS} <= carried


def test_glossary_explains_a_word_once() -> None:
    words = re.findall(r"^\| ([^|]+?) \|", GLOSSARY.read_text("utf-8"), re.M)[1:]
    assert len(words) == len(set(words))


def test_the_guide_of_indicators_has_every_field_and_every_function() -> None:
    text = (REFERENCE.parent / "guides" / "indicators.md").read_text("utf-8")
    told = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`]*)`", text))))
    assert {*FIELDS, *ENTRIES, *LOOKUPS, *FUNCTIONS, *WORDS} <= told
    assert set(NAMES) <= told
    for preset, held in PRESETS.items():
        assert f"| `{preset}` | {held.about} |" in text
