"""Which objectives the list shows, and in which order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tocsin.web.objective_views import ObjectiveView

# What counts may prove, as people read it -> what that means.
STANDINGS: Mapping[str, str] = {
    "breached": "surely beyond the budget",
    "inconclusive": "too few to tell",
    "met": "surely within the budget",
    "no data": "nothing was counted",
}


@dataclass(frozen=True, slots=True)
class ObjectiveFilter:
    """What was asked for; "" is any. q: words of the title, the name or the service. standing: one
    of STANDINGS. sort: budget, burn or name."""

    q: str = ""
    tone: str = ""
    standing: str = ""
    sort: str = "budget"

    def of(self, objectives: Sequence[ObjectiveView]) -> list[ObjectiveView]:
        """Those that match, in order. They are given with the least budget first."""
        found = [view for view in objectives if self._matches(view)]
        if self.sort == "burn":
            found.sort(key=lambda view: -fastest(view))
        elif self.sort == "name":
            found.sort(key=lambda view: (view.title.lower(), view.name))
        return found

    def _matches(self, view: ObjectiveView) -> bool:
        text = f"{view.title} {view.name} {view.service}".lower()
        return (
            all(word in text for word in self.q.lower().split())
            and self.tone in ("", view.tone.value)
            and self.standing in ("", standing(view))
        )


def standing(view: ObjectiveView) -> str:
    """What its counts prove, as people read it."""
    return view.standing.replace("_", " ")


def standing_counts(objectives: Sequence[ObjectiveView]) -> dict[str, int]:
    """How many objectives are of each standing."""
    return {name: sum(standing(view) == name for view in objectives) for name in STANDINGS}


def fastest(view: ObjectiveView) -> float:
    """The highest burn rate over a long window; below every other one when none is known."""
    return max((b.long_burn for b in view.burns if b.long_burn is not None), default=-1.0)
