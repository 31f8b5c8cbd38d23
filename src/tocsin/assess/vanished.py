"""Segments that were worse off when they were last judged, and are judged no more.

A region that fails until nobody calls it any longer has not recovered, and neither has a tenant
whose last calls failed. The alert that names them goes on as unknown until they are judged again,
whatever the other segments do; for a day, because a release that was rolled back and a tenant that
left never come back.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

from tocsin.assess.monitor import Monitor
from tocsin.domain.clock import from_minute, to_minute
from tocsin.domain.findings import Alert, Judgement, Verdict

LONGEST = 24 * 60  # minutes that a segment is waited for
NAMED = "segments"  # in the evidence of a verdict: those that it is about
VANISHED = "vanished"  # in the evidence of a verdict: earlier ones that are judged no more
Segment = tuple[str, str]  # dimension and value


def waiting(
    monitor: Monitor, by: Collection[str], verdict: Verdict | None, alert: Alert,
    judged: Collection[Segment], minute: int,
) -> Verdict | None:  # fmt: skip
    """What a monitor of segments says at `minute`, given the alert that it raised before.

    by: its dimensions. verdict: what it says by itself, None for well. judged: the segments that it
    could judge now.
    Well becomes unknown while a segment that the alert names is not judged; a breach of others
    remembers it, so that the end of these does not end it either.
    """
    lost = [one for one in _lost(alert, judged, minute) if one["dimension"] in by]
    if verdict is not None and verdict.judgement is Judgement.BREACH:
        named = {(one["dimension"], one["value"]) for one in verdict.evidence.get(NAMED, ())}
        kept = [one for one in lost if (one["dimension"], one["value"]) not in named]
        return replace(verdict, evidence={**verdict.evidence, VANISHED: kept}) if kept else verdict
    if not lost or (verdict is not None and verdict.judgement is Judgement.UNKNOWN):
        return verdict
    first, more = lost[0], len(lost) - 1
    others = f", nor have {more} more" if more else ""
    return monitor.verdict(
        Judgement.UNKNOWN,
        minute,
        reason=(
            f"{first['dimension']} {first['value']} was worse off at"
            f" {from_minute(first['since'] + 1):%H:%M}, and has not had enough calls to be judged"
            f" since{others}"
        ),
    )


def _lost(alert: Alert, judged: Collection[Segment], minute: int) -> list[dict[str, Any]]:
    """The segments of an alert that are not judged now, with the minute of their last breach."""
    last = to_minute(alert.last_breach or alert.updated) - 1
    found = [{**one, "since": last} for one in alert.evidence.get(NAMED, ())]
    found += alert.evidence.get(VANISHED, ())
    return [
        {"dimension": one["dimension"], "value": one["value"], "since": one["since"]}
        for one in found
        if (one["dimension"], one["value"]) not in judged and minute - one["since"] <= LONGEST
    ]
