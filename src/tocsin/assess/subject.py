"""What a monitor is about where its ratio does not say it: how many calls there are."""

from __future__ import annotations

from tocsin.assess.absence import AbsenceConfig
from tocsin.assess.gauges.kind import GaugeConfig
from tocsin.assess.gauges.slices import SlicesConfig
from tocsin.assess.monitor import Monitor


def is_about_volume(monitor: Monitor) -> bool:
    """Whether it counts calls, however they fared: the ratio of such a monitor names the calls, and
    the failures that it names too are beside the point."""
    method = monitor.method
    if isinstance(method, SlicesConfig):
        method = method.inner
    if isinstance(method, GaugeConfig):
        return method.measure == "volume"
    return isinstance(method, AbsenceConfig)
