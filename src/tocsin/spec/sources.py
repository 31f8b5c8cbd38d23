"""The Source document: what Tocsin asks by itself, for which service, how often.

No type is known here by name: `type` is looked up in the registry of sources and the other fields
are checked against the settings that the source declares (`tocsin.spec.plugins`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, ClassVar

from pydantic import Field

from tocsin.domain.errors import Problem
from tocsin.intake.source import Origin
from tocsin.intake.sources import SOURCES
from tocsin.spec.plugins import PluginName, Plugins, PluginShape, Secrets, fit_settings
from tocsin.spec.services import Service
from tocsin.spec.shape import Duration
from tocsin.spec.yaml import Located

SHORTEST, LONGEST = timedelta(seconds=1), timedelta(days=1)


@dataclass(frozen=True, slots=True)
class ConfiguredSource:
    """Something to ask. config: settings with secrets filled in, None without them (a plan).

    service: "" where what is read belongs to no single one.
    """

    name: str
    type: str
    service: str
    interval: timedelta
    origin: Origin
    config: Any = None


class SourceShape(PluginShape):
    """Something that Tocsin asks by itself. The other fields are settings of the type."""

    plugins: ClassVar[Plugins] = SOURCES

    type: Annotated[str, PluginName("source", SOURCES)]
    service: Annotated[
        str,
        Field(
            description="the Service that what is read belongs to; needed, except by `arize`,"
            " `statuspage` and `probe`"
        ),
    ] = ""
    interval: Annotated[
        Duration | None, Field(description="time between two polls; by default that of the type")
    ] = None
    labels: Annotated[
        dict[str, str], Field(description="resource attributes of everything that is read")
    ] = Field(default_factory=dict)

    def build(
        self, name: str, service: Service | None, located: Located, secrets: Secrets | None
    ) -> tuple[ConfiguredSource | None, list[Problem]]:
        """The source with its secrets filled in if there is a way to; and what is wrong."""
        kind = SOURCES[self.type]
        config, problems = fit_settings(kind.Config, self.settings, located, secrets)
        if service is None and getattr(kind, "needs_service", True):
            message = "the required field 'service' is missing"
            problems.append(located.problem(("spec",), message, "add service: ..."))
        interval = self.interval or kind.every
        if not SHORTEST <= interval <= LONGEST:
            message = f"must be from 1s to 1d, not {interval.total_seconds():g} s"
            problems.append(located.problem(("spec", "interval"), message))
        timeout = getattr(config, "timeout", None)
        if isinstance(timeout, timedelta) and timeout > interval:
            message = f"timeout is longer than the interval of {interval.total_seconds():g} s"
            problems.append(located.problem(("spec",), message, "shorten it"))
        if problems:
            return None, problems
        labels: Mapping[str, str] = dict(self.labels)
        owner = service or Service("", "")
        origin = Origin(name, owner.service_name, owner.project, labels)
        return ConfiguredSource(name, self.type, owner.name, interval, origin, config), []
