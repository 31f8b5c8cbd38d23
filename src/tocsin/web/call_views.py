"""What the page and the API show of one call."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from tocsin.web.views import CallRow


@dataclass(frozen=True, slots=True)
class NoteView:
    """An event of the span, or a log record beside it."""

    at: datetime
    name: str
    body: str
    attributes: Mapping[str, str]
    severity: str = ""


@dataclass(frozen=True, slots=True)
class ScoreView:
    """A judgement about the call; value is None when there is a label only."""

    at: datetime
    name: str
    value: float | None
    label: str
    source: str
    comment: str


@dataclass(frozen=True, slots=True)
class CallView:
    """One call. input, output: None when nobody sent it; content_from says where they were."""

    call: CallRow
    input: str | None
    output: str | None
    content_from: str
    attributes: Mapping[str, str]
    resource: Mapping[str, str]
    events: tuple[NoteView, ...]
    logs: tuple[NoteView, ...]
    scores: tuple[ScoreView, ...]


def laid_out(text: str) -> str:
    """A text for reading: JSON on several lines, anything else as it is."""
    if text[:1] not in "[{":
        return text
    try:
        return json.dumps(json.loads(text), ensure_ascii=False, indent=2)
    except ValueError:
        return text
