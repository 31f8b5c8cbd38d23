"""Single calls, a bounded number of them: what drift is judged from; counts cannot tell it."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

FeatureKind = Literal["number", "category", "embedding"]

# What can be sampled of a call by name; unknown values are None.
FEATURES: Mapping[str, FeatureKind] = {
    "input_tokens": "number",
    "output_tokens": "number",
    "duration_ms": "number",
    "ttft_ms": "number",
    "cost_usd": "number",
    "ms_per_output_token": "number",
    "first_token_share": "number",  # of the duration
    "input_chars": "number",
    "output_chars": "number",
    "model": "category",
    "response_model": "category",
    "finish_reason": "category",
    "error_class": "category",
    "prompt_version": "category",
    "release": "category",
    "output_format": "category",  # json, code, list, heading, prose
    "refusal": "category",  # yes, no
    "schema": "category",  # which attributes there are
    "instrumentation": "category",  # scope and version
    "embedding": "embedding",
}
# And what people name themselves: `dimension:tenant`, `attribute:llm.prompt_template.template`,
# `number:retrieval.top_k` (an attribute that holds numbers), `score:faithfulness`,
# `embedding:ATTRIBUTE` (an attribute that holds a vector), `embedded:input`, `embedded:output` (the
# text, which a model on this machine embeds).
PREFIXES: Mapping[str, FeatureKind] = {
    "dimension": "category",
    "attribute": "category",
    "number": "number",
    "score": "number",
    "embedding": "embedding",
    "embedded": "embedding",
}
EMBEDDED = "embedded:"
_TEXTS = ("input", "output")


def feature_kind(name: str) -> FeatureKind:
    """What a feature holds; ValueError, listing what there is, for a name that is none.

    >>> feature_kind("output_tokens"), feature_kind("score:faithfulness")
    ('number', 'number')
    """
    if name in FEATURES:
        return FEATURES[name]
    prefix, colon, rest = name.partition(":")
    if prefix == "embedded" and rest not in _TEXTS:
        raise ValueError(f"{name!r}: embedded:input and embedded:output are texts of a call")
    if colon and rest and prefix in PREFIXES:
        return PREFIXES[prefix]
    named = ", ".join(f"{prefix}:NAME" for prefix in PREFIXES)
    raise ValueError(f"there is no feature {name!r}; there are {', '.join(FEATURES)}, {named}")


# What can be added up of the calls of one key, and by what keys; see `Wish.per`.
AMOUNTS = ("calls", "total_tokens", "input_tokens", "output_tokens", "cost_usd", "errors",
           "policy_violations")  # fmt: skip
KEYS = ("session_id", "user_id", "trace_id")


def check_key(name: str) -> None:
    """ValueError, listing what there is, for a name that is no key of calls."""
    prefix, colon, rest = name.partition(":")
    if name not in KEYS and not (colon and rest and prefix in ("dimension", "attribute")):
        known = ", ".join(KEYS)
        raise ValueError(
            f"calls have no key {name!r}; there are {known}, dimension:NAME, attribute:NAME"
        )


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be sampled of a service, and when.

    window_minutes: the newest calls. reference: what they are compared with: `reference_minutes`
    that end where the window begins, or, with `since` and `until`, these epoch minutes for ever.
    every: a new look each so many minutes. most: calls of each; one of every session. scored: names
    of scores, of which every call must have each. per: a key of calls; then a row is what the calls
    of one key add up to in one stretch of `window_minutes`, and `features` are AMOUNTS, the largest
    of the first one first.
    """

    service: str
    features: tuple[str, ...]
    kind: str
    window_minutes: int
    reference_minutes: int
    every: int
    most: int
    since: int | None = None
    until: int | None = None
    scored: tuple[str, ...] = ()
    per: str = ""

    def boundary(self, stop: int) -> int:
        """Where the window of the newest look ends at epoch minute `stop`.

        Services look at different minutes, so that a hundred of them do not all do so at once.
        """
        offset = zlib.crc32(self.service.encode()) % self.every
        return (stop - offset) // self.every * self.every + offset

    def spans(self, boundary: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """Epoch minutes of the reference and of the window of a look."""
        window = boundary - self.window_minutes, boundary
        if self.since is not None and self.until is not None:
            return (self.since, self.until), window
        return (window[0] - self.reference_minutes, window[0]), window


@dataclass(frozen=True, slots=True)
class Sample:
    """Calls, a row each. columns: feature -> value by row, None where unknown. calls: which calls,
    as trace id and span id.

    Of a wish per key: totals, a row each, with the column `key` and the newest call of each;
    population: how many there are, those that are left out included."""

    columns: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    calls: tuple[tuple[str, str], ...] = ()
    population: int = 0

    def __len__(self) -> int:
        return len(self.calls)


@dataclass(frozen=True, slots=True)
class Look:
    """A wish fulfilled at `boundary`. problem: why nothing could be read, or ""."""

    boundary: int
    reference: Sample = Sample()
    window: Sample = Sample()
    problem: str = ""
