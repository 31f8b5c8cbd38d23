"""Judgements about calls as rows of `scores`: evaluations, annotations, feedback, ground truth."""

from __future__ import annotations

import math
import re
from typing import Any

_GOOD = re.compile(
    r"^(thumbs[-_ ]?up|up|positive|good|correct|factual|faithful|relevant|yes|true|pass(ed)?"
    r"|like)$",
    re.I,
)
_BAD = re.compile(
    r"^(thumbs[-_ ]?down|down|negative|bad|incorrect|hallucinated|unfaithful|irrelevant|no|false"
    r"|fail(ed)?|dislike)$",
    re.I,
)
_FEEDBACK = re.compile(r"^(user[-_ ]?)?(feedback|thumbs|rating)$", re.I)


def score_row(
    name: str,
    *,
    score: Any = None,
    label: Any = None,
    call_id: str = "",
    trace_id: str = "",
    project: str = "",
    service: str = "",
    source: str = "",
    comment: Any = None,
    ts: str = "",
) -> dict[str, Any] | None:
    """A row of `scores`, or None when there is neither a number nor a label.

    A label without a number counts 1 when it is a known good word and 0 when it is a known bad one;
    any other label has no number ("nan"), so that it never enters an average. What users say is
    called `feedback` whatever its sender calls it.
    """
    value = _value(score, label)
    text = "" if label is None else str(label)
    if math.isnan(value) and not text:
        return None
    row = {
        "project": project,
        "service": service or project,
        "call_id": call_id,
        "trace_id": trace_id,
        "name": "feedback" if _FEEDBACK.match(name) else name,
        "value": "nan" if math.isnan(value) else value,
        "label": text,
        "source": source,
        "comment": "" if comment is None else str(comment),
    }
    return {**row, "ts": ts} if ts else row


def _value(score: Any, label: Any) -> float:
    if isinstance(score, bool | int | float) and math.isfinite(score):
        return float(score)
    word = str(label) if label is not None else ""
    if _GOOD.match(word):
        return 1.0
    return 0.0 if _BAD.match(word) else math.nan
