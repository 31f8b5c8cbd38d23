"""Configuration text as one typed, frozen value: what Tocsin is to do."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from tocsin.assess.monitor import Monitor
from tocsin.assess.page_budget import PageBudget
from tocsin.delivery.channel import Channel
from tocsin.domain.errors import Problem, SpecError
from tocsin.domain.redaction import Redactions
from tocsin.routing.policy import Digest, RoutingPolicy, RoutingTest
from tocsin.spec import assemble
from tocsin.spec.assembly import Assembly
from tocsin.spec.budgeted import page_budgets
from tocsin.spec.diff import Key
from tocsin.spec.documents import Decoded, Document, decode, unlisted
from tocsin.spec.judging import ConfiguredEvaluator
from tocsin.spec.openslo.upgrade import modern
from tocsin.spec.plugins import Secrets
from tocsin.spec.receivers import Receiver
from tocsin.spec.references import dangling, declared
from tocsin.spec.services import Service
from tocsin.spec.sources import ConfiguredSource
from tocsin.spec.webhooks import ConfiguredWebhook
from tocsin.spec.yaml import Located, parse, read
from tocsin.store.prices import Price
from tocsin.store.redaction import BUILT_IN
from tocsin.store.schema import Retention

S = TypeVar("S")
_STORED = "stored configuration"


@dataclass(frozen=True, slots=True)
class Desired:
    """Everything a person configured, checked, with every reference resolved.

    monitors: in the order of their documents' names. text: all documents as canonical JSON, without
    any secret; `restore` reads it back. digest: SHA-256 of `text` in hex. warnings: what was read
    but has no effect, or will surprise. redactions: what is taken out before telemetry is stored.
    prices: in place of packaged ones.
    """

    services: Mapping[str, Service]
    monitors: tuple[Monitor, ...]
    routing: RoutingPolicy
    receivers: Mapping[str, Receiver]
    documents: tuple[Document, ...]
    text: str
    digest: str
    warnings: tuple[Problem, ...] = ()
    sources: Mapping[str, ConfiguredSource] = field(default_factory=dict)
    evaluators: Mapping[str, ConfiguredEvaluator] = field(default_factory=dict)
    webhooks: Mapping[str, ConfiguredWebhook] = field(default_factory=dict)
    redactions: Redactions = BUILT_IN
    retention: Retention | None = None
    prices: tuple[Price, ...] = ()
    budgets: tuple[PageBudget, ...] = ()

    def of(self, shape: type[S]) -> Iterator[tuple[Document, S]]:
        """Every document whose spec is a `shape`, with it."""
        for document in self.documents:
            if isinstance(document.spec, shape):
                yield document, document.spec

    @property
    def digests(self) -> Mapping[str, Digest]:
        """Digests by name."""
        return self.routing.digests

    @property
    def tests(self) -> tuple[RoutingTest, ...]:
        """The routing tests that are written beside the rules."""
        return self.routing.tests

    @property
    def channels(self) -> Mapping[str, Channel]:
        """The channel of every receiver that can be told something."""
        return {
            name: receiver.channel
            for name, receiver in self.receivers.items()
            if receiver.channel is not None
        }

    @property
    def data(self) -> Mapping[Key, Any]:
        """Plain data of every document by (apiVersion, kind, name)."""
        return {
            (document.kind.api_version, document.kind.name, document.name): document.located.data
            for document in self.documents
        }

    def service_of(self, project: str, service_name: str) -> Service | None:
        """The service that telemetry of this project and service.name belongs to, if any.

        One that names the project goes before one that takes any.
        """
        matching = [s for s in self.services.values() if s.matches(project, service_name)]
        return max(matching, key=lambda service: service.project != "", default=None)


def load(
    paths: Iterable[Path], secrets: Secrets | None = None, added: Sequence[Located] = ()
) -> Desired:
    """The configuration under `paths` (files, or directories of *.yaml and *.yml).

    secrets: resolves `{secret: NAME}`; None leaves every receiver without its secrets, which is
    enough to plan. added: documents from elsewhere; one that a file defines as well is left out.
    Raises SpecError with every problem found.
    """
    roots = list(paths)
    located, problems = read(roots)
    located = [one for whole in located for one in unlisted(whole)]
    written = {key_of(one.data) for one in located}
    located += [one for one in added if key_of(one.data) not in written]
    return assembled(located, problems, secrets, ", ".join(str(root) for root in roots))


def key_of(data: Any) -> Key:
    """(apiVersion, kind, name) of a document's data, with "" for what it does not say."""
    envelope = data if isinstance(data, dict) else {}
    metadata = envelope.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return str(envelope.get("apiVersion", "")), str(envelope.get("kind", "")), str(name or "")


