"""What Phoenix's client posts: spans as JSON, and annotations of spans.

Source: arize-phoenix-client 3.5, recorded requests.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tocsin.domain.errors import IntakeError
from tocsin.intake.records import SpanRecord, moment_ns
from tocsin.intake.scoring import Judgements

_STATUS = {"OK": 1, "ERROR": 2}


def span_records(document: Any, project: str) -> list[SpanRecord]:
    """Body of `POST /v1/projects/{project}/spans` as spans."""
    records = []
    for number, span in enumerate(_data(document), 1):
        where = f"data[{number - 1}]"
        context = span.get("context") or {}
        if not isinstance(context, dict) or not context.get("span_id"):
            raise IntakeError(400, f"{where}: context.span_id is missing")
        attributes = span.get("attributes") or {}
        if not isinstance(attributes, dict):
            raise IntakeError(400, f"{where}: attributes must be an object")
        start = moment_ns(span.get("start_time"), f"{where}: start_time")
        records.append(
            SpanRecord(
                name=str(span.get("name") or ""),
                start_ns=start,
                end_ns=moment_ns(span.get("end_time") or start, f"{where}: end_time"),
                trace_id=str(context.get("trace_id") or context["span_id"]),
                span_id=str(context["span_id"]),
                parent_id=str(span.get("parent_id") or ""),
                status=_STATUS.get(str(span.get("status_code") or "").upper(), 0),
                message=str(span.get("status_message") or ""),
                attributes={"openinference.span.kind": span.get("span_kind"), **attributes},
                resource={"openinference.project.name": project},
                scope="phoenix.client",
            )
        )
    return records


def judgements(document: Any) -> Judgements:
    """Body of `POST /v1/span_annotations`."""
    found = Judgements()
    for number, note in enumerate(_data(document), 1):
        result = note.get("result") or {}
        if not note.get("span_id") or not isinstance(result, dict):
            raise IntakeError(400, f"data[{number - 1}]: span_id and result are needed")
        found.add(
            note,
            str(note.get("name") or "annotation"),
            score=result.get("score"),
            label=result.get("label"),
            call_id=str(note["span_id"]),
            source=str(note.get("annotator_kind") or "").lower(),
            annotator=str(note.get("identifier") or ""),
            comment=result.get("explanation"),
        )
    return found


def _data(document: Any) -> list[Mapping[str, Any]]:
    data = document.get("data") if isinstance(document, dict) else None
    if not isinstance(data, list) or not all(isinstance(item, dict) for item in data):
        raise IntakeError(400, 'the body must be {"data": [ {…}, … ]}')
    return data
