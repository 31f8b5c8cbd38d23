"""One call counts once, however many spans tell of it and in however many requests they come."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from intake_build import NOW_NS, PROTOBUF, Bench, bench, put
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tocsin.store.segments import SegmentFile

PROVIDER = "openinference.instrumentation.openai"
FRAMEWORK = "openinference.instrumentation.langchain"
MS = 1_000_000


@pytest.fixture(scope="module")
def tocsin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with bench(tmp_path_factory.mktemp("wrappers")) as made:
        yield made


class Scene:
    """Spans of one service, sent in one or more requests."""

    def __init__(self, tocsin: Bench, service: str) -> None:
        self._tocsin, self._service, self._request = tocsin, service, ExportTraceServiceRequest()

    def span(
        self, name: str, scope: str, trace: int, span: int, parent: int = 0, *,
        at_ms: int = 0, ms: int = 100, response: str = "", error: str = "", kind: str = "LLM",
        model: str = "gpt-4o-mini",
    ) -> Scene:  # fmt: skip
        resource = self._request.resource_spans.add()
        put(resource.resource.attributes, {"service.name": self._service})
        scoped = resource.scope_spans.add()
        scoped.scope.name = scope
        made = scoped.spans.add(name=name)
        made.trace_id = f"{self._service}-{trace:04}".rjust(16).encode()[-16:]
        made.span_id = span.to_bytes(8, "big")
        made.parent_span_id = parent.to_bytes(8, "big") if parent else b""
        made.start_time_unix_nano = NOW_NS - 60_000 * MS + at_ms * MS
        made.end_time_unix_nano = made.start_time_unix_nano + ms * MS
        values = {"openinference.span.kind": kind, "llm.model_name": model}
        if response:
            values["gen_ai.response.id"] = response
        if error:
            values["error.type"] = error
            made.status.code = 2
        put(made.attributes, values)
        return self

    def send(self, *, flush: bool = True) -> Scene:
        body = self._request.SerializeToString()
        answer = self._tocsin.post("/v1/traces", body, {"content-type": PROTOBUF})
        assert answer.status_code == 200
        if flush:
            self._tocsin.store.flush()
        self._request = ExportTraceServiceRequest()
        return self

    def kinds(self) -> dict[str, str]:
        return {c["name"]: c["kind"] for c in self._tocsin.calls(f"service = '{self._service}'")}


def test_the_outer_of_two_nested_calls_is_a_wrapper(tocsin: Bench) -> None:
    scene = Scene(tocsin, "nested").span("outer", "litellm", 1, 1)
    scene.span("inner", "litellm", 1, 2, parent=1, at_ms=5, ms=80).send()
    assert scene.kinds() == {"outer": "chain", "inner": "llm"}


def test_a_call_below_a_chain_below_a_call_makes_that_a_wrapper(tocsin: Bench) -> None:
    scene = Scene(tocsin, "deep").span("outer", "litellm", 1, 1)
    scene.span("chain", "app", 1, 2, parent=1, kind="CHAIN")
    scene.span("inner", PROVIDER, 1, 3, parent=2).send()
    assert scene.kinds() == {"outer": "chain", "chain": "chain", "inner": "llm"}


def test_a_call_of_another_service_below_is_that_services_call(tocsin: Bench) -> None:
    """An application waits for its gateway: each has its own latency, in any order of arrival."""
    app, gateway = Scene(tocsin, "same-trace"), Scene(tocsin, "same-trac2")
    gateway.span("inner", PROVIDER, 1, 2, parent=1)
    gateway._request.resource_spans[0].scope_spans[0].spans[0].trace_id = b"same-trace-trace"
    gateway.send()
    app.span("outer", FRAMEWORK, 1, 1, ms=300)
    app._request.resource_spans[0].scope_spans[0].spans[0].trace_id = b"same-trace-trace"
    app.send()
    assert (app.kinds(), gateway.kinds()) == ({"outer": "llm"}, {"inner": "llm"})


def test_a_leaf_that_arrived_earlier_is_found(tocsin: Bench) -> None:
    scene = Scene(tocsin, "earlier").span("inner", PROVIDER, 1, 2, parent=1).send()
    scene.span("outer", FRAMEWORK, 1, 1, ms=300).send()
    assert scene.kinds() == {"outer": "chain", "inner": "llm"}


def test_a_call_is_loaded_before_the_wrapper_that_came_moments_after_it(
    tocsin: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrapper_loaded = threading.Event()
    inserts = tocsin.store._loader._inserts
    insert = inserts.insert

    def slowly(file: SegmentFile) -> None:
        if not file.careful:
            wrapper_loaded.wait(1)  # the other thread would load it now, if it did not wait
        insert(file)
        if file.careful:
            wrapper_loaded.set()

    monkeypatch.setattr(inserts, "insert", slowly)
    scene = Scene(tocsin, "moments").span("leaf", PROVIDER, 1, 1, response="chatcmpl-9")
    scene.send(flush=False)
    scene.span("framework", FRAMEWORK, 2, 2, response="chatcmpl-9").send(flush=False)
    tocsin.store.flush()
    assert scene.kinds() == {"leaf": "llm", "framework": "chain"}


def test_one_response_id_in_two_traces_is_one_call(tocsin: Bench) -> None:
    scene = Scene(tocsin, "ids").span("leaf", PROVIDER, 1, 1, response="chatcmpl-1")
    scene.span("framework", FRAMEWORK, 2, 2, response="chatcmpl-1", ms=50).send()
    assert scene.kinds() == {"leaf": "llm", "framework": "chain"}


def test_a_response_id_stored_earlier_counts(tocsin: Bench) -> None:
    scene = Scene(tocsin, "ids-2").span("leaf", PROVIDER, 1, 1, response="chatcmpl-2").send()
    scene.span("framework", FRAMEWORK, 2, 2, response="chatcmpl-2").send()
    assert scene.kinds() == {"leaf": "llm", "framework": "chain"}


def test_the_same_response_id_in_another_service_is_that_services_call(tocsin: Bench) -> None:
    app = Scene(tocsin, "app").span("call", FRAMEWORK, 1, 1, response="chatcmpl-3").send()
    gateway = Scene(tocsin, "gateway").span("call", "litellm", 2, 2, response="chatcmpl-3").send()
    assert (app.kinds(), gateway.kinds()) == ({"call": "llm"}, {"call": "llm"})


def test_a_failure_without_an_id_is_paired_by_time(tocsin: Bench) -> None:
    scene = Scene(tocsin, "failures")
    scene.span("leaf", PROVIDER, 1, 1, at_ms=10, ms=50, error="RateLimitError", model="")
    scene.span("framework", FRAMEWORK, 2, 2, ms=100, error="RateLimitError").send()
    assert scene.kinds() == {"leaf": "llm", "framework": "chain"}


def test_a_leaf_is_claimed_by_the_tightest_wrapper_only(tocsin: Bench) -> None:
    scene = Scene(tocsin, "claims").span("leaf", PROVIDER, 1, 1, at_ms=10, ms=50)
    scene.span("tight", FRAMEWORK, 2, 2, at_ms=5, ms=60)
    scene.span("wide", FRAMEWORK, 3, 3, at_ms=0, ms=500).send()
    assert scene.kinds() == {"leaf": "llm", "tight": "chain", "wide": "llm"}


def test_frameworks_alone_are_calls_of_their_own(tocsin: Bench) -> None:
    scene = Scene(tocsin, "alone").span("first", FRAMEWORK, 1, 1)
    scene.span("second", FRAMEWORK, 2, 2, at_ms=10, ms=50).send()
    assert scene.kinds() == {"first": "llm", "second": "llm"}


def test_another_model_at_the_same_time_is_another_call(tocsin: Bench) -> None:
    scene = Scene(tocsin, "models").span("leaf", PROVIDER, 1, 1, at_ms=10, ms=50, model="gpt-4o")
    scene.span("framework", FRAMEWORK, 2, 2, ms=100).send()
    assert scene.kinds() == {"leaf": "llm", "framework": "llm"}


def test_parallel_calls_of_one_trace_are_not_wrappers(tocsin: Bench) -> None:
    scene = Scene(tocsin, "parallel").span("root", "app", 1, 1, kind="CHAIN", ms=400)
    scene.span("long", FRAMEWORK, 1, 2, parent=1, ms=300)
    scene.span("short", FRAMEWORK, 1, 3, parent=1, at_ms=10, ms=50).send()
    assert scene.kinds() == {"root": "chain", "long": "llm", "short": "llm"}
