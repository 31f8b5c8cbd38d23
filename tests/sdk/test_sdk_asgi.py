"""The middleware around real FastAPI and bare ASGI applications."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, HTTPException
from sdk_build import Listener
from starlette.responses import StreamingResponse

import tocsin_sdk
from tocsin_sdk.asgi import TocsinMiddleware


@pytest.fixture
def app(listener: Listener) -> FastAPI:
    tocsin_sdk.init(listener.url, service="gateway", linger=0.02)
    app = FastAPI()
    app.add_middleware(TocsinMiddleware)

    @app.get("/chat/{name}")
    async def chat(name: str) -> dict[str, str]:
        tocsin_sdk.log_call(model="m", duration_ms=1)
        return {"name": name}

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        async def pieces() -> AsyncIterator[bytes]:
            yield b"one"
            yield b"two"

        return StreamingResponse(pieces())

    @app.get("/refuse/{status}")
    async def refuse(status: int) -> None:
        raise HTTPException(status)

    @app.get("/broken")
    async def broken() -> None:
        raise RuntimeError("a defect of the application")

    @app.get("/healthz")
    async def healthz() -> str:
        return "ok"

    return app


def get(app: Any, *paths: str, **headers: str) -> list[httpx.Response]:
    async def ask() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
            return [await client.get(path, headers=headers) for path in paths]

    return asyncio.run(ask())


def recorded(listener: Listener) -> list[dict[str, Any]]:
    assert tocsin_sdk.flush(10)
    assert tocsin_sdk.stats().errors == 0
    return listener.rows()


def test_a_request_is_a_call_by_its_declared_path(app: FastAPI, listener: Listener) -> None:
    parent = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
    answers = get(
        app, "/chat/ann", "/chat/bob", **{"X-User-Id": "u1", "X-Session-Id": "s1",
        "traceparent": parent},
    )  # fmt: skip
    assert [answer.json()["name"] for answer in answers] == ["ann", "bob"]
    rows = recorded(listener)
    requests = [row for row in rows if row["kind"] == "chain"]
    assert {row["name"] for row in requests} == {"GET /chat/{name}"}
    for row in requests:
        assert row["dims"] == {"route": "/chat/{name}", "method": "GET"}
        assert (row["user_id"], row["session_id"], row["http_status"]) == ("u1", "s1", 200)
        assert (row["trace_id"], row["parent_id"]) == ("a" * 32, "b" * 16)
        assert "error_class" not in row
        assert "streamed" not in row
    inner = [row for row in rows if row["kind"] == "llm"]
    assert {row["parent_id"] for row in inner} == {row["span_id"] for row in requests}


def test_a_streamed_answer_is_timed_to_its_first_byte(app: FastAPI, listener: Listener) -> None:
    (answer,) = get(app, "/stream")
    assert answer.content == b"onetwo"
    (row,) = recorded(listener)
    assert (row["streamed"], row["finish_reason"]) == (True, "completed")
    assert 0 <= row["ttft_ms"] <= row["duration_ms"]


@pytest.mark.parametrize(
    ("status", "error_class"),
    [(404, "bad_request"), (401, "bad_request"), (429, "rate_limit"), (500, "server"),
     (503, "overloaded"), (504, "timeout")],
)  # fmt: skip
def test_an_error_status_is_classed_by_whose_fault_it_is(
    app: FastAPI, listener: Listener, status: int, error_class: str
) -> None:
    get(app, f"/refuse/{status}")
    (row,) = recorded(listener)
    assert (row["http_status"], row["error_class"]) == (status, error_class)


def test_an_address_that_nobody_declared_has_one_name(app: FastAPI, listener: Listener) -> None:
    get(app, "/a/1", "/b/2")
    assert {row["dims"]["route"] for row in recorded(listener)} == {"(unmatched)"}


def test_an_exception_of_the_application_goes_on(app: FastAPI, listener: Listener) -> None:
    with pytest.raises(RuntimeError, match="a defect of the application"):
        get(app, "/broken")
    (row,) = recorded(listener)
    assert (row["error_type"], row["status_message"]) == (
        "RuntimeError",
        "a defect of the application",
    )


def test_health_checks_and_other_protocols_are_let_through(
    app: FastAPI, listener: Listener
) -> None:
    assert get(app, "/healthz")[0].json() == "ok"
    seen = []

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    async def nothing() -> dict[str, Any]:
        return {"type": "lifespan.startup"}

    async def drop(_: Any) -> None:
        """Nobody listens."""

    asyncio.run(TocsinMiddleware(inner)({"type": "lifespan"}, nothing, drop))
    assert seen == ["lifespan"]
    assert recorded(listener) == []


def test_nothing_of_a_body_is_held_back(listener: Listener) -> None:
    tocsin_sdk.init(listener.url, service="gateway", linger=0.02)
    order: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for number in range(3):
            order.append(f"made {number}")
            more = number < 2
            await send({"type": "http.response.body", "body": b"x", "more_body": more})

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            order.append("sent")

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {"type": "http", "method": "POST", "path": "/", "headers": []}
    asyncio.run(TocsinMiddleware(app, kind="llm")(scope, receive, send))
    assert order == ["made 0", "sent", "made 1", "sent", "made 2", "sent"]
    (row,) = recorded(listener)
    assert row["kind"] == "llm"


def test_a_caller_that_leaves_is_no_failure(listener: Listener) -> None:
    tocsin_sdk.init(listener.url, service="gateway", linger=0.02)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x", "more_body": True})
        assert (await receive())["type"] == "http.disconnect"

    async def send(_: Any) -> None:
        """Nobody listens."""

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    scope = {"type": "http", "method": "POST", "path": "/", "headers": []}
    asyncio.run(TocsinMiddleware(app, kind="llm")(scope, receive, send))
    (row,) = recorded(listener)
    assert row["abandoned"] is True
    assert "error_class" not in row
