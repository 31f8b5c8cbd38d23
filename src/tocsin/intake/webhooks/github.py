"""`github`: deployments, as changes of the services that they deploy.

https://docs.github.com/en/webhooks/webhook-events-and-payloads#deployment_status and
https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries: hex of the
HMAC-SHA256 of the body in `X-Hub-Signature-256`, `X-GitHub-Delivery` for what is delivered again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar

from tocsin.domain.clock import iso
from tocsin.domain.errors import IntakeError
from tocsin.intake.alerts.incoming import Told, as_instant, as_object
from tocsin.intake.webhook import Signed, SignedConfig
from tocsin.net.proof import check_hmac

_KINDS: Mapping[str, str] = {
    "success": "deploy",
    "failure": "deploy_failed",
    "error": "deploy_failed",
}


@dataclass(frozen=True, slots=True)
class GitHubConfig(SignedConfig):
    """As SignedConfig. services: repository ("acme/chat"), or repository and environment
    ("acme/chat production"), -> Service. environments: those that count; all when left out."""

    services: Mapping[str, str] = field(default_factory=dict)
    environments: tuple[str, ...] = ()


class GitHub(Signed):
    """GitHub's deployments; every other event is taken and tells nothing."""

    Config: ClassVar[type[GitHubConfig]] = GitHubConfig

    def __init__(self, config: GitHubConfig) -> None:
        super().__init__(config)
        self._map = config

    def check_signature(self, headers: Mapping[str, str], body: bytes, now: datetime) -> str:
        """Of the body alone: what keeps a replay out is the id."""
        del now
        offered = headers.get("x-hub-signature-256", "")
        check_hmac(self._config.secrets, body, [offered.removeprefix("sha256=")])
        return self.delivery(headers)

    def delivery(self, headers: Mapping[str, str]) -> str:
        """The delivery's GUID."""
        return headers.get("x-github-delivery", "")

    def read(self, body: Any, now: datetime) -> Told:
        """A deployment that ended, well or not."""
        told = as_object(body, "the body")
        if "deployment_status" not in told:
            return Told()
        status = as_object(told["deployment_status"], "deployment_status")
        deployment = as_object(told.get("deployment") or {}, "deployment")
        repository = as_object(told.get("repository") or {}, "repository")
        kind = _KINDS.get(str(status.get("state")))
        environment = str(status.get("environment") or deployment.get("environment") or "")
        if kind is None or not self._counts(environment):
            return Told()
        name = str(repository.get("full_name") or "")
        if not name:
            raise IntakeError(400, "repository.full_name is missing")
        at = min(as_instant(status.get("created_at"), "deployment_status.created_at", now), now)
        facts = {
            "repository": name,
            "environment": environment,
            "ref": str(deployment.get("ref") or ""),
            "sha": str(deployment.get("sha") or ""),
            "by": _login(deployment) or _login(status),
            "url": str(status.get("log_url") or status.get("target_url") or ""),
        }
        row: dict[str, Any] = {
            "kind": kind,
            "title": _title(facts, str(status.get("description") or "")),
            "labels": {label: text for label, text in facts.items() if text},
            "ts": iso(at),
        }
        service = self._map.services.get(f"{name} {environment}") or self._map.services.get(name)
        return Told(changes=({**row, "service": service} if service else row,))

    def _counts(self, environment: str) -> bool:
        return not self._map.environments or environment in self._map.environments


def _login(of: Mapping[str, Any]) -> str:
    creator = of.get("creator")
    return str(creator.get("login") or "") if isinstance(creator, Mapping) else ""


def _title(facts: Mapping[str, str], description: str) -> str:
    """ "acme/chat main (3f2a1bc) to production by ana: description"."""
    short = f"({facts['sha'][:7]})" if facts["sha"] else ""
    where = f"to {facts['environment']}" if facts["environment"] else ""
    by = f"by {facts['by']}" if facts["by"] else ""
    parts = (facts["repository"], facts["ref"], short, where, by)
    text = " ".join(part for part in parts if part)
    return f"{text}: {description[:200]}" if description else text
