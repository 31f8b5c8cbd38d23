"""The envelope every document has, and the table of all kinds there are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field, WithJsonSchema

from tocsin.domain.errors import Problem
from tocsin.spec.alert_policies import (
    AlertConditionShape,
    AlertNotificationTargetShape,
    AlertPolicyShape,
    DataSourceShape,
)
from tocsin.spec.breaches import BreachMonitorShape
from tocsin.spec.budget_policies import ErrorBudgetPolicyShape
from tocsin.spec.composites import CompositeSLOShape
from tocsin.spec.corrections import BudgetCorrectionShape
from tocsin.spec.detectors import DetectorShape
from tocsin.spec.duty import DigestShape, EscalationShape, OnCallShape
from tocsin.spec.evaluators import EvaluatorShape
from tocsin.spec.explain import show, suggest
from tocsin.spec.gates import GateShape
from tocsin.spec.health import HealthScoreShape
from tocsin.spec.indicators import IndicatorShape
from tocsin.spec.objectives import BurnRatePolicyShape, SLIShape, SLOShape
from tocsin.spec.page_budgets import PageBudgetShape
from tocsin.spec.playbooks import PlaybookShape
from tocsin.spec.prices import PriceBookShape
from tocsin.spec.receivers import ReceiverShape
from tocsin.spec.redaction import RedactionShape
from tocsin.spec.reports import ReportShape
from tocsin.spec.retention import RetentionShape
from tocsin.spec.routes import RoutingShape
from tocsin.spec.services import OpenSLOServiceShape, ServiceShape
from tocsin.spec.shape import Name, Shape, fit
from tocsin.spec.sources import SourceShape
from tocsin.spec.status_pages import StatusPageShape
from tocsin.spec.vendors import VendorAgreementShape
from tocsin.spec.webhooks import WebhookShape
from tocsin.spec.yaml import Located, Place

TOCSIN = "tocsin/v1"
OPENSLO = "openslo/v1"


def _join(value: object) -> object:
    """OpenSLO lets a label have several values; here they are one text."""
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        return ",".join(value)
    return value


Label = Annotated[str, BeforeValidator(_join), WithJsonSchema({"type": "string"})]


class Metadata(Shape):
    """What a document is called, and free labels."""

    name: Name
    display_name: str = ""
    labels: dict[str, Label] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of document. tolerant: unknown fields are warnings, as OpenSLO's files need it."""

    api_version: str
    name: str
    shape: type[BaseModel]
    tolerant: bool = False


KINDS: tuple[Kind, ...] = (
    Kind(TOCSIN, "Service", ServiceShape),
    Kind(OPENSLO, "SLO", SLOShape, tolerant=True),
    Kind(OPENSLO, "SLI", SLIShape, tolerant=True),
    Kind(OPENSLO, "Service", OpenSLOServiceShape, tolerant=True),
    Kind(OPENSLO, "DataSource", DataSourceShape, tolerant=True),
    Kind(OPENSLO, "AlertPolicy", AlertPolicyShape, tolerant=True),
    Kind(OPENSLO, "AlertCondition", AlertConditionShape, tolerant=True),
    Kind(OPENSLO, "AlertNotificationTarget", AlertNotificationTargetShape, tolerant=True),
    Kind(TOCSIN, "BurnRatePolicy", BurnRatePolicyShape),
    Kind(TOCSIN, "Indicator", IndicatorShape),
    Kind(TOCSIN, "CompositeSLO", CompositeSLOShape),
    Kind(TOCSIN, "BudgetCorrection", BudgetCorrectionShape),
    Kind(TOCSIN, "ErrorBudgetPolicy", ErrorBudgetPolicyShape),
    Kind(TOCSIN, "BreachMonitor", BreachMonitorShape),
    Kind(TOCSIN, "Evaluator", EvaluatorShape),
    Kind(TOCSIN, "Detector", DetectorShape),
    Kind(TOCSIN, "PageBudget", PageBudgetShape),
    Kind(TOCSIN, "Receiver", ReceiverShape),
    Kind(TOCSIN, "OnCallSchedule", OnCallShape),
    Kind(TOCSIN, "EscalationPolicy", EscalationShape),
    Kind(TOCSIN, "Digest", DigestShape),
    Kind(TOCSIN, "Routing", RoutingShape),
    Kind(TOCSIN, "Playbook", PlaybookShape),
    Kind(TOCSIN, "HealthScore", HealthScoreShape),
    Kind(TOCSIN, "Gate", GateShape),
    Kind(TOCSIN, "StatusPage", StatusPageShape),
    Kind(TOCSIN, "Report", ReportShape),
    Kind(TOCSIN, "VendorAgreement", VendorAgreementShape),
    Kind(TOCSIN, "Source", SourceShape),
    Kind(TOCSIN, "Webhook", WebhookShape),
    Kind(TOCSIN, "Redaction", RedactionShape),
    Kind(TOCSIN, "Retention", RetentionShape),
    Kind(TOCSIN, "PriceBook", PriceBookShape),
)

_PLANNED = ("Role",)
_ENVELOPE = ("apiVersion", "kind", "metadata", "spec")
# Below this the fields are ours to define, so that a misspelt one is an error there too.
_OURS = ("metricSource", "spec")


@dataclass(frozen=True, slots=True)
class Document:
    """A valid document: what it is, what it is called, and its typed `spec`."""

    kind: Kind
    metadata: Metadata
    spec: Any
    located: Located

    @property
    def name(self) -> str:
        """Unique among the documents of its kind."""
        return self.metadata.name

    @property
    def key(self) -> str:
        """How people call it: "SLO/support-availability"."""
        return f"{self.kind.name}/{self.metadata.name}"

    def problem(self, place: Place, message: str, fix: str = "") -> Problem:
        """A problem at `place` of this document, e.g. ("spec", "service")."""
        return self.located.problem(place, message, fix)


