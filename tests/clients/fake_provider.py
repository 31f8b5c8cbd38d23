"""A provider on loopback that speaks OpenAI's wire format, and remembers what it answered.

The last message decides what happens: "fail 429" and "fail 503" fail, "break" dies half-way through
a stream. Everything else is answered with as many tokens as `USAGE` says.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

ANSWER = "Your parcel arrives tomorrow."
USAGE = {"prompt_tokens": 48, "completion_tokens": 30, "total_tokens": 78}
FAILURES = {
    429: {
        "message": "Rate limit reached for gpt-4o-mini on requests per min (RPM): Limit 3, Used 3.",
        "type": "requests", "param": None, "code": "rate_limit_exceeded",
    },
    503: {
        "message": "The engine is currently overloaded, please try again later",
        "type": "server_error", "param": None, "code": None,
    },
}  # fmt: skip
MODEL = "gpt-4o-mini-2024-07-18"


class FakeProvider(ThreadingHTTPServer):
    """`answered`: the ids of the answers, in order; `url`: what OPENAI_BASE_URL is to be."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answered: list[str] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}/v1"
        self._lock = threading.Lock()

    def new_id(self, prefix: str) -> str:
        with self._lock:
            self.answered.append(f"{prefix}-{len(self.answered):020x}")
            return self.answered[-1]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FakeProvider

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        path = urlsplit(self.path).path
        if path.endswith("/embeddings"):
            self._json(200, _embedding(asked))
        elif path.endswith("/responses"):
            self._json(200, _response(asked, self.server.new_id("resp")))
        else:
            self._chat(asked)

    def _chat(self, asked: dict[str, Any]) -> None:
        said = str(asked["messages"][-1]["content"])
        if "fail " in said:
            status = int(said.partition("fail ")[2][:3])
            self._json(status, {"error": FAILURES[status]})
            return
        name = self.server.new_id("chatcmpl")
        if asked.get("stream"):
            self._stream(asked, name, breaks="break" in said)
            return
        message = {"role": "assistant", "content": ANSWER}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        self._json(200, {**_head(name, "chat.completion"), "choices": [choice], "usage": USAGE})

    def _stream(self, asked: dict[str, Any], name: str, *, breaks: bool) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        head = _head(name, "chat.completion.chunk")
        for word in ANSWER.split(" "):
            delta = {"role": "assistant", "content": f"{word} "}
            self._event({**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
            if breaks:
                return
        self._event({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        if (asked.get("stream_options") or {}).get("include_usage"):
            self._event({**head, "choices": [], "usage": USAGE})
        self.wfile.write(b"data: [DONE]\n\n")

    def _event(self, value: Any) -> None:
        self.wfile.write(f"data: {json.dumps(value)}\n\n".encode())
        self.wfile.flush()

    def _json(self, status: int, value: Any) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def _head(name: str, kind: str) -> dict[str, Any]:
    return {"id": name, "object": kind, "created": 1_795_000_000, "model": MODEL}


def _embedding(asked: dict[str, Any]) -> dict[str, Any]:
    data = [{"object": "embedding", "index": 0, "embedding": [0.25, -0.5]}]
    usage = {"prompt_tokens": 6, "total_tokens": 6}
    return {"object": "list", "data": data, "model": asked["model"], "usage": usage}


def _response(asked: dict[str, Any], name: str) -> dict[str, Any]:
    content = [{"type": "output_text", "text": ANSWER, "annotations": []}]
    message = {
        "type": "message", "id": f"msg_{name}", "status": "completed", "role": "assistant",
        "content": content,
    }  # fmt: skip
    return {
        "id": name, "object": "response", "created_at": 1_795_000_000, "status": "completed",
        "model": MODEL, "output": [message], "parallel_tool_calls": True, "tool_choice": "auto",
        "tools": [], "error": None, "incomplete_details": None, "instructions": None,
        "metadata": {}, "temperature": 1.0, "top_p": 1.0,
        "usage": {
            "input_tokens": USAGE["prompt_tokens"], "output_tokens": USAGE["completion_tokens"],
            "total_tokens": USAGE["total_tokens"], "input_tokens_details": {"cached_tokens": 0},
            "output_tokens_details": {"reasoning_tokens": 0},
        },
    }  # fmt: skip


@contextmanager
def fake_provider() -> Iterator[FakeProvider]:
    """A provider that answers for as long as the block lasts."""
    server = FakeProvider()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()
