"""`sagemaker`: endpoints of Amazon SageMaker: what CloudWatch says of them, and their state.

Assumes `cloudwatch:GetMetricData` and `sagemaker:DescribeEndpoint`. An endpoint that is not in
service is read all the same; the note beside its target says what it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, ClassVar

from tocsin.domain.secret import Secret
from tocsin.intake.aws import EXTRA, Access, Amazon, checked
from tocsin.intake.cloudwatch_points import MetricQuery, MetricWindow
from tocsin.intake.points import MetricRequest, nanoseconds
from tocsin.intake.source import Origin, Polled
from tocsin.intake.windows import Reach

_IN_SERVICE = "InService"
_VARIANT = (
    ("Invocations", "Sum"), ("Invocation4XXErrors", "Sum"), ("Invocation5XXErrors", "Sum"),
    ("InvocationModelErrors", "Sum"), ("ModelLatency", "Average"), ("ModelLatency", "p95"),
    ("OverheadLatency", "Average"), ("ConcurrentRequestsPerModel", "Maximum"),
)  # fmt: skip
_INSTANCE = (
    "CPUUtilization", "MemoryUtilization", "DiskUtilization", "GPUUtilization",
    "GPUMemoryUtilization",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class SageMakerConfig:
    """region, endpoints: what to read; all production variants of each endpoint.

    The rest is as for cloudwatch.
    """

    region: str
    endpoints: tuple[str, ...]
    access_key: Secret | None = None
    secret_key: Secret | None = None
    session_token: Secret | None = None
    profile: str = ""
    endpoint: str = ""
    allow_private: bool = False
    overlap: timedelta = timedelta(minutes=15)
    first: timedelta = timedelta(hours=1)

    def __post_init__(self) -> None:
        if not self.endpoints:
            raise ValueError("endpoints: name at least one")
        _ = self.access

    @property
    def access(self) -> Access:
        """Where and as whom."""
        return checked(
            self.region, self.access_key, self.secret_key, self.session_token, self.profile,
            self.endpoint, allow_private=self.allow_private,
        )  # fmt: skip


class SageMaker:
    """Reads each endpoint on its own."""

    Config: ClassVar[type[SageMakerConfig]] = SageMakerConfig
    extra: ClassVar[str] = EXTRA
    every: ClassVar[timedelta] = timedelta(minutes=1)

    def __init__(self, config: SageMakerConfig, origin: Origin) -> None:
        self._config = config
        self._amazon = Amazon(config.access)
        reach = Reach(config.first, config.overlap)
        self._windows = {
            name: MetricWindow(self._amazon, origin, reach, timedelta(minutes=1))
            for name in config.endpoints
        }

    @property
    def targets(self) -> Sequence[str]:
        """The endpoints."""
        return self._config.endpoints

    async def poll(self, target: str, now: datetime, cursor: object) -> Polled:
        """Its state now, and the next window of its metrics."""
        found = await self._amazon.ask("sagemaker", "describe_endpoint", EndpointName=target)
        window = self._windows[target]
        request = window.request()
        variants = found.get("ProductionVariants", ())
        state = str(found.get("EndpointStatus", "unknown"))
        _describe(request, target, state, variants, nanoseconds(now))
        queries = [q for variant in variants for q in _queries(target, str(variant["VariantName"]))]
        polled = await window.read(queries, now, cursor, request)
        notes = () if state == _IN_SERVICE else (f"the endpoint is {state}",)
        return replace(polled, notes=(*notes, *polled.notes))

    def unread(self, target: str, now: datetime) -> Sequence[bytes]:
        """Nothing: whether an endpoint that cannot be described is in service is unknown."""
        return ()

    async def close(self) -> None:
        """Close the connections."""
        await self._amazon.close()


def _describe(
    request: MetricRequest, name: str, state: str, variants: Sequence[Mapping[str, Any]], at_ns: int
) -> None:
    labels = {"EndpointName": name}
    request.level("aws.sagemaker.InService", at_ns, float(state == _IN_SERVICE), labels)
    for variant in variants:
        of = {**labels, "VariantName": str(variant["VariantName"])}
        for member in ("CurrentInstanceCount", "DesiredInstanceCount", "CurrentWeight"):
            if member in variant:
                request.level(f"aws.sagemaker.{member}", at_ns, float(variant[member]), of)


def _queries(name: str, variant: str) -> list[MetricQuery]:
    of = {"EndpointName": name, "VariantName": variant}
    found = [MetricQuery("AWS/SageMaker", metric, stat, of) for metric, stat in _VARIANT]
    return found + [
        MetricQuery("/aws/sagemaker/Endpoints", metric, "Average", of) for metric in _INSTANCE
    ]
