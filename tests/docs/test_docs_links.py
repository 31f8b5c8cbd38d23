"""What a page points at exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from docs_pages import FENCE, ROOT, name, pages, without_code

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
# Paths from the top of the repository, and the short form that names a room of the package.
PATH = re.compile(r"`((?:docs|src|tests|benchmarks|examples|\.ci)/[\w./-]+)`")
ROOM = re.compile(
    r"`((?:domain|indicators|assess|alerts|routing|intake|store|delivery|spec|engine|web|demo)"
    r"/[\w/]+\.\w+)`"
)
MACHINE = re.compile(r"(?<![\w.])/(?:work|root|home|Users|tmp)/")


def anchors(text: str) -> set[str]:
    """The fragments that headings of a page make."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.M)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


@pytest.mark.parametrize("page", pages(), ids=name)
def test_every_relative_link_resolves(page: Path) -> None:
    for target in LINK.findall(without_code(page.read_text("utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, fragment = target.partition("#")
        goal = (page.parent / path).resolve() if path else page
        assert goal.exists(), f"{name(page)}: {target}"
        if fragment:
            assert fragment in anchors(goal.read_text("utf-8")), f"{name(page)}: {target}"


@pytest.mark.parametrize("page", pages(), ids=name)
def test_every_path_in_code_exists(page: Path) -> None:
    text = FENCE.sub("", page.read_text("utf-8"))
    found = [ROOT / path for path in PATH.findall(text)]
    found += [ROOT / "src" / "tocsin" / path for path in ROOM.findall(text)]
    missing = [name(path) for path in found if not path.exists()]
    assert not missing, f"{name(page)} names {', '.join(missing)}"


@pytest.mark.parametrize("page", pages(), ids=name)
def test_no_page_tells_about_one_machine(page: Path) -> None:
    assert not MACHINE.search(page.read_text("utf-8"))


def test_every_decision_is_in_the_index_in_order() -> None:
    folder = ROOT / "docs" / "decisions"
    listed = re.findall(r"\]\((\d{4}-[\w-]+\.md)\)", (folder / "README.md").read_text("utf-8"))
    assert listed == sorted(path.name for path in folder.glob("[0-9]*.md"))
