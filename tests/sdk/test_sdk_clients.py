"""Real clients: what OpenAI's, Anthropic's and LangChain's own code hands us is understood."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from sdk_build import Listener, Tocsin, run_python, stored

import tocsin_sdk

CHAT = {
    "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-4o-mini-2024",
    "choices": [{"index": 0, "finish_reason": "stop",
                 "message": {"role": "assistant", "content": "Hello"}}],
    "usage": {"prompt_tokens": 31, "completion_tokens": 7, "total_tokens": 38,
              "prompt_tokens_details": {"cached_tokens": 5}},
}  # fmt: skip
MESSAGE = {
    "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x",
    "content": [{"type": "text", "text": "Hello"}], "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 10, "output_tokens": 7, "cache_read_input_tokens": 90,
              "cache_creation_input_tokens": 0},
}  # fmt: skip


def chunks() -> Iterator[dict[str, Any]]:
    same = {"id": "chatcmpl-2", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o"}
    for text in ("Hel", "lo"):
        yield {**same, "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]}
    yield {**same, "choices": [{"index": 0, "delta": {}, "finish_reason": "length"}]}
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    yield {**same, "choices": [], "usage": usage}


def events() -> Iterator[dict[str, Any]]:
    yield {"type": "message_start", "message": {**MESSAGE, "content": [], "stop_reason": None}}
    yield {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    yield {"type": "content_block_delta", "index": 0,
           "delta": {"type": "text_delta", "text": "Hello"}}  # fmt: skip
    yield {"type": "content_block_stop", "index": 0}
    yield {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None},
           "usage": {"output_tokens": 7}}  # fmt: skip
    yield {"type": "message_stop"}


@pytest.fixture
def provider() -> Iterator[str]:
    """A server that answers as the providers do; the model "busy" is rate limited."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            openai = self.path.endswith("/chat/completions")
            if asked["model"] == "busy":
                return self._answer(429, "application/json", '{"error": {"message": "slow down"}}')
            if not asked.get("stream"):
                whole = CHAT if openai else MESSAGE
                return self._answer(200, "application/json", json.dumps(whole))
            if openai:
                text = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks())
                return self._answer(200, "text/event-stream", text + "data: [DONE]\n\n")
            text = "".join(f"event: {e['type']}\ndata: {json.dumps(e)}\n\n" for e in events())
            return self._answer(200, "text/event-stream", text)

        def _answer(self, status: int, kind: str, text: str) -> None:
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def recorded(listener: Listener) -> Callable[[], list[dict[str, Any]]]:
    tocsin_sdk.init(listener.url, service="shop", linger=0.02)

    def found() -> list[dict[str, Any]]:
        assert tocsin_sdk.flush(10)
        assert tocsin_sdk.stats().errors == 0
        return listener.rows()

    return found


def test_openai_s_client_whole_streamed_and_refused(provider: str, recorded: Any) -> None:
    openai = pytest.importorskip("openai")
    messages = [{"role": "user", "content": "Hi"}]
    with openai.OpenAI(base_url=provider, api_key="k", max_retries=0) as client:

        @tocsin_sdk.observe(provider="openai", content=True)
        def ask(model: str) -> Any:
            return client.chat.completions.create(model=model, messages=messages)

        @tocsin_sdk.observe
        def stream() -> Any:
            yield from client.chat.completions.create(model="m", messages=messages, stream=True)

        ask("gpt-4o-mini")
        assert len(list(stream())) == 4
        with pytest.raises(openai.RateLimitError):
            ask("busy")
    whole, streamed, refused = recorded()
    expected = {
        "model": "gpt-4o-mini-2024", "response_id": "chatcmpl-1", "input_tokens": 31,
        "output_tokens": 7, "cached_tokens": 5, "finish_reason": "stop", "output": "Hello",
    }  # fmt: skip
    assert {name: whole[name] for name in expected} == expected
    assert (streamed["finish_reason"], streamed["input_tokens"]) == ("length", 3)
    assert streamed["ttft_ms"] > 0
    assert (refused["error_type"], refused["http_status"]) == ("RateLimitError", 429)


def test_anthropic_s_client_whole_and_streamed(provider: str, recorded: Any) -> None:
    anthropic = pytest.importorskip("anthropic")
    asked = {"max_tokens": 9, "model": "m", "messages": [{"role": "user", "content": "Hi"}]}
    with anthropic.Anthropic(base_url=provider, api_key="k", max_retries=0) as client:
        with tocsin_sdk.call("whole", provider="anthropic") as c:
            c.response = client.messages.create(**asked)
        with tocsin_sdk.call("streamed", provider="anthropic") as c:
            list(c.chunks(client.messages.create(**asked, stream=True)))
    for row in recorded():
        expected = {
            "model": "claude-x", "response_id": "msg_1", "input_tokens": 100, "output_tokens": 7,
            "cached_tokens": 90, "finish_reason": "end_turn", "output": "Hello",
        }  # fmt: skip
        assert {name: row[name] for name in expected} == expected


def test_langchain_is_traced_through_openinference(tocsin: Tocsin) -> None:
    pytest.importorskip("langchain_core")
    pytest.importorskip("openinference.instrumentation.langchain")
    tocsin.start()
    # In a process of its own: an instrumentation stays for the rest of a process.
    program = """
import tocsin_sdk.langchain
provider = tocsin_sdk.langchain.instrument(service="assistant", environment="prod")

from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.prompts import ChatPromptTemplate

usage = {"input_tokens": 9, "output_tokens": 4, "total_tokens": 13}
model = GenericFakeChatModel(messages=iter([AIMessage("It will rain.", usage_metadata=usage)]))
chain = ChatPromptTemplate.from_messages([("user", "{q}")]) | model
assert chain.invoke({"q": "Will it rain?"}).content == "It will rain."
provider.shutdown()
"""
    done = run_python(program, TOCSIN_URL=tocsin.url, warnings="default")
    assert done.returncode == 0, done.stderr
    tocsin.calls(3)
    tocsin.stop()
    rows = stored(tocsin.data, "SELECT * FROM tocsin.calls")
    (llm,) = [row for row in rows if row["kind"] == "llm"]
    assert (llm["service"], llm["env"]) == ("assistant", "prod")
    assert (llm["input_tokens"], llm["output_tokens"]) == (9, 4)
    assert "It will rain." in llm["output"]


def test_langchain_without_its_extra_says_what_to_install() -> None:
    done = run_python(
        """
import sys
sys.modules["openinference"] = None
import tocsin_sdk.langchain
try:
    tocsin_sdk.langchain.instrument()
except ImportError as error:
    assert isinstance(error, tocsin_sdk.langchain.MissingExtra)
    print(error)
"""
    )
    assert 'pip install "tocsin-sdk[langchain]"' in done.stdout, done.stderr
