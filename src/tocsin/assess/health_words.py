"""A health score in a sentence: what it is, and what moved it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from tocsin.assess.health import Health, HealthConfig
from tocsin.assess.health_change import Attribution
from tocsin.assess.health_segments import HealthSegmentsConfig, SegmentScore, as_whole
from tocsin.assess.monitor import Monitor
from tocsin.domain.clock import from_minute
from tocsin.domain.findings import Judgement, Verdict

MOST_TERMS = 4
MOST_SEGMENTS = 10
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


def masked_verdict(
    monitor: Monitor, config: HealthSegmentsConfig, often: Sequence[SegmentScore], whole: float,
    boundary: int, minute: int,
) -> Verdict:  # fmt: skip
    """A ticket about segments that the whole hides. often: those that were found often enough, the
    lowest first; whole: the score of the service; boundary: where the last look ended."""
    worst = often[0]
    more = f"; {len(often) - 1} more" if often[1:] else ""
    low, high = worst.low or 0.0, worst.high or 0.0
    return monitor.verdict(
        Judgement.BREACH,
        minute,
        value=worst.score,
        expected=config.health.warning,
        unit="points",
        score=worst.evidence,
        window=(boundary - config.window_minutes, boundary),
        reason=(
            f"{worst.dimension} {worst.value} is at {worst.score:.1f} ({low:.0f} to {high:.0f}) of"
            f" 100 by {worst.calls} calls, while the whole looks well at {whole:.1f}{more}:"
            f" {worst.reason}"
        ),
        evidence={
            "masked": True,
            "whole": whole,
            "segments": [asdict(one) for one in often[:MOST_SEGMENTS]],
            "confirmed": f"{config.confirm} of {config.of} looks",
            "fdr": config.fdr,
            "as_whole": list(as_whole(config)),
        },
    )


def masked_unknown(
    monitor: Monitor, config: HealthSegmentsConfig, minute: int, reason: str
) -> Verdict:
    """That nobody can say whether the whole hides a segment, and why."""
    return monitor.verdict(
        Judgement.UNKNOWN,
        minute,
        unit="points",
        window=(minute + 1 - config.window_minutes, minute + 1),
        reason=reason,
    )


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
