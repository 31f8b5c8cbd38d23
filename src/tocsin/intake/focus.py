"""Lines of a bill in the FinOps Open Cost and Usage Specification (FOCUS 1.x) as rows of `billing`.

Source: focus.finops.org, FOCUS 1.0 to 1.2, section "Columns". Costs are in `BillingCurrency` and
are not converted. A charge that is no number is refused, an empty one is unknown.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

from tocsin.domain.clock import iso
from tocsin.domain.errors import IntakeError
from tocsin.intake.columns import is_missing
from tocsin.intake.json_requests import read_json
from tocsin.intake.records import instant, moment_ns

# Member of a row that names the file it came in; a later file replaces what it covers.
EXPORT = "x_tocsin_export"
# Column of `billing` -> columns of FOCUS that say it, the first that is there.
_TEXTS = {
    "provider": ("ProviderName", "ServiceProviderName", "HostProviderName", "PublisherName"),
    "account": ("SubAccountId", "BillingAccountId"),
    "service": ("ServiceName",),
    "resource": ("ResourceId", "ResourceName"),
    "sku": ("SkuId", "SkuMeter", "SkuPriceId"),
    "about": ("ChargeDescription", "SkuMeter", "x_SkuMeterName", "x_SkuDescription"),
    "category": ("ChargeCategory",),
    "unit": ("ConsumedUnit", "PricingUnit"),
}
_COSTS = {"billed": ("BilledCost",), "effective": ("EffectiveCost",)}
_QUANTITIES = ("ConsumedQuantity", "PricingQuantity")
_READ = (
    "ChargePeriodStart", "ChargePeriodEnd", "BillingCurrency", "Tags", *_QUANTITIES,
    *(name for names in (*_TEXTS.values(), *_COSTS.values()) for name in names),
)  # fmt: skip


def is_focus(names: Collection[str]) -> bool:
    """Whether column names are those of a FOCUS export."""
    return "ChargePeriodStart" in names and bool({"BilledCost", "EffectiveCost"} & set(names))


def told(row: Mapping[str, Any], export: str) -> dict[str, Any]:
    """What is read of a line, as it stands, and the name of the file."""
    kept = {name: row[name] for name in _READ if not is_missing(row.get(name))}
    return {**kept, EXPORT: export}


def charge(where: str, row: Mapping[str, Any], _: int = 0) -> dict[str, Any]:
    """One line of a bill as a row of `billing`.

    IntakeError for a line without a period or with a cost that is no number.
    """
    made: dict[str, Any] = {"export": str(row.get(EXPORT, ""))}
    for name, sources in _TEXTS.items():
        made[name] = next((str(row[s]).strip() for s in sources if not is_missing(row.get(s))), "")
    costs = {name: _cost(where, row, sources) for name, sources in _COSTS.items()}
    if all(cost is None for cost in costs.values()):
        raise IntakeError(400, f"{where}: neither BilledCost nor EffectiveCost is a number")
    start = _time(where, row, "ChargePeriodStart")
    return {
        **made,
        **costs,
        "ts": start,
        "end": _time(where, row, "ChargePeriodEnd") if row.get("ChargePeriodEnd") else start,
        "quantity": _cost(where, row, _QUANTITIES),
        "currency": str(row.get("BillingCurrency") or "").strip().upper() or "USD",
        "tags": _tags(where, row.get("Tags")),
    }


def _time(where: str, row: Mapping[str, Any], column: str) -> str:
    return iso(instant(moment_ns(row.get(column), f"{where}: {column}"), f"{where}: {column}"))


def _cost(where: str, row: Mapping[str, Any], sources: tuple[str, ...]) -> float | None:
    for source in sources:
        value = row.get(source)
        if is_missing(value) or str(value).strip().lower() == "null":
            continue
        try:
            number = float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError, OverflowError):
            raise IntakeError(
                400, f"{where}: {source} {str(value)[:60]!r} is not a number"
            ) from None
        return number if math.isfinite(number) else None
    return None


def _tags(where: str, value: Any) -> dict[str, str]:
    if is_missing(value) or value == "null":
        return {}
    if isinstance(value, str):
        try:
            value = read_json(value)
        except IntakeError:
            raise IntakeError(400, f"{where}: Tags is not a JSON object") from None
    if not isinstance(value, Mapping):
        raise IntakeError(400, f"{where}: Tags is not an object")
    return {str(name): str(tag) for name, tag in value.items() if tag is not None}
