"""How findings are put to a person at three in the morning."""

from __future__ import annotations

from tocsin.domain.series import Ratio

_FLAGS = {
    "failed": "failed",
    "error": "ended in an error",
    "truncated": "were cut off",
    "feedback_negative": "were rated badly",
    "empty_result": "found nothing",
}
_NOUNS = {
    "llm": "calls",
    "retriever": "retrievals",
    "embedding": "embeddings",
    "tool": "tool calls",
}


def duration(milliseconds: float) -> str:
    """A latency: 850 ms, 2 s, 9.2 s."""
    if milliseconds < 1000:
        return f"{milliseconds:.3g} ms"
    return f"{milliseconds / 1000:.2g} s" if milliseconds < 9950 else f"{milliseconds / 1000:.0f} s"


def amount(value: float, unit: str) -> str:
    """A value of a call: $0.031, 2.1 s, 850; `unit` is usd, ms or "" for a plain number."""
    if unit == "ms":
        return duration(value)
    shown = f"{abs(value):,.3g}" if abs(value) < 1000 else f"{abs(value):,.0f}"
    return f"{'-' if value < 0 else ''}{'$' if unit == 'usd' else ''}{shown}"


def span(minutes: int) -> str:
    """A stretch of time: 43 min, 2 h 5 min, 3 d."""
    if minutes >= 2 * 1440:
        return f"{minutes / 1440:.0f} d"
    hours, rest = divmod(minutes, 60)
    return " ".join(
        ([f"{hours} h"] if hours else []) + ([f"{rest} min"] if rest or not hours else [])
    )


def counted(bad: int, total: int, ratio: Ratio | None) -> str:
    """The counts as the beginning of a sentence: "9 of 61 calls failed"."""
    noun = _NOUNS.get(ratio.kind if ratio else "llm", f"{ratio.kind} calls" if ratio else "calls")
    return f"{bad:,} of {total:,} {noun} {_predicate(ratio)}"


def _predicate(ratio: Ratio | None) -> str:
    if ratio is None:
        return "were bad"
    if ratio.condition is not None:
        return ratio.condition.text or "were bad"
    if ratio.column in _FLAGS:
        return _FLAGS[ratio.column]
    limit = ratio.threshold
    amount = {
        "duration_ms": f"took {duration(limit)}",
        "ttft_ms": f"waited {duration(limit)} for the first token",
        "cost_usd": f"cost ${limit:g}",
        "input_tokens": f"had {limit:g} input tokens",
        "output_tokens": f"had {limit:g} output tokens",
        "charge": "were beyond their limit",
    }[ratio.column]
    return f"{amount} or more" if ratio.op == "ge" else amount.replace(" ", " more than ", 1)
