"""A gate's other condition: a health score that has been held for a while."""

from __future__ import annotations

from datetime import timedelta

from tocsin.assess.burn import span
from tocsin.domain.ports import State
from tocsin.engine.scoring import EVERY, least_of
from tocsin.spec.gates import GateHealthShape

ON_A_SERVER = "a health score is followed by a server: `tocsin gate check --url` asks it"


def unheld(shape: GateHealthShape, state: State, minute: int) -> str:
    """Why a health score was not held for as long as is asked up to the last sample before epoch
    minute `minute`, which is a few minutes old at most; "" when it was.

    A sample stands for every minute since the one before it. What was not kept was not held: a
    minute that no sample stands for proves nothing.
    """
    lasting = shape.lasting // timedelta(minutes=1)
    samples = state.health_samples(shape.score, minute - lasting - EVERY, minute + 1)
    asked = f"health score {shape.score} of {shape.least:g} or more for {span(lasting)}"
    unknown = f"waits for {asked}: so long is not known of it"
    if not samples or samples[-1].minute < minute - EVERY:
        return unknown
    stop = known = samples[-1].minute + 1  # every minute in [known, stop) was held
    for sample in reversed(samples):
        if known <= stop - lasting:
            break
        least = least_of(sample)
        if least is None:
            return f"waits for {asked}: it was {sample.state}"
        if sample.minute < known - 1:
            return unknown
        bound = least.score if shape.bound == "point" else least.low
        if bound < shape.least:
            which = "" if bound == least.score else f", its lower bound {bound:.1f}"
            return f"waits for {asked}: it was {least.score:.1f}{which}"
        if least.coverage < shape.min_coverage:
            return (
                f"waits for {asked}: {least.coverage:.0%} of its weight was measured,"
                f" {shape.min_coverage:.0%} is asked for"
            )
        known = least.since
    return "" if known <= stop - lasting else unknown
