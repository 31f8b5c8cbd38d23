"""A gate's other condition: a health score that has been held for a while."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

from tocsin.assess.burn import span
from tocsin.domain.ports import State
from tocsin.engine.scoring import EVERY
from tocsin.spec.gates import GateHealthShape

ON_A_SERVER = "a health score is followed by a server: `tocsin gate check --url` asks it"


def unheld(shape: GateHealthShape, state: State, minute: int) -> str:
    """Why a health score was not held for as long as is asked up to epoch minute `minute`; "" when
    it was. What was not kept was not held: a gap proves nothing.
    """
    lasting = shape.lasting // timedelta(minutes=1)
    first = minute - lasting
    samples = state.health_samples(shape.score, first - EVERY, minute + 1)
    asked = f"health score {shape.score} of {shape.least:g} or more for {span(lasting)}"
    known = [*(one.minute for one in samples if one.minute <= minute), minute]
    if not samples or samples[0].minute > first or _longest_gap(known) > 2 * EVERY:
        return f"waits for {asked}: so long is not known of it"
    for sample in reversed(samples):
        if sample.score is None:
            return f"waits for {asked}: it was {sample.state}"
        low = sample.body.get("low")
        bound = sample.score if shape.bound == "point" or low is None else float(low)
        if bound < shape.least:
            which = "" if bound == sample.score else f", its lower bound {bound:.1f}"
            return f"waits for {asked}: it was {sample.score:.1f}{which}"
        if sample.body["coverage"] < shape.min_coverage:
            return (
                f"waits for {asked}: {sample.body['coverage']:.0%} of its weight was measured,"
                f" {shape.min_coverage:.0%} is asked for"
            )
    return ""


def _longest_gap(minutes: list[int]) -> int:
    return max((b - a for a, b in pairwise(minutes)), default=0)
