"""Judgements about calls as rows of `scores`: evaluations, annotations, feedback, ground truth."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field
from typing import Any

from tocsin.domain.errors import IntakeError
from tocsin.intake.mending import Rejected
from tocsin.intake.records import span_hex, trace_hex

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


@dataclass(slots=True)
class Judgements:
    """Scores that were made of a body, and what of it judges nothing, with the reason."""

    scores: list[dict[str, Any]] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)

    def add(self, said: Any, name: str, **parts: Any) -> None:
        """`score_row` of what was said, or `said` itself among the rejected."""
        try:
            self.scores.append(score_row(name, **parts))
        except IntakeError as error:
            self.reject(str(error), said)

    def reject(self, reason: str, said: Any) -> None:
        """Set aside what was said."""
        self.rejected.append(Rejected(reason, json.dumps(said, ensure_ascii=False, default=str)))


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
    annotator: str = "",
    comment: Any = None,
    ts: str = "",
    where: str = "",
) -> dict[str, Any]:
    """A row of `scores`. IntakeError when there is neither a number nor a label.

    A label without a number counts 1 when it is a known good word and 0 when it is a known bad one;
    any other label has no number ("nan"), so that it never enters an average. What users say is
    called `feedback` whatever its sender calls it.

    A score about a call whose service nobody told has `placed` 0: the store takes service and
    dimensions from the call, and `project` stands in until then. `told`: whether `ts` is the
    sender's.
    """
    value = _value(score, label)
    text = "" if label is None else str(label)
    if math.isnan(value) and not text:
        raise IntakeError(400, f"{where or name or 'a score'}: neither a finite value nor a label")
    row = {
        "project": project,
        "service": service or project,
        "call_id": call_id,
        "span_id": span_hex(call_id) if call_id else "",
        "trace_id": trace_hex(trace_id) if trace_id else "",
        "name": "feedback" if _FEEDBACK.match(name) else name,
        "value": "nan" if math.isnan(value) else value,
        "label": text,
        "source": source,
        "annotator": annotator,
        "placed": int(bool(service) or not (call_id or trace_id)),
        "comment": "" if comment is None else str(comment),
    }
    return {**row, "ts": ts, "told": 1} if ts else row


def _value(score: Any, label: Any) -> float:
    if isinstance(score, bool | int | float) and abs(score) < math.inf:
        return float(score)
    word = str(label) if label is not None else ""
    if _GOOD.match(word):
        return 1.0
    return 0.0 if _BAD.match(word) else math.nan
