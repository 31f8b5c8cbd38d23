"""The Retention document: for how long telemetry is kept, and whether that is long enough."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, Field

from tocsin.assess.monitor import Monitor, Objective
from tocsin.domain.series import Ratio
from tocsin.spec.shape import Duration, Shape
from tocsin.store.schema import Retention

WARM_UP_DAYS = 30  # read by the minute when a process starts
_COUNTED = {"failed", "error", "truncated"}  # columns of a ratio that the rollup answers


def _whole_days(value: timedelta) -> timedelta:
    if value < timedelta(0) or value % timedelta(days=1):
        raise ValueError("must be whole days, such as 35d, or 0 for ever")
    return value


Days = Annotated[Duration, AfterValidator(_whole_days)]


class RetentionShape(Shape):
    """How long telemetry is kept, in whole days; `0` is for ever. There is at most one.

    What is not said keeps its default. Without a Retention document tables keep what they have.
    """

    calls: Annotated[Days, Field(description="single calls")] = timedelta(days=35)
    content: Annotated[
        Days | None,
        Field(description="prompts, answers, attributes of calls and logs; rows stay, emptied"),
    ] = None
    minutes: Annotated[Days, Field(description="the rollup per minute")] = timedelta(days=35)
    hours: Annotated[Days, Field(description="the rollup per hour")] = timedelta(days=400)
    logs: Annotated[Days | None, Field(description="log records; as calls by default")] = None
    metrics: Annotated[Days | None, Field(description="metric points; as calls by default")] = None
    scores: Annotated[Days | None, Field(description="scores; as calls by default")] = None
    changes: Annotated[Days | None, Field(description="changes; as calls by default")] = None
    quarantine: Annotated[
        Days | None, Field(description="what could not be read; as calls by default")
    ] = None

    def build(self) -> Retention:
        """The same, as the store takes it."""
        return Retention(
            raw_days=self.calls.days,
            minutes_days=self.minutes.days,
            hours_days=self.hours.days,
            **{
                f"{name}_days": None if value is None else value.days
                for name, value in (
                    ("content", self.content),
                    ("logs", self.logs),
                    ("metrics", self.metrics),
                    ("scores", self.scores),
                    ("changes", self.changes),
                    ("quarantine", self.quarantine),
                )
            },
        )


def shortfalls(retention: Retention, monitors: Sequence[Monitor]) -> Iterator[tuple[str, str]]:
    """(monitor, what is wrong) of every objective whose window reaches further back than its data.

    After a restart such an objective would have forgotten a part of its budget.
    """
    for monitor in monitors:
        if not isinstance(monitor.method, Objective):
            continue
        needed = monitor.method.longest_days
        kept_for = dict(_kept(retention, monitor.method, ratio) for _, ratio in monitor.counted)
        for name, kept in kept_for.items():
            if kept and kept < needed:
                yield (
                    monitor.name,
                    f"looks {needed} days back and `{name}` are kept for {kept}: a restart would "
                    f"forget a part of its budget; keep them for {needed}d, or shorten its window",
                )


def _kept(retention: Retention, objective: Objective, ratio: Ratio) -> tuple[str, int]:
    """What an objective's counts are read from at a start, and for how many days it is kept."""
    if ratio.column == "feedback_negative" or ratio.scores:
        scores = retention.scores_days
        return "scores", retention.raw_days if scores is None else scores
    if ratio.column == "empty_result":
        return "content", retention.content_days or retention.raw_days
    if ratio.column not in _COUNTED:
        return "calls", retention.raw_days
    # Beyond what is read by the minute at a start, budgets are read by the hour, unless they are
    # charged by the minute.
    is_fine = objective.slices is not None or bool(objective.corrections)
    needed = objective.longest_days if is_fine else min(objective.longest_days, WARM_UP_DAYS)
    if is_fine or (retention.minutes_days and retention.minutes_days < needed):
        return "minutes", retention.minutes_days
    return "hours", retention.hours_days


def dubious(retention: Retention) -> Iterator[str]:
    """What is allowed and will surprise."""
    if retention.hours_days and (
        not retention.raw_days or retention.hours_days < retention.raw_days
    ):
        yield "hours go before the calls they sum up"
    if (
        retention.raw_days
        and retention.content_days
        and (retention.content_days >= retention.raw_days)
    ):
        yield "content is not kept longer than its call: `content` has no effect"
