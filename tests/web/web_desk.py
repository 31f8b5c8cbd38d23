"""A desk in memory with the traffic of six services: for tests, and for looking at the pages.

Everything is computed from a seed and a fixed `now`; people's actions change it as the engine
would, including the refusal of actions that come too late.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, TypeVar

import numpy as np

from tocsin.assess.calibration import Agreement, Estimate
from tocsin.assess.masked import Fairness, Gap
from tocsin.assess.means import MeanNow
from tocsin.assess.page_budget import Calibration
from tocsin.assess.prospects import Outlook, Prospect
from tocsin.assess.quality import QualityStanding
from tocsin.assess.segments import SegmentsConfig, standings
from tocsin.domain.errors import BadCursor, Conflict
from tocsin.domain.findings import IncidentState
from tocsin.domain.precision import Precision
from tocsin.engine.arranging import Arranging
from tocsin.engine.breakdown import BadRange
from tocsin.engine.rederive import Rederived, Tried
from tocsin.engine.replay import CannotReplay
from tocsin.engine.responses import BadFigures
from tocsin.engine.rules import compile_desired
from tocsin.engine.sources import TargetStatus
from tocsin.engine.testimony import (
    AlertSeen,
    AnswerSeen,
    CallSeen,
    ConfigSeen,
    DecisionSeen,
    MessageSeen,
    VerdictSeen,
    Why,
)
from tocsin.reports.responses import Figures, Response, figures, patch
from tocsin.spec.desired import load_text
from tocsin.spec.yaml import dump
from tocsin.store.state import StateStore
from tocsin.web.breakdown_views import Asked
from tocsin.web.call_views import CallView, NoteView, ScoreView
from tocsin.web.data_quality_views import (
    DataQualityView,
    FieldQuality,
    ServiceQuality,
    SetAsideRow,
)
from tocsin.web.desk import IncidentFilter, Missing
from tocsin.web.detector_views import (
    AlertRow,
    BudgetView,
    DetectorRow,
    DetectorsView,
    DetectorView,
    OutcomeView,
    Rang,
    TeamPrecision,
    TraceView,
)
from tocsin.web.objective_detail import Annotation, ObjectiveDetail, PolicyRule
from tocsin.web.objective_views import BurnView, ObjectiveView
from tocsin.web.readiness import Readiness
from tocsin.web.serving import MetricNameResource, MetricsResource
from tocsin.web.tone import Tone
from tocsin.web.views import (
    CallRow,
    ChangeView,
    ChartView,
    FleetView,
    HistogramView,
    IncidentRow,
    IncidentView,
    LedgerRow,
    LedgerView,
    Marker,
    MessageView,
    Page,
    QuarantineRow,
    ReplayProgress,
    Series,
    ServiceCard,
    ServiceView,
    SliceView,
    TimelineEntry,
    ToldView,
    VerdictKind,
    Window,
)

T = TypeVar("T")
NOW = datetime(2026, 3, 3, 14, 5, tzinfo=UTC)
DEPLOY = NOW - timedelta(hours=4, minutes=42)

# name, title, team, model, tone, budget left, change, burn, firing, p95, objective
SERVICES = (
    ("support", "Support assistant", "cx-platform", "gpt-4o", Tone.BAD, 0.062, -0.31, 14.2, 2,
     5.2, "p95 under 4 s, 28 d"),
    ("contracts", "Contract search (RAG)", "legal-ai", "claude-sonnet", Tone.WARN, 0.31, -0.06, 3.1,
     1, 1.9, "retrieval finds something, 28 d"),
    ("voice", "Voice agent", "cx-platform", "gpt-4o-realtime", Tone.WARN, 0.42, -0.03, 2.2, 0, 0.6,
     "first token under 800 ms, 28 d"),
    ("review", "Code review bot", "dev-tools", "claude-opus", Tone.OK, 0.67, 0.0, 0.9, 0, 2.4,
     "p95 under 8 s, 7 d"),
    ("claims", "Claims triage", "underwriting", "llama-3.1-70b", Tone.OK, 0.74, 0.01, 0.6, 0, 0.8,
     "availability 99.5 %, 28 d"),
    ("drafts", "Email drafts", "growth", "gpt-4o-mini", Tone.OK, 0.88, 0.02, 0.3, 0, 0.6,
     "p95 under 2 s, 28 d"),
    ("search", "Product search", "shop", "text-embedding-3", Tone.UNKNOWN, None, None, None, 0,
     None, "availability 99.9 %, 28 d"),
)  # fmt: skip

_WORDS = ("search", "chat", "triage", "claims", "voice", "drafts", "legal", "sales", "eu", "intake")


def wave(window: Window, level: float, seed: int, *, rising: bool = False) -> np.ndarray:
    """A day-shaped series with noise, ending at about `level`."""
    count = int(window.duration.total_seconds()) // window.step_s
    rng = np.random.default_rng(seed)
    phase = np.linspace(-2.3, 3.4, count)
    shape = 0.75 + 0.3 * np.exp(-(phase**2) / 1.6)
    values = level * shape * (1 + 0.05 * rng.standard_normal(count))
    if rising:
        values = level * (0.33 + 0.05 * rng.standard_normal(count) * 0.3)
        values += level * 0.67 * np.linspace(0, 1, count) ** 3.2
    return np.maximum(values, 0.0)


def card(row: Sequence[Any], window: Window, seed: int) -> ServiceCard:
    """A card from a row of SERVICES."""
    name, title, team, model, tone, left, change, burning, firing, p95, objective = row
    spark = None
    if p95 is not None:
        step = int(window.duration.total_seconds()) // 60
        count = int(window.duration.total_seconds()) // window.step_s
        values = wave(window, p95, seed, rising=name == "support")
        thinned = values[np.linspace(0, count - 1, 60).astype(int)]
        spark = Series(NOW - window.duration, step, thinned)
    return ServiceCard(
        name=name, title=title, tone=tone, team=team, model=model, objective=objective,
        budget_left=left, budget_change=change, burn=burning, firing=firing,
        requests=None if p95 is None else 41_233 * (seed * 7919 + 1) % 99_991, p95_s=p95,
        spark=spark,
        error_rate=None if p95 is None else 0.0231 / (seed % 17 + 1),
        reason="no calls for 3 h" if tone is Tone.UNKNOWN else "",
    )  # fmt: skip


def latency_chart(name: str, window: Window) -> ChartView:
    """p95 of a service; that of "support" leaves its band after the deploy."""
    rng = np.random.default_rng(5)
    count = int(window.duration.total_seconds()) // window.step_s
    start = NOW - window.duration
    at = np.linspace(0, 1, count)
    expected = (
        1.6 + 1.15 * np.exp(-((at - 0.44) ** 2) / 0.035) + 0.5 * np.exp(-((at - 0.68) ** 2) / 0.02)
    )
    values = expected * (1 + 0.045 * rng.standard_normal(count))
    anomalous = np.zeros(count, bool)
    anomalies: tuple[tuple[datetime, datetime | None], ...] = ()
    changes: tuple[Marker, ...] = ()
    status, tone = "", Tone.OK
    if name == "support":
        broken = int(count * (DEPLOY - start) / window.duration) if start < DEPLOY else 0
        ramp = np.clip((np.arange(count) - broken) / max(count * 0.08, 1), 0, 1)
        values = values + 2.3 * ramp * (1 + 0.06 * rng.standard_normal(count))
        anomalous[broken + 4 :: 4] = True
        anomalies = ((max(DEPLOY, start), None),)
        changes = (Marker(DEPLOY + timedelta(minutes=4), "prompt v42 deployed"),)
        status, tone = f"anomaly since {DEPLOY:%H:%M}", Tone.BAD
    else:
        values[int(count * 0.6) : int(count * 0.63)] = np.nan
    spread = 0.22 * expected
    return ChartView(
        service={row[0]: row[1] for row in SERVICES}.get(name, name),
        title="p95 latency", unit="s", series=Series(start, window.step_s, values),
        low=expected - spread, expected=expected, high=expected + spread, anomalous=anomalous,
        anomalies=anomalies, changes=changes, threshold=4.0 if name == "support" else None,
        threshold_label="objective 4 s", status=status, tone=tone, measure="slow",
    )  # fmt: skip


def simple_chart(
    title: str, unit: Any, level: float, window: Window, seed: int, **more: Any
) -> ChartView:
    """A chart without expectation."""
    values = wave(window, level, seed)
    series = Series(NOW - window.duration, window.step_s, values)
    return ChartView("Support assistant", title, unit, series, **more)


def objective(row: Sequence[Any], number: int = 0) -> ObjectiveView:
    """An SLO from a row of SERVICES."""
    left, burning = row[5], row[7]
    slots = [Tone.OK] * 26 + [Tone.WARN] + [row[4]]
    slots[9] = Tone.UNKNOWN
    return ObjectiveView(
        name=f"{row[0]}-{number}", title=row[10].split(",")[0], service=row[0], tone=row[4],
        target=0.95, window="28 d rolling", sli=None if left is None else 1 - 0.05 * (1 - left),
        bad=0 if left is None else int(20_000 * (1 - left)), total=0 if left is None else 400_000,
        budget_left=left, reason="no calls for 3 h" if left is None else "",
        burns=(
            BurnView("1 h", "5 min", burning, None if burning is None else burning * 1.1, 13.4,
                     "page", burning is not None and burning > 13.4),
            BurnView("3 d", "6 h", None if burning is None else burning / 5,
                     None if burning is None else burning / 4, 0.93, "ticket", False),
        ),
        slots=tuple(slots), slots_from=NOW - timedelta(days=28),
    )  # fmt: skip


def cost_objective(row: Sequence[Any]) -> ObjectiveView:
    """An SLO about a mean."""
    mean = MeanNow(0.0231, 0.0214, 0.0263, 0.03, 0.02, "usd", 0.93, 2760.0)
    return replace(
        objective(row, 2), title="Mean cost_usd <= 0.03", sli=None, bad=0, total=400_000,
        budget_left=0.69, standing="met", mean=mean,
    )  # fmt: skip


def call(number: int, *, service: str = "support", error: str | None = None) -> CallRow:
    """One call; every third has no usage."""
    known = number % 3 != 0
    return CallRow(
        ts=NOW - timedelta(seconds=7 * number), project="default", service=service,
        kind="llm" if number % 4 else "embedding", name="chat", provider="openai", model="gpt-4o",
        input_tokens=1200 + number if known else None, output_tokens=310 if known else None,
        usage_known=known, cost_usd=0.0061 if known else None, error_class=error,
        status_message="429 Too Many Requests" if error else None,
        ttft_ms=412.0 if number % 2 else None, duration_ms=5200.0 - number,
        truncated=number == 5, finish_reason=None if error else "stop",
        trace_id=f"{number:032x}", span_id=f"{number:016x}", response_id=f"chatcmpl-{number}",
    )  # fmt: skip


def messages() -> tuple[MessageView, ...]:
    """One message per channel, in the shapes the services expect."""
    title = "Support assistant: p95 latency 4.1 s, expected 1.2 to 1.9 s"
    link = "http://127.0.0.1:4318/incidents/support/latency_p95-3"
    fields = {"since": "09:23 UTC", "slice": "prompt_version=v42 explains 91 %", "burn": "14.2×"}
    blocks = [
        {"type": "header", "text": {"type": "plain_text", "text": title}},
        {"type": "section", "text": {"type": "mrkdwn", "text":
            "*Since* 09:23 UTC · *slice* `prompt_version=v42` explains 91 %\n"
            "Just before: <https://git.example/pr/42|prompt v42> &amp; nothing else <script>"}},
        {"type": "context", "elements": [{"type": "mrkdwn", "text": "told: pager, #ai-ops"}]},
        {"type": "actions", "elements": [
            {"type": "button", "text": {"type": "plain_text", "text": "Open"}, "url": link},
            {"type": "button", "text": {"type": "plain_text", "text": "Bad"},
             "url": "javascript:alert(1)"}]},
    ]  # fmt: skip
    at = DEPLOY + timedelta(minutes=9)
    return (
        MessageView("m4", at + timedelta(seconds=4), "webhook", "crm", {
            "type": "incident.triggered", "timestamp": "2026-03-03T09:32:00Z",
            "data": {"incident": {"id": "support/latency_p95-3", "title": title, "tier": 1}},
        }, "trigger", "support/latency_p95-3", "200 OK",
            {"webhook-id": "msg_2b1", "webhook-signature": "v1,…"}),
        MessageView("m3", at + timedelta(seconds=3), "email", "mail-manager", {
            "from": "tocsin@example.com", "to": ["manager@example.com"], "subject": title,
            "text": "Since 09:23 UTC.\nprompt_version=v42 explains 91 %.\n\nFirst steps:\n1. Roll "
                    "back prompt v42.",
        }, "trigger", "support/latency_p95-3", "250 OK"),
        MessageView("m2", at + timedelta(seconds=2), "slack", "slack-ai-ops",
                    {"channel": "#ai-ops", "text": title, "blocks": blocks}, "trigger",
                    "support/latency_p95-3", "200 ok"),
        MessageView("m1", at, "pagerduty", "pager-ai-ops", {
            "event_action": "trigger", "dedup_key": "support/latency_p95-3",
            "payload": {"summary": title, "severity": "critical", "source": "tocsin",
                        "component": "support", "custom_details": fields},
            "links": [{"href": link, "text": "Incident"}],
        }, "trigger", "support/latency_p95-3", "202 Accepted"),
        MessageView("m0", at, "webhook", "strange", "not even JSON <b>", "trigger"),
    )  # fmt: skip


QUALITY = (
    QualityStanding("quality/faithful", "Support: Faithful answers", "support", 0.95,
                    "inconclusive", 0.901, Estimate(0.931, 0.902, 0.958), 2000, 1640.0, 200, 50,
                    "93 % of the answers are good (90 % to 96 %; the judge says 90 %): whether that"
                    " is 95 % is not certain", Agreement(0.66, 0.55, 0.76, 0.95, 0.75), 0.01),
    QualityStanding("quality/tone", "Support: Friendly answers", "support", 0.9, "uncalibrated",
                    0.88, None, 610, 610.0, 12, 50,
                    "people labelled 12 of the judged answers in 7 d, 50 are needed to know how"
                    " often the judge is wrong"),
)  # fmt: skip


def fairness(service: str, title: str) -> Fairness:
    """A region that the whole hides, one that is fine, and one that nobody can judge."""
    config = SegmentsConfig(by=("region",), budget=0.01)
    names = [("region", "eu-west"), ("region", "us-east"), ("region", "ap-south"), ("region", "af")]
    counts = np.array([[21, 30, 34, 0], [5200, 7400, 410, 12]])
    found = standings(names, counts, counts.sum(axis=1), config)
    return Fairness(
        f"slo/{service}/segments", f"{title}: 99 % of calls succeed, by region", service, 1440,
        0.01,
        int(counts[0].sum()), int(counts[1].sum()), tuple(found), ("region=ap-south",), True,
        (("region", Gap("ap-south", "us-east", 0.079, 0.049, 0.117)),),
    )  # fmt: skip


class MemoryDesk:
    """Implements `tocsin.web.desk.Desk`."""

    def __init__(
        self, *, empty: bool = False, services: int = len(SERVICES), replaying: bool = False
    ) -> None:
        self.now = NOW
        self.verified = 0  # times that somebody asked for all of the ledger
        self.rows = [] if empty else list(SERVICES[:services])
        rng = np.random.default_rng(41)
        for number in range(0 if empty else services - len(self.rows)):
            self.rows.append(
                (
                    f"{rng.choice(_WORDS)}-{rng.choice(_WORDS)}-{number:04d}",
                    f"{rng.choice(_WORDS).title()} {rng.choice(_WORDS)} {number}",
                    f"team-{rng.integers(40)}",
                    ("gpt-4o", "claude-sonnet", "llama-3.1-70b")[number % 3],
                    Tone.OK,
                    float(rng.uniform(0.5, 1)),
                    0.0,
                    float(rng.gamma(2, 0.3)),
                    0,
                    float(rng.lognormal(0, 1)),
                    "availability 99.5 %, 28 d",
                )
            )
        self.replaying = replaying
        self.broken: Exception | None = None
        self.problems: dict[str, str] = {"telemetry": "", "state": "", "engine": ""}
        self._incidents = {} if empty else {row.id: row for row in _incident_rows()}
        self._calls = () if empty else tuple(call(n) for n in range(230))
        self._entries: list[LedgerRow] = []
        if not empty:
            self._write("incident.triggered", "engine", "support/latency_p95-3", "p95 above band")
            for number in range(60):
                self._write("verdict", "engine", f"slo/objective-{number}", "ok")

    def fleet(self, window: Window) -> FleetView:
        if self.broken:
            raise self.broken
        cards = tuple(card(row, window, seed) for seed, row in enumerate(self.rows))
        return FleetView(
            window=window, updated=self.now, environment="production", cards=cards,
            slos_met=11, slos_at_risk=2, slos_breached=1, slos_unknown=1, firing_pages=1,
            firing_tickets=2, spend_today_usd=1284.2, spend_usual_usd=1211.5, unpriced_calls=12,
            worst=latency_chart("support", window) if cards else None,
        )  # fmt: skip

    def service(self, name: str, window: Window) -> ServiceView:
        seed, row = self._row(name)
        shown = card(row, window, seed)
        if shown.p95_s is None:
            empty = Series(NOW - window.duration, window.step_s, np.full(100, np.nan))
            silent = ChartView(shown.title, "p95 latency", "s", empty, reason="No calls for 3 h")
            return ServiceView(shown, window, self.now, (silent,), (objective(row),))
        p95 = latency_chart(name, window)
        p50 = Series(p95.series.start, window.step_s, p95.series.values * 0.45)
        p99 = Series(p95.series.start, window.step_s, p95.series.values * 1.3)
        counts = tuple(int(900 * np.exp(-((i - 9) ** 2) / 12)) for i in range(24))
        return ServiceView(
            card=shown, window=window, updated=self.now,
            charts=(
                replace(p95, title="p95 latency", extra=(("p50", p50), ("p99", p99))),
                simple_chart("Requests", "per_min", 1240.0, window, 11),
                simple_chart("Error rate", "ratio", 0.021, window, 12, threshold=0.05),
                simple_chart("Tokens", "tokens", 1.9e6, window, 13),
                simple_chart("Cost", "usd", 3.4, window, 14),
                simple_chart("Negative feedback", "ratio", 0.11, window, 15),
            ),
            serving=(
                simple_chart("requests waiting", "count", 14.0, window, 16),
                simple_chart("KV cache in use", "ratio", 0.81, window, 17),
            ),
            unread=("vllm cannot read http://vllm-2:8000/metrics: HTTP 502",),
            objectives=(objective(row), objective(row, 1), cost_objective(row)),
            segments=(fairness(name, shown.title),),
            quality=QUALITY,
            incidents=tuple(r for r in self._incidents.values()
                            if r.service == name and r.state.is_live),
            changes=(ChangeView(DEPLOY, name, "deploy", "prompt v42 deployed", {"by": "ana"}),),
            slowest=tuple(call(n, service=name) for n in range(4)),
            failed=tuple(call(n, service=name, error="rate_limit") for n in range(3)),
            latency=HistogramView(tuple(0.1 * 1.3**i for i in range(25)), counts,
                                  marks=(("p50", 0.9), ("p95", 5.2))),
            runbook="https://runbooks.example/support",
        )  # fmt: skip

    def objectives(self) -> tuple[ObjectiveView, ...]:
        return tuple(objective(row) for row in self.rows)

    def objective(self, name: str) -> ObjectiveDetail:
        known = [v for row in self.rows for v in (objective(row), objective(row, 1),
                                                  cost_objective(row))]  # fmt: skip
        found = next((view for view in known if view.name == name), None)
        if found is None:
            raise Missing(f"there is no objective {name}")
        left = simple_chart("budget left of the whole period", "ratio", 0.4, Window.WEEK, 21)
        bad = simple_chart("share of bad calls", "ratio", 0.03, Window.WEEK, 22, threshold=0.05)
        deploy = "change", "deploy: prompt v42", "18 min before the breach of 03 Mar 09:41"
        return ObjectiveDetail(
            view=replace(found, standing="breached", held=("deploys frozen",)),
            updated=self.now,
            charts=(replace(left, changes=(Marker(DEPLOY, "deploy: prompt v42"),)), bad),
            annotations=(
                Annotation(DEPLOY + timedelta(minutes=18), "breach", "support: slo breach",
                           "6 of 10 calls were slow", None, "/incidents/support/latency_p95-3"),
                Annotation(DEPLOY, *deploy),
            ),
            policies=(PolicyRule("freeze-on-empty", "1", "remaining < 25 %", ("tell a channel",),
                                 "holds", "6 % of the 28 d error budget is left"),),
            explanation=("At least 95 % of calls must be good over 28 d; 5 % may be bad.",),
        )  # fmt: skip

    def incidents(
        self, wanted: IncidentFilter, cursor: str | None, limit: int
    ) -> Page[IncidentRow]:
        found = [
            row
            for row in self._incidents.values()
            if (wanted.state == "all" or row.state.is_live == (wanted.state == "live"))
            and wanted.service in ("", row.service)
            and wanted.tier in (None, row.tier)
        ]
        return _page(found, cursor, limit)

    def live_incidents(self) -> int:
        return sum(r.state.is_live and not r.suppressed_by for r in self._incidents.values())

    def incident(self, incident_id: str) -> IncidentView:
        row = self._incident(incident_id)
        return IncidentView(
            row=row, what="p95 latency is 4.1 s where 1.2 to 1.9 s is usual at this time of day.",
            expectation="the median of four seasonal baselines, fitted on the last 28 days",
            route="page", reason="tier 1 because customers see it: rule classify[5], then page",
            value=4.1, expected=1.54, unit="s",
            slices=(SliceView("prompt_version=v42", 0.91, "8,213 of 9,020 slow requests"),
                    SliceView("region=eu-west", 0.06)),
            changes=(ChangeView(DEPLOY, "support", "deploy", "prompt v42 deployed"),),
            provider="The provider's status page says operational; other services on it are fine.",
            objective="p95 under 4 s, 28 d", budget_left=0.062, burn=14.2,
            chart=latency_chart("support", Window.DAY), runbook="https://runbooks.example/support",
            first_steps=("Compare v41 and v42 on the exemplar calls below.", "Roll back v42."),
            told=(ToldView(row.opened, "pager-ai-ops", "pagerduty", "trigger", "done"),
                  ToldView(row.opened, "slack-ai-ops", "slack", "trigger", "dead", "channel gone")),
            timeline=tuple(TimelineEntry(e.at, e.kind, e.actor, e.reason)
                           for e in self._entries if e.subject == incident_id),
            calls=tuple(call(n) for n in range(3)),
        )  # fmt: skip

    def figures(self, days: int, time_zone: str, /) -> tuple[Figures, str]:
        if days > 366:
            raise BadFigures(f"{days} days: give 1 to 366")
        verdicts = ["real"] * 9 + ["noise"] * 3 + [""] * 2
        found = [
            Response(
                f"i-{n}", "detector/failures", "support", 1, NOW - timedelta(days=n, minutes=6),
                NOW - timedelta(days=n), NOW - timedelta(days=n),
                NOW - timedelta(days=n) + timedelta(minutes=3 + n), "ana",
                NOW - timedelta(days=n) + timedelta(hours=1), ("ana",), verdict,
            )
            for n, verdict in enumerate(verdicts)
        ]  # fmt: skip
        noisy = [
            replace(each, incident=f"n-{n}", rule="detector/cost", people=("bo",), verdict="noise")
            for n, each in enumerate(found[:7])
        ]
        view = figures([*found, *noisy], NOW - timedelta(days=days), NOW, time_zone)
        return view, dump(patch(view.proposals))

    @cached_property
    def arranging(self) -> Arranging:
        away = "[{user: bo, start: 2026-03-05T10:00:00Z, stop: 2026-03-06T10:00:00Z}]"
        rules = compile_desired(load_text(
            "{apiVersion: tocsin/v1, kind: OnCallSchedule, metadata: {name: first},"
            f" spec: {{users: [ana, bo], rotation: daily, handoff: '09:00', away: {away}}}}}\n---\n"
            "{apiVersion: tocsin/v1, kind: Receiver, metadata: {name: pager}, spec: {type: none}}\n"
            "---\n{apiVersion: tocsin/v1, kind: EscalationPolicy, metadata: {name: page-15m},"
            " spec: {steps: [{after: 0m, notify: [pager], who: oncall/first}]}}"
        ))  # fmt: skip
        return Arranging(StateStore.open(":memory:"), lambda: rules)

    def why(self, subject: str) -> Why:
        row = self._incident(subject)
        tried = (
            Tried("classify", "staging", False),
            Tried("classify", "p95 in production", True, "tier=1"),
            Tried("route", "page", True, "the walk ends here"),
        )
        again = Rederived("same", "configuration 9f1c2a asked again decides the same", (), tried)
        labels = {"env": "prod", "signal": "latency_p95", "service": row.service}
        verdict = VerdictSeen(row.opened, "detector/pace", "page", 5.2, 1.9, "s", 7.4,
                              "p95 is 2.7 times its expectation", labels)  # fmt: skip
        decision = DecisionSeen(
            row.opened, 12, self._entries[0].hash, "9f1c2a", 1, "page", ("slack-ai-ops",),
            "page-15m", "", "", "tier 1 (page now) by p95 in production; route page",
            {"change": 1.66, "for": 300.0}, again,
        )  # fmt: skip
        calls = (
            CallSeen(0, ("pager-ai-ops",), ("oncall/first",), ("ana",), "", 0),
            CallSeen(900, ("pager-ai-ops",), ("oncall/second",), (), "oncall/second has nobody", 0),
            CallSeen(1800, (), (), (), "", 3),
        )
        return Why(
            incident=row.id, title=row.title, state=row.state, tier=row.tier, opened=row.opened,
            suppressed_by=row.suppressed_by, answer="same",
            answer_why="all 2 recorded decisions follow again", chain="",
            alerts=(AlertSeen("a1b2c3d4e5f60718", verdict, (decision,)),),
            policy="page-15m", calls=calls, calls_again=Rederived("same", "the same people"),
            messages=(MessageSeen(row.opened, "pager-ai-ops", "trigger", "done", "delivered", 2,
                                  ("ana",), ""),),
            answers=(AnswerSeen(row.opened, "acknowledged", "ana", "ana acknowledged it"),),
            configs=(ConfigSeen("9f1c2a", row.opened, "ana", "first"),),
        )  # fmt: skip

    def messages(self, incident_id: str, cursor: str | None, limit: int) -> Page[MessageView]:
        sent = messages() if self._incidents else ()
        return _page([m for m in sent if incident_id in ("", m.incident_id)], cursor, limit)

    def ledger(self, subject: str, cursor: str | None, limit: int) -> LedgerView:
        found = [e for e in reversed(self._entries) if subject in ("", e.subject)]
        head = self._entries[-1].hash if self._entries else ""
        intact = True if self._entries else None
        return LedgerView(_page(found, cursor, limit), intact, len(self._entries), head, self.now,
                          self.now if self._entries else None)  # fmt: skip

    def verify(self) -> None:
        self.verified += 1

    def calls(
        self, limit: int, since: datetime | None, service: str, cursor: str | None
    ) -> Page[CallRow]:
        found = [
            c
            for c in self._calls
            if (since is None or c.ts >= since) and service in ("", c.service)
        ]
        return _page(found, cursor, limit)

    def call(self, trace_id: str, span_id: str) -> CallView:
        for found in self._calls:
            if (found.trace_id, found.span_id) == (trace_id, span_id):
                said = NoteView(found.ts, "gen_ai.choice", "Yes.", {"gen_ai.system": "openai"})
                liked = ScoreView(found.ts, "feedback", 1.0, "thumbs_up", "human", "quick")
                question = '[{"role": "user", "content": "<b>Where</b> is my parcel?"}]'
                return CallView(
                    found, question, "Yes.", "log records", {"server.address": "api.example"},
                    {"service.name": found.service}, (), (said,), (liked,),
                )  # fmt: skip
        raise Missing(f"there is no call with trace {trace_id} and span {span_id}")

    def breakdown(self, service: str, asked: Asked) -> dict[str, Any]:
        if asked.start is not None and asked.stop is not None and asked.stop <= asked.start:
            raise BadRange("a baseline comes before the range in question, and neither is empty")
        return {
            "slices": [{"where": {"model": "gpt-4o", "region": "eu"}, "actual": 41.0,
                        "total": 310.0, "expected": 2.0, "support": 0.82, "ratio": 14.2,
                        "score": 2.1}],
            "lines": ["model gpt-4o and region eu: 82% of the failures, 14.2 times as likely"],
            "since": "2026-03-03T13:50:00Z",
            "changes": [{"at": "2026-03-03T13:48:00Z", "kind": "deploy", "title": "prompt v43",
                         "minutes_before": 2}],
            "measure": asked.measure,
        }  # fmt: skip

    def metrics(
        self, service: str, metric: str, start: datetime | None, stop: datetime | None,
        step_minutes: int | None,
    ) -> MetricsResource:  # fmt: skip
        last = stop or self.now
        first = start or last - timedelta(hours=1)
        names = (MetricNameResource("vllm:num_requests_waiting", "gauge", "", 2, NOW),)
        return MetricsResource(service, first, last, 60 * (step_minutes or 1), names)

    def changes(
        self, service: str, since: datetime | None, cursor: str | None, limit: int
    ) -> Page[ChangeView]:
        found = [ChangeView(DEPLOY, "support", "deploy", "prompt v42 deployed")]
        return _page([c for c in found if service in ("", c.service)], cursor, limit)

    def data_quality(self, hours: int) -> DataQualityView:
        start = self.now - timedelta(hours=hours)
        if not self.rows:
            return DataQualityView(start, self.now, (), ())
        fields = (
            FieldQuality("usage_told", "Answered calls with token counts", 512, 1240, 0.413, 0.004,
                         "risen"),
            FieldQuality("price_known", "Calls with token counts whose model has a price", 0, 728,
                         0.0, 0.0, "steady"),
            FieldQuality("first_token_told", "Streamed answers with the time of their first token",
                         0, 0, None, None, "unknown"),
        )  # fmt: skip
        one = ServiceQuality(
            "shop", "support", 1240, fields, 3, 12, 0, 1, 40, 2, ("llm.new.#",), (),
            ("openinference.instrumentation.openai 1.3",),
            ("openinference.instrumentation.openai 1.2",),
        )  # fmt: skip
        aside = SetAsideRow("shop", "otlp traces", "it starts more than # days ago", 9)
        return DataQualityView(start, self.now, (one,), (aside,))

    @property
    def detectors(self) -> FakeDetectors:
        return FakeDetectors(bool(self.rows))

    def sources(self) -> tuple[TargetStatus, ...]:
        if not self.rows:
            return ()
        page = "http://vllm-1:8000/metrics"
        up = TargetStatus("vllm", "prometheus", "support", page, "up", "", NOW, NOW, 9, 0, 400)
        other = page.replace("1", "2")
        return (up, TargetStatus("vllm", "prometheus", "support", other, reason="HTTP 502",
                                 since=DEPLOY, polls=9, failures=9,
                                 notes=("x: a gaugehistogram is not read",)))  # fmt: skip

    def quarantine(self, cursor: str | None, limit: int) -> Page[QuarantineRow]:
        row = QuarantineRow("q1", NOW, "OTLP/HTTP", "gzip ends early", 4096, 3, "\x1f…<b>")
        return _page([row] if self.rows else [], cursor, limit)

    def progress(self) -> ReplayProgress | None:
        start = NOW - timedelta(days=14)
        if not self.replaying:
            return None
        return ReplayProgress(start, NOW, NOW - timedelta(days=5), 812_345, 41_000.0)

    def trouble(self) -> str:
        return self.problems.get("intake", "")

    def ready(self) -> Readiness:
        return Readiness(self.problems)

    def acknowledge(self, incident_id: str, actor: str) -> None:
        row = self._live(incident_id)
        self._incidents[incident_id] = replace(
            row, state=IncidentState.ACKNOWLEDGED, acknowledged_by=actor
        )
        self._write("incident.acknowledged", actor, incident_id, "acknowledged")

    def resolve(self, incident_id: str, actor: str, reason: str) -> None:
        row = self._live(incident_id)
        self._incidents[incident_id] = replace(row, state=IncidentState.RESOLVED, resolved=self.now)
        self._write("incident.resolved", actor, incident_id, reason)

    def verdict(self, incident_id: str, kind: VerdictKind, actor: str) -> None:
        row = self._incident(incident_id)
        self._incidents[incident_id] = replace(row, verdict=kind.value)
        self._write("incident.verdict", actor, incident_id, kind.value)

    def _row(self, name: str) -> tuple[int, Sequence[Any]]:
        for seed, row in enumerate(self.rows):
            if row[0] == name:
                return seed, row
        raise Missing(f"no service is called {name!r}")

    def _incident(self, incident_id: str) -> IncidentRow:
        if incident_id not in self._incidents:
            raise Missing(f"there is no incident {incident_id!r}")
        return self._incidents[incident_id]

    def _live(self, incident_id: str) -> IncidentRow:
        row = self._incident(incident_id)
        if not row.state.is_live:
            raise Conflict(f"incident {incident_id} is already {row.state.value}")
        return row

    def _write(self, kind: str, actor: str, subject: str, reason: str) -> None:
        previous = self._entries[-1].hash if self._entries else "0" * 64
        text = f"{previous}{kind}{actor}{subject}{reason}"
        digest = hashlib.sha256(text.encode()).hexdigest()
        number = len(self._entries) + 1
        self._entries.append(
            LedgerRow(number, self.now, kind, actor, subject, reason, digest, previous)
        )


def _incident_rows() -> tuple[IncidentRow, ...]:
    opened = DEPLOY + timedelta(minutes=9)
    return (
        IncidentRow("support/latency_p95-3", "Support assistant is slow", "support", "latency_p95",
                    IncidentState.TRIGGERED, 1, opened, NOW, alerts=3),
        IncidentRow("contracts/retrieval_failure-1", "Contract search finds nothing", "contracts",
                    "retrieval_failure", IncidentState.ACKNOWLEDGED, 2, opened, NOW,
                    acknowledged_by="ana"),
        IncidentRow("voice/cost-2", "Voice agent costs more", "voice", "cost",
                    IncidentState.OPEN, 3, opened, NOW, suppressed_by="silence:voice-test"),
        IncidentRow("claims/error_rate-7", "Claims triage fails", "claims", "error_rate",
                    IncidentState.RESOLVED, 1, opened - timedelta(days=1), NOW,
                    resolved=opened - timedelta(hours=22), verdict="real"),
    )  # fmt: skip


def _page(items: Sequence[T], cursor: str | None, limit: int) -> Page[T]:
    try:
        start = int(cursor or 0)
    except ValueError:
        raise BadCursor(f"{cursor!r} is not a cursor of this server") from None
    stop = start + limit
    return Page(tuple(items[start:stop]), str(stop) if stop < len(items) else None, len(items))


class FakeDetectors:
    """Two detectors under a budget; none when nothing was ever seen."""

    def __init__(self, is_full: bool) -> None:
        self._is_full = is_full

    def all(self) -> DetectorsView:
        if not self._is_full:
            return DetectorsView(NOW, (), (), ())
        limits = Calibration("support", 20_514, 5.4, 3.6, "measured", 6_412, 31, 88, 7, 2,
                             "the last 7 days are less calm than before: 40 hours reached "
                             "evidence 3, 9.1 were to be expected")  # fmt: skip
        known = Precision(5, 1, 1, 1, 7, 2, 5 / 7, 0.29, 0.96)
        prospects = (
            Prospect(2.0, 5.4, 3.6, 1.1, 9, 6, 2, 0.66),
            Prospect(5.0, 4.6, 3.6, 3.2, 0, 0, 0, 1.0),
        )
        budget = BudgetView(
            "support",
            2.0,
            20.0,
            2,
            limits,
            4.0,
            19,
            15,
            2,
            True,
            known,
            Outlook("support", 6_443, prospects),
        )
        return DetectorsView(NOW, (budget,), (TeamPrecision("support", known),), self._rows())

    def one(self, name: str, asked: Mapping[str, float], days: int) -> DetectorView:
        rows = {row.name: row for row in self.all().detectors}
        if name not in rows:
            raise Missing(f"there is no detector {name}")
        if asked.keys() - {"threshold", "for_minutes"}:
            raise CannotReplay(f"{name} has no setting {min(asked)!r} that is a number")
        settings = {"threshold": 6.0, "for_minutes": 2}
        if name == "slow":
            return DetectorView(rows[name], NOW, {}, days, {}, (), (), 0, None, (),
                                "It compares samples or segments, not minutes.")  # fmt: skip
        rang = Rang(DEPLOY, NOW, 17.2, True, "9 of 20 calls failed in 1 min (45 %)", "real")
        as_is = OutcomeView("As it is", settings, 4, 1, 31, 2, 1, 1, (rang,))
        other = OutcomeView("As asked", {**settings, **asked}, 9, 3, 64, 2, 2, 3, (rang,))
        values = tuple(0.01 if at % 7 else None for at in range(1440))
        return DetectorView(
            row=rows[name],
            updated=NOW,
            settings=settings,
            days=days,
            asked={**settings, **asked},
            alerts=(
                AlertRow(
                    DEPLOY, NOW, "page", "9 of 20 calls failed", "support/latency_p95-3", 1, "real"
                ),
                AlertRow(DEPLOY, None, "ticket", "3 of 20 calls failed", "", None, ""),
            ),
            peaks=tuple((NOW - timedelta(hours=7 * n), 3.0 + n % 5) for n in range(40)),
            judged_hours=700,
            trace=TraceView(
                NOW - timedelta(days=1),
                60,
                "ratio",
                values,
                (0.008,) * 1440,
                (0.0,) * 1440,
                (0.02,) * 1440,
                tuple(at > 1400 for at in range(1440)),
            ),
            outcomes=(as_is, other) if asked else (as_is,),
            note="",
        )

    def _rows(self) -> tuple[DetectorRow, ...]:
        known, unknown = (Precision(5, 1, 1, 1, 7, 2, 5 / 7, 0.29, 0.96),
                          Precision(0, 0, 0, 0, 0, 0, None, None, None))  # fmt: skip
        return (
            DetectorRow("failures/support", "Support: failures", "support", "support",
                        "count_scan", "page", "support", "found", "9 of 20 calls failed", 17.2,
                        3.6, 5.4, 4, 1, known),
            DetectorRow("slow", "Support: <slow>", "support", "support", "drift", "ticket", "",
                        "unknown", "too little history", None, None, None, 0, 0, unknown),
        )  # fmt: skip
