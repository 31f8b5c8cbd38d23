"""Every type of webhook, by the name it has in configuration.

Other distributions add theirs by the entry point group `tocsin.webhooks`: name -> class.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any

from tocsin.domain.registry import Registry
from tocsin.intake.webhooks.arize import Arize
from tocsin.intake.webhooks.changes import Changes
from tocsin.intake.webhooks.github import GitHub
from tocsin.intake.webhooks.grafana import Grafana
from tocsin.intake.webhooks.mapped import Generic
from tocsin.intake.webhooks.sns import Sns
from tocsin.intake.webhooks.tokened import Alertmanager, Datadog

# A class with a `Config` whose instances are `tocsin.intake.webhook.Webhook`.
WEBHOOKS: Registry[type[Any]] = Registry("webhook type")
WEBHOOKS.add("alertmanager", Alertmanager)
WEBHOOKS.add("arize", Arize)
WEBHOOKS.add("changes", Changes)
WEBHOOKS.add("datadog", Datadog)
WEBHOOKS.add("generic", Generic)
WEBHOOKS.add("github", GitHub)
WEBHOOKS.add("grafana", Grafana)
WEBHOOKS.add("sns", Sns)
for _found in entry_points(group="tocsin.webhooks"):
    WEBHOOKS.add(_found.name, _found.load())
