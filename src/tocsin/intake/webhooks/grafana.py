"""`grafana`: contact points of type webhook, with a token or with Grafana's HMAC signature.

https://grafana.com/docs/grafana/latest/alerting/configure-notifications/manage-contact-points/integrations/webhook-notifier/:
hex of the HMAC-SHA256 of the body in `X-Grafana-Alerting-Signature`; with a timestamp header, which
has to be called as below, of `timestamp:body`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar

from tocsin.intake.alerts.alertmanager import webhook
from tocsin.intake.alerts.incoming import Told
from tocsin.intake.webhook import Signed, SignedConfig
from tocsin.net.proof import check_hmac, check_time

SIGNATURE, TIMESTAMP = "x-grafana-alerting-signature", "x-grafana-alerting-timestamp"


class Grafana(Signed):
    """Grafana's alerts."""

    Config: ClassVar[type[SignedConfig]] = SignedConfig

    def check_signature(self, headers: Mapping[str, str], body: bytes, now: datetime) -> str:
        """Grafana gives its requests no id: the same alerts told again change nothing."""
        stamp = headers.get(TIMESTAMP, "")
        message = stamp.encode(errors="replace") + b":" + body if stamp else body
        check_hmac(self._config.secrets, message, [headers.get(SIGNATURE, "")])
        if stamp:
            check_time(stamp, now)
        return ""

    def read(self, body: Any, now: datetime) -> Told:
        """Its alerts."""
        return webhook(body, now)
