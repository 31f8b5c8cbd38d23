"""Arize's dictionaries as documents: `slo_definition` as SLO, `health_score_config` as HealthScore.

A percentile objective becomes a share of calls, which says the same (`p95 < 2000 ms` holds exactly
when at least 95 % of the calls lie below 2000 ms) and adds up. What cannot be judged as it is
written is refused with the field and what could be written instead: a promise that is half kept is
worse than one that is refused.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from tocsin.domain.errors import Problem, SpecError
from tocsin.spec.documents import OPENSLO, TOCSIN
from tocsin.spec.explain import show, suggest
from tocsin.spec.health import AGGREGATIONS, ON_DEMAND, SHADOW, HealthScoreShape

Fields = Mapping[str, Any]

# metric -> value of each call, and how many of its unit a threshold of 1 is.
VALUES: Mapping[str, tuple[str, float]] = {
    "llm_latency_ms": ("latency_ms", 1.0),
    "latency_ms": ("latency_ms", 1.0),
    "inference_latency": ("latency_ms", 1000.0),
    "latency_seconds": ("latency_ms", 1000.0),
    "ttft_ms": ("ttft_ms", 1.0),
    "cost_per_query": ("cost_usd", 1.0),
    "cost_usd": ("cost_usd", 1.0),
    "input_tokens": ("input_tokens", 1.0),
    "prompt_tokens": ("input_tokens", 1.0),
    "output_tokens": ("output_tokens", 1.0),
    "completion_tokens": ("output_tokens", 1.0),
}
# metric -> indicator, and whether a high number is good.
SHARES: Mapping[str, tuple[str, bool]] = {
    "success_rate": ("availability", True),
    "availability": ("availability", True),
    "uptime": ("availability", True),
    "http_status_code": ("availability", True),
    "error_rate": ("errors", False),
    "truncation_rate": ("truncation", False),
    "thumbs_down_rate": ("feedback", False),
    "thumbs_up_rate": ("feedback", True),
}
# metric -> why there is nothing to judge it by, and what could be promised instead.
_NOT_YET = {
    "total_tokens": "promise input_tokens or output_tokens with evaluation percentile_95",
    "avg_tokens": "promise input_tokens or output_tokens with evaluation percentile_95",
    "accuracy_score": "judged quality comes in a later release; promise thumbs_down_rate",
    "hallucination_rate": "judged quality comes in a later release; promise thumbs_down_rate",
    "response_relevance_score": "judged quality comes in a later release; promise thumbs_down_rate",
}
_OPERATORS = {
    "less_than": "lt", "lt": "lt", "<": "lt",
    "less_than_or_equal": "lte", "lte": "lte", "<=": "lte",
    "greater_than": "gt", "gt": "gt", ">": "gt",
    "greater_than_or_equal": "gte", "gte": "gte", ">=": "gte",
}  # fmt: skip
_SHARE_WORDS = ("rate", "ratio", "success_rate", "error_rate", "average", "mean", "")
_SLO_FIELDS = (
    "name", "description", "metric", "threshold", "threshold_type", "window", "evaluation", "tags",
    "service", "service_name",
)  # fmt: skip
_SCORE_FIELDS = (
    "score_name", "display_name", "description", "formula", "thresholds", "service", "tags",
)  # fmt: skip
_PERCENTILE = re.compile(r"(?:percentile[_ ]?|p)(\d{1,2}(?:\.\d+)?)")
_WINDOW = re.compile(r"(?:rolling_)?([1-9]\d*)([mhdw])")


@dataclass(frozen=True, slots=True)
class SLODefinition:
    """A `slo_definition` that was understood, before it is known which service it is about.

    service: as named, "" when it is not. model, environment, team: of its tags.
    """

    name: str
    service: str
    model: str
    environment: str
    team: str
    metadata: Fields
    spec: Fields

    def document(self, service: str) -> dict[str, Any]:
        """The SLO about `service`."""
        return {
            "apiVersion": OPENSLO,
            "kind": "SLO",
            "metadata": dict(self.metadata),
            "spec": {"service": service, **self.spec},
        }


def read_slo(definition: Any) -> SLODefinition:
    """What a `slo_definition` asks for. SpecError with every field that is wrong."""
    found = _Reader("slo_definition", definition)
    found.only(_SLO_FIELDS)
    title = found.text("name", needed=True)
    metric = found.text("metric", needed=True)
    tags = found.texts("tags")
    model = tags.get("model", tags.get("model_name", ""))
    indicator, objective = _judged(found, metric, model)
    window = _window(found)
    found.raise_problems()
    name = slug(title)
    spec = {
        "description": found.text("description"),
        "indicator": {
            "metadata": {"name": f"{name}-{slug(metric)}"},
            "spec": indicator,
        },
        "timeWindow": [{"duration": window, "isRolling": True}],
        "budgetingMethod": "Occurrences",
        "objectives": [objective],
    }
    named = (found.text("service"), found.text("service_name"), tags.get("service_name", ""),
             tags.get("service", ""))  # fmt: skip
    return SLODefinition(
        name=name,
        service=next((one for one in named if one), ""),
        model=model,
        environment=tags.get("environment", tags.get("env", "")),
        team=tags.get("team", ""),
        metadata={"name": name, "displayName": title, **({"labels": tags} if tags else {})},
        spec=spec,
    )


def read_health_score(config: Any, otherwise: str = "") -> tuple[dict[str, Any], tuple[str, ...]]:
    """The HealthScore that a `health_score_config` asks for, and what to know about it. otherwise:
    whose it is when it names no service.

    Thresholds up to 1 are shares of 1 and become points of 100; a mixture of both is refused.
    SpecError with every field that is wrong.
    """
    found = _Reader("health_score_config", config)
    found.only(_SCORE_FIELDS)
    title = found.text("score_name", needed=True)
    formula = _Reader("health_score_config", found.mapping("formula", needed=True), "formula")
    formula.only(("components", "aggregation"))
    aggregation = formula.text("aggregation") or AGGREGATIONS[0]
    if aggregation not in AGGREGATIONS:
        known = suggest(aggregation, AGGREGATIONS)
        formula.wrong("aggregation", f"{aggregation!r} is not known", known)
    components = _components(formula)
    thresholds = _thresholds(found)
    found.raise_problems(formula.problems)
    service = found.text("service") or found.texts("tags").get("service_name", otherwise)
    spec: dict[str, Any] = {
        "description": found.text("description"),
        **({"service": service} if service else {}),
        "mode": "shadow",
        "aggregation": aggregation,
        "components": components,
        **({"thresholds": thresholds} if thresholds else {}),
    }
    shown = found.text("display_name") or title
    document = {
        "apiVersion": TOCSIN,
        "kind": "HealthScore",
        "metadata": {"name": slug(title), "displayName": shown},
        "spec": spec,
    }
    return document, _remarks(spec)


def slug(title: str) -> str:
    """A name that documents may have, made from any text."""
    plain = re.sub(r"[^a-z0-9._]+", "-", title.lower().replace("_", "-")).strip("-._")
    return plain[:63].rstrip("-._") or "unnamed"


# --------------------------------------------------------------------------------------------


class _Reader:
    """Takes fields out of a dictionary and gathers everything that is wrong with them."""

    def __init__(self, what: str, data: Any, at: str = "") -> None:
        self.problems: list[Problem] = []
        self._what = what
        self._at = at
        self._data: Fields = data if isinstance(data, Mapping) else {}
        if not isinstance(data, Mapping):
            self.wrong("", f"must be an object, not {show(data)}")

    def get(self, name: str) -> Any:
        return self._data.get(name)

    def wrong(self, name: str, message: str, fix: str = "") -> None:
        path = ".".join(part for part in (self._at, name) if part)
        self.problems.append(Problem(self._what, 0, path, message, fix))

    def only(self, known: Sequence[str]) -> None:
        for name in self._data:
            if name not in known:
                self.wrong(str(name), "is not a field that is known", suggest(str(name), known))

    def text(self, name: str, *, needed: bool = False) -> str:
        value = self._data.get(name)
        if value in (None, ""):
            if needed:
                self.wrong(name, "is missing")
            return ""
        if not isinstance(value, str):
            self.wrong(name, f"must be text, not {show(value)}")
            return ""
        return value

    def number(self, name: str) -> float:
        value = self._data.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.wrong(name, f"must be a number, not {show(value)}")
            return math.nan
        if not math.isfinite(value):
            self.wrong(name, "must be finite")
        return float(value)

    def mapping(self, name: str, *, needed: bool = False) -> Fields:
        value = self._data.get(name)
        if value is None and not needed:
            return {}
        if not isinstance(value, Mapping):
            self.wrong(name, f"must be an object, not {show(value)}" if value else "is missing")
            return {}
        return value

    def texts(self, name: str) -> dict[str, str]:
        return {str(key): _plain(value) for key, value in self.mapping(name).items()}

    def raise_problems(self, more: Sequence[Problem] = ()) -> None:
        if self.problems or more:
            raise SpecError([*self.problems, *more])


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _judged(found: _Reader, metric: str, model: str) -> tuple[Fields, Fields]:
    """The indicator and the objective of a metric; empty ones when something is wrong."""
    operator = _OPERATORS.get(found.text("threshold_type", needed=True))
    if operator is None and found.get("threshold_type"):
        known = suggest(str(found.get("threshold_type")), ("less_than", "greater_than"))
        found.wrong("threshold_type", "is not known", known)
    threshold = found.number("threshold")
    if operator is None or math.isnan(threshold):
        return {}, {}
    name = re.sub(r"^(p|percentile_)\d+_|^avg_(?!tokens)", "", metric.lower())
    if name == "http_status_code" and found.text("evaluation").lower() == "error_rate":
        name = "error_rate"
    where = {"model": model} if model else {}
    if name in VALUES:
        return _value(found, name, operator, threshold, where)
    if name in SHARES:
        return _share(found, name, operator, threshold, where)
    if metric:
        fix = _NOT_YET.get(name) or suggest(name, [*VALUES, *SHARES])
        found.wrong("metric", f"{metric!r} cannot be judged yet", fix)
    return {}, {}


def _value(
    found: _Reader, metric: str, operator: str, threshold: float, where: Fields
) -> tuple[Fields, Fields]:
    """A value of each call below a limit, for as many calls as the percentile says."""
    value, unit = VALUES[metric]
    evaluation = found.text("evaluation").lower()
    percentile = _PERCENTILE.fullmatch(evaluation)
    if percentile is None or not 0 < float(percentile[1]) < 100:
        said = repr(evaluation) if evaluation else "without an evaluation it"
        found.wrong(
            "evaluation", f"{said} of {metric!r} cannot be judged yet",
            "write percentile_95: at least 95 % of the calls lie below the threshold",
        )  # fmt: skip
        return {}, {}
    if operator in ("gt", "gte"):
        found.wrong(
            "threshold_type", f"a {metric!r} above a threshold cannot be promised yet",
            "write less_than or less_than_or_equal",
        )  # fmt: skip
    if threshold <= 0:
        found.wrong("threshold", f"must be above 0, not {threshold:g}")
    spec = {"value": value, **({"where": dict(where)} if where else {})}
    return (
        {"thresholdMetric": {"metricSource": {"type": "Tocsin", "spec": spec}}},
        {
            "displayName": f"p{percentile[1]} {metric} {found.get('threshold_type')} {threshold:g}",
            "op": operator,
            "value": round(threshold * unit, 9),
            "target": round(float(percentile[1]) / 100, 9),
        },
    )


def _share(
    found: _Reader, metric: str, operator: str, threshold: float, where: Fields
) -> tuple[Fields, Fields]:
    """A share of calls that are good, or of calls that are not."""
    indicator, high_is_good = SHARES[metric]
    evaluation = found.text("evaluation").lower()
    if evaluation not in _SHARE_WORDS:
        found.wrong(
            "evaluation", f"{evaluation!r} of {metric!r} cannot be judged yet",
            "write success_rate (or error_rate) with a share as the threshold, such as 0.999",
        )  # fmt: skip
    if (operator in ("gt", "gte")) != high_is_good:
        wanted = "greater_than" if high_is_good else "less_than"
        found.wrong("threshold_type", f"of {metric!r} only a promise of {wanted} makes sense")
    share = threshold if threshold < 1 else threshold / 100
    if threshold == 1 or not 0 < share < 1:
        found.wrong(
            "threshold", f"{threshold:g} is no share that leaves a budget for errors",
            "write a share such as 0.999, or per cent such as 99.9",
        )  # fmt: skip
        return {}, {}
    target = round(share if high_is_good else 1 - share, 9)
    spec = {"use": indicator, **({"where": dict(where)} if where else {})}
    total = {"count": "all"}
    return (
        {
            "ratioMetric": {
                "counter": False,
                "good": {"metricSource": {"type": "Tocsin", "spec": spec}},
                "total": {"metricSource": {"type": "Tocsin", "spec": total}},
            }
        },
        {"displayName": f"{metric} {found.get('threshold_type')} {threshold:g}", "target": target},
    )


def _window(found: _Reader) -> str:
    text = found.text("window", needed=True)
    matched = _WINDOW.fullmatch(text)
    if text and matched is None:
        calendar = (
            "calendar windows are not supported yet" if "calendar" in text else "is no window"
        )
        found.wrong("window", calendar, "write rolling_24h, rolling_7d or rolling_28d")
    return f"{matched[1]}{matched[2]}" if matched else ""


def _components(formula: _Reader) -> list[dict[str, Any]]:
    given = formula.get("components")
    if not isinstance(given, list) or not given:
        formula.wrong("components", "must be a list with one component or more")
        return []
    found = []
    for number, entry in enumerate(given):
        reader = _Reader("health_score_config", entry, f"formula.components[{number}]")
        reader.only(("metric_name", "weight", "inverse", "curve", "critical", "required"))
        inverse = reader.get("inverse")
        if not isinstance(inverse, bool | None):
            reader.wrong("inverse", f"must be true or false, not {show(inverse)}")
        component = {
            "metric": reader.text("metric_name", needed=True),
            "weight": reader.number("weight"),
            "inverse": bool(inverse),
        }
        if component["weight"] <= 0:  # type: ignore[operator]
            reader.wrong("weight", "must be above 0", "leave the component out instead")
        for name in ("curve", "critical", "required"):
            if reader.get(name) is not None:
                component[name] = reader.get(name)
        formula.problems += reader.problems
        found.append(component)
    return found


def _thresholds(found: _Reader) -> dict[str, Any]:
    given = _Reader("health_score_config", found.mapping("thresholds"), "thresholds")
    if found.get("thresholds") is None:
        return {}
    given.only(("critical", "warning", "scale"))
    critical, warning = given.number("critical"), given.number("warning")
    found.problems += given.problems
    if given.problems:
        return {}
    are_shares = {number <= 1 for number in (critical, warning)}
    if len(are_shares) == 2 and given.get("scale") is None:
        found.wrong(
            "thresholds", f"{critical:g} and {warning:g} are on two scales",
            "write both from 0 to 1, or both from 0 to 100",
        )  # fmt: skip
        return {}
    factor = 100.0 if given.get("scale") in (None, 1) and are_shares == {True} else 1.0
    points = {"warning": round(warning * factor, 6), "critical": round(critical * factor, 6)}
    if not 0 < points["critical"] < points["warning"] <= 100:
        found.wrong("thresholds", "critical must lie below warning, both from 0 to 100")
    return {"scale": 100, **points}


def _remarks(spec: Fields) -> tuple[str, ...]:
    told = SHADOW if spec.get("service") else ON_DEMAND
    try:
        shape = HealthScoreShape.model_validate_json(json.dumps(spec))
    except ValidationError:  # said in full, with its place, when the document is loaded
        return (told,)
    return (told, *shape.remarks())
