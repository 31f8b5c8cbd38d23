"""`model_probe`: asks a model the same few prompts again and again, so that a change of it shows.

Each prompt is one request to an OpenAI-compatible endpoint per interval, spread over it, and each
answer is a call of the source's service like any other, with the prompt as its prompt version. The
detector `model_change` compares them: asked the same, a model that answers otherwise is another
one. A request that fails is a call that failed; nobody is left to guess why there are fewer.

https://platform.openai.com/docs/api-reference/chat/create
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar

from tocsin.domain.clock import monotonic_s
from tocsin.domain.secret import Secret, secret
from tocsin.intake.asking import Answered, Asker, check_url
from tocsin.intake.records import ERROR, OK, SpanRecord, stand_in_id
from tocsin.intake.source import Entry, Origin, Polled, Unreadable

_MOST_PROMPTS, _MOST_BYTES = 200, 2_000_000
_NAMED = 60
_SCOPE = "tocsin.model_probe"


@dataclass(frozen=True, slots=True)
class ModelProbeConfig:
    """url: of the endpoint, such as https://api.openai.com/v1/chat/completions. model: as it is
    asked for. prompts: what is asked, each once per interval. system: goes before each. api_key:
    sent as a bearer token. max_tokens, temperature: as they are sent; keep them, or everything
    changes. allow_private: the endpoint may lie in your own network and be plain http.
    """

    url: str
    model: str
    prompts: tuple[str, ...]
    system: str = ""
    api_key: Secret | None = None
    max_tokens: int = 256
    temperature: float | None = None
    timeout: timedelta = timedelta(seconds=60)
    allow_private: bool = False

    def __post_init__(self) -> None:
        check_url("url", self.url)
        if not self.model:
            raise ValueError("model: name the model that is asked")
        if not self.prompts or "" in self.prompts:
            raise ValueError("prompts: write at least one, and none that is empty")
        if len(self.prompts) > _MOST_PROMPTS or len(set(self.prompts)) < len(self.prompts):
            raise ValueError(f"prompts: at most {_MOST_PROMPTS}, each once")
        if self.max_tokens < 1 or self.timeout <= timedelta(0):
            raise ValueError("max_tokens and timeout must be above 0")
        if self.api_key is not None:
            object.__setattr__(self, "api_key", secret(self.api_key))


class ModelProbe:
    """Asks each prompt on its own."""

    Config: ClassVar[type[ModelProbeConfig]] = ModelProbeConfig
    extra: ClassVar[str] = ""
    every: ClassVar[timedelta] = timedelta(minutes=15)

    def __init__(self, config: ModelProbeConfig, origin: Origin) -> None:
        self.config = config
        self._origin = origin
        self._prompts = {_name(prompt): prompt for prompt in config.prompts}
        self._asker = Asker(
            allow_private=config.allow_private, timeout=config.timeout, most_bytes=_MOST_BYTES
        )

    @property
    def targets(self) -> Sequence[str]:
        """The prompts, by their beginning and a digest."""
        return tuple(self._prompts)

    async def poll(self, target: str, now: datetime, cursor: object) -> Polled:
        """Ask one prompt once. A refusal is an entry that failed; then Unreadable is not raised,
        because the service was asked and did not answer."""
        del cursor
        began = monotonic_s()
        try:
            answer = await self._ask(self._prompts[target])
        except Unreadable as error:
            record = self._record(target, now, monotonic_s() - began, _failed("connection", error))
        else:
            record = self._record(target, now, monotonic_s() - began, _read(answer))
        entry = Entry(record.span_id, now, record)
        return Polled(entries=[entry], since=now - timedelta(hours=1))

    def unread(self, target: str, now: datetime) -> Sequence[bytes]:
        """No metrics."""
        del target, now
        return ()

    async def close(self) -> None:
        """Close the connections."""
        await self._asker.close()

    async def _ask(self, prompt: str) -> Answered:
        config = self.config
        system = [{"role": "system", "content": config.system}] if config.system else []
        told: dict[str, Any] = {
            "model": config.model,
            "messages": [*system, {"role": "user", "content": prompt}],
            "max_tokens": config.max_tokens,
        }
        if config.temperature is not None:
            told["temperature"] = config.temperature
        key = config.api_key
        headers = {"Authorization": f"Bearer {key.reveal()}"} if key is not None else {}
        return await self._asker.post(config.url, told, headers)

    def _record(
        self, target: str, now: datetime, lasted_s: float, told: Mapping[str, Any]
    ) -> SpanRecord:
        start_ns = int(now.timestamp() * 1e6) * 1000
        id_ = stand_in_id(self._origin.name, target, now.isoformat())
        error = str(told.get("error.type", ""))
        attributes = {
            "openinference.span.kind": "LLM",
            "gen_ai.operation.name": "chat",
            "gen_ai.request.model": self.config.model,
            "llm.prompt_template.version": _version(self._prompts[target], self.config.system),
            "input.value": self._prompts[target],
            "tocsin.probe": "true",
            **told,
        }
        return SpanRecord(
            name="model probe",
            start_ns=start_ns,
            end_ns=start_ns + int(lasted_s * 1e9),
            trace_id=id_,
            span_id=id_,
            status=ERROR if error else OK,
            message=str(told.get("error.message", "")),
            attributes=attributes,
            resource=self._origin.resource(),
            scope=_SCOPE,
        )


def _name(prompt: str) -> str:
    line = " ".join(prompt.split())
    short = line if len(line) <= _NAMED else line[: _NAMED - 1] + "…"
    return f"{short} [{_version(prompt, '')}]"


def _version(prompt: str, system: str) -> str:
    """The same for what is asked the same."""
    return hashlib.sha256(f"{system}\0{prompt}".encode()).hexdigest()[:8]


def _failed(kind: str, reason: object) -> dict[str, Any]:
    return {"error.type": kind, "error.message": str(reason)[:300]}


def _read(answer: Answered) -> dict[str, Any]:
    """What an answer tells, as attributes of a call; what is left out of it is left out here."""
    if answer.status != 200:
        told = _failed(f"HTTP {answer.status}", answer.body[:300].decode("utf-8", "replace"))
        return {**told, "http.response.status_code": answer.status}
    try:
        body = answer.json()
        choice = body["choices"][0]
        text = choice["message"].get("content") or ""
    except (Unreadable, KeyError, IndexError, TypeError, AttributeError) as error:
        return _failed("unreadable answer", f"it is no chat completion ({type(error).__name__})")
    usage = body.get("usage") or {}
    told = {
        "gen_ai.response.id": body.get("id"),
        "gen_ai.response.model": body.get("model"),
        "gen_ai.response.finish_reasons": choice.get("finish_reason"),
        "gen_ai.usage.input_tokens": usage.get("prompt_tokens"),
        "gen_ai.usage.output_tokens": usage.get("completion_tokens"),
        "output.value": text,
    }
    return {name: value for name, value in told.items() if isinstance(value, str | int)}
