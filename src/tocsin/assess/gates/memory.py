"""What a gate remembers as plain data, and back: a restart must not give a test another chance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from tocsin.assess.gates.evidence import Sums
from tocsin.assess.gates.gate import GateResult, MetricResult, Running, Track


def remembered(running: Running) -> dict[str, Any]:
    """Plain data (JSON) that `recalled` reads."""
    return asdict(running)


def recalled(data: Mapping[str, Any]) -> Running:
    """What `remembered` was given."""
    tracks = {name: _track(track) for name, track in data["tracks"].items()}
    candidate, baseline = data["units"]
    return Running(**{**data, "units": (candidate, baseline), "tracks": tracks})


def _track(data: Mapping[str, Any]) -> Track:
    sums = {name: Sums(**value) for name, value in data.items() if isinstance(value, dict)}
    return Track(**sums, log_exact=data["log_exact"], log_most=data["log_most"])


def result_of(data: Mapping[str, Any]) -> GateResult:
    """The result whose fields, and perhaps more, are in `data`."""
    known = {field.name: data[field.name] for field in fields(GateResult)}
    metrics = tuple(MetricResult(**{**m, "units": tuple(m["units"])}) for m in known["metrics"])
    return GateResult(**{**known, "metrics": metrics, "units": tuple(known["units"])})
