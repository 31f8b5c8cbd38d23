"""`gcp_logging`: entries of Google Cloud Logging as log records, or as calls.

By entries.list of the REST API (v2), which needs the role Logs Viewer. An entry is known by its
log, time and insertId, so that windows overlap and no entry is taken twice. Entries about requests
become calls by a map of fields. google-auth is an optional part (`pip install 'tocsin[gcp]'`).
"""

from __future__ import annotations

import asyncio
import importlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, ClassVar

import httpx

from tocsin.domain.clock import iso, parse_iso
from tocsin.domain.secret import Secret, secret
from tocsin.intake import fieldmap
from tocsin.intake.points import nanoseconds
from tocsin.intake.records import LogEntry, SpanRecord, stand_in_id
from tocsin.intake.source import Entry, Origin, Polled, Unreadable
from tocsin.intake.windows import Reach, TokenRefused, Window, read_pages
from tocsin.net.guard import Refused, pin_target

_SCOPE = "https://www.googleapis.com/auth/logging.read"
_PATH = "/v2/entries:list"
_PAGE = 1000
_PATIENCE = timedelta(seconds=30)
_TIMEOUT = httpx.Timeout(30.0, connect=5.0)


@dataclass(frozen=True, slots=True)
class GcpLoggingConfig:
    """resources: what to read, such as projects/my-project. filter: in Logging's own language.

    calls: member of a call -> path in an entry, or `=` and what holds for all; entries that tell a
    call become calls, the others log records. credentials: the JSON text of a service account's
    key; without it Google is asked as the machine, pod or job that Tocsin runs on. overlap: how
    late an entry may come. first: how far back the first poll reaches.
    """

    resources: tuple[str, ...]
    filter: str = ""
    calls: Mapping[str, str] = field(default_factory=dict)
    credentials: Secret | None = None
    endpoint: str = "https://logging.googleapis.com"
    allow_private: bool = False
    overlap: timedelta = timedelta(minutes=2)
    first: timedelta = timedelta(minutes=30)

    def __post_init__(self) -> None:
        if not self.resources:
            raise ValueError("resources: name at least one, such as projects/my-project")
        fieldmap.check(self.calls)
        if self.credentials is not None:
            key = secret(self.credentials)
            object.__setattr__(self, "credentials", key)
            if fieldmap.read_object(key.reveal()) is None:
                raise ValueError("credentials: must be the JSON text of a service account's key")


