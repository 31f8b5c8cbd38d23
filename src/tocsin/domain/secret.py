"""Values that must never be seen: they print as dots, and are scrubbed from text of others."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

MASK = "•••"

# Shorter parts of an address are words like "webhook", not credentials.
_TELLING = 8
_SEPARATORS = re.compile(r"[/?&=;#]")


@dataclass(frozen=True, slots=True, repr=False)
class Secret:
    """A credential, or an address that contains one. Only `reveal` gives it away."""

    _value: str = field(repr=False)

    def reveal(self) -> str:
        """The value, for the one place that sends it."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret({MASK})"

    def __str__(self) -> str:
        return MASK

    def __bool__(self) -> bool:
        return bool(self._value)


def secret(value: Secret | str) -> Secret:
    """`value` as a Secret, whatever it was."""
    return value if isinstance(value, Secret) else Secret(value)


def scrub(text: str, secrets: Iterable[Secret | None]) -> str:
    """`text` without any of the secrets, nor the telling parts of one that is an address."""
    for each in secrets:
        if each is not None:
            for part in _parts(each.reveal()):
                text = text.replace(part, MASK)
    return text


def _parts(value: str) -> list[str]:
    """A secret, and what of it a receiver might quote; the longest first."""
    parts = {value, value.removeprefix("whsec_"), *value.split(" ")}  # "Bearer …": the latter
    _, is_address, rest = value.partition("://")
    if is_address:
        path = rest.partition("/")[2]
        parts |= {path, *_SEPARATORS.split(path), rest.partition("@")[0] if "@" in rest else ""}
    is_whole = {value, value.removeprefix("whsec_")}
    telling = (part for part in parts if part in is_whole or len(part) >= _TELLING)
    return sorted((part for part in telling if part), key=len, reverse=True)
