"""Which values of a metric are good, where a health score does not say: value -> 0 to 100.

Only metrics whose scale is common knowledge have one. What a query should cost, how far embeddings
may drift or how long an answer should be is for its owner to say; such a metric is *uncalibrated*
and counts as missing until somebody gives it a curve.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

Curve = tuple[tuple[float, float], ...]

# Seconds: 1 s is as good as at once, 5 s is too long for a person who waits.
_SECONDS: Curve = ((1.0, 100.0), (5.0, 0.0))
_FIRST_TOKEN: Curve = ((0.5, 100.0), (3.0, 0.0))
# Five failures in a hundred are critical (60), one in five is an outage.
_FAILURES: Curve = ((0.0, 100.0), (0.01, 90.0), (0.05, 60.0), (0.2, 0.0))
_SUCCESSES: Curve = ((0.8, 0.0), (0.95, 60.0), (0.99, 90.0), (1.0, 100.0))
_SHARE: Curve = ((0.0, 0.0), (1.0, 100.0))

_LATENCY = re.compile(
    r"(?:(?:p|percentile_)\d+(?:_\d+)?_|avg_|mean_|median_)?(?:llm_|inference_|response_|retrieval_)?"
    r"(latency|duration|response_time|ttft|first_token)(?:_(seconds|s|milliseconds|ms))"
)
_IS_FAILURE = re.compile(r"(?:.*_)?(?:error|failure|timeout)_rate")
_IS_SUCCESS = re.compile(r"(?:.*_)?(?:success_rate|availability)")
_IS_SHARE = re.compile(
    r".*(?:_score|_rate|_ratio|_share)"
    r"|(?:.*_)?(?:relevance|accuracy|precision|recall|f1|faithfulness|groundedness|correctness"
    r"|helpfulness|coherence|completeness|toxicity|bias|hallucination|similarity|csat|quality)"
)


def curve_of(metric: str, *, inverse: bool) -> Curve:
    """The usual curve of a metric by its name, () when there is none.

    inverse: less is better, of a share from 0 to 1; times and failures are so by themselves.

    >>> curve_of("p95_latency_seconds", inverse=True)
    ((1.0, 100.0), (5.0, 0.0))
    >>> curve_of("hallucination_rate", inverse=True)
    ((0.0, 100.0), (1.0, 0.0))
    >>> curve_of("cost_per_conversation_usd", inverse=True)
    ()
    """
    name = metric.lower()
    if timed := _LATENCY.fullmatch(name):
        base = _FIRST_TOKEN if timed[1] in ("ttft", "first_token") else _SECONDS
        return _scaled(base, 1000.0 if timed[2] in ("ms", "milliseconds") else 1.0)
    if _IS_FAILURE.fullmatch(name):
        return _FAILURES
    if _IS_SUCCESS.fullmatch(name):
        return _SUCCESSES
    if _IS_SHARE.fullmatch(name):
        return mirrored(_SHARE) if inverse else _SHARE
    return ()


def mirrored(curve: Sequence[tuple[float, float]]) -> Curve:
    """The same values with good and bad exchanged."""
    return tuple((value, 100.0 - score) for value, score in curve)


def _scaled(curve: Curve, factor: float) -> Curve:
    return tuple((value * factor, score) for value, score in curve)