@dataclass(frozen=True, slots=True)
class Decoded:
    """What became of one YAML document: a Document, or none; and all there is to say about it."""

    document: Document | None
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()


def unlisted(located: Located) -> list[Located]:
    """The documents in one YAML document: itself, or the entries of a list of mappings."""
    data = located.data
    if not isinstance(data, list) or not data or not all(isinstance(item, dict) for item in data):
        return [located]
    found = []
    for i, item in enumerate(data):
        lines = {place[1:]: line for place, line in located.lines.items() if place[:1] == (i,)}
        found.append(Located(located.file, located.line_at((i,)), item, lines))
    return found


def decode(located: Located) -> Decoded:
    """Check one YAML document against its kind. Never raises; all problems are returned."""
    problems = _envelope_problems(located)
    if problems:
        return Decoded(None, tuple(problems))
    data = located.data
    api_version, name = data["apiVersion"], data["kind"]
    kind = next((k for k in KINDS if (k.api_version, k.name) == (api_version, name)), None)
    if kind is None:
        return Decoded(None, (_unknown_kind(located, api_version, name),))
    metadata, problems = fit(Metadata, data["metadata"], located, ("metadata",))
    spec, spec_problems, warnings = _fit_spec(kind, located)
    problems += spec_problems
    if metadata is None or spec is None:
        return Decoded(None, tuple(problems), tuple(warnings))
    return Decoded(Document(kind, metadata, spec, located), tuple(problems), tuple(warnings))


# --------------------------------------------------------------------------------------------


def _envelope_problems(located: Located) -> list[Problem]:
    data = located.data
    if not isinstance(data, dict):
        wants = "a document is a mapping with apiVersion, kind, metadata and spec"
        return [located.problem((), f"{wants}, not {show(data)}")]
    problems = []
    if data and not data.keys() & set(_ENVELOPE):
        message = f"is no document: it has none of {', '.join(_ENVELOPE)}"
        fix = (
            f"begin with apiVersion: {TOCSIN}, kind: Routing or another one, "
            f"metadata: {{name: ...}}, and put {', '.join(list(data)[:3])} under spec"
        )
        return [located.problem((), message, fix)]
    for field in _ENVELOPE:
        wanted, words = (dict, "a mapping") if field in ("metadata", "spec") else (str, "text")
        if field not in data:
            message = f"the required field {field!r} is missing"
            problems.append(located.problem((), message, f"add {field}: ..."))
        elif not isinstance(data[field], wanted):
            message = f"must be {words}, not {show(data[field])}"
            problems.append(located.problem((field,), message))
    for field in data:
        if field not in _ENVELOPE:
            fix = suggest(field, _ENVELOPE)
            problems.append(located.problem((field,), f"unknown field {field!r}", fix))
    return problems


def _unknown_kind(located: Located, api_version: str, name: str) -> Problem:
    versions = [kind.api_version for kind in KINDS if kind.name == name]
    if versions and api_version not in versions:
        message = f"apiVersion {api_version!r} of kind {name!r} is not supported yet"
        return located.problem(("apiVersion",), message, f"use {' or '.join(versions)}")
    if api_version not in (TOCSIN, OPENSLO):
        is_openslo = api_version.startswith(("openslo/", "openslo.com/"))
        what = "is not supported yet" if is_openslo else "is unknown"
        message = f"apiVersion {api_version!r} {what}"
        return located.problem(("apiVersion",), message, f"use {TOCSIN} or {OPENSLO}")
    if name in _PLANNED:
        known = ", ".join(sorted({kind.name for kind in KINDS}))
        message = f"kind {name!r} is not supported yet"
        return located.problem(("kind",), message, f"supported: {known}")
    names = [kind.name for kind in KINDS if kind.api_version == api_version]
    return located.problem(("kind",), f"unknown kind {name!r}", suggest(name, names))


def _fit_spec(kind: Kind, located: Located) -> tuple[Any, list[Problem], list[Problem]]:
    """The typed spec, problems, warnings. Unknown fields of a tolerant kind are left out."""
    data = located.data["spec"]
    spec, problems = fit(kind.shape, data, located, ("spec",))
    if not kind.tolerant or not problems:
        return spec, problems, []
    unknown, problems = _split_unknown(problems)
    if not unknown:
        return spec, problems, []
    warnings = []
    for p in unknown:
        fix = p.fix if p.fix.startswith("did you mean") else ""
        warnings.append(Problem(p.file, p.line, p.path, f"{p.message} is ignored", fix))
    rest = _without(data, {p.path.removeprefix("spec.") for p in unknown}, "")
    spec, problems = fit(kind.shape, rest, located, ("spec",))
    return spec, problems, warnings


def _split_unknown(problems: list[Problem]) -> tuple[list[Problem], list[Problem]]:
    marker = ".".join(_OURS) + "."
    unknown = [
        p for p in problems if p.message.startswith("unknown field") and marker not in p.path
    ]
    return unknown, [p for p in problems if p not in unknown]


def _without(data: Any, paths: set[str], at: str) -> Any:
    if isinstance(data, dict):
        inside = {name: f"{at}.{name}" if at else name for name in data}
        return {
            name: _without(value, paths, inside[name])
            for name, value in data.items()
            if inside[name] not in paths
        }
    if isinstance(data, list):
        return [_without(item, paths, f"{at}[{i}]") for i, item in enumerate(data)]
    return data
