"""From a judged call to an objective, and from a person's label to an honest interval."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta

import pytest
from judge_build import Works, asking, document, judge, telemetry, works

from tocsin.domain.errors import Conflict
from tocsin.engine.labelling import Labelling
from tocsin.store.telemetry import Telemetry

SLO = """
apiVersion: openslo/v1
kind: SLO
metadata: {name: faithful-answers}
spec:
  service: chat
  indicator:
    metadata: {name: faithful-answers}
    spec:
      ratioMetric:
        good: {metricSource: {type: Tocsin, spec: {count: "score('faithful') >= 0.5"}}}
        total: {metricSource: {type: Tocsin, spec: {count: "known(score('faithful'))"}}}
  timeWindow: [{duration: 7d, isRolling: true}]
  budgetingMethod: Occurrences
  objectives: [{target: 0.9}]
"""


@pytest.fixture(scope="module")
def shop_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Telemetry]:
    with telemetry(tmp_path_factory.mktemp("labelled")) as store:
        yield store


def beat(shop: Works) -> None:
    """What a server does every minute."""
    shop.store.flush()
    shop.house.catch_up(shop.clock.now())


def test_late_verdicts_reach_an_objective_that_names_the_judge_and_not_its_version(
    shop_store: Telemetry,
) -> None:
    with judge() as llm, works(shop_store, document(asking(llm), spec="target: 0.9") + SLO) as shop:
        assert [one.standing for one in shop.house.statuses()] == ["no_data"], (
            "shown from the start"
        )
        beat(shop)
        shop.calls(["The sky is blue."] * 15 + ["The sky is purple."] * 5)
        shop.clock.advance(timedelta(minutes=1))
        beat(shop)
        (status,) = shop.house.statuses()
        assert (status.bad, status.total) == (0, 0), "nothing was judged yet: unknown, not good"
        assert status.sli is None
        shop.judge(6)
        beat(shop)
        (status,) = shop.house.statuses()
        assert (status.bad, status.total) == (5, 20)
        (quality,) = shop.house.qualities()
        assert (quality.state, quality.judged, quality.judge) == ("uncalibrated", 20, 0.75)
        # A new rubric is a new judge: the objective begins anew, and does not mix the two.
        other = asking(llm).replace("Is it faithful", "Is it truly faithful")
        shop.use(document(other, spec="target: 0.9") + SLO)
        (status,) = shop.house.statuses()
        assert (status.bad, status.total) == (0, 0)


def test_a_judge_that_fails_makes_its_promise_unknown_and_never_good(
    shop_store: Telemetry,
) -> None:
    with judge() as llm, works(shop_store, document(asking(llm), spec="target: 0.9")) as shop:
        beat(shop)
        shop.calls(["The sky is blue."] * 12)
        llm.refuses = True
        status = shop.judge(5)
        assert status.state == "failing"
        assert "declined" in status.reason
        beat(shop)
        (quality,) = shop.house.qualities()
        assert (quality.state, quality.unanswered, quality.judged) == ("failing", 1.0, 0)
        assert [v.judgement.value for v in shop.house.standing.verdicts.values()] == ["unknown"]


def test_a_label_is_offered_once_recorded_with_who_gave_it_and_weighed_by_its_chance(
    shop_store: Telemetry,
) -> None:
    """A graded judge: what it failed is always offered, what it passed by how sure it is."""
    run = "type: groundedness\ngrounded: 0.5\npasses: 0.5"
    spec = "target: 0.8\nhumanLabels: {min: 30}"
    with works(shop_store, document(run, spec=spec)) as shop:
        beat(shop)
        texts = {"sure": "Red fox runs. Red fox runs.", "half": "Red fox runs. Green owl sleeps.",
                 "bad": "Green owl sleeps. Green owl sleeps."}  # fmt: skip
        spans: dict[str, list[str]] = {}
        for name, text in texts.items():
            spans[name] = shop.calls([text] * 60)
        documents = [
            {"kind": "retriever", "service": shop.name, "ts": shop.clock.now().isoformat(),
             "duration_ms": 1, "trace_id": shop.id(n + 1, 32), "span_id": shop.id(n + 5001, 16),
             "attributes": {"retrieval.documents.0.document.content": "The red fox runs."}}
            for n in range(180)
        ]  # fmt: skip
        shop.take(documents)
        status = shop.judge(4)
        assert {v for v, _ in shop.scores(status.series).values()} == {0.0, 0.5, 1.0}
        desk = Labelling(shop.house, shop.intake)
        queue, offers = desk.queue("faithful", 100)
        assert (queue.judged, queue.labelled) == (180, 0)
        worth = {o.verdict.span_id: o.verdict.worth for o in offers}
        assert all(worth[s] == 1.0 for s in worth if s in spans["bad"] + spans["half"])
        assert all(worth[s] == 0.5 for s in worth if s in spans["sure"])
        assert queue.offered == pytest.approx(120 + 30, abs=15)
        assert offers[0].answer.context[0].text == "The red fox runs."
        assert len({o.verdict.label for o in offers[:10]}) == 2, "in an even order, not by verdict"
        for offer in offers:
            is_good = offer.verdict.span_id not in spans["bad"]
            asyncio.run(desk.label("faithful", offer.verdict.span_id, is_good, "web:ann"))
        with pytest.raises(Conflict, match="not offered"):
            asyncio.run(desk.label("faithful", offers[0].verdict.span_id, True, "web:bob"))
        unoffered = next(s for s in spans["sure"] if s not in worth)
        with pytest.raises(Conflict, match="not offered"):
            asyncio.run(desk.label("faithful", unoffered, True, "web:bob"))
        told = [e for e in shop.state.entries_about("faithful") if e.kind == "label.given"]
        assert len(told) == len(offers)
        assert {e.actor for e in told} == {"web:ann"}
        chances = shop.scores("faithful.human.propensity")
        shop.store.flush()
        assert {round(v, 6) for v, _ in chances.values()} <= {0.5, 1.0}
        left, _ = desk.queue("faithful", 10)
        assert left.labelled == len(offers)
        shop.clock.advance(timedelta(minutes=6))
        beat(shop)
        (quality,) = shop.house.qualities()
        assert (quality.judged, quality.labels) == (180, len(offers))
        assert quality.judge == pytest.approx(2 / 3)
        assert quality.estimate is not None
        assert quality.estimate.low <= 2 / 3 <= quality.estimate.high
        assert quality.agreement is not None
        assert quality.agreement.kappa > 0.8


def test_some_answers_are_offered_to_a_second_person_and_tell_how_far_people_agree(
    shop_store: Telemetry,
) -> None:
    run = "type: length\nmin_words: 2"
    with works(shop_store, document(run, spec="target: 0.8\nhumanLabels: {min: 30}")) as shop:
        beat(shop)
        shop.calls(["One."] * 50)
        shop.judge(4)
        desk = Labelling(shop.house, shop.intake)
        assert desk.agreement("faithful") is None
        _, first = desk.queue("faithful", 100, "ann")
        assert len(first) == 50
        for place, offer in enumerate(first):
            is_good = place % 2 == 0
            asyncio.run(desk.label("faithful", offer.verdict.span_id, is_good, "web:ann"))
        shop.store.flush()
        shop.clock.advance(timedelta(minutes=6))
        assert desk.queue("faithful", 100, "ann")[1] == [], "nobody is asked twice"
        assert desk.queue("faithful", 100)[1] == [], "who has no name may be ann"
        queue, second = desk.queue("faithful", 100, "bob")
        assert (queue.labelled, len(second)) == (50, pytest.approx(10, abs=8))
        said = {offer.verdict.span_id: place % 2 == 0 for place, offer in enumerate(first)}
        for offer in second:
            span = offer.verdict.span_id
            asyncio.run(desk.label("faithful", span, said[span], "api:bob"))
        with pytest.raises(Conflict, match="not offered"):
            asyncio.run(desk.label("faithful", second[0].verdict.span_id, True, "web:bob"))
        shop.store.flush()
        found = desk.agreement("faithful")
        assert found is not None
        assert (found.answers, found.high) == (len(second), pytest.approx(1.0, abs=0.05))
        assert found.low > 0.0
        shop.clock.advance(timedelta(minutes=6))
        assert desk.queue("faithful", 100, "cy")[1] == [], "two labels are enough"
        beat(shop)
        (quality,) = shop.house.qualities()
        assert quality.labels == 50, "an answer with two labels counts once"
