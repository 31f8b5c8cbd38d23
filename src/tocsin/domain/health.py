"""What a health score was, and what people made of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

Opinion = Literal["agree", "too_low", "too_high"]


@dataclass(frozen=True, slots=True)
class HealthSample:
    """A health score at the end of an epoch minute.

    formula: the digest of what it was computed by. state: as it is told, score: None where nothing
    is known. body: JSON, what was measured (`readings`, `last`), where the state is going (`track`)
    and why it is where it is (`moved`).
    """

    name: str
    minute: int
    service: str
    formula: str
    state: str
    score: float | None
    body: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HealthOpinion:
    """What a person said of a score as it was at `minute`: right, too low, or too high."""

    name: str
    minute: int
    at: datetime
    actor: str
    opinion: Opinion
    note: str = ""
