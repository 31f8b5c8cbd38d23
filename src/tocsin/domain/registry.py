"""One table of names per kind of plugin: explicit, complete, and clear when a name is wrong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar

from tocsin.domain.errors import TocsinError

T = TypeVar("T")


class UnknownKind(TocsinError):
    """A name nobody registered; the text lists the names that exist."""


class Registry(Mapping[str, T], Generic[T]):
    """Name -> plugin. Built-ins are added by their package's `__init__`, others by entry point.

    A name that is taken is an error at start-up, never a silent override.
    """

    def __init__(self, noun: str) -> None:
        self.noun = noun
        self._entries: dict[str, T] = {}

    def add(self, name: str, plugin: T) -> T:
        """Register `plugin` under `name`; ValueError when the name is taken."""
        if name in self._entries:
            raise ValueError(f"{self.noun} {name!r} is registered twice")
        self._entries[name] = plugin
        return plugin

    def __getitem__(self, name: str) -> T:
        try:
            return self._entries[name]
        except KeyError:
            known = ", ".join(sorted(self._entries)) or "none"
            raise UnknownKind(f"unknown {self.noun} {name!r}; known: {known}") from None

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)
