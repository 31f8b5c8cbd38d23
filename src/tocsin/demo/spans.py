"""Spans as columns, and what a piece of traffic looks like to whoever posts it.

Traffic is made, cut and sorted as rows of one NumPy structure; text appears only as codes into a
`Names` table. Turning rows into bytes is the business of `tocsin.demo.encode`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from tocsin.domain.calls import KINDS

Rows = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

LLM, EMBEDDING, RETRIEVER, TOOL, AGENT, CHAIN = (
    KINDS.index(kind) for kind in ("llm", "embedding", "retriever", "tool", "agent", "chain")
)

# Finish reasons as codes; 0 is "the client was never told", the mark of a stream that died.
FINISHES = ("", "stop", "length", "tool_calls", "content_filter")

_BETWEEN = "\x1f"

MINUTE_NS = 60_000_000_000
MS_NS = 1_000_000

# start, end: ns since the epoch. ttft: ns after start. -1 is unknown in ttft, the token columns and
# documents. parent: zeros for a root. timed: whether the duration was measured at all.
SPAN = np.dtype(
    [
        ("start", "<i8"), ("end", "<i8"), ("ttft", "<i8"),
        ("trace", "u1", (16,)), ("span", "u1", (8,)), ("parent", "u1", (8,)),
        ("session", "u1", (6,)), ("user", "<u4"),
        ("service", "<u2"), ("kind", "u1"), ("model", "<u2"), ("tenant", "<u4"),
        ("region", "u1"), ("release", "<u2"), ("prompt", "<u2"),
        ("outcome", "<u2"), ("finish", "u1"),
        ("input", "<i4"), ("output", "<i4"), ("cached", "<i4"), ("reasoning", "<i4"),
        ("documents", "i1"), ("timed", "?"),
    ]
)  # fmt: skip

# ts: when the verdict of the user arrived, ns since the epoch.
SCORE = np.dtype(
    [
        ("ts", "<i8"),
        ("service", "<u2"),
        ("trace", "u1", (16,)),
        ("span", "u1", (8,)),
        ("value", "?"),
    ]
)


def blank(count: int) -> Rows:
    """`count` spans of which nothing is known yet but that they succeeded."""
    rows = np.zeros(count, SPAN)
    for name in ("ttft", "input", "output", "cached", "reasoning", "documents"):
        rows[name] = -1
    rows["timed"] = True
    return rows


@dataclass(frozen=True, slots=True)
class Failure:
    """How a call ends that does not succeed, as its client library reports it.

    kind: an error class of `tocsin.domain.calls`. type: the exception's class. message: its text,
    in which `{id}` stands for the provider's request id. module: the exception's package.
    """

    kind: str
    type: str
    message: str
    module: str = ""


class Table:
    """Text -> small code. Code 0 is the empty text; past `limit` everything is `overflow`."""

    def __init__(self, limit: int, values: Sequence[str] = (), overflow: str = "other") -> None:
        self.values: list[str] = [""]
        self._codes: dict[str, int] = {"": 0}
        self._limit = limit
        self._overflow = overflow
        for value in values:
            self.code(value)

    def code(self, value: str) -> int:
        """The code of `value`, which is given one when it is new."""
        known = self._codes.get(value)
        if known is not None:
            return known
        if len(self.values) >= self._limit - 1 and value != self._overflow:
            return self.code(self._overflow)
        self._codes[value] = len(self.values)
        self.values.append(value)
        return self._codes[value]

    def __getitem__(self, code: int) -> str:
        return self.values[code]

    def __len__(self) -> int:
        return len(self.values)


@dataclass(slots=True)
class Names:
    """Every text the code columns of `SPAN` refer to.

    outcomes[0] is success. models hold provider and model together, since several providers serve
    a model of the same name; use `model` and `model_of`. tiers: by tenant name.
    """

    services: Table = field(default_factory=lambda: Table(1 << 12))
    models: Table = field(default_factory=lambda: Table(1 << 10))
    tenants: Table = field(default_factory=lambda: Table(1 << 20))
    regions: Table = field(default_factory=lambda: Table(1 << 8))
    releases: Table = field(default_factory=lambda: Table(1 << 12))
    prompts: Table = field(default_factory=lambda: Table(1 << 10))
    outcomes: list[Failure | None] = field(default_factory=lambda: [None])
    tiers: dict[str, str] = field(default_factory=dict)
    _outcome_codes: dict[Failure, int] = field(default_factory=dict)

    def model(self, name: str, provider: str = "") -> int:
        """The code of a provider's model."""
        return self.models.code(f"{provider}{_BETWEEN}{name}" if provider else name)

    def model_of(self, code: int) -> tuple[str, str]:
        """Provider ("" when unknown) and name of the model of a code."""
        provider, _, name = self.models[code].rpartition(_BETWEEN)
        return provider, name

    def outcome(self, failure: Failure | None) -> int:
        """The code of an outcome; past 4,096 different ones, of its class alone."""
        if failure is None:
            return 0
        known = self._outcome_codes.get(failure)
        if known is None:
            if len(self.outcomes) >= 1 << 12:
                plain = Failure(failure.kind, failure.type, failure.kind)
                failure = plain if failure != plain else failure
            known = self._outcome_codes.setdefault(failure, len(self.outcomes))
            if known == len(self.outcomes):
                self.outcomes.append(failure)
        return known


@dataclass(frozen=True, slots=True)
class Chunk:
    """Traffic that became known in epoch minutes [start, stop).

    bodies: OTLP/HTTP protobuf request bodies, to be posted to /v1/traces in this order. scores,
    changes: NDJSON for /api/v1/scores and /api/v1/changes, empty when there are none. calls: LLM
    spans, spans: all spans in `bodies`. A call is in the chunk in which it ended.
    """

    start: int
    stop: int
    bodies: list[bytes]
    scores: bytes
    changes: bytes
    calls: int
    spans: int


def trapezoid(at: Floats, start: float, stop: float, ramp: float, fade: float) -> Floats:
    """How strongly something that lasts [start, stop) acts at each instant: 0, rising, 1, falling.

    It rises over `ramp` after `start` and falls over `fade` after `stop`; one unit for all.
    """
    rise = np.clip((at - start) / ramp, 0.0, 1.0) if ramp > 0 else (at >= start).astype(float)
    fall = np.clip(1 - (at - stop) / fade, 0.0, 1.0) if fade > 0 else (at < stop).astype(float)
    return np.asarray(np.minimum(rise, fall), dtype=np.float64)