class GcpLogging:
    """Reads all resources at once."""

    Config: ClassVar[type[GcpLoggingConfig]] = GcpLoggingConfig
    extra: ClassVar[str] = "gcp"
    every: ClassVar[timedelta] = timedelta(seconds=30)

    def __init__(self, config: GcpLoggingConfig, origin: Origin) -> None:
        self._config = config
        self._origin = origin
        self._reach = Reach(config.first, config.overlap)
        self._client: httpx.AsyncClient | None = None
        self._identity: Any = None

    @property
    def targets(self) -> Sequence[str]:
        """The resources, together."""
        return (", ".join(self._config.resources),)

    async def poll(self, target: str, now: datetime, cursor: object) -> Polled:
        """The next window, or some pages of it."""
        return await read_pages(cursor, now, self._reach, self._page)

    def unread(self, target: str, now: datetime) -> Sequence[bytes]:
        """Nothing: entries that come later are still of their time."""
        return ()

    async def close(self) -> None:
        """Close the connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def _page(self, window: Window, token: str) -> tuple[Sequence[Entry], str]:
        span = f'timestamp >= "{iso(window.start)}" AND timestamp < "{iso(window.stop)}"'
        own = f" AND ({self._config.filter})" if self._config.filter else ""
        asked: dict[str, Any] = {
            "resourceNames": list(self._config.resources),
            "filter": span + own,
            "orderBy": "timestamp asc",
            "pageSize": _PAGE,
        }
        if token:
            asked["pageToken"] = token
        answer = await self._ask(asked)
        found = [self._entry(entry) for entry in answer.get("entries", ())]
        return found, str(answer.get("nextPageToken") or "")

    async def _ask(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        bearer = await asyncio.to_thread(self._bearer)
        pinned = await pin_target(
            self._config.endpoint.rstrip("/") + _PATH, allow_private=self._config.allow_private
        )
        if isinstance(pinned, Refused):
            raise Unreadable(pinned.reason)
        if self._client is None:
            self._client = httpx.AsyncClient(timeout=_TIMEOUT, trust_env=False)
        headers = {"Authorization": f"Bearer {bearer}", **pinned.headers}
        try:
            response = await self._client.post(
                pinned.url, json=dict(asked), headers=headers, extensions=pinned.extensions
            )
        except httpx.HTTPError as error:
            raise Unreadable(f"no answer ({type(error).__name__})") from None
        return _read(response, has_token="pageToken" in asked)

    def _bearer(self) -> str:
        """A token that is good for a while; made anew when it runs out. Blocks."""
        try:
            auth = importlib.import_module("google.auth")
            account = importlib.import_module("google.oauth2.service_account")
            requests = importlib.import_module("google.auth.transport.requests")
        except ImportError:
            raise Unreadable(f"needs google-auth: pip install 'tocsin[{self.extra}]'") from None
        try:
            if self._identity is None:
                if self._config.credentials is None:
                    self._identity, _ = auth.default(scopes=[_SCOPE])
                else:
                    key = json.loads(self._config.credentials.reveal())
                    self._identity = account.Credentials.from_service_account_info(
                        key, scopes=[_SCOPE]
                    )
            if not self._identity.valid:
                self._identity.refresh(requests.Request())
            return str(self._identity.token)
        except (auth.exceptions.GoogleAuthError, ValueError) as error:
            # Its texts may quote the key.
            raise Unreadable(f"Google gives no token ({type(error).__name__})") from None

    def _entry(self, entry: Mapping[str, Any]) -> Entry:
        stamp = str(entry.get("timestamp") or entry.get("receiveTimestamp") or "")
        at = parse_iso(stamp)
        name, insert = str(entry.get("logName", "")), str(entry.get("insertId", ""))
        text = insert or json.dumps(entry, sort_keys=True)
        identity = stand_in_id(name, stamp, text) + stand_in_id(text, name, stamp)
        return Entry(identity, at, self._record(entry, name, at, identity[:16]))

    def _record(
        self, entry: Mapping[str, Any], name: str, at: datetime, identity: str
    ) -> SpanRecord | LogEntry:
        if self._config.calls:
            call = fieldmap.call_of(entry, self._config.calls, self._origin, identity, ts=at)
            if call is not None and self._tells_a_call(entry):
                return call
        body = entry.get("textPayload")
        if body is None:
            body = json.dumps(entry.get("jsonPayload") or entry.get("protoPayload") or {})
        attributes = {"gcp.log_name": name, "gcp.resource": entry.get("resource", {}).get("type")}
        return fieldmap.log_of(
            nanoseconds(at), str(body), self._origin,
            severity=str(entry.get("severity", "")), attributes=attributes,
        )  # fmt: skip

    def _tells_a_call(self, entry: Mapping[str, Any]) -> bool:
        """Whether any field of the map is there; an entry about something else has none."""
        paths = [path for path in self._config.calls.values() if not path.startswith("=")]
        return any(fieldmap.dug(entry, path) is not None for path in paths if path != "timestamp")


def _read(response: httpx.Response, *, has_token: bool) -> Mapping[str, Any]:
    status = response.status_code
    if status in (429, 503):
        raise Unreadable(f"Google asks for patience (HTTP {status})", after=_PATIENCE)
    if status == 400 and has_token:
        raise TokenRefused
    if status != 200:
        raise Unreadable(f"Google refuses (HTTP {status})")
    try:
        found = response.json()
    except ValueError:
        raise Unreadable("the answer is not JSON") from None
    if not isinstance(found, dict):
        raise Unreadable("the answer is not a JSON object")
    return found
