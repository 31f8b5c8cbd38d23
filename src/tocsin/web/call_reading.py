"""Reads calls for pages and the API: as a list, and one by one."""

from __future__ import annotations

from datetime import datetime

from tocsin.store.call_detail import Note
from tocsin.store.reads import Reads, cursor_after
from tocsin.store.telemetry import Telemetry
from tocsin.web.call_views import CallView, NoteView, ScoreView
from tocsin.web.desk import Missing
from tocsin.web.portraits import call_row
from tocsin.web.views import CallRow, Page


def newest(
    reads: Reads, limit: int, since: datetime | None, service: str, cursor: str | None
) -> Page[CallRow]:
    """Calls with ts >= since, newest first, with their total. BadCursor for a foreign cursor."""
    total, calls = reads.calls(limit, since=since, before=cursor or "", service=service)
    more = cursor_after(calls[-1]) if len(calls) == limit else None
    return Page(tuple(call_row(call) for call in calls), more, total)


def one(telemetry: Telemetry, trace_id: str, span_id: str) -> CallView:
    """One call with its texts, log records and scores; Missing when there is none."""
    detail = telemetry.call(trace_id, span_id)
    if detail is None:
        raise Missing(f"there is no call with trace {trace_id} and span {span_id}")
    return CallView(
        call=call_row(detail.call),
        input=detail.input or None,
        output=detail.output or None,
        content_from=detail.content_from,
        attributes=dict(sorted(detail.attributes.items())),
        resource=dict(sorted(detail.resource.items())),
        events=tuple(map(_note, detail.events)),
        logs=tuple(map(_note, detail.logs)),
        scores=tuple(
            ScoreView(s.ts, s.name, s.value, s.label, s.source, s.comment) for s in detail.scores
        ),
    )


def _note(note: Note) -> NoteView:
    return NoteView(
        note.ts, note.name, note.body, dict(sorted(note.attributes.items())), note.severity
    )
