"""How well quality scores went with the outcomes they are there for, week by week.

What is followed is what `correlation` detectors follow; the relation of a week is the one they
compute, over the same sample of calls, counted by what was known at the as-of time.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import numpy as np

from tocsin.assess.detectors.correlation import (
    CorrelationConfig,
    pairs_of,
    relation,
    weakening,
)
from tocsin.domain.clock import to_minute
from tocsin.engine.reporting.inquiry import Inquiry
from tocsin.reports.facts import Followed, Week
from tocsin.store.periods import Periods

WEEKS = 8
WEEK = timedelta(days=7)


def followed(asked: Inquiry) -> Iterator[Followed]:
    """Every pair that a detector follows, over the weeks of the period, eight at least."""
    wish, desired = asked.wish, asked.desired
    count = max(WEEKS, -(-(wish.until - wish.since) // WEEK))
    begins = [wish.until - WEEK * (count - at) for at in range(count)]
    for monitor in desired.monitors:
        config = monitor.method
        if not isinstance(config, CorrelationConfig) or not asked.wants(monitor.service):
            continue
        service = desired.services.get(monitor.service)
        theirs = service.service_name if service else monitor.service
        yield Followed(
            name=monitor.name.removeprefix("detector/"),
            service=monitor.service,
            quality=config.quality.removeprefix("score:"),
            outcome=config.outcome.removeprefix("score:"),
            weeks=tuple(_weeks(config, asked.reads, theirs, begins)),
        )


def _weeks(
    config: CorrelationConfig, reads: Periods, service: str, begins: list[datetime]
) -> Iterator[Week]:
    asked = config.wish(service)
    seen: list[tuple[np.ndarray, np.ndarray]] = []
    for begin in begins:
        sample = reads.sample(asked, to_minute(begin), to_minute(begin + WEEK))
        pairs = pairs_of(sample, config)
        n = len(pairs[0])
        if n < config.min_calls:
            why = f"{n} calls have both, {config.min_calls} are needed"
            yield Week(begin, n, None, None, None, unknown=why)
            continue
        now = relation(*pairs)
        if now is None:
            yield Week(begin, n, None, None, None, unknown="one of the two does not vary")
            continue
        before = relation(*map(np.concatenate, zip(*seen, strict=True))) if seen else None
        seen.append(pairs)
        is_weaker = None
        if before is not None and before.value:
            lost = 1.0 - now.value / before.value
            sure = weakening(before, now) >= -np.log10(config.level)
            is_weaker = bool(sure and lost >= config.min_share)
        value, low, high = (float(f"{v:.9g}") for v in (now.value, *now.bounds))
        yield Week(begin, n, value, low, high, is_weaker)
