"""`cloudwatch_logs`: events of CloudWatch Logs as log records, or as calls.

By FilterLogEvents, which needs `logs:FilterLogEvents`. Every event has an id, so that windows
overlap and no event is taken twice. Bedrock's model invocation log becomes calls by itself; a log
of JSON objects, such as an API gateway's access log, by a map of fields.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Literal

from tocsin.domain.secret import Secret
from tocsin.intake import fieldmap
from tocsin.intake.aws import EXTRA, Access, Amazon, Refusal, checked
from tocsin.intake.records import LogEntry, SpanRecord, stand_in_id
from tocsin.intake.source import Entry, Origin, Polled
from tocsin.intake.windows import Reach, TokenRefused, Window, read_pages

_MOST_EVENTS = 10_000  # of one FilterLogEvents
_NOT_VALID = "InvalidParameterException"


@dataclass(frozen=True, slots=True)
class CloudWatchLogsConfig:
    """region, groups: the log groups to read. pattern: a filter of CloudWatch Logs.

    format: `bedrock` reads model invocation logs as calls, without prompts and answers; `text`
    keeps log records. calls: member of a call -> path in a JSON event, or `=` and what holds for
    all; such events become calls. overlap: how late an event may come. The rest is as for
    cloudwatch.
    """

    region: str
    groups: tuple[str, ...]
    pattern: str = ""
    format: Literal["bedrock", "text"] = "text"
    calls: Mapping[str, str] = field(default_factory=dict)
    access_key: Secret | None = None
    secret_key: Secret | None = None
    session_token: Secret | None = None
    profile: str = ""
    endpoint: str = ""
    allow_private: bool = False
    overlap: timedelta = timedelta(minutes=5)
    first: timedelta = timedelta(minutes=30)

    def __post_init__(self) -> None:
        if not self.groups:
            raise ValueError("groups: name at least one log group")
        if self.format == "bedrock" and self.calls:
            raise ValueError("calls: the fields of format bedrock are known")
        fieldmap.check(self.calls)
        _ = self.access

    @property
    def access(self) -> Access:
        """Where and as whom."""
        return checked(
            self.region, self.access_key, self.secret_key, self.session_token, self.profile,
            self.endpoint, allow_private=self.allow_private,
        )  # fmt: skip


class CloudWatchLogs:
    """Reads each log group on its own."""

    Config: ClassVar[type[CloudWatchLogsConfig]] = CloudWatchLogsConfig
    extra: ClassVar[str] = EXTRA
    every: ClassVar[timedelta] = timedelta(seconds=30)

    def __init__(self, config: CloudWatchLogsConfig, origin: Origin) -> None:
        self._config = config
        self._origin = origin
        self._amazon = Amazon(config.access)
        self._reach = Reach(config.first, config.overlap)

    @property
    def targets(self) -> Sequence[str]:
        """The log groups."""
        return self._config.groups

    async def poll(self, target: str, now: datetime, cursor: object) -> Polled:
        """The next window, or some pages of it."""

        async def fetch(window: Window, token: str) -> tuple[Sequence[Entry], str]:
            return await self._page(target, window, token)

        return await read_pages(cursor, now, self._reach, fetch)

    def unread(self, target: str, now: datetime) -> Sequence[bytes]:
        """Nothing: events that come later are still of their time."""
        return ()

    async def close(self) -> None:
        """Close the connections."""
        await self._amazon.close()

    async def _page(self, group: str, window: Window, token: str) -> tuple[Sequence[Entry], str]:
        given: dict[str, Any] = {
            "logGroupName": group,
            "startTime": int(window.start.timestamp() * 1000),
            "endTime": int(window.stop.timestamp() * 1000),
            "limit": _MOST_EVENTS,
        }
        if self._config.pattern:
            given["filterPattern"] = self._config.pattern
        if token:
            given["nextToken"] = token
        try:
            answer = await self._amazon.ask("logs", "filter_log_events", **given)
        except Refusal as error:
            if token and error.code == _NOT_VALID:
                raise TokenRefused from None
            raise
        found = [self._entry(group, event) for event in answer.get("events", ())]
        return found, str(answer.get("nextToken") or "")

    def _entry(self, group: str, event: Mapping[str, Any]) -> Entry:
        at = datetime.fromtimestamp(event["timestamp"] / 1000, UTC)
        return Entry(str(event["eventId"]), at, self._record(group, event))

    def _record(self, group: str, event: Mapping[str, Any]) -> SpanRecord | LogEntry:
        text = str(event.get("message", ""))
        fields: Mapping[str, str] = self._config.calls
        usual: dict[str, Any] = {}
        if self._config.format == "bedrock":
            fields, usual = fieldmap.BEDROCK, {"provider": "aws.bedrock"}
        told = fieldmap.read_object(text) if fields else None
        if told is not None:
            usual["ts"] = datetime.fromtimestamp(event["timestamp"] / 1000, UTC)
            identity = stand_in_id(group, str(event["eventId"]))
            call = fieldmap.call_of(told, fields, self._origin, identity, **usual)
            if call is not None:
                return call
        attributes = {
            "aws.log.group.names": group,
            "aws.log.stream.names": str(event.get("logStreamName", "")),
        }
        at_ns = int(event["timestamp"]) * 1_000_000
        return fieldmap.log_of(at_ns, text, self._origin, attributes=attributes)
