"""An alert that another monitor raised, before it is known whose service it is about."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Literal

from tocsin.domain.clock import parse_iso
from tocsin.domain.errors import IntakeError

State = Literal["firing", "resolved"]

_TEXT = frozenset({str})
_PAGES = frozenset({"critical", "page", "p1", "sev1", "emergency", "fatal", "error", "high"})
_SERVICE = ("service", "service_name", "app", "application", "job")
_ENV = ("env", "environment", "deployment_environment")


@dataclass(frozen=True, slots=True)
class Incoming:
    """One alert as its monitor tells it.

    key: what makes it the same alert next time, within its source. labels: as told. starts, ends:
    when it began and, once known, when it is over; an `ends` to come is until when it holds without
    being told again. value: what was measured, where it is told. aliases: other keys that the same
    source may have given it. as_of: when what it tells was true, where that is not now.
    """

    key: str
    name: str
    state: State
    labels: Mapping[str, str]
    starts: datetime
    ends: datetime | None = None
    value: float | None = None
    summary: str = ""
    description: str = ""
    link: str = ""
    runbook: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    as_of: datetime | None = None

    @property
    def service(self) -> str:
        """The service it is about, "" when it does not say."""
        return _first(self.labels, _SERVICE)

    @property
    def env(self) -> str:
        """The environment, "" when it does not say."""
        return _first(self.labels, _ENV)

    @property
    def severity(self) -> str:
        """page | ticket: what its monitor asks for. Routing may raise or lower it."""
        told = self.labels.get("severity", self.labels.get("priority", "")).lower()
        return "page" if told in _PAGES else "ticket"


@dataclass(frozen=True, slots=True)
class Told:
    """What a request says: its alerts, and what of it could not be read, with its place.

    changes: rows of the table of changes, as `POST /api/v1/changes` makes them.
    """

    alerts: tuple[Incoming, ...] = ()
    faults: tuple[str, ...] = ()
    changes: tuple[Mapping[str, Any], ...] = ()


def each(given: Sequence[Any], where: str, read: Callable[[Any, str], Incoming]) -> Told:
    """Every alert of a list; one that cannot be read takes none of the others with it.

    where: what the list is called in messages.
    """
    alerts, faults = [], []
    for number, one in enumerate(given):
        try:
            alerts.append(read(one, f"{where}[{number}]"))
        except IntakeError as error:
            faults.append(str(error))
    return Told(tuple(alerts), tuple(faults))


def with_no_data(alert: Incoming, told: Literal["firing", "resolved", "no data"]) -> Told:
    """What a monitor with three states says: its alert, and a ticket for knowing nothing.

    No data is neither a breach nor its end: the alert stays as it was, and not knowing is told by
    an alert of its own, which ends with the next answer.
    """
    missing = replace(
        alert,
        key=f"{alert.key}\xffno data",
        state="firing" if told == "no data" else "resolved",
        labels={**alert.labels, "signal": "no_data", "severity": "ticket"},
        value=None,
        summary=f"{alert.name} has no data: whether it would breach is unknown",
        aliases=(),
    )
    if told == "no data":
        return Told((missing,))
    return Told((alert, replace(missing, ends=alert.as_of or alert.ends)))


def _first(labels: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((labels[name] for name in names if labels.get(name)), "")


def as_object(value: Any, where: str) -> Mapping[str, Any]:
    """A JSON object. IntakeError 400 for anything else."""
    if not isinstance(value, Mapping):
        raise IntakeError(400, f"{where} must be an object")
    return value


def as_labels(value: Any, where: str) -> dict[str, str]:
    """A mapping to texts; empty ones are left out. IntakeError 400 for anything else."""
    given = as_object(value or {}, where)
    if _TEXT.issuperset(map(type, given.values())) and "" not in given.values():
        return dict(given)  # as nearly all are
    found = {}
    for name, text in given.items():
        if not isinstance(text, str | int | float | bool):
            raise IntakeError(400, f"{where}.{name} must be text")
        if text != "":
            found[str(name)] = str(text).lower() if isinstance(text, bool) else str(text)
    return found


def as_finite(value: Any) -> float | None:
    """A number, or text that is one; None for anything else, and for what no float can hold."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


@lru_cache(4096)
def _instant(text: str) -> datetime:
    return parse_iso(text).astimezone(UTC)


def as_instant(value: Any, where: str, default: datetime) -> datetime:
    """An RFC 3339 instant; `default` for nothing and for Go's zero time."""
    if value in (None, "") or str(value).startswith("0001-01-01"):
        return default
    try:
        return _instant(str(value))
    except (ValueError, OverflowError):
        raise IntakeError(400, f"{where} must be an RFC 3339 time, not {value!r}") from None


LONGEST_AHEAD = timedelta(days=30)
