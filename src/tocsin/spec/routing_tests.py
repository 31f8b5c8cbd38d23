"""The tests beside routing rules, for running them: one that cannot be read fails, alone.

`load` refuses a whole configuration for it, as a server should. Whoever runs the tests wants to
know of the others as well.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from tocsin.routing.simulate import TestResult
from tocsin.spec.desired import Desired, assembled
from tocsin.spec.documents import unlisted
from tocsin.spec.routes import TestShape
from tocsin.spec.shape import fit
from tocsin.spec.yaml import Located, Place, read

_TESTS = ("spec", "tests")


def load_with_tests(path: Path) -> tuple[Desired, list[TestResult]]:
    """The configuration under `path` without the tests that cannot be read, and those as failures.

    Raises SpecError for every other problem.
    """
    located, problems = read([path])
    found, failed = [], list[TestResult]()
    for one in (one for whole in located for one in unlisted(whole)):
        kept, refused = _readable(one)
        found.append(kept)
        failed += refused
    return assembled(found, problems, None, str(path)), failed


def _readable(document: Located) -> tuple[Located, list[TestResult]]:
    """A document with its readable tests only; the lines of those stay what they are."""
    is_routing = isinstance(document.data, dict) and document.data.get("kind") == "Routing"
    spec = document.data.get("spec") if is_routing else None
    tests = spec.get("tests") if isinstance(spec, dict) else None
    if not isinstance(spec, dict) or not isinstance(tests, list):
        return document, []
    kept: list[int] = []
    failed = []
    for number, test in enumerate(tests):
        _, problems = fit(TestShape, test, document, (*_TESTS, number))
        if not problems:
            kept.append(number)
            continue
        reason = "; ".join(
            f"{p.path}: {p.message}{f' ({p.fix})' if p.fix else ''}" for p in problems
        )
        name = test.get("name") if isinstance(test, dict) else None
        where = document.where((*_TESTS, number))
        failed.append(TestResult(str(name or f"tests[{number}]"), False, reason, where=where))
    if not failed:
        return document, []
    data = {**document.data, "spec": {**spec, "tests": [tests[number] for number in kept]}}
    return replace(document, data=data, lines=dict(_moved(document, kept))), failed


def _moved(document: Located, kept: list[int]) -> Iterable[tuple[Place, int]]:
    """The lines of a document whose tests are only those of these numbers."""
    numbers: dict[Any, int] = {before: after for after, before in enumerate(kept)}
    for place, line in document.lines.items():
        if place[:2] != _TESTS or len(place) == 2:
            yield place, line
        elif place[2] in numbers:
            yield (*_TESTS, numbers[place[2]], *place[3:]), line
