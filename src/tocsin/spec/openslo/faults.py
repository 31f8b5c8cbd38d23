"""Collects what is wrong with a decoded document, by property path, and the rules of single values.

A path reads like `spec.objectives[0].target`; a name with characters that mean something in a path
is written `['like this']`. Every check says whether it passed, so that a caller can stop where
the reference stops.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from tocsin.spec.openslo.decoding import is_empty

MAX_DESCRIPTION = 1050
_SPECIAL = re.compile(r"[.\[\]'*$ \t\n\r]")
_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_DNS_SUBDOMAIN = re.compile(rf"{_DNS_LABEL.pattern}(\.{_DNS_LABEL.pattern})*")
_QUALIFIED = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_DATE_TIME = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2}) ([0-9]{1,2}):([0-9]{2}):([0-9]{2})([.,][0-9]+)?"
)
_ESCAPES = {"\\": "\\\\", "'": "\\'", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def below(path: str, name: str) -> str:
    """The path of member `name` of what stands at `path`."""
    if _SPECIAL.search(name) or not name:
        return f"{path}['{''.join(_ESCAPES.get(char, char) for char in name)}']"
    return f"{path}.{name}" if path else name


@dataclass(slots=True)
class Faults:
    """What is wrong, by path, in the order it was found."""

    found: dict[str, list[str]] = field(default_factory=dict)

    def add(self, path: str, message: str) -> bool:
        """Note a fault. Always false, for the caller to return."""
        self.found.setdefault(path, []).append(message)
        return False

    def required(self, path: str, value: Any) -> bool:
        """It must not be missing or empty."""
        return not is_empty(value) or self.add(path, "is required and was empty")

    def exactly_one(self, path: str, given: Mapping[str, Any], *, required: bool = True) -> bool:
        """Of the named values one is given; none at all passes unless `required`."""
        there = [name for name, value in given.items() if not is_empty(value)]
        if len(there) == 1 or (not there and not required):
            return True
        names = ", ".join(there or given)
        return self.add(path, f"exactly one of {names} must be given")

    def one_of(self, path: str, value: str, words: Sequence[str]) -> bool:
        """It is one of `words`."""
        return value in words or self.add(path, f"must be one of {', '.join(words)}")

    def at_most(self, path: str, text: str, limit: int) -> bool:
        """It has at most `limit` characters."""
        return len(text) <= limit or self.add(path, f"must not be longer than {limit} characters")

    def described(self, path: str, spec: Mapping[str, Any]) -> bool:
        """Its description is not too long."""
        return self.at_most(f"{path}.description", spec["description"], MAX_DESCRIPTION)

    def dns_label(self, path: str, text: str) -> bool:
        """A name in the sense of RFC 1123: lower-case letters, digits, dashes; at most 63."""
        if 1 <= len(text) <= 63 and _DNS_LABEL.fullmatch(text):
            return True
        return self.add(path, "must be 1 to 63 lower-case letters, digits and dashes (RFC 1123)")

    def qualified_name(self, path: str, text: str) -> bool:
        """A name as Kubernetes qualifies it: an optional DNS subdomain, a slash, and a name."""
        prefix, slash, name = text.rpartition("/")
        is_prefixed = not slash or (len(prefix) <= 253 and _DNS_SUBDOMAIN.fullmatch(prefix))
        if is_prefixed and 1 <= len(name) <= 63 and _QUALIFIED.fullmatch(name):
            return True
        return self.add(path, "must be a qualified name such as team or example.com/team")

    def matches(self, path: str, text: str, pattern: re.Pattern[str]) -> bool:
        """The whole of it matches `pattern`."""
        return bool(pattern.fullmatch(text)) or self.add(path, f"must match {pattern.pattern}")

    def within(
        self, path: str, value: float, *, above: float | None = None, least: float | None = None,
        below: float | None = None, most: float | None = None,
    ) -> bool:  # fmt: skip
        """It lies between the bounds; `above` and `below` are not part of the range."""
        bounds = (
            (above is None or value > above, f"must be greater than {above}"),
            (least is None or value >= least, f"must be at least {least}"),
            (below is None or value < below, f"must be less than {below}"),
            (most is None or value <= most, f"must be at most {most}"),
        )
        broken = [message for passed, message in bounds if not passed]
        for message in broken:
            self.add(path, message)
        return not broken

    def sized(self, path: str, items: Sequence[Any] | None, least: int, most: int | None) -> bool:
        """It has from `least` to `most` members; an absent list has none."""
        count = len(items or ())
        if count >= least and (most is None or count <= most):
            return True
        wanted = f"exactly {least}" if most == least else f"at least {least}"
        return self.add(path, f"must have {wanted}, has {count}")

    def duration(self, path: str, value: Mapping[str, Any], units: Iterable[str]) -> bool:
        """A time whose unit is one of `units`."""
        unit = below(path, "unit")
        known = self.required(unit, value["unit"]) and self.one_of(
            unit, value["unit"], tuple(units)
        )
        return self.within(below(path, "value"), value["value"], least=0) and known

    def date_time(self, path: str, text: str) -> bool:
        """A time of the calendar such as 2026-01-31 12:00:00."""
        found = _DATE_TIME.fullmatch(text)
        try:
            if found is not None:
                datetime(*(int(found[part]) for part in range(1, 7)))  # type: ignore[arg-type]  # noqa: DTZ001
                return True
        except ValueError:
            pass
        return self.add(path, "must be a time such as 2026-01-31 12:00:00")

    def time_zone(self, path: str, text: str) -> bool:
        """A name of the IANA time zone database."""
        try:
            if text not in ("", "Local"):
                ZoneInfo(text)
                return True
        except (ZoneInfoNotFoundError, ValueError, OSError):
            pass
        return self.add(path, "must be a time zone such as UTC or Europe/Berlin")
