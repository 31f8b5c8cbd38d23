"""The ErrorBudgetPolicy document: what is done when an error budget runs out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from tocsin.alerts.freeze import EXCEPT, GATE
from tocsin.assess.budget_rules import BudgetCondition, Tell
from tocsin.assess.ledger import WEEK
from tocsin.routing.tree import ALSO
from tocsin.spec.explain import suggest
from tocsin.spec.objectives import Chosen, Selector
from tocsin.spec.shape import Duration, Name, OneOrMany, Shape, Text, read_duration

RATE = "6h"  # a forecast without one goes by the last six hours
_SHARE = r"(?P<share>-?\d+(?:\.\d+)?) ?(?P<percent>%?)"
_SPAN = r"\d+[mhdw]"
_FORMS = (
    rf"remaining < {_SHARE}",
    rf"consumed >=? {_SHARE}(?: in (?P<span>{_SPAN}))?",
    rf"exhausted within (?P<within>{_SPAN})(?: at the rate of (?P<rate>{_SPAN}))?",
)
_HELP = (
    "remaining < 25 %, consumed > 75 %, consumed > 20 % in 1d,"
    " or exhausted within 3d at the rate of 6h"
)
_URGENCY: tuple[Tell, ...] = ("page", "channel", "digest")
_TIERS: Mapping[Tell, str] = {"page": "1", "channel": "2", "digest": "3"}


def read_condition(text: str) -> BudgetCondition:
    """What a condition on a budget says; ValueError for text that is none.

    >>> read_condition("consumed > 75 %").limit
    0.25
    """
    words = " ".join(text.split())
    found = next((m for form in _FORMS if (m := re.fullmatch(form, words))), None)
    if found is None:
        raise ValueError(f"write {_HELP}; not {text!r}")
    given = found.groupdict()
    if given.get("within"):
        within, rate = _minutes(given["within"]), _minutes(given["rate"] or RATE)
        if not within or not rate:
            raise ValueError("a forecast looks at least a minute back and ahead")
        if rate > WEEK:
            raise ValueError(f"a rate is that of at most the last 7d, not {given['rate']}")
        return BudgetCondition("exhausts", float(within), rate, words)
    share = float(given["share"]) / (100.0 if given["percent"] else 1.0)
    if words.startswith("remaining"):
        return BudgetCondition("left", _within(share, -10.0, 1.0), 0, words)
    if given["span"]:
        minutes = _minutes(given["span"])
        if not minutes:
            raise ValueError("consumed ... in takes at least a minute")
        return BudgetCondition("spent", _within(share, 0.0, 10.0), minutes, words)
    return BudgetCondition("left", round(1.0 - _within(share, 0.0, 11.0), 12), 0, words)


def _minutes(text: str) -> int:
    return read_duration(text) // timedelta(minutes=1)


def _within(share: float, low: float, high: float) -> float:
    if not low <= share <= high:
        raise ValueError(f"a share of the budget lies between {low:g} and {high:g}, not {share:g}")
    return share


def _check_condition(text: str) -> str:
    read_condition(text)
    return text


class ActionShape(Shape):
    """One thing that is done: tell somebody, open a ticket, or hold deploys back."""

    notify: Annotated[Tell | None, Field(description="how urgently: page now, a channel within"
        " the hour, or a digest; the routes say who")] = None  # fmt: skip
    to: Annotated[OneOrMany, Field(description="receivers beside those of the routes")] = ()
    ticket: Annotated[Name | Literal[""], Field(description="a receiver that keeps tickets")] = ""
    gate: Annotated[
        Literal["block", "approval"] | None,
        Field(description="block deploys of the service, or ask for a person's approval"),
    ] = None
    exempt: Annotated[
        OneOrMany, Field(alias="except", description="kinds of change that go ahead")
    ] = ()

    @model_validator(mode="after")
    def _is_one_thing(self) -> ActionShape:
        if sum((self.notify is not None, bool(self.ticket), self.gate is not None)) != 1:
            raise ValueError("an action is one of notify, ticket and gate")
        if self.to and self.notify is None:
            raise ValueError("to goes with notify")
        if self.exempt and self.gate is None:
            raise ValueError("except goes with gate")
        if any("," in name for name in self.exempt):
            raise ValueError("except is a list of kinds of change, without commas in them")
        return self

    @property
    def text(self) -> str:
        """In words."""
        if self.notify is not None:
            return {"page": "page", "channel": "tell a channel", "digest": "note in a digest"}[
                self.notify
            ]
        if self.ticket:
            return f"open a ticket at {self.ticket}"
        held = "block deploys" if self.gate == "block" else "ask for approval of deploys"
        return f"{held} except {', '.join(self.exempt)}" if self.exempt else held


class BudgetRuleShape(Shape):
    """When a budget is how far gone, and what is done then."""

    name: Annotated[Name | Literal[""], Field(description="else its number")] = ""
    when: Annotated[Text, AfterValidator(_check_condition), Field(description=_HELP)]
    lasting: Annotated[
        Duration, Field(alias="for", description="how long before anything is done")
    ] = timedelta(0)
    hysteresis: Annotated[
        float, Field(ge=0, le=1, description="share of the budget to regain before it ends")
    ] = 0.05
    actions: Annotated[tuple[ActionShape, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _is_whole(self) -> BudgetRuleShape:
        if self.lasting % timedelta(minutes=1):
            raise ValueError("for is whole minutes")
        if sum(action.gate is not None for action in self.actions) > 1:
            raise ValueError("a rule blocks or asks for approval, not both")
        return self

    @property
    def tell(self) -> Tell:
        """How urgently somebody is told: as asked, within the hour when only something is done."""
        asked = [action.notify for action in self.actions]
        return next((tell for tell in _URGENCY if tell in asked), "channel")

    def labels(self) -> dict[str, str]:
        """What its alerts bring along for routing and for gates."""
        found = {"tier": _TIERS[self.tell]}
        names = [name for one in self.actions for name in (*one.to, one.ticket) if name]
        if names:
            found[ALSO] = ",".join(dict.fromkeys(names))
        for action in self.actions:
            if action.gate is not None:
                found |= {GATE: action.gate, EXCEPT: ",".join(action.exempt)}
        return found


def _rule(when: str, *actions: Mapping[str, object], lasting: int = 0) -> BudgetRuleShape:
    return BudgetRuleShape.model_validate({"when": when, "for": f"{lasting}m", "actions": actions})


_FREEZE = {"gate": "block", "except": ("rollback", "hotfix")}
# freeze-when-empty is the example policy of the Google SRE workbook (appendix B): nothing is
# released but what repairs, until the service is within its objective again.
PRESETS: Mapping[str, tuple[BudgetRuleShape, ...]] = {
    "freeze-when-empty": (
        _rule("remaining < 25 %", {"notify": "channel"}, lasting=60),
        _rule("remaining < 0 %", {"notify": "channel"}, _FREEZE),
    ),
    "ladder": (
        _rule("consumed > 50 %", {"notify": "digest"}),
        _rule("consumed > 75 %", {"notify": "channel"}),
        _rule("consumed > 90 %", {"notify": "channel"}, {"gate": "approval"}),
        _rule("consumed > 100 %", {"notify": "channel"}, _FREEZE),
    ),
    "forecast": (_rule("exhausted within 3d at the rate of 6h", {"notify": "channel"}),),
}


def _check_preset(name: str) -> str:
    if name and name not in PRESETS:
        raise ValueError(f"there is no preset {name!r} ({suggest(name, PRESETS)})")
    return name


class ErrorBudgetPolicyShape(Shape):
    """What is done when error budgets run out, or will.

    Each rule acts once when it begins to hold, and ends when the budget has regained its
    hysteresis. Several policies may choose one SLO. Presets: `freeze-when-empty`, `ladder`,
    `forecast`.
    """

    slos: Chosen = Selector()
    preset: Annotated[
        str, AfterValidator(_check_preset),
        WithJsonSchema({"type": "string", "enum": sorted(PRESETS)}),
    ] = ""  # fmt: skip
    rules: tuple[BudgetRuleShape, ...] = ()

    @model_validator(mode="after")
    def _has_rules(self) -> ErrorBudgetPolicyShape:
        if not (self.preset or self.rules):
            raise ValueError("give rules, a preset, or both")
        names = [name for name, _ in self.named()]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two rules are named {name!r}")
        return self

    def named(self) -> Iterator[tuple[str, BudgetRuleShape]]:
        """Every rule with its name: those of the preset, then its own."""
        given = (*PRESETS.get(self.preset, ()), *self.rules)
        for number, rule in enumerate(given, start=1):
            yield rule.name or str(number), rule
