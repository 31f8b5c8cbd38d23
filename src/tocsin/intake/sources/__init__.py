"""Every type of source that Tocsin can read from, by the name it has in configuration.

Other distributions add theirs by the entry point group `tocsin.sources`: name -> class.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any

from tocsin.domain.registry import Registry
from tocsin.intake.sources.arize import ArizeMonitors
from tocsin.intake.sources.cloudwatch import CloudWatch
from tocsin.intake.sources.cloudwatch_logs import CloudWatchLogs
from tocsin.intake.sources.gcp_logging import GcpLogging
from tocsin.intake.sources.model_probe import ModelProbe
from tocsin.intake.sources.probe import Probe
from tocsin.intake.sources.prometheus import Prometheus
from tocsin.intake.sources.sagemaker import SageMaker
from tocsin.intake.sources.statuspage import Statuspage

# A class with a `Config` whose instances are `tocsin.intake.source.Source`.
SOURCES: Registry[type[Any]] = Registry("source type")
SOURCES.add("arize", ArizeMonitors)
SOURCES.add("cloudwatch", CloudWatch)
SOURCES.add("cloudwatch_logs", CloudWatchLogs)
SOURCES.add("gcp_logging", GcpLogging)
SOURCES.add("model_probe", ModelProbe)
SOURCES.add("probe", Probe)
SOURCES.add("prometheus", Prometheus)
SOURCES.add("sagemaker", SageMaker)
SOURCES.add("statuspage", Statuspage)
for _found in entry_points(group="tocsin.sources"):
    SOURCES.add(_found.name, _found.load())
