"""`changes`: what anybody did, in the words of `POST /api/v1/changes`: for pipelines that sign.

Signed as Standard Webhooks has it (https://www.standardwebhooks.com), or with a token.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from tocsin.domain.errors import IntakeError
from tocsin.intake.alerts.incoming import Told, as_object
from tocsin.intake.rest import change
from tocsin.intake.webhook import Signed, SignedConfig
from tocsin.net.proof import check_standard, standard_key


@dataclass(frozen=True, slots=True)
class ChangesConfig(SignedConfig):
    """As SignedConfig; a secret begins with `whsec_` (Standard Webhooks)."""

    def __post_init__(self) -> None:
        SignedConfig.__post_init__(self)
        for secret in self.secrets:
            standard_key(secret)


class Changes(Signed):
    """Deploys, prompt versions, switched models: one, or a list of them."""

    Config: ClassVar[type[ChangesConfig]] = ChangesConfig

    def check_signature(self, headers: Mapping[str, str], body: bytes, now: datetime) -> str:
        """As Standard Webhooks."""
        return check_standard(self._config.secrets, headers, body, now)

    def delivery(self, headers: Mapping[str, str]) -> str:
        """Its id, also of a sender that does not sign."""
        return headers.get("webhook-id", "")

    def read(self, body: Any, now: datetime) -> Told:
        """Every change that can be read."""
        given = body if isinstance(body, list) else [body]
        now_ns = int(now.timestamp() * 1e6) * 1000
        made, faults = [], []
        for number, one in enumerate(given, start=1):
            where = f"item {number}"
            try:
                made.append(change(where, as_object(one, where), now_ns, needs_service=False))
            except IntakeError as error:
                faults.append(str(error))
        return Told(faults=tuple(faults), changes=tuple(made))
