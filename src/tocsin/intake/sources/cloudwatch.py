"""`cloudwatch`: metrics of Amazon CloudWatch, by GetMetricData.

Assumes the permission `cloudwatch:GetMetricData`. Each call is paid for; the usual interval is a
minute, and one call asks for up to 500 statistics.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ClassVar

from tocsin.domain.secret import Secret
from tocsin.intake.aws import EXTRA, Access, Amazon, checked
from tocsin.intake.cloudwatch_points import MetricQuery, MetricWindow
from tocsin.intake.source import Origin, Polled
from tocsin.intake.windows import Reach


@dataclass(frozen=True, slots=True)
class CloudWatchConfig:
    """region, metrics: what to read. Each metric has namespace, metric, stat and dimensions.

    Without access_key and secret_key, or a profile of the AWS files, AWS is asked as the machine,
    pod or task that Tocsin runs on. period: of a value. overlap: how late a value may come. first:
    how far back the first poll reaches. endpoint: of a VPC.
    """

    region: str
    metrics: tuple[MetricQuery, ...]
    access_key: Secret | None = None
    secret_key: Secret | None = None
    session_token: Secret | None = None
    profile: str = ""
    endpoint: str = ""
    allow_private: bool = False
    period: timedelta = timedelta(minutes=1)
    overlap: timedelta = timedelta(minutes=15)
    first: timedelta = timedelta(hours=1)

    def __post_init__(self) -> None:
        if not self.metrics:
            raise ValueError("metrics: name at least one")
        if self.period < timedelta(minutes=1) or self.period % timedelta(minutes=1):
            raise ValueError("period: must be whole minutes")
        _ = self.access

    @property
    def access(self) -> Access:
        """Where and as whom."""
        return checked(
            self.region, self.access_key, self.secret_key, self.session_token, self.profile,
            self.endpoint, allow_private=self.allow_private,
        )  # fmt: skip


class CloudWatch:
    """Reads all metrics of one region at once."""

    Config: ClassVar[type[CloudWatchConfig]] = CloudWatchConfig
    extra: ClassVar[str] = EXTRA
    every: ClassVar[timedelta] = timedelta(minutes=1)

    def __init__(self, config: CloudWatchConfig, origin: Origin) -> None:
        self._config = config
        self._amazon = Amazon(config.access)
        reach = Reach(config.first, config.overlap)
        self._window = MetricWindow(self._amazon, origin, reach, config.period)

    @property
    def targets(self) -> Sequence[str]:
        """The region."""
        return (f"cloudwatch {self._config.region}",)

    async def poll(self, target: str, now: datetime, cursor: object) -> Polled:
        """The next window."""
        return await self._window.read(self._config.metrics, now, cursor, self._window.request())

    def unread(self, target: str, now: datetime) -> Sequence[bytes]:
        """Nothing: values that come later are still of their time."""
        return ()

    async def close(self) -> None:
        """Close the connections."""
        await self._amazon.close()
