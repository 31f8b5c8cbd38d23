"""Documents into services, monitors, receivers and routing, as the rest of Tocsin reads them.

That every name a document refers to exists is the business of `references`; here, what refers to
nothing is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from tocsin.assess.gauges.kind import GaugeConfig
from tocsin.assess.monitor import DetectorConfig, Monitor
from tocsin.domain.redaction import EVERYBODY, Owner, Redactions
from tocsin.domain.series import SeriesId
from tocsin.indicators.catalogue import NAMES, Indicator
from tocsin.indicators.custom import selects_by_result
from tocsin.routing.policy import BY_SEVERITY, Defaults, Playbook, Route, RoutingPolicy
from tocsin.spec.assembly import Assembly
from tocsin.spec.breaches import BreachMonitorShape
from tocsin.spec.budgeting import budget_rules
from tocsin.spec.detectors import DetectorShape
from tocsin.spec.documents import OPENSLO, Document
from tocsin.spec.evaluators import EvaluatorShape
from tocsin.spec.gates import ON_DEMAND
from tocsin.spec.health_scores import health_scores
from tocsin.spec.indicators import Named, resolver
from tocsin.spec.judging import ConfiguredEvaluator, by_version
from tocsin.spec.plugins import Secrets
from tocsin.spec.prices import prices_of
from tocsin.spec.receivers import Receiver, ReceiverShape
from tocsin.spec.references import EVERY
from tocsin.spec.routes import RouteShape
from tocsin.spec.segmented import by_segment
from tocsin.spec.services import Service
from tocsin.spec.slos import objectives
from tocsin.spec.sources import ConfiguredSource, SourceShape
from tocsin.spec.webhooks import ConfiguredWebhook
from tocsin.spec.yaml import Place
from tocsin.store.prices import Price
from tocsin.store.redaction import BUILT_IN
from tocsin.store.schema import Retention


def services(assembly: Assembly) -> dict[str, Service]:
    """Every service by name; OpenSLO's Service counts where there is none of ours."""
    found: dict[str, Service] = {}
    for document in assembly.of("Service"):
        if document.kind.api_version != OPENSLO:
            built = document.spec.build(document.name, document.metadata.display_name)
            found[document.name] = built
    for document in assembly.of("Service"):
        if document.name not in found:
            found[document.name] = Service(
                name=document.name,
                display_name=document.metadata.display_name or document.name,
                team=document.metadata.labels.get("team", ""),
                description=document.spec.description,
                service_name=document.name,
            )
    _check_matches(assembly, found)
    return found


def monitors(assembly: Assembly, known: Mapping[str, Service]) -> tuple[Monitor, ...]:
    """Every objective, then every detector, then every rule about a budget, then every health
    score, each in the order of names."""
    named = resolver(_indicators(assembly))
    built = list(objectives(assembly, known, named))
    for document in assembly.of("Detector"):
        built += _detectors(assembly, document, known, named)
    for document in assembly.of("Evaluator"):
        service = known.get(document.spec.service)
        if service is not None:
            metadata = document.metadata
            quality = document.spec.build(
                document.name, metadata.display_name, service, dict(metadata.labels)
            )
            built += [quality] if quality is not None else []
    for document in assembly.of("BreachMonitor"):
        built += _breaches(assembly, document, known, named)
    built += list(budget_rules(assembly, built))
    built += list(health_scores(assembly, known, built, named))
    runs = {d.name: d.spec.run for d in assembly.of("Evaluator")}
    names = {name: run.series(name) for name, run in runs.items() if run is not None}
    return tuple(by_version(one, names) for one in built) if names else tuple(built)


def retention(assembly: Assembly) -> Retention | None:
    """How long telemetry is kept; None leaves it as it is."""
    found = list(assembly.of("Retention"))
    for extra in found[1:]:
        message = f"retention is given by {found[0].key} already"
        assembly.problems.append(extra.problem(("kind",), message, "keep one of them"))
    return found[0].spec.build() if found else None


