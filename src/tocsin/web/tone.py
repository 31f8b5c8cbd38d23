"""The one word that a page says at a glance."""

from __future__ import annotations

from enum import StrEnum


class Tone(StrEnum):
    """How something is doing. Unknown is its own tone: drawn grey and dashed, never green."""

    OK = "ok"
    WARN = "warn"
    BAD = "bad"
    UNKNOWN = "unknown"

    @property
    def word(self) -> str:
        """The word shown beside every colour."""
        return {"ok": "healthy", "warn": "at risk", "bad": "breached"}.get(self.value, "unknown")
