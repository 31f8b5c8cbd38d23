"""What differs between two sets of documents: which documents, and which fields in them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any, Literal

from tocsin.spec.yaml import Place, spell

What = Literal["added", "changed", "removed"]
Key = tuple[str, str, str]

_ABSENT: Any = object()


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field: where it is, what it was, what it is. `old` of an added field is None."""

    path: str
    what: What
    old: Any = None
    new: Any = None


@dataclass(frozen=True, slots=True)
class DocumentChange:
    """One document, and for a changed one every field that differs."""

    what: What
    api_version: str
    kind: str
    name: str
    fields: tuple[FieldChange, ...] = ()

    @property
    def key(self) -> str:
        """How people call the document: "SLO/support-availability"."""
        return f"{self.kind}/{self.name}"


def compare(old: Mapping[Key, Any], new: Mapping[Key, Any]) -> tuple[DocumentChange, ...]:
    """Every difference, in the order of the keys (apiVersion, kind, name).

    old, new: plain data of whole documents. The order of keys in a mapping means nothing; the order
    of a list does, except that entries with names are compared by name.
    """
    changes = []
    for key in sorted({*old, *new}):
        if key not in old:
            changes.append(DocumentChange("added", *key))
        elif key not in new:
            changes.append(DocumentChange("removed", *key))
        elif fields := tuple(_fields((), old[key], new[key])):
            changes.append(DocumentChange("changed", *key, fields))
    return tuple(changes)


# --------------------------------------------------------------------------------------------


def _fields(place: Place, old: Any, new: Any) -> Iterator[FieldChange]:
    if isinstance(old, dict) and isinstance(new, dict):
        for name in [*old, *(name for name in new if name not in old)]:
            yield from _fields((*place, name), old.get(name, _ABSENT), new.get(name, _ABSENT))
    elif _is_list_of_mappings(old) and _is_list_of_mappings(new):
        yield from _named(place, old, new) if _has_names(old, new) else _listed(place, old, new)
    elif old is _ABSENT:
        yield FieldChange(spell(place), "added", None, new)
    elif new is _ABSENT:
        yield FieldChange(spell(place), "removed", old, None)
    elif _text(old) != _text(new):
        yield FieldChange(spell(place), "changed", old, new)


def _named(place: Place, old: list[Any], new: list[Any]) -> Iterator[FieldChange]:
    """Entries such as routes, by their names; a change of order is told once, as such."""
    before = {item["name"]: item for item in old}
    after = {item["name"]: item for item in new}
    for name in [*before, *(name for name in after if name not in before)]:
        inside = (*place, f"[{name}]")
        for change in _fields(inside, before.get(name, _ABSENT), after.get(name, _ABSENT)):
            path = change.path.replace(".[", "[")
            yield FieldChange(path, change.what, change.old, change.new)
    kept_before = [name for name in before if name in after]
    kept_after = [name for name in after if name in before]
    if kept_before != kept_after:
        yield FieldChange(f"{spell(place)} (order)", "changed", kept_before, kept_after)


def _listed(place: Place, old: list[Any], new: list[Any]) -> Iterator[FieldChange]:
    """Entries without names: what was inserted, taken out, or changed in place."""
    texts = [[_text(item) for item in items] for items in (old, new)]
    for how, a, b, c, d in SequenceMatcher(None, texts[0], texts[1], False).get_opcodes():
        if how == "equal":
            continue
        both = min(b - a, d - c)
        for i in range(both):
            yield from _fields((*place, c + i), old[a + i], new[c + i])
        for i in range(a + both, b):
            yield FieldChange(spell((*place, i)), "removed", old[i], None)
        for i in range(c + both, d):
            yield FieldChange(spell((*place, i)), "added", None, new[i])


def _text(value: Any) -> str:
    """As it is written: to Python false is 0, to a reader of the documents it is not."""
    return json.dumps(value, sort_keys=True)


def _is_list_of_mappings(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(v, dict) for v in value)


def _has_names(*lists: list[Any]) -> bool:
    """Whether every entry of every list has a name of its own."""
    for items in lists:
        names = [item.get("name") for item in items]
        if not all(isinstance(name, str) and name for name in names):
            return False
        if len(set(names)) != len(names):
            return False
    return True
