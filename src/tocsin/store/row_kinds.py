"""Segments that hold rows as they are: calls, scores and changes that come from no span.

`segment_kinds` is every kind there is, redacted alike.
"""

from __future__ import annotations

from dataclasses import replace

from tocsin.domain.redaction import Redactions
from tocsin.store import schema
from tocsin.store.kinds import SegmentKind
from tocsin.store.otlp_kinds import PLANNING, kinds
from tocsin.store.redaction import BUILT_IN, CALL_TEXTS, Texts, redacted
from tocsin.store.scores import SCORE_ROWS

_SCORE_TEXTS = Texts(
    {"comment": "comment", "label": "label", "annotator": "annotator"}, {"dims": "dims."}
)
_QUARANTINE_TEXTS = Texts({"body": "body"})


def segment_kinds(redactions: Redactions = BUILT_IN) -> tuple[SegmentKind, ...]:
    """Every kind of segment of a server, texts redacted by `redactions`."""
    return (*kinds(redactions), *row_kinds(redactions))


def row_kinds(redactions: Redactions = BUILT_IN) -> tuple[SegmentKind, ...]:
    """Kinds `callrows`, `scores`, `changes`, `quarantined`, `calllines` and `billing`, redacted by
    `redactions`.

    Bills name no persons. Changes are what an operator's own people say about their deployments;
    they are kept as said.
    """
    return (
        _redacted(schema.rows_kind(schema.CALLS, "callrows"), CALL_TEXTS, redactions),
        _redacted(SCORE_ROWS, _SCORE_TEXTS, redactions),
        schema.rows_kind(schema.CHANGES, "changes", "JSONEachRow"),
        _redacted(
            schema.rows_kind(schema.QUARANTINE, "quarantined", "JSONEachRow"),
            _QUARANTINE_TEXTS,
            redactions,
        ),
        _redacted(
            schema.rows_kind(schema.CALLS, "calllines", "JSONEachRow"), CALL_TEXTS, redactions
        ),
        schema.rows_kind(schema.BILLING, "billing", "JSONEachRow"),
    )


def _redacted(kind: SegmentKind, where: Texts, redactions: Redactions) -> SegmentKind:
    table = next(table for table in schema.TABLES if table.name == kind.table)
    return replace(
        kind,
        select=redacted(kind.select, table, where, redactions),
        careful_select=redacted(kind.careful_select, table, where, redactions)
        if kind.careful_select
        else "",
        settings={**kind.settings, **PLANNING},
    )