def load_text(text: str, file: str = "<text>", secrets: Secrets | None = None) -> Desired:
    """As `load`, for YAML text that is called `file` in problems."""
    located, problems = parse(text, file)
    return assembled(located, problems, secrets, file)


def restore(text: str, secrets: Secrets | None = None) -> Desired:
    """The configuration that `Desired.text` was taken from. Raises SpecError as `load`.

    Unlike files, a stored configuration may be empty: the last document was taken out of it.
    """
    located = [Located(_STORED, 0, data, {}) for data in json.loads(text)]
    return assembled(located, [], secrets, _STORED, may_be_empty=True)


def assembled(
    located: Sequence[Located],
    problems: list[Problem],
    secrets: Secrets | None,
    source: str,
    *,
    may_be_empty: bool = False,
) -> Desired:
    """The configuration of documents that were read. source: what they are called together.

    secrets: see `load`. Raises SpecError with `problems` and every other one.
    """
    located = [modern(one) for whole in located for one in unlisted(whole)]
    decoded = [decode(one) for one in located]
    if not (decoded or problems or may_be_empty):
        problems = [Problem(source, 0, "", "holds no document")]
    for found in decoded:
        problems += found.problems
    documents = _sorted(decoded)
    problems += _duplicates(documents)
    names = declared(located)
    for one in located:
        problems += dangling(one, names)
    assembly = Assembly(documents)
    known = assemble.services(assembly)
    monitors = assemble.monitors(assembly, known)
    budgets = page_budgets(assembly, known, monitors)
    receivers = assemble.receivers(assembly, secrets)
    sources = assemble.sources(assembly, known, secrets)
    webhooks = assemble.webhooks(assembly, secrets)
    retention = assemble.retention(assembly)
    types = {name: receiver.type for name, receiver in receivers.items()}
    routing = assemble.routing(assembly, known, types)
    redactions = assemble.redactions(assembly, known, secrets)
    prices = assemble.prices(assembly)
    evaluators = assemble.evaluators(assembly, known, secrets, prices)
    problems += assembly.problems
    if problems:
        raise SpecError(sorted(set(problems), key=lambda p: (p.file, p.line, p.path, p.message)))
    text = _canonical(documents)
    warnings = [warning for one in decoded for warning in one.warnings] + assembly.warnings
    return Desired(
        services=known,
        monitors=monitors,
        routing=routing,
        receivers=receivers,
        documents=documents,
        text=text,
        digest=hashlib.sha256(text.encode()).hexdigest(),
        warnings=tuple(sorted(set(warnings), key=lambda p: (p.file, p.line, p.path))),
        sources=sources,
        evaluators=evaluators,
        webhooks=webhooks,
        redactions=redactions,
        retention=retention,
        prices=prices,
        budgets=budgets,
    )


# --------------------------------------------------------------------------------------------


def _key(document: Document) -> Key:
    return (document.kind.api_version, document.kind.name, document.name)


def _sorted(decoded: Iterable[Decoded]) -> tuple[Document, ...]:
    """Documents in an order that does not depend on how they are spread over files."""
    documents = [one.document for one in decoded if one.document is not None]
    return tuple(sorted(documents, key=_key))


def _duplicates(documents: Sequence[Document]) -> list[Problem]:
    first: dict[Key, Document] = {}
    problems = []
    for document in sorted(documents, key=lambda d: (d.located.file, d.located.line)):
        earlier = first.setdefault(_key(document), document)
        if earlier is not document:
            where = f"{earlier.located.file}:{earlier.located.line}"
            message = f"{document.kind.name} {document.name!r} is defined twice"
            problems.append(
                document.problem(("metadata", "name"), message, f"first at {where}; rename one")
            )
    return problems


def _canonical(documents: Sequence[Document]) -> str:
    data = [document.located.data for document in documents]
    return json.dumps(data, sort_keys=True, ensure_ascii=False, indent=1)
