"""A health score in a sentence: what it is, and what moved it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tocsin.assess.health import Health, HealthConfig
from tocsin.assess.health_change import Attribution
from tocsin.domain.clock import from_minute

MOST_TERMS = 4
_NEGLIGIBLE = 0.05  # points


def standing_text(health: Health, config: HealthConfig, state: str) -> str:
    """Such as: is critical: 54.2 of 100, critical below 60."""
    if health.score is None:
        return f"is {state}: {health.reason}"
    limit = {"critical": config.critical, "warning": config.warning}.get(state)
    low, high = f"{health.low or 0:.0f}", f"{health.high or 0:.0f}"
    spread = "" if health.low is None or low == high else f" ({low} to {high})"
    beside = ""
    if limit is not None and health.score < limit:
        beside = f", {state} below {limit:g}"
    elif limit is not None:
        beside = f", left above {limit + config.hysteresis:g}"
    return f"is {state}: {health.score:.1f} of 100{spread}{beside}"


def moved_from(found: Attribution, since: int, score: float | None) -> dict[str, Any]:
    """An attribution as plain data. since: the minute that it is compared with; score: of then."""
    return {
        "since": since,
        "from": score,
        "total": found.change,
        "terms": dict(found.terms),
        "config": found.config,
        "reason": found.reason,
    }


def moved_text(moved: Mapping[str, Any]) -> str:
    """What moved it, largest first; "" when that is not known."""
    if not moved or moved.get("total") is None:
        return ""
    if abs(moved["total"]) < _NEGLIGIBLE and not any(
        abs(term) >= _NEGLIGIBLE for term in (*moved["terms"].values(), moved["config"])
    ):
        return ""
    terms = sorted(moved["terms"].items(), key=lambda item: -abs(item[1]))
    told = [f"{name} {value:+.1f}" for name, value in terms if abs(value) >= _NEGLIGIBLE]
    if abs(moved["config"]) >= _NEGLIGIBLE:
        told.insert(0, f"the formula {moved['config']:+.1f}")
    rest = sum(value for _, value in terms) - sum(v for _, v in terms[: len(told)])
    if len(told) > MOST_TERMS:
        rest = sum(v for _, v in terms[MOST_TERMS:])
        told = [*told[:MOST_TERMS], f"others {rest:+.1f}"]
    at = f"{from_minute(moved['since'] + 1):%H:%M}"
    parts = f": {', '.join(told)}" if told else ""
    return f"moved {moved['total']:+.1f} from {moved['from']:.1f} at {at}{parts}"
