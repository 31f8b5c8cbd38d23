"""Alerts of other monitors: one module a format, each from a JSON body to `Incoming`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from tocsin.intake.alerts.alertmanager import pushed, webhook
from tocsin.intake.alerts.arize import arize
from tocsin.intake.alerts.cloudwatch import sns
from tocsin.intake.alerts.datadog import datadog
from tocsin.intake.alerts.generic import generic
from tocsin.intake.alerts.incoming import Told

Format = Callable[[Any, datetime], Told]
FORMATS: Mapping[str, Format] = {
    "alertmanager": webhook,
    "prometheus": pushed,
    "grafana": webhook,
    "datadog": datadog,
    "arize": arize,
    "sns": sns,
    "generic": generic,
}
