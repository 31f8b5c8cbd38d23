"""Whatever arrives, the front answers 2xx or 4xx, and what it accepted can be loaded."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from intake_build import (
    FIXTURES,
    NOW,
    PROTOBUF,
    Bench,
    bench,
    content_headers,
    manifest,
    path_of,
    span_request,
)
from starlette.applications import Starlette

from tocsin.domain.clock import ManualClock
from tocsin.intake.front import routes
from tocsin.intake.intake import Intake

CAPTURES = [
    (path_of(capture), (FIXTURES / capture["file"]).read_bytes(), content_headers(capture))
    for capture in manifest(FIXTURES)["captures"]
]
PATHS = sorted({path for path, _, _ in CAPTURES} | {"/api/v1/calls", "/api/v1/scores"})
ROOMY = settings(
    max_examples=150, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)  # fmt: skip


class Memory:
    """A writer that keeps what was accepted."""

    def __init__(self) -> None:
        self.accepted: list[tuple[str, bytes, bool]] = []

    async def append(
        self, kind: str, chunks: Any, *, digest: bytes = b"", careful: bool = False
    ) -> bool:
        self.accepted.append((kind, b"".join(chunks), careful))
        return True


def send(writer: Any, path: str, body: bytes, headers: dict[str, str]) -> httpx.Response:
    app = Starlette(routes=routes(Intake(writer, ManualClock(NOW))))

    async def post() -> httpx.Response:
        transport = httpx.ASGITransport(app, client=("127.0.0.1", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://tocsin") as client:
            return await client.post(path, content=body, headers=headers)

    return asyncio.run(post())


@st.composite
def mutated(draw: st.DrawFn) -> tuple[str, bytes, dict[str, str]]:
    """A recorded body with bytes changed, cut out, doubled, or cut short."""
    path, body, headers = draw(st.sampled_from(CAPTURES))
    data = bytearray(body)
    for _ in range(draw(st.integers(1, 6))):
        if not data:
            break
        at = draw(st.integers(0, len(data) - 1))
        until = min(len(data), at + draw(st.integers(1, 40)))
        match draw(st.sampled_from(["flip", "cut", "double", "end", "insert"])):
            case "flip":
                data[at] ^= 1 << draw(st.integers(0, 7))
            case "cut":
                del data[at:until]
            case "double":
                data[at:at] = data[at:until]
            case "end":
                del data[at:]
            case "insert":
                data[at:at] = draw(st.binary(max_size=12))
    return path, bytes(data), headers


@ROOMY
@given(mutated())
def test_a_mutated_recording_is_answered_2xx_or_4xx(
    request_made: tuple[str, bytes, dict[str, str]],
) -> None:
    answer = send(Memory(), *request_made)
    assert 200 <= answer.status_code < 500, answer.text


@ROOMY
@given(
    st.sampled_from(PATHS),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["resourceSpans", "scopeSpans", "spans", "attributes", "key", "value", "data",
                 "context", "span_id", "traceId", "startTimeUnixNano", "ts", "service", "name",
                 "prediction_id", "prediction", "annotations", "values", "record_id", "dims"]
            ),
            inner, max_size=4,
        ),
        max_leaves=12,
    ),
)  # fmt: skip
def test_any_json_is_answered_2xx_or_4xx(path: str, document: Any) -> None:
    body = json.dumps(document).encode()
    answer = send(Memory(), path, body, {"content-type": "application/json"})
    assert 200 <= answer.status_code < 500, answer.text


@pytest.fixture(scope="module")
def tocsin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with bench(tmp_path_factory.mktemp("fuzz")) as made:
        yield made


def test_what_was_accepted_of_mutated_bodies_can_be_loaded(tocsin: Bench) -> None:
    accepted = 0

    @settings(max_examples=400, deadline=None, derandomize=True,
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(mutated())
    def collect(made: tuple[str, bytes, dict[str, str]]) -> None:
        nonlocal accepted
        accepted += tocsin.post(*made).status_code == 200

    collect()
    assert accepted > 20
    good = span_request(1, service="after", first_id=77).SerializeToString()
    assert tocsin.post("/v1/traces", good, {"content-type": PROTOBUF}).status_code == 200
    assert len(tocsin.calls("service = 'after'")) == 1
    assert tocsin.store.stats().loader.waiting_segments == 0
