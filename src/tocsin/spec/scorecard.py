"""Health scores and values from plain files, for `tocsin score`: no server, no store."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tocsin.assess.health import HealthConfig, Reading
from tocsin.domain.errors import Problem, SpecError
from tocsin.spec.arize import read_health_score
from tocsin.spec.explain import show
from tocsin.spec.health import HealthScoreShape
from tocsin.spec.single import only
from tocsin.spec.yaml import Located, Place, dump, parse

_FIELDS = ("value", "low", "high", "events", "age_minutes")


@dataclass(frozen=True, slots=True)
class Scorecard:
    """A health score by name, ready to be computed. remarks: what its owner should know."""

    name: str
    title: str
    config: HealthConfig
    remarks: tuple[str, ...]


def read_scorecard(path: Path, name: str = "") -> Scorecard:
    """The health score in a file: a HealthScore document, or the dictionary of Arize's API.

    name: which one, where there are several. SpecError with everything that is wrong.
    """
    document = only(
        path, "HealthScore", name, called="health score", choose="choose with --name",
        seen=_as_document,
    )  # fmt: skip
    spec: HealthScoreShape = document.spec
    title = spec.title(document.name, document.metadata.display_name)
    return Scorecard(document.name, title, spec.build(), tuple(spec.remarks()))


def read_readings(path: Path) -> dict[str, Reading]:
    """Values by metric from a JSON or YAML file: {metric: number | null | {value, low, high,
    events, age_minutes}}, also under a key `values`. SpecError with everything that is wrong."""
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "is not UTF-8 text"
        raise SpecError([Problem(str(path), 0, "", f"cannot be read: {reason}")]) from None
    streams, problems = parse(text, str(path))
    if problems:
        raise SpecError(problems)
    if len(streams) != 1:
        fix = "write one object {metric: value, ...}"
        raise SpecError([Problem(str(path), 0, "", f"holds {len(streams)} documents", fix)])
    (located,) = streams
    if not isinstance(located.data, Mapping):
        raise SpecError([located.problem((), f"must be an object, not {show(located.data)}")])
    data: Mapping[str, Any] = located.data
    at: Place = ()
    if set(data) == {"values"} and isinstance(data["values"], Mapping):
        data, at = data["values"], ("values",)
    readings = {}
    for metric, given in data.items():
        try:
            readings[str(metric)] = _reading(given)
        except ValueError as error:
            problems.append(located.problem((*at, str(metric)), str(error)))
    if problems:
        raise SpecError(problems)
    return readings


def _as_document(located: Located) -> Located:
    """A dictionary in Arize's words as the document it stands for."""
    data = located.data
    inner = data.get("health_score_config", data) if isinstance(data, Mapping) else None
    if not isinstance(inner, Mapping) or "score_name" not in inner:
        return located
    document, _ = read_health_score(inner)
    return parse(dump([document]), located.file)[0][0]


def _reading(given: Any) -> Reading:
    if isinstance(given, Mapping):
        unknown = sorted(set(map(str, given)) - set(_FIELDS))
        if unknown:
            raise ValueError(f"unknown field {unknown[0]!r}; known: {', '.join(_FIELDS)}")
        numbers = {name: _number(given.get(name)) for name in _FIELDS}
        events, age = numbers["events"], numbers["age_minutes"] or 0.0
        value, low, high = numbers["value"], numbers["low"], numbers["high"]
        if low is not None and high is not None and low > high:
            raise ValueError(f"low {low:g} lies above high {high:g}")
        for name, number in (("events", events), ("age_minutes", age)):
            if number is not None and number < 0:
                raise ValueError(f"{name} is 0 or more, not {number:g}")
        return Reading(value, low, high, None if events is None else int(events), age)
    return Reading(_number(given))


def _number(given: Any) -> float | None:
    """A number, or None for one that is not known: null, NaN and the infinities."""
    if given is None:
        return None
    if isinstance(given, str) and given.lower() in ("nan", "inf", "-inf", "infinity", "-infinity"):
        return None
    if isinstance(given, bool) or not isinstance(given, int | float):
        raise ValueError(f"must be a number or null, not {show(given)}")
    return float(given) if math.isfinite(given) else None


def unread(config: HealthConfig, readings: Mapping[str, Reading]) -> Sequence[str]:
    """Metrics that were given and belong to no component: most likely misspelt."""
    return sorted(set(readings) - {one.metric for one in config.components})
