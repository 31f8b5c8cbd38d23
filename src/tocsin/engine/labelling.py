"""People's labels: which answers are worth one, and what becomes of it.

What is offered is drawn with a known probability, higher where the judge is less sure, and in an
even order. So whoever labels from the top and stops at any time leaves a sample that says something
about all answers, with the weights that are stored beside the labels. Whoever picks what looks
interesting does not, which is why there is no list to pick from.

Some of what one person labelled is offered to another like everything else: what two say of the
same answers tells how far people agree. The newest label of an answer counts, once; that is no
bias, as whether there is a second one does not depend on the first.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Set
from dataclasses import dataclass
from datetime import datetime, timedelta

from tocsin.assess.calibration import Doubles, Reliability, reliability
from tocsin.domain.errors import Conflict, NotFound
from tocsin.domain.evaluation import Answer, human_of, propensity_of
from tocsin.domain.findings import LedgerEvent
from tocsin.engine.house import House
from tocsin.intake.intake import Intake
from tocsin.intake.scoring import score_row
from tocsin.spec.judging import ConfiguredEvaluator
from tocsin.store.evaluations import Evaluations, Queue, Verdict

REACH = timedelta(days=7)
REACH_OF_DOUBLES = timedelta(days=28)
MOST = 100
_READABLE = timedelta(minutes=1)


class NoSuchEvaluator(NotFound):
    """A name that no evaluator of Tocsin's own has."""


def named(actor: str) -> str:
    """The name of whoever came by some door, "" of nobody known."""
    name = actor.partition(":")[2]
    return "" if name == "anonymous" else name


@dataclass(frozen=True, slots=True)
class Offer:
    """A call to be labelled: what the judge said, and the call itself."""

    verdict: Verdict
    answer: Answer


class Labelling:
    """Offers answers and takes labels. Methods block, except `label`."""

    def __init__(self, house: House, intake: Intake) -> None:
        self._house = house
        self._intake = intake
        self._reads = Evaluations(house.telemetry.engine)
        # Labels that were taken, and when: not offered again until they can be read for sure.
        self._taken: dict[tuple[str, str], datetime] = {}

    def evaluator(self, name: str) -> ConfiguredEvaluator:
        """Raises NoSuchEvaluator."""
        found = self._house.desired.evaluators.get(name)
        if found is None:
            known = ", ".join(sorted(self._house.desired.evaluators)) or "none"
            raise NoSuchEvaluator(f"no evaluator {name!r} runs here; there are: {known}")
        return found

    def queue(self, name: str, limit: int, who: str = "") -> tuple[Queue, list[Offer]]:
        """What is worth labelling now, at most `limit` of it; and how much there is. who: asks."""
        one = self.evaluator(name)
        since = self._house.clock.now() - REACH
        taken = self._just_taken()
        asked = min(limit, MOST) + len(taken)
        found = self._reads.queue(one.series, name, one.telemetry, one.passes, since, asked, who)
        left = [v for v in found.verdicts if (name, v.span_id) not in taken][:limit]
        answers = self._answers(left)
        offers = [Offer(v, answers[v.span_id]) for v in left if v.span_id in answers]
        return found, offers

    def agreement(self, name: str) -> Reliability | None:
        """How far people agree on what several of them labelled in four weeks; None of nothing."""
        one = self.evaluator(name)
        since = self._house.clock.now() - REACH_OF_DOUBLES
        found = self._reads.doubles(one.series, name, one.telemetry, one.passes, since)
        return reliability(Doubles(*found))

    async def label(
        self, name: str, span_id: str, is_good: bool, actor: str, note: str = ""
    ) -> None:
        """Store what a person says of a call, with the probability with which it was offered.

        actor: who says it, after the door by which they came: "web:ann". Raises NoSuchEvaluator;
        Conflict for a call that is not offered: it was not judged, it was not drawn, or it has the
        labels it needs.
        """
        verdict, answer = await asyncio.to_thread(self._offered, name, span_id, named(actor))
        one, now = self.evaluator(name), self._house.clock.now()
        chance = verdict.propensity * verdict.worth
        told = {
            "call": span_id, "trace": verdict.trace_id, "series": one.series,
            "label": "good" if is_good else "bad", "judge": verdict.label, "note": note,
            "propensity": chance,
        }  # fmt: skip
        event = LedgerEvent(now, "label.given", actor, name, f"{told['label']} by hand", told)
        await asyncio.to_thread(self._record, event)
        about = {
            "call_id": span_id, "trace_id": verdict.trace_id, "source": "human",
            "project": answer.project, "service": answer.service, "annotator": actor,
        }  # fmt: skip
        human = human_of(name)
        rows = [
            score_row(human, score=float(is_good), label=told["label"], comment=note, **about),
            score_row(propensity_of(human), score=chance, **about),
        ]
        await self._intake.rows("scores", rows, json.dumps([rows, now.isoformat()]).encode())
        self._taken[name, span_id] = now

    def _just_taken(self) -> Set[tuple[str, str]]:
        now = self._house.clock.now()
        for key, at in list(self._taken.items()):
            if now - at > _READABLE:
                self._taken.pop(key, None)
        return set(self._taken)

    def _offered(self, name: str, span_id: str, who: str) -> tuple[Verdict, Answer]:
        one = self.evaluator(name)
        since = self._house.clock.now() - REACH
        found = None
        if (name, span_id) not in self._just_taken():
            found = self._reads.offered(
                one.series, name, one.telemetry, one.passes, since, span_id, who
            )
        if found is None:
            raise Conflict("this call is not offered: it was labelled before, or never drawn")
        answers = self._answers([found])
        if span_id not in answers:
            raise Conflict("the call is not stored any more")
        return found, answers[span_id]

    def _answers(self, verdicts: list[Verdict]) -> Mapping[str, Answer]:
        found = self._reads.answers([(v.trace_id, v.span_id) for v in verdicts])
        return {span: answer for (_, span), answer in found.items()}

    def _record(self, event: LedgerEvent) -> None:
        with self._house.state.transaction() as tx:
            tx.append(event)
