"""`generic`: anything that can post JSON; in Tocsin's own words, or with a map of its fields.

Signed as Standard Webhooks has it (https://www.standardwebhooks.com), or with a token.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Literal

from tocsin.domain.errors import IntakeError
from tocsin.intake.alerts.generic import FIELDS, generic
from tocsin.intake.alerts.incoming import Told, as_object
from tocsin.intake.fieldmap import dug
from tocsin.intake.webhook import Signed, SignedConfig
from tocsin.net.proof import check_standard, standard_key


@dataclass(frozen=True, slots=True)
class GenericConfig(SignedConfig):
    """As SignedConfig; a secret begins with `whsec_` (Standard Webhooks).

    fields: for senders with words of their own, where each field of an alert is found: names joined
    by dots, or `=` and what always holds. each: where the list of alerts is, when a request has
    several. states: what the sender's words for a state mean.
    """

    fields: Mapping[str, str] = field(default_factory=dict)
    each: str = ""
    states: Mapping[str, Literal["firing", "resolved"]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        SignedConfig.__post_init__(self)
        for secret in self.secrets:
            standard_key(secret)
        allowed = [name for name in FIELDS if name != "labels"]
        unknown = sorted(set(self.fields) - set(allowed))
        if unknown:
            raise ValueError(f"fields: {unknown[0]} is none of {', '.join(allowed)}")
        if self.fields and "name" not in self.fields:
            raise ValueError("fields: name is missing; what does the sender call its alert?")


class Generic(Signed):
    """Alerts of anybody."""

    Config: ClassVar[type[GenericConfig]] = GenericConfig

    def __init__(self, config: GenericConfig) -> None:
        super().__init__(config)
        self._map = config

    def check_signature(self, headers: Mapping[str, str], body: bytes, now: datetime) -> str:
        """As Standard Webhooks."""
        return check_standard(self._config.secrets, headers, body, now)

    def delivery(self, headers: Mapping[str, str]) -> str:
        """Its id, also of a sender that does not sign."""
        return headers.get("webhook-id", "")

    def read(self, body: Any, now: datetime) -> Told:
        """Its alerts."""
        if not self._map.fields:
            return generic(body, now)
        given: Any = body
        for name in self._map.each.split(".") if self._map.each else ():
            given = as_object(given, "the body").get(name)
        if isinstance(given, list):
            return generic([self._translated(one) for one in given], now)
        if self._map.each:
            raise IntakeError(400, f"{self._map.each} is no list of alerts")
        return generic(self._translated(given), now)

    def _translated(self, given: Any) -> Any:
        """An alert in our words; what is no alert is left to be refused where it stands."""
        if not isinstance(given, Mapping):
            return given
        found = {name: dug(given, path) for name, path in self._map.fields.items()}
        alert = {name: value for name, value in found.items() if value not in (None, "")}
        state = str(alert.get("state", ""))
        if state in self._map.states:
            alert["state"] = self._map.states[state]
        if isinstance(alert.get("value"), str):
            alert["value"] = _number(alert["value"])
        return alert


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
