"""Moments at which a decision changes although nothing happens: what somebody said until when.

A tick decides once a minute. An acknowledgement that ends, or maintenance that begins, between two
of them is not to wait for the next: whoever trusted the time would be called late, or after all.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from tocsin.engine.rules import Rules


def has_passed(
    rules: Rules, acknowledgements: Iterable[datetime], since: datetime, now: datetime
) -> bool:
    """Whether there is a moment in (since, now].

    rules: with what people arranged, as it held at `since`. acknowledgements: when they end.
    """
    windows = (at for window in rules.silences for at in (window.start, window.stop))
    return any(since < at <= now for ats in (windows, acknowledgements) for at in ats)
