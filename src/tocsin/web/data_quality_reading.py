"""Reads how good the telemetry itself is: what is left out, what is new, what was set aside."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal

from tocsin.indicators.catalogue import COMPLETENESS
from tocsin.indicators.completeness import Missing, has_risen
from tocsin.store.data_quality import Spelling, Telling
from tocsin.store.inbox import Letter
from tocsin.store.reads import Reads
from tocsin.store.telemetry import Telemetry
from tocsin.web.data_quality_views import (
    DataQualityView,
    FieldQuality,
    ServiceQuality,
    SetAsideRow,
)
from tocsin.web.listing import paged
from tocsin.web.views import Page, QuarantineRow

_MOST, _EXCERPT = 1000, 400  # rows of telemetry, characters of each
_EXPECTED = 10  # so many sightings are expected before none of them means anything


def view(telemetry: Telemetry, now: datetime, hours: int) -> DataQualityView:
    """The last `hours` (1 to 6), compared with the day before them."""
    reader, start = telemetry.data_quality, now - timedelta(hours=hours)
    conditions = {
        each.name: each.ratio.condition for each in COMPLETENESS if each.ratio.condition is not None
    }
    found = reader.services(conditions, start, now)
    services = [_service(*key, telling) for key, telling in found.items()]
    services.sort(key=lambda each: (not each.has_changed, -each.calls, each.service))
    aside = tuple(
        SetAsideRow(row.project, row.source, row.reason, row.rows)
        for row in reader.set_aside(start, now)
    )
    return DataQualityView(start, now, tuple(services), aside)


def quarantine(
    reads: Reads, letters: Sequence[Letter], cursor: str | None, limit: int
) -> Page[QuarantineRow]:
    """Input that was kept but could not be used, newest first: telemetry, and alerts of others."""
    rows = [
        QuarantineRow(
            id=f"{number}",
            at=row["recv"].replace(tzinfo=UTC),  # the engine tells no zone
            source=row["source"],
            reason=row["reason"],
            size_bytes=len(row["body"]),
            excerpt=row["body"][:_EXCERPT],
        )
        for number, row in enumerate(reads.quarantined(_MOST))
    ]
    rows += [
        QuarantineRow(
            id=f"alert-{one.id}",
            at=one.at,
            source=one.source,
            reason=one.reason,
            size_bytes=len(one.body),
            excerpt=one.body[:_EXCERPT].decode("utf-8", "replace"),
        )
        for one in letters
    ]
    rows.sort(key=lambda row: row.at, reverse=True)
    return paged(rows, cursor, limit, lambda row: row.id)


# --- private -----------------------------------------------------------------------------------


def _service(project: str, service: str, telling: Telling) -> ServiceQuality:
    fields = tuple(
        _field(each.name, each.title, *telling.missing[each.name])
        for each in COMPLETENESS
        if each.name in telling.missing
    )
    attributes, scopes = telling.attributes, telling.scopes
    return ServiceQuality(
        project, service, telling.calls, fields, telling.ahead, telling.late, telling.repeated,
        telling.one_id_in, telling.scores, telling.unplaced, _new(attributes, telling),
        _vanished(attributes, telling), _new(scopes, telling), _vanished(scopes, telling),
    )  # fmt: skip


def _field(name: str, title: str, now: Missing, before: Missing) -> FieldQuality:
    state: Literal["steady", "risen", "unknown"] = "unknown"
    if (risen := has_risen(now, before)) is not None:
        state = "risen" if risen else "steady"
    share, earlier = (each.share if each.total else None for each in (now, before))
    return FieldQuality(name, title, now.missing, now.total, share, earlier, state)


def _new(found: Sequence[Spelling], telling: Telling) -> tuple[str, ...]:
    """Names that the sample before has not, and would have had ten times if they were not new."""
    least = _EXPECTED * telling.calls / max(telling.sampled, 1)
    return tuple(
        each.name for each in found if telling.sampled and not each.before and each.now >= least
    )


def _vanished(found: Sequence[Spelling], telling: Telling) -> tuple[str, ...]:
    """Names that are gone, and would be there ten times if they were not."""
    least = _EXPECTED * telling.sampled / max(telling.calls, 1)
    return tuple(
        each.name for each in found if telling.calls and not each.now and each.before >= least
    )
