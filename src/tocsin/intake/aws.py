"""How AWS is asked: credentials, one client per service, and what its refusals mean.

boto3 is an optional part (`pip install 'tocsin[aws]'`) and is loaded when the first client is made.
Its calls block, so they run in a thread, one at a time per source: a poll that was given up does
not overlap with the next one.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from tocsin.domain.secret import Secret, secret
from tocsin.intake.source import Unreadable

EXTRA = "aws"
_THROTTLED = {
    "Throttling", "ThrottlingException", "ThrottledException", "RequestLimitExceeded",
    "TooManyRequestsException", "LimitExceededException", "RequestThrottled", "SlowDown",
}  # fmt: skip
_PATIENCE = timedelta(seconds=30)
_CONNECT_S, _READ_S, _TRIES = 5, 20, 2


@dataclass(frozen=True, slots=True)
class Access:
    """Where and as whom AWS is asked; without keys or a profile, as the machine or pod is."""

    region: str
    access_key: Secret | None = None
    secret_key: Secret | None = None
    session_token: Secret | None = None
    profile: str = ""
    endpoint: str = ""


def checked(
    region: str, access_key: Secret | None, secret_key: Secret | None,
    session_token: Secret | None, profile: str, endpoint: str, *, allow_private: bool,
) -> Access:  # fmt: skip
    """The settings that all sources of AWS share. ValueError for what does not fit together."""
    if not region:
        raise ValueError("region: name one, such as eu-central-1")
    if (access_key is None) != (secret_key is None):
        raise ValueError("access_key and secret_key: set both or neither")
    if access_key is not None and profile:
        raise ValueError("profile: set either a profile or keys")
    if endpoint and not endpoint.startswith("https://") and not allow_private:
        raise ValueError("endpoint: must be https (or be allowed with allow_private: true)")
    given = [
        None if key is None else secret(key) for key in (access_key, secret_key, session_token)
    ]
    return Access(region, given[0], given[1], given[2], profile, endpoint)


class Amazon:
    """The clients of one source."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._clients: dict[str, Any] = {}
        self._one_at_a_time = asyncio.Lock()

    async def ask(self, service: str, operation: str, **given: Any) -> Mapping[str, Any]:
        """The answer to one request. Raises Unreadable, or Refusal for a code that is not known."""
        async with self._one_at_a_time:
            # A thread cannot be stopped, and the lock must be held for as long as it runs.
            work = asyncio.ensure_future(asyncio.to_thread(self._ask, service, operation, given))
            try:
                return await asyncio.shield(work)
            except asyncio.CancelledError:
                await asyncio.wait([work])
                raise

    async def close(self) -> None:
        """Close the connections."""
        clients, self._clients = self._clients, {}
        for client in clients.values():
            client.close()

    def _ask(self, service: str, operation: str, given: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            exceptions = importlib.import_module("botocore.exceptions")
        except ImportError:
            raise Unreadable(f"needs boto3: pip install 'tocsin[{EXTRA}]'") from None
        try:
            client = self._client(service)
            found: Mapping[str, Any] = getattr(client, operation)(**given)
            return found
        except exceptions.ClientError as error:
            raise _refused(error, operation) from None
        except (exceptions.NoCredentialsError, exceptions.PartialCredentialsError):
            raise Unreadable(
                "no AWS credentials: set access_key and secret_key, a profile, or a role"
            ) from None
        except exceptions.BotoCoreError as error:
            raise Unreadable(f"no answer from AWS ({type(error).__name__})") from None

    def _client(self, service: str) -> Any:
        if service not in self._clients:
            boto3 = importlib.import_module("boto3")
            config = importlib.import_module("botocore.config").Config(
                connect_timeout=_CONNECT_S,
                read_timeout=_READ_S,
                retries={"mode": "standard", "total_max_attempts": _TRIES},
                user_agent_extra="tocsin",
            )
            access = self._access
            session = boto3.session.Session(
                aws_access_key_id=_revealed(access.access_key),
                aws_secret_access_key=_revealed(access.secret_key),
                aws_session_token=_revealed(access.session_token),
                region_name=access.region,
                profile_name=access.profile or None,
            )
            self._clients[service] = session.client(
                service, endpoint_url=access.endpoint or None, config=config
            )
        return self._clients[service]


class Refusal(Unreadable):
    """AWS says no; `code` is its own word for why."""

    def __init__(self, code: str, reason: str, *, after: timedelta | None = None) -> None:
        self.code = code
        super().__init__(reason, after=after)


def _refused(error: Any, operation: str) -> Refusal:
    """By its code only: the texts of AWS name accounts, keys and whole requests."""
    code = str(error.response.get("Error", {}).get("Code", "")) or "unknown"
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code in _THROTTLED or status in (429, 503):
        return Refusal(code, f"AWS asks for patience ({code})", after=_PATIENCE)
    return Refusal(code, f"AWS refuses {operation} ({code})")


def _revealed(key: Secret | None) -> str | None:
    return None if key is None else key.reveal()
