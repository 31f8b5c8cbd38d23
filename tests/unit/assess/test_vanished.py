"""Which segments an alert waits for: those it named that are judged no more, for a day."""

from __future__ import annotations

from dataclasses import replace

from tocsin.assess.monitor import Monitor
from tocsin.assess.segments import SegmentsConfig
from tocsin.assess.vanished import LONGEST, waiting
from tocsin.domain.clock import from_minute
from tocsin.domain.findings import Alert, AlertState, Judgement, Verdict

MINUTE = 29_000_000
BR, EU = {"dimension": "region", "value": "br"}, {"dimension": "region", "value": "eu"}
MONITOR = Monitor(
    "slo/chat/segments", "Chat, by region", "chat", "error_rate", "ticket", None, None,
    SegmentsConfig(by=("region",)),
)  # fmt: skip
AT = from_minute(MINUTE)
ALERT = Alert(
    "f", {}, AlertState.FIRING, AT, AT, "ticket", evidence={"segments": [BR]}, last_breach=AT
)
OF_EU = MONITOR.verdict(Judgement.BREACH, MINUTE + 3, reason="", evidence={"segments": [EU]})


def said(alert: Alert, verdict: Verdict | None, *judged: str, after: int = 3) -> Verdict | None:
    names = {("region", value) for value in judged}
    return waiting(MONITOR, ("region",), verdict, alert, names, MINUTE + after)


def test_a_segment_that_is_not_judged_is_waited_for_and_another_one_is_not() -> None:
    told = said(ALERT, None, "eu")
    assert told is not None
    assert told.judgement is Judgement.UNKNOWN
    assert said(ALERT, None, "br", "eu") is None
    assert said(ALERT, None, after=LONGEST) is None, "it left"
    other = {"dimension": "plan", "value": "free"}
    assert said(replace(ALERT, evidence={"segments": [other]}), None) is None, "no longer judged by"


def test_a_breach_of_another_segment_remembers_the_first() -> None:
    told = said(ALERT, OF_EU, "eu")
    assert told is not None
    assert told.evidence["vanished"] == [{**BR, "since": MINUTE - 1}]
    after = replace(ALERT, evidence=told.evidence, last_breach=from_minute(MINUTE + 200))
    ended = said(after, None, "eu", after=210)
    assert ended is not None
    assert ended.reason.startswith("region br was worse off")
    assert said(after, None, "eu", after=LONGEST) is None
    assert said(ALERT, OF_EU, "br", "eu") is OF_EU, "it is well again"
