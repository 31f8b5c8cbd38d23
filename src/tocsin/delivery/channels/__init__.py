"""Every receiver type that Tocsin can send to, by the name it has in configuration."""

from __future__ import annotations

from typing import Any

from tocsin.delivery.channels.alertmanager import Alertmanager
from tocsin.delivery.channels.datadog import Datadog
from tocsin.delivery.channels.email import Email
from tocsin.delivery.channels.grafana import Grafana
from tocsin.delivery.channels.jira import Jira
from tocsin.delivery.channels.linear import Linear
from tocsin.delivery.channels.none import Nobody
from tocsin.delivery.channels.opsgenie import Opsgenie
from tocsin.delivery.channels.pagerduty import PagerDuty
from tocsin.delivery.channels.servicenow import ServiceNow
from tocsin.delivery.channels.slack import Slack
from tocsin.delivery.channels.splunk_oncall import SplunkOnCall
from tocsin.delivery.channels.status_webhook import StatusWebhook
from tocsin.delivery.channels.statuspage import Statuspage
from tocsin.delivery.channels.teams import Teams
from tocsin.delivery.channels.webhook import Webhook
from tocsin.domain.registry import Registry

# A class with a `Config` whose instances are `tocsin.delivery.channel.Channel`.
CHANNELS: Registry[type[Any]] = Registry("receiver type")
CHANNELS.add("alertmanager", Alertmanager)
CHANNELS.add("datadog", Datadog)
CHANNELS.add("email", Email)
CHANNELS.add("grafana", Grafana)
CHANNELS.add("jira", Jira)
CHANNELS.add("linear", Linear)
CHANNELS.add("none", Nobody)
CHANNELS.add("opsgenie", Opsgenie)
CHANNELS.add("pagerduty", PagerDuty)
CHANNELS.add("servicenow", ServiceNow)
CHANNELS.add("slack", Slack)
CHANNELS.add("splunk_oncall", SplunkOnCall)
CHANNELS.add("status_webhook", StatusWebhook)
CHANNELS.add("statuspage", Statuspage)
CHANNELS.add("teams", Teams)
CHANNELS.add("webhook", Webhook)
