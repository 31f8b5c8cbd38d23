"""Metrics of CloudWatch as points: what is asked for, and what an answer says.

CloudWatch tells a minute late, in parts, and corrects itself. Each poll asks again for the last
minutes and passes on what is new or differs from what it told before; the store keeps the last word
on a period. `Sum` and `SampleCount` are counts of their period; every other statistic is a level.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from tocsin.domain.clock import iso
from tocsin.intake.aws import Amazon
from tocsin.intake.points import DELTA, MetricRequest, nanoseconds
from tocsin.intake.source import Origin, Polled
from tocsin.intake.windows import Reach, Window

_COUNTS = {"Sum", "SampleCount"}
_MOST_QUERIES = 500  # of one GetMetricData
_GIVE_UP = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class MetricQuery:
    """One statistic of one metric of CloudWatch. dimensions: as CloudWatch has them."""

    namespace: str
    metric: str
    stat: str = "Sum"
    dimensions: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """As the metric is called here: AWS/SageMaker Invocations is aws.sagemaker.Invocations."""
        space = self.namespace.strip("/").lower().removeprefix("aws/").replace("/", ".")
        return f"aws.{space}.{self.metric}"

    @property
    def key(self) -> tuple[Any, ...]:
        """What tells it from every other."""
        return (self.namespace, self.metric, self.stat, *sorted(self.dimensions.items()))

    @property
    def labels(self) -> dict[str, str]:
        """Of its series."""
        return {**self.dimensions, "stat": self.stat}


class MetricWindow:
    """Reads queries window by window."""

    def __init__(self, amazon: Amazon, origin: Origin, reach: Reach, period: timedelta) -> None:
        self._amazon = amazon
        self._origin = origin
        self._reach = reach
        self._period = period
        self._told: dict[tuple[Any, datetime], float] = {}
        self._round = 0

    async def read(
        self, queries: Sequence[MetricQuery], now: datetime, cursor: Any, request: MetricRequest
    ) -> Polled:
        """The next window of all queries, added to `request`."""
        held = cursor if isinstance(cursor, Mapping) else {}
        if held.get("round") != self._round:
            self._told.clear()  # what the last poll told did not become durable
        self._round += 1
        window = self._whole_periods(self._reach.window(cursor, now))
        notes: list[str] = []
        for start in range(0, len(queries), _MOST_QUERIES):
            notes += await self._read_some(queries[start : start + _MOST_QUERIES], window, request)
        # What is incomplete is asked for again, but not for ever.
        is_done = not notes or window.stop < now - _GIVE_UP
        self._told = {key: v for key, v in self._told.items() if key[1] >= window.start}
        return Polled(
            metrics=[request.body()] if request.points else [],
            points=request.points,
            cursor={
                "until": iso(window.stop) if is_done else held.get("until"),
                "round": self._round,
            },
            is_behind=is_done and window.stop + self._period <= now,
            notes=tuple(notes),
        )

    def request(self) -> MetricRequest:
        """An empty request of this source."""
        return MetricRequest(self._origin.resource(), "tocsin.cloudwatch")

    def _whole_periods(self, window: Window) -> Window:
        """A window from and to the begin of a period; the one under way is left for later."""
        period = self._period.total_seconds()
        start, stop = (int(at.timestamp() // period * period) for at in (window.start, window.stop))
        return Window(datetime.fromtimestamp(start, UTC), datetime.fromtimestamp(stop, UTC))

    async def _read_some(
        self, queries: Sequence[MetricQuery], window: Window, request: MetricRequest
    ) -> list[str]:
        """Every page of an answer. What is incomplete, in words."""
        asked = {f"q{number}": query for number, query in enumerate(queries)}
        given: dict[str, Any] = {
            "MetricDataQueries": [self._asked(name, query) for name, query in asked.items()],
            "StartTime": window.start,
            "EndTime": window.stop,
            "ScanBy": "TimestampAscending",
        }
        status: dict[str, str] = {}
        while window.start < window.stop:
            answer = await self._amazon.ask("cloudwatch", "get_metric_data", **given)
            for result in answer.get("MetricDataResults", ()):
                name = str(result["Id"])
                status[name] = str(result.get("StatusCode", "Complete"))
                self._add(asked[name], result, request)
            if not answer.get("NextToken"):
                break
            given["NextToken"] = answer["NextToken"]
        return [
            f"{asked[name].name}: {code}" for name, code in status.items() if code != "Complete"
        ]

    def _asked(self, name: str, query: MetricQuery) -> dict[str, Any]:
        dimensions = [{"Name": n, "Value": v} for n, v in sorted(query.dimensions.items())]
        metric = {
            "Namespace": query.namespace, "MetricName": query.metric, "Dimensions": dimensions,
        }  # fmt: skip
        stat = {"Metric": metric, "Period": int(self._period.total_seconds()), "Stat": query.stat}
        return {"Id": name, "MetricStat": stat, "ReturnData": True}

    def _add(self, query: MetricQuery, result: Mapping[str, Any], request: MetricRequest) -> None:
        for at, value in zip(result.get("Timestamps", ()), result.get("Values", ()), strict=True):
            begin = at.astimezone(UTC)
            if self._told.get((query.key, begin)) == value:
                continue
            self._told[query.key, begin] = value
            start_ns, stop_ns = nanoseconds(begin), nanoseconds(begin + self._period)
            if query.stat in _COUNTS and value >= 0:
                request.counter(
                    query.name, start_ns, stop_ns, value, query.labels, temporality=DELTA
                )
            else:
                request.level(query.name, start_ns, value, query.labels)
