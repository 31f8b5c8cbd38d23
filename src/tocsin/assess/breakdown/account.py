"""The whole answer to "which slice, and what changed", as values that a page or a file can show."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from tocsin.assess.breakdown.additive import Cause, causes
from tocsin.assess.breakdown.apart import rest_line
from tocsin.assess.breakdown.cells import Cells, Floats, told
from tocsin.assess.breakdown.mix import MixShift, mix_shift
from tocsin.assess.breakdown.ratio import Counts, Suspect, suspects

# More than this part of a rise from the mix: it is told before any slice.
MOSTLY = 0.5


@dataclass(frozen=True, slots=True)
class Wording:
    """What bad calls are called, and what calls do when they turn out bad."""

    noun: str = "failures"
    verb: str = "to fail"


def ratio_account(
    cells: Cells, counts: Counts, *, most: int = 3, wording: Wording = Wording()
) -> dict[str, Any]:
    """Why a share of calls rose: slices, mix shift, and the lines of a page about them; JSON-able.

    share, usual_share: of bad calls, None where there are no calls. expected, support, ratio: see
    `Suspect`; ratio None when no other call was bad.
    """
    found = suspects(cells, counts, most=most)
    shift = mix_shift(cells, counts)
    usual = None
    if counts.has_baseline:
        usual = float(counts.usual_bad.sum() / counts.usual_total.sum())
    total = float(counts.total.sum())
    return {
        "method": "risk ratio",
        "actual": float(counts.bad.sum()),
        "total": total,
        "share": float(counts.bad.sum()) / total if total else None,
        "usual_share": usual,
        "slices": [
            {
                "where": dict(suspect.where),
                "actual": suspect.bad,
                "total": suspect.total,
                "expected": round(suspect.expected, 3),
                "support": round(suspect.support, 4),
                "ratio": round(suspect.ratio, 3) if math.isfinite(suspect.ratio) else None,
                "score": round(suspect.score, 4),
            }
            for suspect in found
        ],
        "mix": _mix(shift),
        "lines": [
            *([_mix_line(shift)] if shift and shift.part >= MOSTLY else []),
            *(_suspect_line(suspect, wording) for suspect in found),
        ],
    }


def additive_account(
    cells: Cells, actual: Floats, expected: Floats, *, most: int = 5
) -> dict[str, Any]:
    """Why an amount is not what was expected; JSON-able. factor None: nothing was expected."""
    found = causes(cells, actual, expected, most=most)
    named = np.zeros(len(cells), np.bool_)
    for cause in found:
        named |= cells.members(cause.where)
    rest = [np.where(named, 0.0, amounts) for amounts in (actual, expected)]
    lines = [_cause_line(cause) for cause in found]
    if said := rest_line(cells, *rest, is_all=not found):
        lines.append(said)
    return {
        "method": "Poisson scan",
        "actual": float(actual.sum()),
        "expected": float(expected.sum()),
        "slices": [
            {
                "where": dict(cause.where),
                "actual": cause.actual,
                "expected": cause.expected,
                "factor": round(cause.factor, 4) if math.isfinite(cause.factor) else None,
                "share": round(cause.share, 4),
            }
            for cause in found
        ],
        "mix": None,
        "lines": lines,
    }


def _suspect_line(suspect: Suspect, wording: Wording) -> str:
    line = f"{told(suspect.where)}: {suspect.support:.0%} of the {wording.noun}"
    if math.isinf(suspect.ratio):
        return f"{line}, all others fine"
    return f"{line}, {suspect.ratio:.3g} times as likely {wording.verb}"


def _cause_line(cause: Cause) -> str:
    if math.isinf(cause.factor):
        return f"{told(cause.where)}: {cause.actual:.4g} where nothing was expected"
    return f"{told(cause.where)}: {cause.factor:.3g} times what was expected"


def _mix(shift: MixShift | None) -> dict[str, Any] | None:
    if shift is None:
        return None
    return {
        "dimension": shift.dimension,
        "part": round(shift.part, 4),
        "value": shift.value,
        "before": round(shift.before, 4),
        "after": round(shift.after, 4),
    }


def _mix_line(shift: MixShift) -> str:
    return (
        f"{min(shift.part, 1.0):.0%} of the rise is who calls, not how they fare: {shift.dimension}"
        f" {shift.value} went from {shift.before:.0%} to {shift.after:.0%} of the calls"
    )
