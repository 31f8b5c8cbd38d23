"""What was usual of components that have no curve: a number for their owner to freeze or to refuse.

Nobody knows whether what is usual is good. So nothing is taken for granted: a page proposes a line
of YAML, and with it in place the score stays in shadow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tocsin.assess.health import HealthConfig
from tocsin.domain.health import HealthSample

DAYS = 7
LEAST = 200  # samples: less than a day of them says little of what is usual


@dataclass(frozen=True, slots=True)
class Baseline:
    """What a component was over the last days. median: None with too few `samples`; since, until:
    epoch minutes of the first and the last of them."""

    metric: str
    median: float | None
    samples: int
    since: int
    until: int


def uncalibrated(config: HealthConfig) -> list[str]:
    """Metrics that have a weight and no curve."""
    return [one.metric for one in config.components if one.weight > 0 and not one.curve]


def baselines(config: HealthConfig, samples: Sequence[HealthSample]) -> list[Baseline]:
    """Of every component that has no curve and was measured at all. samples: oldest first."""
    found = []
    for metric in uncalibrated(config):
        known = [
            (sample.minute, value)
            for sample in samples
            if (value := sample.body["readings"].get(metric, (None,))[0]) is not None
        ]
        if known:
            values = [value for _, value in known]
            median = float(np.median(values)) if len(known) >= LEAST else None
            found.append(Baseline(metric, median, len(known), known[0][0], known[-1][0]))
    return found
