"""OTLP request bodies for load: 512 GenAI spans each, about 604 bytes a span without prompts.

A few templates are built with protobuf; every body sent is a copy of one with new trace, span and
response ids and shifted times, so that no two are alike and ids compress as badly as real ones.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

SPANS = 512
SERVICES = 25
WORDS, PROSE_WORDS = 6000, 500_000
MODELS = (
    ("openai", "gpt-4o"), ("openai", "gpt-4o-mini"), ("anthropic", "claude-sonnet-4-5"),
    ("anthropic", "claude-3-5-haiku"), ("azure.ai.openai", "gpt-4.1"), ("vllm", "llama-3.3-70b"),
    ("vllm", "qwen2.5-32b"), ("aws.bedrock", "nova-pro"),
)  # fmt: skip
TIERS = ("free", "pro", "premium", "enterprise", "internal")
_HEX = np.frombuffer(b"0123456789abcdef", np.uint8)


class Text:
    """Endless prose of made-up words with the frequencies of real ones; no letter is told twice."""

    def __init__(self, rng: np.random.Generator) -> None:
        letters = rng.integers(97, 123, (WORDS, 10), np.uint8)
        self._vocabulary = [bytes(row[: 2 + i % 9]) for i, row in enumerate(letters)]
        rank = 1 / np.arange(1, WORDS + 1)
        self._shares = rank / rank.sum()
        self._rng = rng
        self._letters = np.zeros(0, np.uint8)
        self._at = 0

    def piece(self, size: int) -> npt.NDArray[np.uint8]:
        """The next `size` letters."""
        if self._at + size > len(self._letters):
            chosen = self._rng.choice(WORDS, PROSE_WORDS, p=self._shares)
            prose = b" ".join([self._vocabulary[i] for i in chosen])
            self._letters, self._at = np.frombuffer(prose, np.uint8), 0
        self._at += size
        return self._letters[self._at - size : self._at]


class Template:
    """One body, and where in it the ids, times and texts are."""

    def __init__(
        self, rng: np.random.Generator, text: Text, start_ns: int, *, content: bool
    ) -> None:
        maker = _Maker(rng, text, start_ns, content=content)
        body = maker.request().SerializeToString()
        self._text = text
        self._body = np.frombuffer(body, np.uint8)
        self._ids = _places(self._body, maker.ids)
        self._hex = _places(self._body, maker.response_ids)
        times = [struct.pack("<Q", time) for time in maker.times]
        self._times = _places(self._body, times).reshape(-1, 8)
        found = ((body.find(piece), len(piece)) for piece in maker.texts)
        self._texts = [(at, size) for at, size in found if at >= 0]

    def copy(self, rng: np.random.Generator, shift_ns: int) -> bytes:
        """The body with fresh ids and texts, all times shifted."""
        body = self._body.copy()
        body[self._ids] ^= np.resize(rng.integers(1, 255, 8, np.uint8), len(self._ids))
        swapped = np.zeros(256, np.uint8)
        swapped[_HEX] = rng.permutation(_HEX)
        body[self._hex] = swapped[body[self._hex]]
        times = body[self._times].view("<u8") + np.uint64(shift_ns)
        body[self._times] = times.view(np.uint8)
        for at, size in self._texts:
            body[at : at + size] = self._text.piece(size)
        return body.tobytes()


def unlike_bodies(count: int, start_ns: int, *, content: bool, seed: int = 11) -> Iterator[bytes]:
    """`count` request bodies of which each was made for itself: no two share a value by being
    copies. What is stored of them is as large as what strangers send."""
    rng = np.random.default_rng(seed)
    text = Text(rng)
    for number in range(count):
        maker = _Maker(rng, text, start_ns + number * 20_000_000, content=content)
        yield maker.request().SerializeToString()


def bodies(
    count: int, start_ns: int, *, content: bool, templates: int = 24, seed: int = 7,
    apart_ns: int = 20_000_000,
) -> Iterator[bytes]:  # fmt: skip
    """`count` different request bodies with spans in the two seconds after `start_ns`, each
    `apart_ns` later than the one before."""
    rng = np.random.default_rng(seed)
    text = Text(rng)
    made = [Template(rng, text, start_ns, content=content) for _ in range(min(templates, count))]
    for number in range(count):
        yield made[number % len(made)].copy(rng, number * apart_ns)


def _places(body: npt.NDArray[np.uint8], needles: list[bytes]) -> npt.NDArray[np.int64]:
    """Positions of all bytes of all occurrences of `needles`, whose lengths are multiples of 8."""
    keys = np.frombuffer(b"".join(needles), "<u8")
    windows = np.lib.stride_tricks.sliding_window_view(body, 8).copy().view("<u8").ravel()
    starts = np.flatnonzero(np.isin(windows, keys))
    return (starts[:, None] + np.arange(8)).ravel()


class _Maker:
    """Builds one request span by span and notes what has to be changed in copies."""

    def __init__(
        self, rng: np.random.Generator, text: Text, start_ns: int, *, content: bool
    ) -> None:
        self._rng = rng
        self._prose = text
        self._start = start_ns
        self._content = content
        self.texts: list[bytes] = []
        self.ids: list[bytes] = []
        self.response_ids: list[bytes] = []
        self.times: list[int] = []

    def request(self) -> ExportTraceServiceRequest:
        request = ExportTraceServiceRequest()
        resource = request.resource_spans.add()
        service = f"svc-{self._pick(SERVICES):02d}"
        resource.resource.attributes.extend(
            attribute(key, value)
            for key, value in {
                "service.name": service,
                "service.namespace": "prod",
                "service.version": f"1.{self._pick(10)}.0",
                "service.instance.id": self._rng.bytes(16).hex(),
                "deployment.environment.name": "production",
                "host.name": f"node-{self._pick(50)}",
                "telemetry.sdk.language": "python",
                "telemetry.sdk.name": "opentelemetry",
                "telemetry.sdk.version": "1.45.2",
                "process.pid": 1 + self._pick(60000),
                "cloud.region": ("us-east-1", "eu-west-1", "ap-south-1")[self._pick(3)],
                "k8s.pod.name": f"{service}-{self._rng.bytes(5).hex()}",
            }.items()
        )
        scope = resource.scope_spans.add()
        scope.scope.name = "openinference.instrumentation.openai"
        scope.scope.version = "0.1.66"
        spans: list[Span] = []
        while len(spans) < SPANS:
            spans += self._trace()
        scope.spans.extend(spans[:SPANS])
        kept = {(span.start_time_unix_nano, span.end_time_unix_nano) for span in spans[:SPANS]}
        self.times = [time for pair in kept for time in pair]
        return request

    def _trace(self) -> list[Span]:
        kinds = ["AGENT", *["RETRIEVER"] * self._pick(2), *["LLM"] * (1 + self._pick(3) // 2)]
        kinds += ["TOOL"] * self._pick(2)
        trace, root = self._id(16), self._id(8)
        shared = {
            "session.id": f"s{self._pick(40000)}",
            "user.id": f"u{self._pick(20000)}",
            "tocsin.segment.tier": TIERS[self._pick(len(TIERS))],
            "tocsin.release": f"r{self._pick(7)}",
        }
        at = self._start + self._pick(2_000_000_000)
        spans = []
        for place, kind in enumerate(kinds):
            took = int(self._rng.lognormal(13.5 if kind == "LLM" else 12, 0.7) * 1000)
            span = Span(
                trace_id=trace,
                span_id=self._id(8) if place else root,
                parent_span_id=root if place else b"",
                start_time_unix_nano=at,
                end_time_unix_nano=at + took,
                kind=Span.SPAN_KIND_CLIENT if kind == "LLM" else Span.SPAN_KIND_INTERNAL,
            )
            at += took + 1
            attributes = {"openinference.span.kind": kind, **shared, **self._details(span, kind)}
            span.attributes.extend(attribute(*item) for item in attributes.items())
            self._end(span)
            spans.append(span)
        return spans

    def _details(self, span: Span, kind: str) -> dict[str, Any]:
        if kind == "LLM":
            return self._llm(span)
        if kind == "RETRIEVER":
            span.name = "retrieve"
            found: dict[str, Any] = {"db.system.name": "qdrant", "db.collection.name": "kb"}
            for n in range(4):
                found[f"retrieval.documents.{n}.document.id"] = f"doc{self._pick(50000)}"
                found[f"retrieval.documents.{n}.document.score"] = float(self._rng.random())
                if self._content:
                    found[f"retrieval.documents.{n}.document.content"] = self._text(60)
            return found
        if kind == "TOOL":
            span.name = "execute_tool search"
            return {
                "gen_ai.operation.name": "execute_tool",
                "gen_ai.tool.name": ("search", "calc", "crm")[self._pick(3)],
                "gen_ai.tool.call.id": f"call_{self._rng.bytes(8).hex()}",
                **self._texts(15, 40),
            }
        span.name = "invoke_agent support"
        return {
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.agent.name": "support",
            "gen_ai.agent.id": f"ag-{self._pick(10)}",
            "http.route": "/v1/chat",
            **self._texts(40, 60),
        }

    def _llm(self, span: Span) -> dict[str, Any]:
        provider, model = MODELS[self._pick(len(MODELS))]
        response = self._rng.bytes(12).hex()
        self.response_ids.append(response.encode())
        span.name = f"chat {model}"
        tokens = 50 + self._pick(6000)
        found: dict[str, Any] = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": provider,
            "gen_ai.request.model": model,
            "gen_ai.response.model": f"{model}-2026-04-09",
            "gen_ai.response.id": f"chatcmpl-{response}",
            "gen_ai.request.temperature": (0.0, 0.2, 0.7, 1.0)[self._pick(4)],
            "gen_ai.request.max_tokens": 2048,
            "gen_ai.response.finish_reasons": ["stop"],
            "gen_ai.usage.input_tokens": tokens,
            "gen_ai.usage.output_tokens": 5 + self._pick(1200),
            "gen_ai.usage.cache_read.input_tokens": tokens // 3,
            "gen_ai.response.time_to_first_chunk": float(self._rng.random() * 2),
            "gen_ai.conversation.id": f"s{self._pick(40000)}",
            "server.address": "api.example.net",
            "server.port": 443,
            "gen_ai.prompt.name": f"p-{self._pick(30)}",
            "gen_ai.prompt.version": str(1 + self._pick(5)),
        }
        if self._content:
            asked = [{"role": "user", "parts": [{"type": "text", "content": self._text(150)}]}]
            told = [{"role": "assistant", "parts": [{"type": "text", "content": self._text(90)}]}]
            found["gen_ai.input.messages"] = json.dumps(asked)
            found["gen_ai.output.messages"] = json.dumps(told)
        return found

    def _end(self, span: Span) -> None:
        if self._rng.random() >= 0.012:
            span.status.code = 1
            return
        span.status.code = 2
        span.status.message = "rate limited"
        span.attributes.append(attribute("error.type", ("429", "500", "timeout")[self._pick(3)]))
        event = span.events.add(name="exception", time_unix_nano=span.end_time_unix_nano)
        event.attributes.append(attribute("exception.type", "RateLimitError"))
        event.attributes.append(attribute("exception.message", self._text(12)))

    def _texts(self, asked: int, told: int) -> dict[str, str]:
        if not self._content:
            return {}
        return {"input.value": self._text(asked), "output.value": self._text(told)}

    def _text(self, words: int) -> str:
        piece = self._prose.piece(words * 6).tobytes()
        self.texts.append(piece)
        return piece.decode()

    def _pick(self, below: int) -> int:
        return int(self._rng.integers(below))

    def _id(self, size: int) -> bytes:
        made = self._rng.bytes(size)
        self.ids.append(made)
        return made


def attribute(key: str, value: str | bool | int | float | list[str]) -> KeyValue:
    """A pair of OTLP."""
    if isinstance(value, str):
        return KeyValue(key=key, value=AnyValue(string_value=value))
    if isinstance(value, int):
        return KeyValue(key=key, value=AnyValue(int_value=value))
    if isinstance(value, float):
        return KeyValue(key=key, value=AnyValue(double_value=value))
    texts = [AnyValue(string_value=text) for text in value]
    return KeyValue(key=key, value=AnyValue(array_value=ArrayValue(values=texts)))
