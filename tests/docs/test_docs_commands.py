"""What a page tells people to type exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from docs_pages import FENCE, ROOT, blocks, commands, generator, name, pages, shown_commands

SDK_SETTINGS = ROOT / "sdk" / "src" / "tocsin_sdk" / "settings.py"
TARGET = re.compile(r"\bmake ([a-z]+)\b")


@pytest.mark.parametrize("page", pages(), ids=name)
def test_every_command_and_flag_that_is_shown_exists(page: Path) -> None:
    known = commands()
    for command, flags in shown_commands(page.read_text("utf-8")):
        assert command in known, f"{name(page)}: tocsin {command}"
        unknown = set(flags) - known[command] - {"--help"}
        assert not unknown, f"{name(page)}: tocsin {command} {' '.join(sorted(unknown))}"


@pytest.mark.parametrize("page", pages(), ids=name)
def test_every_make_target_that_is_shown_exists(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.M))
    text = page.read_text("utf-8")
    code = [body for _, body in FENCE.findall(text)]
    code += re.findall(r"`([^`\n]+)`", FENCE.sub("", text))
    shown = {target for piece in code for target in TARGET.findall(piece)}
    assert shown <= targets, f"{name(page)}: {', '.join(sorted(shown - targets))}"


@pytest.mark.parametrize("page", pages(), ids=name)
def test_every_variable_that_is_shown_is_read(page: Path) -> None:
    generate = generator()
    shown = set(generate.VARIABLE.findall(page.read_text("utf-8")))
    of_the_sdk = set(generate.VARIABLE.findall(SDK_SETTINGS.read_text("utf-8")))
    of_the_tests = {"TOCSIN_TEST_CLICKHOUSE", "TOCSIN_TEST_POSTGRES"}
    assert shown <= set(generate.VARIABLES) | of_the_sdk | of_the_tests, name(page)


@pytest.mark.parametrize("page", pages(), ids=name)
def test_every_python_example_compiles(page: Path) -> None:
    for text in blocks(page, "python"):
        compile(text, name(page), "exec")


def test_every_benchmark_is_explained() -> None:
    source = (ROOT / "benchmarks" / "__main__.py").read_text("utf-8")
    table = re.search(r"BENCHMARKS = \{(.*?)\}", source, re.S)
    assert table is not None
    explained = re.findall(r"^## (\w+)$", (ROOT / "benchmarks" / "README.md").read_text(), re.M)
    assert set(re.findall(r'"(\w+)":', table[1])) == set(explained)