def receivers(assembly: Assembly, secrets: Secrets | None) -> dict[str, Receiver]:
    """Every receiver by name, with its secrets if there is a way to resolve them."""
    found = {}
    for document in assembly.of("Receiver"):
        spec: ReceiverShape = document.spec
        found[document.name], problems = spec.build(document.name, document.located, secrets)
        assembly.problems += problems
    return found


def sources(
    assembly: Assembly, known: Mapping[str, Service], secrets: Secrets | None
) -> dict[str, ConfiguredSource]:
    """Every source by name, with its secrets if there is a way to resolve them."""
    found = {}
    for document in assembly.of("Source"):
        spec: SourceShape = document.spec
        # A service that nobody wrote down is a problem of its own.
        service = known.get(spec.service) or (
            Service(spec.service, spec.service) if spec.service else None
        )
        built, problems = spec.build(document.name, service, document.located, secrets)
        assembly.problems += problems
        if built is not None:
            found[document.name] = built
    return found


def evaluators(
    assembly: Assembly,
    known: Mapping[str, Service],
    secrets: Secrets | None,
    prices: Sequence[Price],
) -> dict[str, ConfiguredEvaluator]:
    """Every judge of Tocsin's own by name, with its secrets if there is a way to resolve them."""
    found = {}
    for document in assembly.of("Evaluator"):
        spec: EvaluatorShape = document.spec
        service = known.get(spec.service)
        if spec.run is None or service is None:
            continue
        built, problems = spec.run.build(
            document.name, document.metadata.display_name, spec.kind, spec.description, service,
            document.located, secrets, prices,
        )  # fmt: skip
        assembly.problems += problems
        if built is not None:
            found[document.name] = built
    return found


def webhooks(assembly: Assembly, secrets: Secrets | None) -> dict[str, ConfiguredWebhook]:
    """Every webhook by name, with its secrets if there is a way to resolve them."""
    found = {}
    for document in assembly.of("Webhook"):
        built, problems = document.spec.build(document.name, document.located, secrets)
        assembly.problems += problems
        if document.name == "tocsin":
            message = "alerts of Tocsin's own have the source 'tocsin'"
            place: Place = ("metadata", "name")
            assembly.problems.append(document.problem(place, message, "choose another name"))
        if getattr(built.config, "unsigned", False):
            message = "unsigned: whoever reaches the address can raise and end alerts"
            assembly.warnings.append(document.problem(("spec", "unsigned"), message))
        found[document.name] = built
    return found


def prices(assembly: Assembly) -> tuple[Price, ...]:
    """The prices of every PriceBook."""
    found, problems = prices_of((d.spec, d.located) for d in assembly.of("PriceBook"))
    assembly.problems += problems
    return tuple(found)


def redactions(
    assembly: Assembly, known: Mapping[str, Service], secrets: Secrets | None
) -> Redactions:
    """Every Redaction document; the one that names nobody holds for whoever no other one names."""
    policies, otherwise = [], BUILT_IN.otherwise
    owners: dict[Owner, Document] = {}
    for document in assembly.of("Redaction"):
        policy, problems = document.spec.build(document.name, known, document.located, secrets)
        assembly.problems += problems
        for owner in policy.owners:
            first = owners.setdefault(owner, document)
            if first is not document:
                whom = "everybody else" if owner == EVERYBODY else owner.service or owner.project
                message = f"telemetry of {whom} is redacted by {first.key} already"
                place = ("spec", "services" if owner.service else "projects")
                assembly.problems.append(document.problem(place, message, "keep one of them"))
        if EVERYBODY in policy.owners:
            otherwise = policy
        else:
            policies.append(policy)
    return Redactions(tuple(policies), otherwise)


