"""Calls with texts, evaluators over real stores, and a strict judge on loopback.

The judge answers as the references of OpenAI's chat completions and Anthropic's messages describe,
and refuses whatever they do not: unknown parameters, a schema that is not strict, a missing header.
"""

from __future__ import annotations

import asyncio
import http.server
import json
import os
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

from tocsin.domain.clock import ManualClock, iso
from tocsin.engine.evaluating import EvaluatorRunner
from tocsin.engine.evaluators import EvaluatorStatus
from tocsin.engine.house import House
from tocsin.intake import rest
from tocsin.intake.intake import Intake
from tocsin.intake.records import to_request
from tocsin.spec.desired import Desired, load_text
from tocsin.store.otlp_kinds import KINDS, TABLES
from tocsin.store.schema import Retention
from tocsin.store.state import StateStore
from tocsin.store.telemetry import Telemetry

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
FOREVER = Retention(raw_days=0, minutes_days=0, hours_days=0)
KEY = "sk-judge"
MINUTE = timedelta(minutes=1)
_OPENAI = {"model", "messages", "response_format", "max_tokens", "max_completion_tokens",
           "temperature"}  # fmt: skip
_ANTHROPIC = {"model", "messages", "max_tokens", "system", "tools", "tool_choice", "temperature"}


def by_word(prompt: str) -> str:
    """The verdict of a judge that looks for one word in the answer."""
    return "unfaithful" if "purple" in prompt else "faithful"


@dataclass
class Judge:
    """What was asked, what is answered, and what goes wrong next: (status, headers) each."""

    base: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)
    faults: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    says: Callable[[str], str] = by_word
    model: str = "judge-1-2026-10-01"
    refuses: bool = False
    why: str = "It says so."
    usage: tuple[int, int] = (400, 40)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def openai(self) -> str:
        return f"{self.base}/v1/chat/completions"

    @property
    def anthropic(self) -> str:
        return f"{self.base}/v1/messages"

    def answer(
        self, path: str, told: Any, headers: Mapping[str, str]
    ) -> tuple[int, dict[str, str], Any]:
        with self.lock:
            if self.faults:
                status, more = self.faults.pop(0)
                return status, more, {"error": {"message": "try later"}}
            check = {"/v1/chat/completions": self._openai, "/v1/messages": self._anthropic}
            if path not in check:
                return 404, {}, {"error": {"message": "no such path"}}
            wrong = check[path](told, headers)
            if wrong:
                return (401 if wrong == "key" else 400), {}, {"error": {"message": wrong}}
            self.asked.append(told)
        prompt = told["messages"][-1]["content"]
        verdict = {"explanation": self.why, "label": self.says(prompt)}
        if path == "/v1/messages":
            return 200, {}, {
                "id": "msg_1", "type": "message", "role": "assistant", "model": self.model,
                "content": [{"type": "tool_use", "id": "t", "name": "verdict", "input": verdict}],
                "stop_reason": "refusal" if self.refuses else "tool_use",
                "usage": {"input_tokens": self.usage[0], "output_tokens": self.usage[1]},
            }  # fmt: skip
        message = {"role": "assistant", "content": json.dumps(verdict), "refusal": None}
        if self.refuses:
            message |= {"content": None, "refusal": "I will not judge this."}
        return 200, {}, {
            "id": "chatcmpl-1", "object": "chat.completion", "model": self.model,
            "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
            "usage": {"prompt_tokens": self.usage[0], "completion_tokens": self.usage[1]},
        }  # fmt: skip

    @staticmethod
    def _openai(told: Any, headers: Mapping[str, str]) -> str:
        if headers.get("authorization") != f"Bearer {KEY}":
            return "key"
        if set(told) - _OPENAI or [m["role"] for m in told["messages"]] != ["system", "user"]:
            return f"unknown parameter among {sorted(told)}"
        form = told["response_format"]
        if form["type"] == "json_object":
            says_json = any("JSON" in message["content"] for message in told["messages"])
            return "" if says_json else "'messages' must contain the word 'json'"
        schema = form["json_schema"]
        strict = schema["schema"]
        if not schema["strict"] or strict["additionalProperties"] is not False:
            return "a strict schema forbids additional properties"
        return "" if set(strict["required"]) == set(strict["properties"]) else "all are required"

    @staticmethod
    def _anthropic(told: Any, headers: Mapping[str, str]) -> str:
        if headers.get("x-api-key") != KEY:
            return "key"
        if headers.get("anthropic-version") != "2023-06-01":
            return "anthropic-version: header is required"
        if set(told) - _ANTHROPIC or "max_tokens" not in told:
            return "max_tokens: field required, and no other parameters"
        names = [tool["name"] for tool in told["tools"]]
        return "" if told["tool_choice"] == {"type": "tool", "name": names[0]} else "tool_choice"


