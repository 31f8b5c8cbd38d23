"""What can be said of each document in a file, one verdict a document: accepted or not, and why.

OpenSLO documents are held against OpenSLO (`tocsin.spec.openslo`); our own against their kind.
References between documents are not looked at; `tocsin plan` does that.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from tocsin.domain.errors import Problem
from tocsin.spec.documents import decode, unlisted
from tocsin.spec.openslo.verdict import Stage, Verdict, compat, strict
from tocsin.spec.yaml import Located, read

_OPENSLO = ("openslo/", "openslo.com/")


@runtime_checkable
class _OfPlugins(Protocol):
    """A document with settings that a plugin declares."""

    def examine(self, located: Located) -> tuple[list[Problem], list[Problem]]: ...


@dataclass(frozen=True, slots=True)
class Inspected:
    """One document and its verdict."""

    located: Located
    verdict: Verdict

    def record(self) -> dict[str, Any]:
        """As JSON: where it is, what it is, the verdict, and the property paths at fault."""
        found = self.verdict
        return {
            "file": self.located.file,
            "line": self.located.line,
            "apiVersion": self._member("apiVersion"),
            "kind": self._member("kind"),
            "name": self._name(),
            "verdict": "accept" if found.is_accepted else "reject",
            "stage": found.stage,
            "paths": found.paths,
            "faults": {path: list(texts) for path, texts in found.faults.items()},
            "reason": found.reason,
            "notes": {path: list(texts) for path, texts in found.notes.items()},
        }

    @property
    def title(self) -> str:
        """How people call it: "SLO/support-availability", as far as it has a kind and a name."""
        return f"{self._member('kind') or 'document'}/{self._name() or '?'}"

    def _name(self) -> str | None:
        metadata = self._data.get("metadata")
        name = metadata.get("name") if isinstance(metadata, dict) else None
        return name if isinstance(name, str) else None

    def _member(self, name: str) -> str | None:
        value = self._data.get(name)
        return value if isinstance(value, str) else None

    @property
    def _data(self) -> dict[str, Any]:
        return self.located.data if isinstance(self.located.data, dict) else {}


def inspect(paths: Iterable[Path], *, by_the_book: bool) -> tuple[list[Inspected], list[Problem]]:
    """The verdict on every document under `paths`, and what could not be read at all.

    by_the_book: hold OpenSLO documents against the reference validator, word for word.
    """
    wholes, problems = read(paths)
    documents = [document for whole in wholes for document in unlisted(whole)]
    return [Inspected(one, _verdict(one, by_the_book=by_the_book)) for one in documents], problems


def _verdict(document: Located, *, by_the_book: bool) -> Verdict:
    data = document.data
    version = data.get("apiVersion") if isinstance(data, dict) else None
    if isinstance(version, str) and version.startswith("tocsin/"):
        found = decode(document)
        problems, warnings = list(found.problems), list(found.warnings)
        if found.document is not None and isinstance(found.document.spec, _OfPlugins):
            faults, notes = found.document.spec.examine(document)
            problems, warnings = problems + faults, warnings + notes
        stage: Stage | None = "validate" if problems else None
        return Verdict(stage, _by_path(problems), notes=_by_path(warnings))
    is_openslo = isinstance(version, str) and version.startswith(_OPENSLO)
    return strict(data) if by_the_book or not is_openslo else compat(data)


def _by_path(problems: Iterable[Problem]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for problem in problems:
        text = problem.message + (f" ({problem.fix})" if problem.fix else "")
        found[problem.path] = (*found.get(problem.path, ()), text)
    return found
