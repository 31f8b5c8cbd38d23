"""What the page of one objective shows, and the API with it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from tocsin.web.objective_views import ObjectiveView
from tocsin.web.tone import Tone
from tocsin.web.views import ChartView


@dataclass(frozen=True, slots=True)
class Annotation:
    """Something near a breach that may have to do with it, or a breach itself.

    until: when it was over; None is still going on, or an instant. link: to its page, or "".
    """

    at: datetime
    kind: Literal["breach", "change", "drift"]
    title: str
    text: str
    until: datetime | None = None
    link: str = ""


@dataclass(frozen=True, slots=True)
class PolicyRule:
    """A rule of an error-budget policy about the objective. state: holds, idle or unknown."""

    policy: str
    rule: str
    when: str
    actions: tuple[str, ...]
    state: Literal["holds", "idle", "unknown"]
    reason: str = ""

    @property
    def tone(self) -> Tone:
        """At a glance."""
        return {"holds": Tone.BAD, "idle": Tone.OK}.get(self.state, Tone.UNKNOWN)


@dataclass(frozen=True, slots=True, eq=False)
class ObjectiveDetail:
    """One objective over its period.

    charts: where the budget went, and what was bad. explanation: which rules hold and why, in
    sentences.
    """

    view: ObjectiveView
    updated: datetime
    charts: tuple[ChartView, ...] = ()
    annotations: tuple[Annotation, ...] = ()
    policies: tuple[PolicyRule, ...] = ()
    explanation: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ObjectiveResource:
    """One objective as the API has it: without the pictures."""

    objective: ObjectiveView
    annotations: tuple[Annotation, ...]
    policies: tuple[PolicyRule, ...]
    explanation: tuple[str, ...]

    @classmethod
    def of(cls, detail: ObjectiveDetail) -> ObjectiveResource:
        """The resource of a detail."""
        return cls(detail.view, detail.annotations, detail.policies, detail.explanation)