@contextmanager
def judge() -> Iterator[Judge]:
    held = Judge()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, more, answer = held.answer(self.path, body, headers)
            raw = json.dumps(answer).encode()
            self.send_response(status)
            for name, value in {**more, "Content-Length": str(len(raw))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    held.base = f"http://127.0.0.1:{server.server_port}"
    try:
        yield held
    finally:
        server.shutdown()
        server.server_close()


SERVICE = """
apiVersion: tocsin/v1
kind: Service
metadata: {name: chat}
spec: {team: platform, match: {service.name: SERVICE}}
---
"""


def document(run: str, *, name: str = "faithful", spec: str = "") -> str:
    """An Evaluator from the lines of `run`, and more lines of its spec."""
    lines = "".join(f"    {line}\n" for line in run.strip().splitlines())
    more = "".join(f"  {line}\n" for line in spec.strip().splitlines() if spec)
    head = "apiVersion: tocsin/v1\nkind: Evaluator\n"
    return f"{head}metadata: {{name: {name}}}\nspec:\n  service: chat\n{more}  run:\n{lines}---\n"


def asking(to: Judge, more: str = "", *, api: str = "openai", budget: str = "calls: 1000") -> str:
    """The lines of a judge that asks."""
    url = to.openai if api == "openai" else to.anthropic
    return (
        f"type: llm_judge\napi: {api}\nurl: '{url}'\nmodel: judge-1\nallow_private: true\n"
        "api_key: {secret: KEY}\ninput_usd_per_mtok: 1\noutput_usd_per_mtok: 4\n"
        "rubric: 'Is it faithful to {{context}}? {{output}}'\n"
        f"choices: {{faithful: 1, unfaithful: 0}}\nbudget: {{{budget}}}\n{more}"
    )


@dataclass
class Works:
    """Stores, a clock that is moved by hand, a house, and a runner."""

    store: Telemetry
    state: StateStore
    clock: ManualClock
    house: House
    intake: Intake
    runner: EvaluatorRunner
    name: str
    sent: int = 0

    def use(self, text: str) -> None:
        """Work by this configuration from now on."""
        self.house.adopt(configured(text, self.name))

    def calls(self, outputs: list[str], **more: Any) -> list[str]:
        """Calls that end now with these answers; their span ids."""
        rows = []
        for output in outputs:
            self.sent += 1
            rows.append({
                "ts": iso(self.clock.now()), "service": self.name, "model": "m", "output": output,
                "input": "What colour is it?", "span_id": self.id(self.sent, 16),
                "trace_id": self.id(self.sent, 32), "duration_ms": 10, **more,
            })  # fmt: skip
        self.take(rows)
        return [row["span_id"] for row in rows]

    def id(self, number: int, digits: int) -> str:
        """An id that no other test has."""
        return f"{self.name.rpartition('-')[2]:0>4}{number:0{digits - 4}x}"

    def take(self, rows: list[dict[str, Any]]) -> None:
        """Calls as they are."""
        spans = [rest.call(f"element {n}", row) for n, row in enumerate(rows)]
        asyncio.run(self.intake.otlp("traces", to_request(spans)))
        self.store.flush()

    def judge(self, minutes: float = 3, rounds: int = 1) -> EvaluatorStatus:
        """Let some time pass and judge what is due; how the first evaluator is doing."""

        async def steps() -> None:
            for _ in range(rounds):
                self.clock.advance(minutes * MINUTE / rounds)
                await self.runner.step()

        asyncio.run(steps())
        asyncio.run(self._hang_up())
        self.store.flush()
        return self.runner.statuses()[0]

    async def _hang_up(self) -> None:
        for bench in self.runner._benches.values():
            await bench.evaluator.close()  # connections belong to the loop that made them

    def another(self) -> Works:
        """Another process over the same stores."""
        return works_of(self.store, self.state, self.clock, self.house, self.name, self.sent)

    def scores(self, name: str) -> dict[str, tuple[float, str]]:
        """Scores of a name as they hold: span id -> (value, label)."""
        rows = self.store.engine.records(
            "SELECT span_id, argMax((value, label), recv) AS held FROM tocsin.scores"
            f" WHERE name = '{name}' AND service = '{self.name}' GROUP BY span_id"
        )
        return {row["span_id"]: row["held"] for row in rows}

    def rows(self, sql: str) -> list[dict[str, Any]]:
        return self.store.engine.records(sql)


def works_of(
    store: Telemetry, state: StateStore, clock: ManualClock, house: House, name: str, sent: int = 0
) -> Works:
    intake = Intake(store.writer, clock, redactions=lambda: house.desired.redactions)
    runner = EvaluatorRunner(
        intake, state, store, clock, Random(7), lambda: house.desired.evaluators
    )
    return Works(store, state, clock, house, intake, runner, name, sent)


def configured(text: str, name: str) -> Desired:
    """What a test writes, for the service `chat`, which telemetry calls by a name of its own."""
    return load_text(SERVICE.replace("SERVICE", name) + text, secrets={"KEY": KEY}.get)


@contextmanager
def telemetry(path: Path) -> Iterator[Telemetry]:
    """A store for all tests of a module: opening one takes a while."""
    with Telemetry.open(
        path, ManualClock(NOW), kinds=KINDS, tables=TABLES, retention=FOREVER
    ) as store:
        yield store


@contextmanager
def works(store: Telemetry, text: str = "", start: datetime = NOW) -> Iterator[Works]:
    """A house over `store` with a state and a service of its own."""
    # Of the test alone, so that what is drawn by a hash of ids is the same however tests are run.
    number = zlib.crc32(os.environ["PYTEST_CURRENT_TEST"].encode()) % 10_000
    clock, name = ManualClock(start), f"chat-{number}"
    state = StateStore.open(":memory:")
    house = House(store, state, clock, configured(text, name), lateness=timedelta(seconds=2))
    held = works_of(store, state, clock, house, name)
    held.judge(0.1)
    yield held
    state.close()
