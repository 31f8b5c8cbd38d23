"""Documents of kind Playbook: what people do about an incident, listed in its page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from tocsin.routing import policy as rules
from tocsin.spec.shape import OneOrMany, SnakeShape, Text

_KINDS = ("do", "check", "act", "notify", "confirm")
# What may stand beside a step of each kind.
_BESIDE = {
    "do": frozenset[str](),
    "check": frozenset({"settings", "on_fail"}),
    "act": frozenset({"settings", "approval", "undo"}),
    "notify": frozenset[str](),
    "confirm": frozenset({"within", "otherwise"}),
}
_YAML = {"settings": "with", "otherwise": "else"}


class OnFailShape(SnakeShape):
    """What whoever checks does when it does not hold."""

    notify: OneOrMany = ()
    set: dict[str, str] = Field(default_factory=dict)
    stop: bool = False

    def words(self) -> str:
        """The same in words."""
        said = [f"tell {', '.join(self.notify)}"] if self.notify else []
        said += [f"it is {_pairs(self.set)}"] if self.set else []
        return ", ".join([*said, "stop here"] if self.stop else said)


class StepShape(SnakeShape):
    """One step: `do` (in words), `check`, `act`, `notify` or `confirm`.

    A person does it; only `notify` is Tocsin's, and is told with the page.
    """

    do: Text | None = None
    check: Text | None = None
    act: Text | None = None
    notify: OneOrMany | None = None
    confirm: Annotated[Text | None, Field(description="oncall/SCHEDULE or user/NAME")] = None
    settings: dict[str, str | int | float | bool] = Field(default_factory=dict, alias="with")
    on_fail: OnFailShape | None = None
    approval: Annotated[
        Literal["human"] | None, Field(description="Tocsin acts on nothing by itself")
    ] = None
    undo: str = ""
    within: str = ""
    otherwise: str = Field(default="", alias="else")

    @model_validator(mode="after")
    def _is_one_thing(self) -> StepShape:
        kinds = [kind for kind in _KINDS if getattr(self, kind) is not None]
        if len(kinds) != 1:
            raise ValueError(f"a step is one of {', '.join(_KINDS)}, not {len(kinds)} of them")
        beside = self.model_fields_set - {kinds[0]} - _BESIDE[kinds[0]]
        if beside:
            name = sorted(_YAML.get(field, field) for field in beside)[0]
            raise ValueError(f"{name} does not belong to a step of the kind {kinds[0]}")
        return self

    def build(self) -> rules.PlaybookStep | None:
        """The same in words; None for a step that is nobody's to do."""
        settings = f" ({_pairs(self.settings)})" if self.settings else ""
        if self.do is not None:
            return rules.PlaybookStep(self.do)
        if self.check is not None:
            failing = self.on_fail.words() if self.on_fail else ""
            instead = f"; if it does not hold: {failing}" if failing else ""
            text = f"check {self.check.replace('_', ' ')}{settings}{instead}"
            return rules.PlaybookStep(text, self.check)
        if self.act is not None:
            undo = f"; {self.undo} undoes it" if self.undo else ""
            return rules.PlaybookStep(f"do {self.act}{settings}{undo}")
        if self.confirm is not None:
            within = f" within {self.within}" if self.within else ""
            otherwise = f", else {self.otherwise}" if self.otherwise else ""
            return rules.PlaybookStep(f"{self.confirm} confirms that it is over{within}{otherwise}")
        return None


class PlaybookShape(SnakeShape):
    """What people do about an incident, in order: its page lists it when a route says `run`.

    Tocsin tells whom `notify` names, with the page, and does nothing else of it.
    """

    steps: Annotated[tuple[StepShape, ...], Field(min_length=1)]
    link: Annotated[
        str, Field(pattern="^(https?://.*)?$", description="an address that the page links to")
    ] = ""

    def build(self, name: str) -> rules.Playbook:
        """The same, as routing reads it."""
        told = [receiver for step in self.steps for receiver in step.notify or ()]
        steps = tuple(built for step in self.steps if (built := step.build()) is not None)
        return rules.Playbook(name, steps, tuple(dict.fromkeys(told)), self.link)


def _pairs(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}: {value}" for name, value in settings.items())
