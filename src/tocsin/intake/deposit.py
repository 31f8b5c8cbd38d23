"""Puts what a sender wrote as rows, spans and scores of one request, into the store."""

from __future__ import annotations

from collections.abc import Sequence

from tocsin.intake.arize import Parsed
from tocsin.intake.intake import Intake
from tocsin.intake.records import SpanRecord, to_request


async def store_parsed(intake: Intake, parsed: Parsed, body: bytes, project: str) -> None:
    """Store a table or a record of Arize; returns when it is durable.

    body: what it came as, by which a second delivery is known. project: overrides its own.
    """
    await store_spans(intake, parsed.spans, body, project)
    await intake.rows("scores", parsed.scores, body, rejected=parsed.rejected)


async def store_spans(
    intake: Intake, records: Sequence[SpanRecord], origin: bytes, project: str
) -> None:
    """Store spans; `origin` is what they came as."""
    if records:
        body = await intake.aside(len(origin), to_request, records)
        await intake.otlp("traces", body, project=project, origin=origin)
