"""The spans around an LLM call: retrieval before it, tools between, the agent or chain above.

Only leaf LLM spans carry token counts, as with real instrumentations; what wraps them carries time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tocsin.demo.arrivals import Draft
from tocsin.demo.fleet import EMBEDDING_MODEL, FAILURES, PROVIDERS, Service
from tocsin.demo.script import Effect
from tocsin.demo.spans import (
    AGENT,
    CHAIN,
    EMBEDDING,
    FINISHES,
    MS_NS,
    RETRIEVER,
    TOOL,
    Floats,
    Ints,
    Mask,
    Names,
    Rows,
    blank,
)

_TOOLS = FINISHES.index("tool_calls")
_EMBEDDING_MS, _EMBEDDING_SD = 110.0, 0.4
_RETRIEVER_MS, _RETRIEVER_SD = 170.0, 0.5
_RETRIEVER_TIMEOUT_MS = 10_000.0
_RETRIEVER_FAILING, _RETRIEVER_EMPTY = 0.003, 0.02
_DOCUMENTS = 4
_TOOL_MS, _TOOL_SD, _TOOL_FAILING = 420.0, 0.9, 0.01
_OVERHEAD_NS = 3 * MS_NS


@dataclass(frozen=True, slots=True)
class Retrieval:
    """What came back from the vector database, per call.

    documents: how many, 0 when none matched or the search failed. lead_ms: embedding plus search.
    """

    embedding_ms: Floats
    ms: Floats
    failed: Mask
    documents: Ints

    @property
    def lead_ms(self) -> Floats:
        """How long the LLM has to wait for it."""
        return np.asarray(self.embedding_ms + self.ms)

    @property
    def useless(self) -> Mask:
        """Whether the LLM is asked without any document."""
        return np.asarray(self.documents == 0)


def retrieve(
    effects: Sequence[Effect], strengths: Sequence[Floats], count: int, rng: np.random.Generator
) -> Retrieval:
    """One search per call, under what the script does to the vector database."""
    failing = np.full(count, _RETRIEVER_FAILING)
    empty = np.full(count, _RETRIEVER_EMPTY)
    pace = np.zeros(count)
    for effect, strength in zip(effects, strengths, strict=True):
        failing += effect.retrieval.get("failing", 0.0) * strength
        empty += effect.retrieval.get("empty", 0.0) * strength
        pace += np.log(effect.retrieval.get("pace", 1.0)) * strength
    failed = rng.random(count) < failing
    found = np.minimum(1 + rng.binomial(_DOCUMENTS, 0.9, count), _DOCUMENTS)
    nothing = failed | (rng.random(count) < empty)
    ms = _RETRIEVER_MS * np.exp(_RETRIEVER_SD * rng.standard_normal(count) + pace)
    wait = _RETRIEVER_TIMEOUT_MS * (1 + 0.002 * np.abs(rng.standard_normal(count)))
    embedding = _EMBEDDING_MS * np.exp(_EMBEDDING_SD * rng.standard_normal(count))
    return Retrieval(
        embedding, np.where(failed, wait, np.minimum(ms, wait)), failed, np.where(nothing, 0, found)
    )


def family_spans(
    service: Service,
    names: Names,
    draft: Draft,
    retrieval: Retrieval | None,
    calls: Rows,
    kept: Mask,
    rng: np.random.Generator,
) -> tuple[Rows, Mask]:
    """The LLM `calls` with the spans around them, and which of all of them are exported.

    `kept` says it of the calls; a companion shares the fate of its call. Parents of `calls` are
    set in place.
    """
    companions: list[tuple[Rows, Mask]] = []
    if retrieval is not None:
        companions = _search_spans(names, retrieval, calls, kept, rng)
    elif service.family == "agent":
        companions = _agent_spans(names, draft, calls, kept, rng)
    elif service.family == "chat":
        asked = calls["finish"] == _TOOLS
        companions = [(_tool_spans(names, calls[asked], rng), kept[asked])]
    everything = np.concatenate([calls, *(rows for rows, _ in companions)])
    return everything, np.concatenate([kept, *(mask for _, mask in companions)])


def _around(calls: Rows, kind: int, rng: np.random.Generator) -> Rows:
    """Spans of the same trace, session and tenant as `calls`, with ids of their own."""
    rows = blank(calls.size)
    for name in (
        "start", "end", "trace", "parent", "session", "user", "service", "tenant", "region",
        "release", "prompt",
    ):  # fmt: skip
        rows[name] = calls[name]
    rows["kind"] = kind
    rows["span"] = np.frombuffer(rng.bytes(calls.size * 8), np.uint8).reshape(-1, 8)
    return rows


def _search_spans(
    names: Names, retrieval: Retrieval, calls: Rows, kept: Mask, rng: np.random.Generator
) -> list[tuple[Rows, Mask]]:
    """A chain above each call, with an embedding and a vector search before it."""
    embedding_ns = (retrieval.embedding_ms * MS_NS).astype(np.int64)
    search_ns = (retrieval.ms * MS_NS).astype(np.int64)
    chain = _around(calls, CHAIN, rng)
    chain["start"] = calls["start"] - embedding_ns - search_ns - _OVERHEAD_NS
    chain["end"] = calls["end"] + _OVERHEAD_NS
    chain["outcome"] = calls["outcome"]
    calls["parent"] = chain["span"]
    search = _around(calls, RETRIEVER, rng)
    search["start"] = calls["start"] - search_ns
    search["end"] = calls["start"]
    timeout = names.outcome(FAILURES["vector-db"]["timeout"])
    server = names.outcome(FAILURES["vector-db"]["server"])
    kind = np.where(rng.random(calls.size) < 0.85, timeout, server)
    search["outcome"] = np.where(retrieval.failed, kind, 0)
    search["documents"] = np.where(retrieval.failed, -1, retrieval.documents)
    embedding = _around(calls, EMBEDDING, rng)
    embedding["start"] = search["start"] - embedding_ns
    embedding["end"] = search["start"]
    embedding["model"] = names.model(EMBEDDING_MODEL, PROVIDERS[EMBEDDING_MODEL])
    embedding["input"] = np.maximum(8, rng.poisson(22, calls.size))
    return [(rows, kept) for rows in (embedding, search, chain)]


def _agent_spans(
    names: Names, draft: Draft, calls: Rows, kept: Mask, rng: np.random.Generator
) -> list[tuple[Rows, Mask]]:
    """An agent above each session, and a tool run after every call that asked for one."""
    last = np.flatnonzero(draft.last)
    first = np.flatnonzero(draft.first)
    agent = _around(calls[last], AGENT, rng)
    agent["start"] = calls["start"][first] - _OVERHEAD_NS
    agent["end"] = calls["end"][last] + _OVERHEAD_NS
    agent["outcome"] = calls["outcome"][last]
    calls["parent"] = agent["span"][np.cumsum(draft.first) - 1]
    asked = (calls["finish"] == _TOOLS) & ~draft.last
    tools = _tool_spans(names, calls[asked], rng)
    # The next call of the agent waits for the tool: it may not end later than that call starts.
    following = calls["start"][np.flatnonzero(asked) + 1]
    tools["end"] = np.minimum(tools["end"], np.maximum(following, tools["start"]))
    return [(agent, kept[last]), (tools, kept[asked])]


def _tool_spans(names: Names, calls: Rows, rng: np.random.Generator) -> Rows:
    tools = _around(calls, TOOL, rng)
    ms = _TOOL_MS * np.exp(_TOOL_SD * rng.standard_normal(calls.size))
    tools["start"] = calls["end"] + MS_NS
    tools["end"] = tools["start"] + (ms * MS_NS).astype(np.int64)
    failed = rng.random(calls.size) < _TOOL_FAILING
    tools["outcome"] = np.where(failed, names.outcome(FAILURES["tool"]["other"]), 0)
    return tools