def routing(
    assembly: Assembly, known: Mapping[str, Service], receivers: Mapping[str, str]
) -> RoutingPolicy:
    """All Routing documents as one policy, in the order of their names.

    receivers: name -> type.
    """
    parts = list(assembly.of("Routing"))
    with_defaults = [part for part in parts if part.spec.defaults is not None]
    for extra in with_defaults[1:]:
        message = f"defaults are given by {with_defaults[0].key} already"
        assembly.problems.append(extra.problem(("spec", "defaults"), message, "keep one of them"))
    for part in parts:
        for i, entry in enumerate(part.spec.enrich):
            for message in _unfed(assembly, entry.use):
                assembly.warnings.append(part.problem(("spec", "enrich", i), message))
    playbooks = {d.name: d.spec.build(d.name) for d in assembly.of("Playbook")}
    for document in assembly.of("Gate"):
        if not document.spec.service:
            assembly.warnings.append(document.problem(("kind",), ON_DEMAND))
    _check_route_names(assembly, parts)
    classify = tuple(rule.build() for part in parts for rule in part.spec.classify)
    return RoutingPolicy(
        defaults=with_defaults[0].spec.defaults.build() if with_defaults else Defaults(),
        classify=classify or BY_SEVERITY,
        inhibit=tuple(rule.build() for part in parts for rule in part.spec.inhibit),
        routes=tuple(
            _telling(route.build(), playbooks) for part in parts for route in part.spec.routes
        ),
        receivers=dict(receivers),
        policies={d.name: d.spec.build(d.name) for d in assembly.of("EscalationPolicy")},
        oncall={d.name: d.spec.build(d.name) for d in assembly.of("OnCallSchedule")},
        digests={d.name: d.spec.build(d.name) for d in assembly.of("Digest")},
        silences=tuple(silence.build() for part in parts for silence in part.spec.silences),
        modes={service.name: service.mode for service in known.values()},
        tests=tuple(
            test.build(part.located.where(("spec", "tests", number)))
            for part in parts
            for number, test in enumerate(part.spec.tests)
        ),
        enrich=tuple(entry.build() for part in parts for entry in part.spec.enrich),
        playbooks=playbooks,
    )


# --------------------------------------------------------------------------------------------


_FED_BY = {"status.statuspage": ("statuspage",), "http.health": ("probe", "model_probe")}


def _unfed(assembly: Assembly, use: str) -> Iterator[str]:
    """Why an enrichment will find nothing, if so."""
    types = {document.spec.type for document in assembly.of("Source")}
    needed = _FED_BY.get(use, ())
    if needed and types.isdisjoint(needed):
        yield f"there is no Source of type {' or '.join(needed)}: nothing will be known of it"


def _telling(route: Route, playbooks: Mapping[str, Playbook]) -> Route:
    """A route that also tells whom its playbooks name."""
    told = [name for run in route.run if run in playbooks for name in playbooks[run].tells]
    return replace(
        route,
        also=tuple(dict.fromkeys([*route.also, *told])),
        routes=tuple(_telling(child, playbooks) for child in route.routes),
    )


def _check_matches(assembly: Assembly, known: Mapping[str, Service]) -> None:
    """Two services must not claim the same telemetry."""
    owners: dict[tuple[str, str], str] = {}
    for document in assembly.of("Service"):
        service = known[document.name]
        key = (service.project, service.service_name)
        owner = owners.setdefault(key, service.name)
        if owner != service.name:
            message = f"matches the same telemetry as Service {owner!r}"
            fix = "give one of them another match.project or match.service.name"
            assembly.problems.append(document.problem(("spec", "match"), message, fix))


def _indicators(assembly: Assembly) -> dict[str, Indicator]:
    """Every Indicator document by name."""
    found = {}
    for document in assembly.of("Indicator"):
        if document.name in NAMES:
            message = f"an indicator named {document.name!r} is built in"
            assembly.problems.append(document.problem(("metadata", "name"), message, "rename it"))
            continue
        built = document.spec.build(document.name, document.metadata.display_name)
        score = selects_by_result(built.ratio.condition) if built.ratio.condition else ""
        if score:
            message = f"calls without the score {score!r} count when the rest decides alone"
            fix = f"add total: known(score('{score}')), or leave the rest out"
            assembly.warnings.append(document.problem(("spec",), message, fix))
        found[document.name] = built
    return found


