"""What pipelines define through the API, in Arize's words: objectives and health scores.

A `slo_definition` need not say which service it is about. It is about the one that it names, else
about the only one that can be meant: configured for its model, or seen calling it. When there is
none or more than one, it is refused with the names; guessing would judge the wrong thing. What a
name was about once it stays about.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from tocsin.domain.clock import to_minute
from tocsin.domain.errors import Problem, SpecError
from tocsin.engine import documents
from tocsin.engine.documents import Data, InForce
from tocsin.engine.house import House
from tocsin.spec.arize import SLODefinition, read_health_score, read_slo, slug
from tocsin.spec.diff import Key
from tocsin.spec.documents import OPENSLO, TOCSIN
from tocsin.spec.services import Service

SEEN_WITHIN = timedelta(days=7)
KINDS: Mapping[str, str] = {"SLO": OPENSLO, "HealthScore": TOCSIN}


@dataclass(frozen=True, slots=True)
class Defined:
    """What became of a definition. also: what was configured along with it."""

    what: documents.What
    document: InForce
    is_evaluated: bool
    warnings: tuple[str, ...] = ()
    also: tuple[str, ...] = ()


class Definitions:
    """Defines, lists and withdraws, over the stores of a house. Threads may share it."""

    def __init__(self, house: House) -> None:
        self._house = house

    def define_slo(self, definition: Any, actor: str) -> Defined:
        """Put the objective of a `slo_definition` in force.

        SpecError names every field that cannot be judged as it is written, Conflict a name that
        comes from a file.
        """
        wanted = read_slo(definition)
        known = self._services()
        name, made = self._held(wanted), list[Data]()
        if name not in known:
            name, made = _bound(wanted, known, self._callers())
        else:
            _check_environment(wanted, known[name])
        results = self._put([*made, wanted.document(name)], actor)
        also = [r.document for r in results[:-1] if r.what != "unchanged"]
        return Defined(
            results[-1].what,
            results[-1].document,
            is_evaluated=True,
            warnings=_remarks(wanted, known.get(name)),
            also=tuple(f"{document.key[1]}/{document.key[2]}" for document in also),
        )

    def define_health_score(self, config: Any, actor: str) -> Defined:
        """Keep the health score of a `health_score_config`. Errors as with `define_slo`.

        Without a service it is that of the only one there is; with several nobody follows it.
        """
        services = list(self._house.desired.services)
        only = services[0] if len(services) == 1 else ""
        document, remarks = read_health_score(config, only)
        (result,) = self._put([document], actor)
        followed = bool(document["spec"].get("service"))
        return Defined(result.what, result.document, is_evaluated=followed, warnings=remarks)

    def listed(self, kind: str) -> list[InForce]:
        """Every document of a kind in force, from files and from here, by name."""
        found = documents.in_force(self._house.state, self._house.desired)
        return [document for document in found if document.key[:2] == (KINDS[kind], kind)]

    def one(self, kind: str, name: str) -> InForce:
        """One document. NoSuchDocument when it is not in force."""
        found = next((one for one in self.listed(kind) if one.key[2] == name), None)
        if found is None:
            raise documents.NoSuchDocument(f"there is no {kind}/{name} in force")
        return found

    def withdraw(self, kind: str, name: str, actor: str) -> None:
        """Take a document that was defined here out of force; see `documents.withdraw`."""
        key: Key = (KINDS[kind], kind, name)
        house = self._house
        now = house.clock.now()
        documents.withdraw(house.state, key, actor=actor, now=now, running=house.desired)

    def _held(self, wanted: SLODefinition) -> str:
        """The service of the definition of this name that is in force, unless another is named.

        What a name was about once it stays about, whoever begins to call the same model.
        """
        found = next((one for one in self.listed("SLO") if one.key[2] == wanted.name), None)
        if wanted.service or found is None or found.made is None:
            return ""
        return str(found.data["spec"]["service"])

    def _put(self, wanted: Sequence[Data], actor: str) -> list[documents.Put]:
        house = self._house
        now = house.clock.now()
        return documents.put(house.state, wanted, actor=actor, now=now, running=house.desired)

    def _services(self) -> dict[str, Service]:
        """Services in force by name, those that are adopted within the next minute included."""
        return dict(documents.desired_in_force(self._house.state, self._house.desired).services)

    def _callers(self) -> list[tuple[str, str]]:
        now = self._house.clock.now()
        start = to_minute(now - SEEN_WITHIN)
        return self._house.telemetry.reads.callers(start, to_minute(now) + 1)


# --------------------------------------------------------------------------------------------


def _bound(
    wanted: SLODefinition, known: Mapping[str, Service], callers: Sequence[tuple[str, str]]
) -> tuple[str, list[Data]]:
    """The service a definition is about, and the document of it when nobody wrote one."""
    theirs = {service.service_name: name for name, service in known.items()}
    seen = {theirs.get(caller, caller): caller for caller, _ in callers}
    if wanted.service:
        name = theirs.get(wanted.service, wanted.service)
        if name not in known and name not in seen:
            names = ", ".join(sorted({*known, *seen})) or "none yet"
            raise _wrong(
                "tags.service_name", f"there is no service {wanted.service!r}, configured or seen",
                f"known: {names}",
            )  # fmt: skip
    else:
        calling = {theirs.get(caller, caller) for caller, model in callers if model == wanted.model}
        name = _only_one(wanted, known, calling)
    if name in known:
        _check_environment(wanted, known[name])
        return name, []
    return slug(name), [_service_document(wanted, seen[name])]


def _only_one(wanted: SLODefinition, known: Mapping[str, Service], calling: set[str]) -> str:
    """The only service that can be meant by model, environment and team."""
    fitting = {name for name, service in known.items() if _fits(wanted, service)}
    if wanted.model:
        asked = {name for name in fitting if known[name].model == wanted.model}
        fitting = asked | {name for name in calling if name in fitting or name not in known}
    if len(fitting) == 1:
        return fitting.pop()
    what = f"calls {wanted.model!r}" if wanted.model else "fits its tags"
    if not fitting:
        raise _wrong(
            "tags.service_name", f"no service is known that {what}",
            "name the service in tags.service_name, or send its calls first",
        )  # fmt: skip
    raise _wrong(
        "tags.service_name", f"more than one service {what}: {', '.join(sorted(fitting))}",
        "say in tags.service_name which one is meant",
    )  # fmt: skip


def _fits(wanted: SLODefinition, service: Service) -> bool:
    return (not wanted.team or wanted.team == service.team) and (
        not wanted.environment or _short(wanted.environment) == _short(service.env)
    )


def _check_environment(wanted: SLODefinition, service: Service) -> None:
    if wanted.environment and _short(wanted.environment) != _short(service.env):
        raise _wrong(
            "tags.environment",
            f"the service {service.name!r} is configured for {service.env!r}, not for "
            f"{wanted.environment!r}",
            "name the service of that environment",
        )


def _service_document(wanted: SLODefinition, seen: str) -> Data:
    if not wanted.team:
        raise _wrong(
            "tags.team", f"the service {seen!r} is seen and not configured: nobody owns it",
            "say in tags.team whose it is, and it is configured along with the objective",
        )  # fmt: skip
    name = slug(seen)
    spec: Data = {"team": wanted.team, "env": _short(wanted.environment or "prod")}
    if name != seen:
        spec["match"] = {"service.name": seen}
    return {"apiVersion": TOCSIN, "kind": "Service", "metadata": {"name": name}, "spec": spec}


def _remarks(wanted: SLODefinition, service: Service | None) -> tuple[str, ...]:
    if wanted.team and service is not None and service.team != wanted.team:
        return (f"the service belongs to {service.team!r}; this objective's alerts say "
                f"team={wanted.team!r}",)  # fmt: skip
    return ()


def _short(environment: str) -> str:
    lower = environment.lower()
    return {"production": "prod", "development": "dev"}.get(lower, lower)


def _wrong(path: str, message: str, fix: str) -> SpecError:
    return SpecError([Problem("slo_definition", 0, path, message, fix)])
