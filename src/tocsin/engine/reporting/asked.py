"""What is asked of a report, and what cannot be."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from tocsin.domain.errors import NotFound, Unanswerable


class BadOrder(Unanswerable):
    """A report that cannot be made as asked; the text says what to give."""


class NoSuchReport(NotFound):
    """A name that is neither that of a Report document nor of a template."""


class NoSuchAgreement(NotFound):
    """A name that no VendorAgreement has."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a report is to be about: [since, until), as known at `as_of`. services: by name; () is
    every one."""

    since: datetime
    until: datetime
    as_of: datetime
    time_zone: str = "UTC"
    services: tuple[str, ...] = ()