def _detectors(
    assembly: Assembly, document: Document, known: Mapping[str, Service], named: Named
) -> Iterator[Monitor]:
    spec: DetectorShape = document.spec
    method, problems = spec.config(document.located)
    assembly.problems += problems
    indicator = spec.unnamed()
    if spec.indicator is not None:
        place: Place = ("spec", "indicator")
        indicator, problems = spec.indicator.build(named, document.located, place)
        assembly.problems += problems
    for name in _watched(spec, known):
        if indicator is None and spec.indicator is not None:
            continue
        if method is None or name not in known:
            continue
        service = known[name]
        what = _subject(method, indicator)
        title = spec.title or document.metadata.display_name or what
        monitor = Monitor(
            name=f"detector/{document.name}" + ("" if spec.service else f"/{name}"),
            title=f"{service.display_name}: {title}",
            service=name,
            signal=spec.signal or _signal(method, indicator),
            severity=spec.severity,
            series=SeriesId(name, indicator.name) if indicator else None,
            ratio=indicator.ratio if indicator else None,
            method=method,
            labels={
                **service.labels,
                **document.metadata.labels,
                **spec.labels,
                "detector": document.name,
            },
        )
        yield monitor
        if spec.segments is not None:
            yield from by_segment(assembly, document, spec.segments, monitor)


_GAUGES = {
    "volume": ("Number of calls", "volume"),
    "p50": ("Median latency", "latency_p50"),
    "p95": ("p95 latency", "latency_p95"),
    "p99": ("p99 latency", "latency_p99"),
}


_OF_VALUES = ("mean", "sum")


def _subject(method: DetectorConfig, indicator: Indicator | None) -> str:
    """What a detector watches, for people."""
    if isinstance(method, GaugeConfig) and method.measure in _GAUGES:
        return _GAUGES[method.measure][0]
    if indicator is not None and isinstance(method, GaugeConfig) and method.measure in _OF_VALUES:
        return f"{method.measure.capitalize()} of {indicator.name}"
    if indicator is not None:
        return indicator.title
    return "Distribution of calls" if method.needs == "samples" else "Pace of calls"


def _signal(method: DetectorConfig, indicator: Indicator | None) -> str:
    """What routing calls it."""
    if isinstance(method, GaugeConfig) and method.measure in _GAUGES:
        return _GAUGES[method.measure][1]
    return indicator.signal if indicator else method.signal


def _breaches(
    assembly: Assembly, document: Document, known: Mapping[str, Service], named: Named
) -> Iterator[Monitor]:
    spec: BreachMonitorShape = document.spec
    own = None
    if spec.indicator is not None:
        place: Place = ("spec", "indicator")
        own, problems = spec.indicator.build(named, document.located, place)
        assembly.problems += problems
    for rule, indicator, method in spec.rules(own):
        for name in _watched(spec, known):
            if name not in known:
                continue
            service = known[name]
            title = spec.title or document.metadata.display_name or indicator.title
            parts = (document.name, rule, "" if spec.service else name)
            yield Monitor(
                name="/".join(("breach", *(part for part in parts if part))),
                title=f"{service.display_name}: {title}",
                service=name,
                signal=spec.signal or indicator.signal,
                severity=spec.severity,
                series=SeriesId(name, indicator.name),
                ratio=indicator.ratio,
                method=method,
                labels={
                    **service.labels,
                    **document.metadata.labels,
                    **spec.labels,
                    "breach": document.name,
                },
            )


def _watched(
    spec: DetectorShape | BreachMonitorShape, known: Mapping[str, Service]
) -> Iterable[str]:
    if spec.service:
        return (spec.service,)
    return known if spec.services == (EVERY,) else spec.services


def _check_route_names(assembly: Assembly, parts: Iterable[Document]) -> None:
    """A route's name is how a page says why it came; it must not mean two things."""
    first: dict[str, str] = {}
    for part in parts:
        for name, place in _route_names(part.spec.routes, ("spec", "routes")):
            where = f"{part.located.file}:{part.located.line_at(place)}"
            if name in first:
                message = f"a route named {name!r} exists already"
                fix = f"at {first[name]}; give one of them another name"
                assembly.problems.append(part.problem(place, message, fix))
            first.setdefault(name, where)


def _route_names(routes: Iterable[RouteShape], place: Place) -> Iterator[tuple[str, Place]]:
    for i, route in enumerate(routes):
        yield route.name, (*place, i, "name")
        yield from _route_names(route.routes, (*place, i, "routes"))
