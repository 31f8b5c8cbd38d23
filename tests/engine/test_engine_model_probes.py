"""Prompts asked on a schedule, against a strict chat completions API on loopback."""

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

    def answer(self, told: Any, headers: Any) -> tuple[int, bytes]:
        """POST /v1/chat/completions, as its reference describes it."""
        if headers.get("authorization") != f"Bearer {KEY}":
            return 401, b'{"error": {"message": "no key"}}'
        if self.statuses:
            return self.statuses.pop(0), b'{"error": {"message": "slow down"}}'
        if set(told) - {"model", "messages", "max_tokens", "temperature"} or any(
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
            "usage": {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15},
        }  # fmt: skip
        return 200, self.raw if self.raw is not None else json.dumps(body).encode()


@contextmanager
def serving() -> Iterator[Api]:
    api = Api()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            status, answer = (404, b"")
            if self.path == "/v1/chat/completions":
                status, answer = api.answer(json.loads(body), self.headers)
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
    ],
)
def test_what_cannot_be_asked_is_refused(old: str, new: str, words: str) -> None:
    text = spec(Api(url="https://api.example/v1/chat/completions")).replace(old, new)
    with pytest.raises(SpecError, match=words):
        configured(text, {"KEY": KEY}, "source")
