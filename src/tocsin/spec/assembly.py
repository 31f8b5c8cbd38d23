"""The documents of one configuration while they are joined."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from tocsin.domain.errors import Problem
from tocsin.spec.documents import Document


@dataclass(slots=True)
class Assembly:
    """The documents of one configuration, and what was found wrong while they were joined."""

    documents: Sequence[Document]
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)

    def of(self, kind: str) -> Iterator[Document]:
        """The documents of one kind, in the order of their names."""
        return (document for document in self.documents if document.kind.name == kind)

    def named(self, kind: str, name: str) -> Document | None:
        """The document of a kind that is called so, if there is one."""
        return next((document for document in self.of(kind) if document.name == name), None)
