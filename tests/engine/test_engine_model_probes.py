"""Prompts asked on a schedule, against strict APIs of both dialects on loopback."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from source_build import Yard, configured, yard

from tocsin.domain.errors import SpecError

KEY = "sk-given-to-tocsin"
QUARTER = timedelta(minutes=15)


@dataclass
class Api:
    """What was asked, and what is answered next."""

    url: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    text: str = "Four."
    raw: bytes | None = None
    limit: str = "max_tokens"  # reasoning models: max_completion_tokens
    key_header: str = ""

    def answer(self, told: Any, headers: Any) -> tuple[int, bytes]:
        """POST /v1/chat/completions, as its reference describes it."""
        given = headers.get(self.key_header) if self.key_header else headers.get("authorization")
        if given != (KEY if self.key_header else f"Bearer {KEY}"):
            return 401, b'{"error": {"message": "no key"}}'
        if self.statuses:
            return self.statuses.pop(0), b'{"error": {"message": "slow down"}}'
        if "max_tokens" in told and self.limit != "max_tokens":
            message = (
                "Unsupported parameter: 'max_tokens' is not supported with this model. Use"
                " 'max_completion_tokens' instead."
            )
            error = {"message": message, "param": "max_tokens", "code": "unsupported_parameter"}
            return 400, json.dumps({"error": error}).encode()
        if set(told) - {"model", "messages", self.limit, "temperature"} or any(
            set(message) != {"role", "content"} for message in told["messages"]
        ):
            return 400, b'{"error": {"message": "unknown parameter"}}'
        self.asked.append(told)
        body = {
            "id": f"chatcmpl-{len(self.asked)}",
            "object": "chat.completion",
            "model": "gpt-x-2026-10-01",
            "choices": [{"index": 0, "finish_reason": "stop",
                         "message": {"role": "assistant", "content": self.text}}],
            "usage": {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15,
                      "completion_tokens_details": {"reasoning_tokens": 1}},
        }  # fmt: skip
        return 200, self.raw if self.raw is not None else json.dumps(body).encode()

    def message(self, told: Any, headers: Any) -> tuple[int, bytes]:
        """POST /v1/messages, as its reference describes it."""
        if headers.get("x-api-key") != KEY or headers.get("anthropic-version") != "2023-06-01":
            return 401, b'{"type": "error", "error": {"type": "authentication_error"}}'
        if self.statuses:
            error = {"type": "overloaded_error", "message": "Overloaded"}
            return self.statuses.pop(0), json.dumps({"type": "error", "error": error}).encode()
        if not {"model", "messages", "max_tokens"} <= set(told) or any(
            message["role"] not in ("user", "assistant") for message in told["messages"]
        ):
            return 400, b'{"type": "error", "error": {"type": "invalid_request_error"}}'
        self.asked.append(told)
        body = {
            "id": f"msg_{len(self.asked)}", "type": "message", "role": "assistant",
            "model": "claude-x-20261001", "stop_reason": "end_turn",
            "content": [{"type": "thinking", "thinking": "two and two"},
                        {"type": "text", "text": self.text}],
            "usage": {"input_tokens": 5, "cache_read_input_tokens": 7, "output_tokens": 9},
        }  # fmt: skip
        return 200, json.dumps(body).encode()


@contextmanager
def serving() -> Iterator[Api]:
    api = Api()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            status, answer = (404, b"")
            if self.path == "/v1/chat/completions":
                status, answer = api.answer(json.loads(body), self.headers)
            if self.path == "/v1/messages":
                status, answer = api.message(json.loads(body), self.headers)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    api.url = f"http://127.0.0.1:{server.server_port}/v1/chat/completions"
    yield api
    server.shutdown()
    server.server_close()


PROMPTS = '["What is 2 + 2?", "Name a colour."]'


def spec(api: Api, prompts: str = PROMPTS) -> str:
    return (
        f"type: model_probe\nurl: '{api.url}'\nmodel: gpt-x\nprompts: {prompts}\n"
        "system: Be brief.\napi_key: {secret: KEY}\ntemperature: 0\nallow_private: true\n"
    )


def calls(place: Yard) -> list[dict[str, Any]]:
    return place.rows(
        "SELECT model, response_model, prompt_version, input, output, error_class, error_type,"
        " output_tokens, attrs['tocsin.probe'] AS probe FROM tocsin.calls"
        f" WHERE service = '{place.name}' AND kind = 'llm' ORDER BY ts, input"
    )


def test_each_prompt_is_a_call_of_its_own_version_each_time(tmp_path: Path) -> None:
    with serving() as api, yard(tmp_path) as place:
        place.use(spec(api), {"KEY": KEY})
        status = place.poll(3, QUARTER)
        assert (status.state, status.entries) == ("up", 3)
        assert api.asked[0]["messages"][0] == {"role": "system", "content": "Be brief."}
        assert {told["temperature"] for told in api.asked} == {0}
        found = calls(place)
        assert len(found) == len(api.asked) == 6
        versions = {(row["input"], row["prompt_version"]) for row in found}
        assert len(versions) == 2
        assert {row["response_model"] for row in found} == {"gpt-x-2026-10-01"}
        assert {(row["model"], row["output"], row["output_tokens"]) for row in found} == {
            ("gpt-x", "Four.", 3)
        }
        assert {row["probe"] for row in found} == {"true"}


def test_a_reasoning_model_is_asked_as_it_wants_to_be_and_its_refusal_is_no_call(
    tmp_path: Path,
) -> None:
    with serving() as api, yard(tmp_path) as place:
        api.limit, api.key_header = "max_completion_tokens", "api-key"
        text = spec(api, '["What is 2 + 2?"]').replace("temperature: 0", "key_header: api-key")
        place.use(text, {"KEY": KEY})
        place.poll(2, QUARTER)
        found = calls(place)
        assert [row["error_class"] for row in found] == ["", ""]
        assert [told["max_completion_tokens"] for told in api.asked] == [256, 256]
        assert place.rows("SELECT DISTINCT reasoning_tokens AS n FROM tocsin.calls") == [{"n": 1}]


def test_anthropic_is_asked_in_its_own_dialect(tmp_path: Path) -> None:
    with serving() as api, yard(tmp_path) as place:
        api.url = api.url.replace("/v1/chat/completions", "/v1/messages")
        place.use("api: anthropic\n" + spec(api, '["What is 2 + 2?"]'), {"KEY": KEY})
        place.poll()
        api.statuses = [529]
        place.clock.advance(QUARTER)
        place.poll()
        good, bad = calls(place)
        assert api.asked[0]["system"] == "Be brief."
        assert (good["output"], good["output_tokens"]) == ("Four.", 9)
        assert good["response_model"] == "claude-x-20261001"
        assert bad["error_class"] == "overloaded"
        (told,) = place.rows("SELECT max(input_tokens) AS n, max(status_message) AS m FROM"
                             " tocsin.calls")  # fmt: skip
        assert told == {"n": 12, "m": "Overloaded"}


def test_a_refusal_and_a_broken_answer_are_calls_that_failed(tmp_path: Path) -> None:
    with serving() as api, yard(tmp_path) as place:
        place.use(spec(api, '["What is 2 + 2?"]'), {"KEY": KEY})
        api.statuses = [429]
        place.poll()
        api.raw = b'{"choices": []}'
        place.clock.advance(QUARTER)
        place.poll()
        found = calls(place)
        assert [row["error_class"] != "" for row in found] == [True, True]
        assert found[0]["error_class"] == "rate_limit"
        assert "unreadable" in found[1]["error_type"]


def test_an_endpoint_that_is_away_is_a_failed_call_without_the_key(tmp_path: Path) -> None:
    with serving() as api:
        away = Api(url=api.url)  # its server has ended
    with yard(tmp_path) as place:
        place.use(spec(away, '["What is 2 + 2?"]'), {"KEY": KEY})
        place.poll()
        [row] = calls(place)
        assert row["error_class"] == "connection"
        assert KEY not in json.dumps(row)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (f"prompts: {PROMPTS}", "prompts: []", "write at least one"),
        (f"prompts: {PROMPTS}", "prompts: [a, a]", "each once"),
        ("model: gpt-x", "model: ''", "name the model"),
        ("temperature: 0", "max_tokens: 0", "must be above 0"),
        ("temperature: 0", "api: gemini", "openai"),
        ("temperature: 0", "key_header: 'a b'", "name of a header"),
    ],
)
def test_what_cannot_be_asked_is_refused(old: str, new: str, words: str) -> None:
    text = spec(Api(url="https://api.example/v1/chat/completions")).replace(old, new)
    with pytest.raises(SpecError, match=words):
        configured(text, {"KEY": KEY}, "source")
