"""Detectors under a name: rules that people say, as they say them, and detectors to begin with.

A document that names one may change whatever it likes of it, settings one by one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class DetectorPreset:
    """about: what it rings for. spec: of a Detector, without whose it is."""

    about: str
    spec: Mapping[str, Any]


PRESETS: Mapping[str, DetectorPreset] = {
    "errors-three-sigma": DetectorPreset(
        "the share of calls with an error is 3 standard deviations above the mean of 7 days, for"
        " more than 5 minutes",
        {"use": "zscore", "indicator": {"use": "errors"},
         "with": {"measure": "share", "k": 3.0, "side": "above", "for_minutes": 6}},
    ),
    "latency-three-sigma": DetectorPreset(
        "p95 latency is 3 standard deviations above the mean of 7 days, for more than 5 minutes",
        {"use": "zscore",
         "with": {"measure": "p95", "k": 3.0, "side": "above", "for_minutes": 6}},
    ),
    "latency-iqr": DetectorPreset(
        "p95 latency is above Tukey's fence of three hours",
        {"use": "iqr", "with": {"measure": "p95", "side": "above"}},
    ),
    "latency-tripled": DetectorPreset(
        "p95 latency of a sliding window of 15 minutes is more than 200 % above the mean of 7 days",
        {"use": "relative_change",
         "with": {"measure": "p95", "k": 2.0, "over": 15, "side": "above"}},
    ),
    "thumbs-down": DetectorPreset(
        "more ratings are negative than chance allows, in a few minutes or in an hour",
        {"use": "count_scan", "indicator": {"use": "feedback"}},
    ),
    "calls-missing": DetectorPreset(
        "far fewer calls than at this time of other days, or none", {"use": "volume_drop"}
    ),
    "spend-spike": DetectorPreset(
        "an hour's cost is out of the ordinary, of the service or of one model",
        {"use": "committee", "value": "cost_usd",
         "with": {"measure": "sum", "over": 60, "side": "above"}, "segments": {"by": ["model"]}},
    ),
    "cost-per-call": DetectorPreset(
        "a call costs more on average than it did, of the service or of one model",
        {"use": "committee", "value": "cost_usd",
         "with": {"measure": "mean", "over": 15, "side": "above"}, "segments": {"by": ["model"]}},
    ),
    "runaway-loops": DetectorPreset(
        "one session has far more calls than any had before",
        {"use": "heavy_hitter", "with": {"per": "session_id", "amount": "calls"}},
    ),
    "user-spend": DetectorPreset(
        "one user spends far more than any did before",
        {"use": "heavy_hitter", "with": {"per": "user_id", "amount": "cost_usd"}},
    ),
    "injection-attempts": DetectorPreset(
        "one user's calls are stopped by policy again and again",
        {"use": "heavy_hitter",
         "with": {"per": "user_id", "amount": "policy_violations", "at_least": 10}},
    ),
    "stuffed-prompts": DetectorPreset(
        "one user's prompts are far longer than any were before",
        {"use": "heavy_hitter", "with": {"per": "user_id", "amount": "input_tokens"}},
    ),
    "model-changed": DetectorPreset(
        "a model, asked the same, answers differently", {"use": "model_change"}
    ),
    "embedding-drift": DetectorPreset(
        "embeddings are not distributed as last week",
        {"use": "drift", "with": {"features": ["embedding"], "of_kind": "embedding"}},
    ),
    "answers-drift": DetectorPreset(
        "questions or answers are longer or shorter, or end otherwise, than last week",
        {"use": "drift",
         "with": {"features": ["input_tokens", "output_tokens", "finish_reason", "refusal"]}},
    ),
}  # fmt: skip


def filled(given: Mapping[str, Any]) -> dict[str, Any]:
    """What a document gives, over the preset that it names; the same without one that is known."""
    preset = PRESETS.get(str(given.get("preset", "")))
    if preset is None:
        return dict(given)
    settings = given.get("with") or {}
    if not isinstance(settings, Mapping):
        return dict(given)
    merged = {**preset.spec, **given}
    if preset.spec.get("with") or settings:
        merged["with"] = {**preset.spec.get("with", {}), **settings}
    return merged
