"""The VendorAgreement document: what a provider promised, and what is owed when it is not kept."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import Field, model_validator

from tocsin.reports.vendors import Terms, Tier
from tocsin.spec.shape import Duration, OneOrMany, Shape, Text, Zone

Share = Annotated[float, Field(gt=0, lt=1)]


class SlotsShape(Shape):
    """Availability in slots of time: a slot is bad when too many of its calls failed."""

    length: Annotated[Duration, Field(description="of a slot")] = timedelta(minutes=5)
    bad_share: Annotated[
        float, Field(ge=0, lt=1, description="a slot is bad when more of its calls failed")
    ]
    min_calls: Annotated[int, Field(ge=1, description="slots with fewer do not count")] = 1

    @model_validator(mode="after")
    def _lasts_whole_minutes(self) -> SlotsShape:
        if self.length < timedelta(minutes=1) or self.length % timedelta(minutes=1):
            raise ValueError("length: whole minutes, one at least")
        return self


class CreditShape(Shape):
    """What is owed when the availability of a month lies below `below`."""

    below: Share
    percent: Annotated[float, Field(gt=0, le=100, description="of the fee of the month")]


class VendorAgreementShape(Shape):
    """What a provider committed itself to, counted its own way, and the credits it owes.

    Only what the provider answers for counts: overload, timeouts, server errors, broken connections
    and streams. Errors of the caller are left out, refusals for the rate are counted apart.
    """

    provider: Annotated[Text, Field(description="as calls name it, e.g. openai")]
    models: Annotated[OneOrMany, Field(description="by default every model of the provider")] = ()
    committed: Annotated[Share, Field(description="the availability that is promised")]
    slots: Annotated[
        SlotsShape | None, Field(description="count slots of time; by default calls are counted")
    ] = None
    tz: Annotated[Zone, Field(description="whose calendar months they are")] = "UTC"
    credits: tuple[CreditShape, ...] = ()
    fee_usd: Annotated[
        float | None,
        Field(ge=0, description="of a month; by default what the month's calls cost by price book"),
    ] = None

    @model_validator(mode="after")
    def _owes_more_for_less(self) -> VendorAgreementShape:
        tiers = sorted(self.credits, key=lambda tier: -tier.below)
        if [tier.percent for tier in tiers] != sorted({tier.percent for tier in tiers}):
            raise ValueError("credits: a lower availability owes a higher percentage")
        return self

    def build(self, name: str, title: str) -> Terms:
        """The same, as reports read it."""
        slots = self.slots
        return Terms(
            name=name,
            title=title or name,
            provider=self.provider,
            committed=self.committed,
            credits=tuple(Tier(tier.below, tier.percent) for tier in self.credits),
            slot_minutes=slots.length // timedelta(minutes=1) if slots else 0,
            bad_share=slots.bad_share if slots else 0.0,
            least=slots.min_calls if slots else 1,
            fee_usd=self.fee_usd,
            time_zone=self.tz,
        )
