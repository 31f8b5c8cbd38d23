"""The project's own Markdown pages, and what can be taken out of them."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.M | re.S)
_FOLDERS = ("docs", "benchmarks", "examples", "src", "sdk")
_COMMAND = re.compile(r"(?:^|[\s`/(])tocsin ([a-z]+)\b([^`\n#|]*)")


def pages() -> list[Path]:
    """Every Markdown page of the project."""
    found = list(ROOT.glob("*.md"))
    for folder in _FOLDERS:
        found += (ROOT / folder).rglob("*.md")
    return sorted(found)


def name(path: Path) -> str:
    """How a page is called in a test's report."""
    return str(path.relative_to(ROOT))


def blocks(path: Path, language: str) -> list[str]:
    """The fenced blocks of a language."""
    return [text for kind, text in FENCE.findall(path.read_text("utf-8")) if kind == language]


def without_code(text: str) -> str:
    """Prose only: no fenced blocks and no code between backticks."""
    return re.sub(r"`[^`\n]*`", "", FENCE.sub("", text))


def shown_commands(text: str) -> Iterator[tuple[str, list[str]]]:
    """Every `tocsin <command> …` in code, with the flags given to it."""
    code = [body for _, body in FENCE.findall(text)]
    code += re.findall(r"`([^`\n]+)`", FENCE.sub("", text))
    for piece in code:
        for command, rest in _COMMAND.findall(piece.replace("\\\n", " ")):
            word = re.match(r"\s*([a-z]+)\b", rest)
            if word and f"{command} {word[1]}" in commands():
                command = f"{command} {word[1]}"
            yield command, re.findall(r"--[a-z][a-z-]*", rest)


def commands() -> Mapping[str, frozenset[str]]:
    """Every command of the command line -> its flags."""
    return {
        key: frozenset(
            flag for option in command.params for flag in (*option.opts, *option.secondary_opts)
        )
        for key, command in generator().commands()
    }


@cache
def generator() -> ModuleType:
    """`docs/generate.py` as a module."""
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up by name
    spec.loader.exec_module(module)
    return module
