"""Reads JSON-like values into declared structures the way Go's encoding/json does.

The reference validator is written in Go and rejects a document that does not decode, so its rules
of decoding are part of the verdict: names match whatever their case, an unknown name is an error,
`null` leaves a value as it was, a missing value is the zero of its type, and nothing is converted.

The zero values are "", 0 and False; None for what may be absent (pointers, lists, maps); a `Fields`
of zeros for a structure. A structure decodes to a `Fields` with every declared field. Fields of
embedded structures live in a `Fields` of their own, None while none of them was given.

Source: Go 1.25, package encoding/json: Unmarshal, Decoder.DisallowUnknownFields; fmt.Sscanf.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from tocsin.spec.yaml import Place, spell

_NUMBERED = re.compile(r"\s*([+-]?[0-9]+)\s*(\S+)")
_INT64 = 1 << 63


class Undecodable(ValueError):
    """A value that the declared structure cannot hold: where it stands, and why not."""

    def __init__(self, place: Place, message: str) -> None:
        self.place = place
        super().__init__(f"{spell(place) or 'the document'} {message}")


class UnknownField(Undecodable):
    """A name that the structure does not declare."""


class Fields(dict[str, Any]):
    """A decoded structure, told apart from a decoded map."""


class Type(Protocol):
    """How one value is read. zero: of a field that is not given, or given as null."""

    def zero(self) -> Any:
        """The value of a field that is not given."""
        ...

    def decode(self, value: Any, at: Place) -> Any:
        """`value`, which is not null, as this type. Undecodable when it is of another."""
        ...


@dataclass(frozen=True, slots=True)
class Scalar:
    """Text, truth or a number. wanted: what it is called in errors."""

    wanted: str
    empty: Any
    accepts: Callable[[Any], bool]
    read: Callable[[Any], Any] = lambda value: value

    def zero(self) -> Any:
        """See Type."""
        return self.empty

    def decode(self, value: Any, at: Place) -> Any:
        """See Type."""
        if not self.accepts(value):
            raise Undecodable(at, f"must be {self.wanted}")
        try:
            return self.read(value)
        except ValueError as error:
            raise Undecodable(at, str(error)) from None


@dataclass(frozen=True, slots=True)
class Struct:
    """A structure with declared fields. embedded: structures whose fields stand among them."""

    fields: Mapping[str, Type]
    embedded: Mapping[str, Struct] = field(default_factory=dict)

    def zero(self) -> Fields:
        """See Type."""
        own = {name: kind.zero() for name, kind in self.fields.items()}
        return Fields({**own, **dict.fromkeys(self.embedded)})

    def decode(self, value: Any, at: Place) -> Fields:
        """See Type."""
        if not isinstance(value, dict):
            raise Undecodable(at, "must be a mapping")
        found = self.zero()
        for name, member in value.items():
            self._put(found, name, member, (*at, name))
        return found

    def _put(self, found: Fields, name: str, member: Any, at: Place) -> None:
        own = _named(self.fields, name)
        if own is not None:
            kind = self.fields[own]
            if member is not None or isinstance(kind, Raw):
                found[own] = kind.decode(member, at)
            elif not isinstance(kind, Scalar | Struct):
                found[own] = None
            return
        for part, struct in self.embedded.items():
            if _named(struct.fields, name) is not None:
                found[part] = struct.zero() if found[part] is None else found[part]
                struct._put(found[part], name, member, at)
                return
        raise UnknownField(at, "is not a field")


@dataclass(frozen=True, slots=True)
class Pointer:
    """A value that may be absent."""

    to: Type

    def zero(self) -> None:
        """See Type."""

    def decode(self, value: Any, at: Place) -> Any:
        """See Type."""
        return self.to.decode(value, at)


@dataclass(frozen=True, slots=True)
class List:
    """A list of values of one type."""

    of: Type

    def zero(self) -> None:
        """See Type."""

    def decode(self, value: Any, at: Place) -> list[Any]:
        """See Type."""
        if not isinstance(value, list):
            raise Undecodable(at, "must be a list")
        return [
            self.of.zero() if item is None else self.of.decode(item, (*at, place))
            for place, item in enumerate(value)
        ]


@dataclass(frozen=True, slots=True)
class Map:
    """A mapping from any name to values of one type."""

    of: Type

    def zero(self) -> None:
        """See Type."""

    def decode(self, value: Any, at: Place) -> dict[str, Any]:
        """See Type."""
        if not isinstance(value, dict):
            raise Undecodable(at, "must be a mapping")
        return {
            name: self.of.zero() if item is None else self.of.decode(item, (*at, name))
            for name, item in value.items()
        }


class Raw:
    """Any value, kept as it is in a tuple of one; null counts as a value."""

    def zero(self) -> None:
        """See Type."""

    def decode(self, value: Any, at: Place) -> tuple[Any]:
        """See Type."""
        return (value,)


class Anything:
    """Any value inside a free-form map."""

    def zero(self) -> None:
        """See Type."""

    def decode(self, value: Any, at: Place) -> Any:
        """See Type."""
        return value


class Texts:
    """One text, or a list of texts."""

    def zero(self) -> None:
        """See Type."""

    def decode(self, value: Any, at: Place) -> list[str]:
        """See Type."""
        texts = [value] if isinstance(value, str) else value
        if isinstance(texts, list) and all(item is None or isinstance(item, str) for item in texts):
            return [item or "" for item in texts]
        raise Undecodable(at, "must be text or a list of texts")


class Duration:
    """A time such as "28d" as `Fields` of value and unit; the rules say which units there are."""

    def zero(self) -> Fields:
        """See Type."""
        return Fields(value=0, unit="")

    def decode(self, value: Any, at: Place) -> Fields:
        """See Type."""
        if value == "":
            return self.zero()
        found = _NUMBERED.match(value) if isinstance(value, str) else None
        if found is None or not -_INT64 <= int(found[1]) < _INT64:
            raise Undecodable(at, "must be a duration such as 5m, 28d or 1M")
        return Fields(value=int(found[1]), unit=found[2])


def is_empty(value: Any) -> bool:
    """Whether a decoded value is the zero of its type.

    A structure is when all its fields are, so that `metadata: {}` counts as missing. A list or map
    that was given is not, however empty.
    """
    if isinstance(value, Fields):
        return all(is_empty(member) for member in value.values())
    return value is None or (isinstance(value, str | int | float) and not value)


def one_of(what: str, words: tuple[str, ...]) -> Scalar:
    """A text that does not even decode when it is none of `words`."""

    def read(text: str) -> str:
        if text not in words:
            raise ValueError(f"{text!r} is no {what} of OpenSLO ({', '.join(words)})")
        return text

    return Scalar("text", "", lambda value: isinstance(value, str), read)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_whole(value: Any) -> bool:
    return _is_number(value) and float(value).is_integer() and -_INT64 <= value < _INT64


TEXT = Scalar("text", "", lambda value: isinstance(value, str))
TRUTH = Scalar("true or false", False, lambda value: isinstance(value, bool))
NUMBER = Scalar("a number", 0.0, _is_number, float)
WHOLE = Scalar("a whole number", 0, _is_whole, int)


def _named(fields: Mapping[str, Any], name: str) -> str | None:
    """The declared field that `name` means: the same, or the same but for its case."""
    if name in fields:
        return name
    folded = name.casefold()
    return next((known for known in fields if known.casefold() == folded), None)
