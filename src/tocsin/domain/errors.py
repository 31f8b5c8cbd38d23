"""The one tree of errors Tocsin raises on purpose.

TocsinError
├── NotFound        what was asked for by name does not exist
├── Unanswerable    a question or an order that nobody can follow as it was put
│   └── BadCursor   a place in a list that was never handed out
├── SpecError       configuration text is wrong; carries every problem found, with file and line
├── IntakeError     a request cannot be taken in; carries the HTTP status to answer
├── StoreError      the telemetry or state store cannot do what was asked
│   └── Conflict    somebody else changed the row first (compare-and-set failed)
└── DeliveryError   an effect cannot be carried out and must not be retried as it is
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class TocsinError(Exception):
    """Root of every error raised on purpose; its text is fit to show to a user.

    status: what it is in HTTP (RFC 9110, section 15), for whoever answers a request with it. Only
    what the asker can mend is 4xx.
    """

    status: int = 500


class NotFound(TocsinError):
    """Nothing exists under the name that was given; the text says what was looked for."""

    status = 404


class Unanswerable(TocsinError):
    """A question or an order that cannot be followed as it was put; the text says how to put it."""

    status = 400


class BadCursor(Unanswerable):
    """A cursor that this server did not hand out, or no longer understands."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault in configuration text: where it is, what is wrong, what to do."""

    file: str
    line: int
    path: str
    message: str
    fix: str = ""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        fix = f" ({self.fix})" if self.fix else ""
        path = f"{self.path}: " if self.path else ""
        return f"{where}: {path}{self.message}{fix}"


class SpecError(TocsinError):
    """Configuration that cannot be used. Holds all problems, so that one run shows them all."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class IntakeError(TocsinError):
    """A request that is refused. `status` is the HTTP status, `retry_after_s` its Retry-After."""

    def __init__(self, status: int, message: str, *, retry_after_s: int | None = None) -> None:
        self.status = status
        self.retry_after_s = retry_after_s
        super().__init__(message)


class StoreError(TocsinError):
    """A store cannot do what was asked; the text says what an operator can do about it."""


class Conflict(StoreError):
    """A compare-and-set found another version than the one it was computed from."""

    status = 409


class DeliveryError(TocsinError):
    """An effect that no retry can carry out as it stands."""
