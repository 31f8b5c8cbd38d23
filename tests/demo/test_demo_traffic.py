"""The generator against published figures, and against itself: same seed, same calls."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tocsin.demo.companions import Retrieval
from tocsin.demo.fleet import FLEET, Service
from tocsin.demo.script import Label, Screenplay, load
from tocsin.demo.spans import (
    AGENT,
    CHAIN,
    EMBEDDING,
    FINISHES,
    LLM,
    MINUTE_NS,
    RETRIEVER,
    TOOL,
    Chunk,
    Rows,
)
from tocsin.demo.traffic import Traffic

START = datetime(2026, 11, 2, tzinfo=UTC)
NOTHING = Screenplay(())
SERVICES = tuple(service.name for service in FLEET)


class Fortnight:
    """Two weeks of traffic as columns, and how to cut them."""

    def __init__(self, script: Screenplay | None) -> None:
        self.traffic = Traffic(7, START, script=script)
        spans, scores = zip(*self.traffic.rows(24), strict=True)
        self.spans = np.concatenate(spans)
        self.scores = np.concatenate(scores)

    def calls(self, service: str, kind: int = LLM) -> Rows:
        rows = self.spans[self.spans["kind"] == kind]
        return rows[rows["service"] == self.traffic.names.services.code(service)]

    def hourly(self, service: str) -> np.ndarray:
        minute = self.calls(service)["start"] // MINUTE_NS - self.traffic.start_minute
        return np.bincount(minute // 60, minlength=336)[:336].astype(float)

    def label(self, name: str) -> Label:
        return next(label for label in self.traffic.labels if label.id == name)

    def during(self, label: Label, service: str, kind: int = LLM) -> Rows:
        rows = self.calls(service, kind)
        return rows[(rows["end"] >= ns(label.start)) & (rows["end"] < ns(label.end))]

    def before(self, label: Label, service: str, kind: int = LLM) -> Rows:
        rows = self.calls(service, kind)
        first = ns(label.start - timedelta(hours=12))
        return rows[(rows["end"] >= first) & (rows["end"] < ns(label.start))]


def ns(instant: datetime) -> int:
    return int(instant.timestamp()) * 1_000_000_000


def failing(rows: Rows) -> float:
    return float(np.mean(rows["outcome"] > 0))


def ms(rows: Rows) -> np.ndarray:
    return (rows["end"] - rows["start"]) / 1e6


def pace(rows: Rows) -> float:
    known = rows[(rows["outcome"] == 0) & (rows["output"] > 0)]
    return float(np.median(ms(known) / known["output"] ** 0.584 / known["input"] ** 0.147))


def gap_variation(rows: Rows, window_s: int, least: int = 8) -> np.ndarray:
    """Coefficient of variation of inter-arrival times, per window with enough arrivals."""
    at = np.sort(rows["start"] / 1e9)
    cuts = np.flatnonzero(np.diff(at // window_s)) + 1
    gaps = [np.diff(part) for part in np.split(at, cuts) if part.size >= least]
    return np.array([gap.std() / gap.mean() for gap in gaps])


@pytest.fixture(scope="module")
def calm() -> Fortnight:
    return Fortnight(NOTHING)


@pytest.fixture(scope="module")
def eventful() -> Fortnight:
    return Fortnight(None)


def test_the_fleet_makes_as_many_calls_as_it_should(eventful: Fortnight) -> None:
    calls = np.count_nonzero(eventful.spans["kind"] == LLM)
    assert 500_000 < calls < 700_000
    assert eventful.spans.size < 1_200_000


@pytest.mark.parametrize("service", SERVICES)
def test_traffic_is_weakly_seasonal(calm: Fortnight, service: str) -> None:
    hourly = calm.hourly(service)
    by_hour = hourly.reshape(14, 24).mean(axis=0)
    assert 1.4 < by_hour.max() / by_hour.min() < 2.2
    centred = hourly - hourly.mean()
    lag_day = (centred[24:] * centred[:-24]).sum() / (centred**2).sum()
    assert 0.1 < lag_day < 0.5


@pytest.mark.parametrize("service", SERVICES)
def test_arrivals_are_burstier_than_poisson_with_a_heavy_tail(
    calm: Fortnight, service: str
) -> None:
    variation = gap_variation(calm.calls(service), 600)
    assert 1.0 <= np.median(variation) <= 1.45
    assert np.quantile(variation, 0.99) > 1.7


@pytest.mark.parametrize("service", SERVICES)
def test_one_tenant_dominates(calm: Fortnight, service: str) -> None:
    counts = np.bincount(calm.calls(service)["tenant"])
    assert 0.16 < counts.max() / counts.sum() < 0.52


@pytest.mark.parametrize("service", SERVICES)
def test_latency_is_log_linear_in_tokens(calm: Fortnight, service: str) -> None:
    rows = calm.calls(service)
    rows = rows[(rows["outcome"] == 0) & (rows["output"] > 0) & (rows["finish"] > 0)]
    features = np.stack([np.ones(rows.size), np.log(rows["output"]), np.log(rows["input"])], 1)
    fitted, *_ = np.linalg.lstsq(features, np.log(ms(rows)), rcond=None)
    residual = (np.log(ms(rows)) - features @ fitted).std()
    assert fitted[1] == pytest.approx(0.584, abs=0.03)
    assert fitted[2] == pytest.approx(0.147, abs=0.03)
    assert residual == pytest.approx(0.66, abs=0.03)


@pytest.mark.parametrize("service", FLEET, ids=SERVICES)
def test_failures_are_as_rare_as_they_should_be(calm: Fortnight, service: Service) -> None:
    assert failing(calm.calls(service.name)) == pytest.approx(service.errors, rel=0.35)


def test_failures_come_in_clumps(calm: Fortnight) -> None:
    rows = calm.calls("support-assistant")
    hour = rows["end"] // MINUTE_NS // 10 - calm.traffic.start_minute // 10
    bad = np.bincount(hour[rows["outcome"] > 0], minlength=2016)[:2016]
    assert bad.var() / bad.mean() > 1.1


def test_two_services_have_quiet_hours_now_and_then_and_the_others_do_not(calm: Fortnight) -> None:
    def longest_gap_minutes(service: str) -> float:
        return float(np.diff(np.sort(calm.calls(service)["start"])).max() / MINUTE_NS)

    gaps = {service: longest_gap_minutes(service) for service in SERVICES}
    assert all(30 < gaps[s] < 90 for s in ("claims-triage", "code-review")), gaps
    assert all(gaps[s] < 30 for s in SERVICES if s not in ("claims-triage", "code-review")), gaps


def test_streams_have_first_tokens_and_some_never_report_usage(calm: Fortnight) -> None:
    support, voice = calm.calls("support-assistant"), calm.calls("voice-agent")
    for rows in (support[support["outcome"] == 0], voice[voice["outcome"] == 0]):
        assert (rows["ttft"] > 0).all()
        assert (rows["ttft"] <= rows["end"] - rows["start"]).all()
    blind = np.mean(support["input"][support["outcome"] == 0] < 0)
    assert 0.10 < blind < 0.20
    assert 0.0005 < np.mean((voice["finish"] == 0) & (voice["outcome"] == 0)) < 0.004


def test_finish_reasons_cached_and_thinking_tokens_are_there(calm: Fortnight) -> None:
    seen = {FINISHES[code] for code in np.unique(calm.spans["finish"])}
    assert seen == set(FINISHES)
    review = calm.calls("code-review")
    review = review[review["input"] >= 0]
    assert (review["cached"] <= review["input"]).all()
    assert (review["reasoning"] <= review["output"]).all()
    assert np.mean(review["cached"] > 0) > 0.4
    assert np.mean(review["reasoning"] > 0) > 0.9


def test_companion_spans_surround_their_calls(calm: Fortnight) -> None:
    calls = calm.calls("contract-search")
    for kind in (EMBEDDING, RETRIEVER, CHAIN):
        assert abs(calm.calls("contract-search", kind).size - calls.size) < 10
    chains = calm.calls("contract-search", CHAIN)
    by_id = {bytes(span): row for span, row in zip(chains["span"], chains, strict=True)}
    inside = [by_id[bytes(c["parent"])] for c in calls[:500] if bytes(c["parent"]) in by_id]
    assert len(inside) > 490
    for call, chain in zip(calls[:20], inside[:20], strict=False):
        assert bytes(call["trace"]) == bytes(chain["trace"])
        assert chain["start"] < call["start"] < call["end"] <= chain["end"]
    agents, tools = (calm.calls("code-review", kind) for kind in (AGENT, TOOL))
    assert (agents["end"] > agents["start"]).all()
    assert (tools["end"] >= tools["start"]).all()
    wrapping = np.concatenate([agents, chains, tools])
    assert (wrapping["output"] < 0).all()


def test_thumbs_are_rare_late_and_refer_to_calls_that_exist(calm: Fortnight) -> None:
    rows = calm.calls("support-assistant")
    scores = calm.scores[calm.scores["service"] == rows["service"][0]]
    assert 0.035 < scores.size / rows.size < 0.045
    assert 0.15 < 1 - scores["value"].mean() < 0.25
    ended = {bytes(span): end for span, end in zip(rows["span"], rows["end"], strict=True)}
    late = np.array(
        [(ts - ended[bytes(span)]) / MINUTE_NS for ts, span in zip(
            scores["ts"], scores["span"], strict=True) if bytes(span) in ended]
    )  # fmt: skip
    assert late.size > 0.99 * scores.size
    assert 5 < np.median(late) < 12
    assert 120 < late.max() <= 720


def test_ids_are_unique_and_spans_run_forwards(eventful: Fortnight) -> None:
    ids = np.ascontiguousarray(eventful.spans["span"]).view("<u8").ravel()
    assert np.unique(ids).size == ids.size
    assert (eventful.spans["end"] >= eventful.spans["start"]).all()


# ----------------------------------------------------------------------------- what the script does


def test_nothing_real_happens_in_the_first_two_and_a_half_days(eventful: Fortnight) -> None:
    real = [label for label in eventful.traffic.labels if label.real and not label.live]
    assert len(real) >= 9
    assert min(label.start for label in real) >= START + timedelta(days=2.5)
    assert max(label.end for label in real) <= START + timedelta(days=14)


def test_an_outage_of_the_provider_hits_its_services_and_no_others(eventful: Fortnight) -> None:
    outage = eventful.label("openai-outage")
    for service in outage.services:
        assert 0.3 < failing(eventful.during(outage, service)) < 0.65
    for service in set(SERVICES) - set(outage.services):
        assert failing(eventful.during(outage, service)) < 0.05


def test_a_slow_variant_is_slow_at_equal_work(eventful: Fortnight) -> None:
    slow = eventful.label("voice-slow-variant")
    ratio = pace(eventful.during(slow, "voice-agent")) / pace(eventful.before(slow, "voice-agent"))
    assert 1.9 < ratio < 2.5
    models = eventful.traffic.names
    seen = {models.model_of(c)[1] for c in np.unique(eventful.during(slow, "voice-agent")["model"])}
    assert "gpt-4o-2024-11-20" in seen


def test_a_batch_job_makes_prompts_long_and_not_the_model_slow(eventful: Fortnight) -> None:
    batch = eventful.label("claims-batch")
    tenant = eventful.traffic.names.tenants.code("harbor-mutual")

    def prompt(rows: Rows) -> float:
        return float(np.median(rows["input"][(rows["tenant"] == tenant) & (rows["input"] > 0)]))

    during, before = (f(batch, "claims-triage") for f in (eventful.during, eventful.before))
    assert 80 < prompt(before) < 130
    assert 1_500 < prompt(during) < 2_700
    assert pace(during) / pace(before) == pytest.approx(1, abs=0.12)


def test_a_prompt_regression_shows_in_thumbs_and_length_only(eventful: Fortnight) -> None:
    regression = eventful.label("support-prompt-regression")
    before, during = (
        f(regression, "support-assistant") for f in (eventful.before, eventful.during)
    )

    def down(first: datetime, last: datetime) -> float:
        scores = eventful.scores
        mine = (scores["service"] == before["service"][0]) & (scores["ts"] >= ns(first))
        return float(1 - scores["value"][mine & (scores["ts"] < ns(last))].mean())

    assert down(regression.start, regression.end) > 0.38
    assert down(START, regression.start) < 0.24
    lengths = [np.median(rows["output"][rows["output"] > 0]) for rows in (before, during)]
    assert lengths[1] / lengths[0] > 1.35
    assert failing(during) < 0.02


def test_a_failing_vector_database_fails_searches_and_not_answers(eventful: Fortnight) -> None:
    failure = eventful.label("search-retrieval-failure")
    assert 0.3 < failing(eventful.during(failure, "contract-search", RETRIEVER)) < 0.6
    assert failing(eventful.during(failure, "contract-search")) < 0.03


def test_an_agent_loop_burns_about_twelve_times_the_tokens_of_a_review(eventful: Fortnight) -> None:
    loop = eventful.label("review-agent-loop")
    tenant = eventful.traffic.names.tenants.code("payments")

    def per_review(rows: Rows) -> float:
        rows = rows[rows["tenant"] == tenant]
        reviews = np.unique(rows["trace"], axis=0).shape[0]
        return float(np.maximum(rows["input"], 0).sum() / reviews)

    everything = eventful.calls("code-review")
    usual = per_review(everything[everything["end"] < ns(loop.start)])
    assert 8 < per_review(eventful.during(loop, "code-review")) / usual < 18


def test_truncated_streams_look_like_successes(eventful: Fortnight) -> None:
    cut = eventful.during(eventful.label("voice-silent-truncation"), "voice-agent")
    assert 0.2 < np.mean((cut["finish"] == 0) & (cut["outcome"] == 0)) < 0.4
    assert failing(cut) < 0.02


def test_a_slow_burn_is_hardly_visible(eventful: Fortnight) -> None:
    burn = eventful.during(eventful.label("email-region-errors"), "email-drafts")
    assert 0.018 < failing(burn) < 0.045


def test_gaps_are_gaps(eventful: Fortnight) -> None:
    for name in ("claims-night-gap", "collector-restart"):
        gap = eventful.label(name)
        for service in gap.services:
            rows = eventful.calls(service)
            column = "start" if name == "claims-night-gap" else "end"
            hit = (rows[column] >= ns(gap.start)) & (rows[column] < ns(gap.end))
            assert not hit.any(), (name, service)


@pytest.mark.parametrize(
    "name", ["email-drafts-deploy", "search-prompt-innocent", "email-model-innocent"]
)
def test_innocent_changes_change_nothing(eventful: Fortnight, name: str) -> None:
    change = eventful.label(name)
    during, before = (f(change, change.services[0]) for f in (eventful.during, eventful.before))
    assert failing(during) < 0.02
    assert pace(during) / pace(before) == pytest.approx(1, abs=0.25)


def test_a_surge_triples_volume_and_nothing_else(eventful: Fortnight) -> None:
    surge = eventful.label("support-surge")
    during = eventful.during(surge, "support-assistant")
    usual = eventful.hourly("support-assistant").mean()
    per_hour = during.size / ((surge.end - surge.start).total_seconds() / 3600)
    assert 2 < per_hour / usual < 5
    assert failing(during) < 0.01


# ------------------------------------------------------------------------------------- determinism


def sorted_spans(traffic: Traffic, hours: float) -> Rows:
    rows = np.concatenate([spans for spans, _ in traffic.rows(hours)])
    return rows[np.lexsort((rows["span"][:, 0], rows["end"]))]


def test_the_same_seed_gives_the_same_calls_however_they_are_cut() -> None:
    whole, pieces = (sorted_spans(Traffic(3, START, days=2, scale=0.2), h) for h in (48, 1.5))
    assert whole.size > 1_000
    assert whole.tobytes() == pieces.tobytes()


def test_a_longer_run_begins_with_the_shorter_one() -> None:
    short = sorted_spans(Traffic(3, START, days=0.5, scale=0.2, script=NOTHING), 6)
    longer = sorted_spans(Traffic(3, START, days=1.0, scale=0.2, script=NOTHING), 6)
    assert longer[: short.size].tobytes() == short.tobytes()


def test_another_seed_gives_other_calls() -> None:
    one, other = (sorted_spans(Traffic(s, START, days=0.1), 3) for s in (1, 2))
    assert one.tobytes() != other.tobytes()


def test_live_goes_on_where_the_replay_stopped_minute_by_minute() -> None:
    replayed = Traffic(5, START, days=0.25, scale=0.3)
    chunks = list(replayed.chunks(2))
    stop = START + timedelta(hours=6)
    live = [replayed.live(stop + timedelta(minutes=m, seconds=20)) for m in range(31)]
    assert [c.stop - c.start for c in live] == [0] + [1] * 30
    assert live[0].start == chunks[-1].stop == replayed.stop_minute

    again = Traffic(5, START, days=0.25, scale=0.3)
    list(again.chunks(6))
    at_once = again.live(stop + timedelta(minutes=30))
    assert at_once.calls == sum(c.calls for c in live) > 0
    assert sorted(at_once.scores.splitlines()) == sorted(
        line for c in live for line in c.scores.splitlines()
    )


def test_live_time_has_its_own_small_outage() -> None:
    traffic = Traffic(5, START, days=0.25)
    list(traffic.chunks(6))
    label = next(label for label in traffic.labels if label.live)
    assert label.start == START + timedelta(hours=6, minutes=12)
    rows, _ = traffic._move(traffic.stop_minute + 40)
    voice = rows[rows["service"] == traffic.names.services.code("voice-agent")]
    hit = (voice["end"] >= ns(label.start)) & (voice["end"] < ns(label.end))
    assert failing(voice[hit]) > 0.2
    assert failing(voice[~hit]) < 0.15


# ------------------------------------------------------------------------------------------ chunks


@pytest.fixture(scope="module")
def four_days() -> list[Chunk]:
    return list(Traffic(7, START, days=4, scale=0.3).chunks(6))


def test_chunks_say_what_is_in_them(four_days: list[Chunk]) -> None:
    for chunk in four_days:
        spans = 0
        for body in chunk.bodies:
            request = ExportTraceServiceRequest.FromString(body)
            (resource,) = request.resource_spans
            inside = [span for scope in resource.scope_spans for span in scope.spans]
            assert 0 < len(inside) <= 512
            spans += len(inside)
            for span in (inside[0], inside[-1]):
                assert chunk.start <= span.end_time_unix_nano // MINUTE_NS < chunk.stop
        assert spans == chunk.spans


def test_scores_and_changes_are_rows_of_the_documented_form(four_days: list[Chunk]) -> None:
    scores = [json.loads(line) for c in four_days for line in c.scores.splitlines()]
    assert len(scores) > 100
    assert {frozenset(row) for row in scores} == {
        frozenset({"ts", "service", "call_id", "trace_id", "name", "value", "source"})
    }
    assert all(len(r["call_id"]) == 16 and len(r["trace_id"]) == 32 for r in scores)
    assert {r["value"] for r in scores} == {0, 1}
    changes = [json.loads(line) for c in four_days for line in c.changes.splitlines()]
    assert [c["title"] for c in changes] == ["Release 4.1.0"]
    assert changes[0] == {
        "ts": "2026-11-04T14:00:00Z", "service": "email-drafts", "kind": "deploy",
        "title": "Release 4.1.0", "labels": {},
    }  # fmt: skip


def test_every_announced_change_names_a_service_of_the_fleet() -> None:
    script = load(services=SERVICES).bind(START, 14 * 1440)
    assert {step.service for _, step in script.steps} <= set(SERVICES)
    assert all(0 <= at < 14 * 1440 for at, _ in script.steps)


def test_a_search_without_documents_is_useless() -> None:
    retrieval = Retrieval(
        np.ones(2), np.array([5.0, 7.0]), np.array([False, True]), np.array([3, 0])
    )
    assert retrieval.useless.tolist() == [False, True]
    assert retrieval.lead_ms.tolist() == [6.0, 8.0]
