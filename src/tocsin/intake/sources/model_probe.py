"""`model_probe`: asks a model the same few prompts again and again, so that a change of it shows.

Each prompt is one request per interval, spread over it, in the dialect of OpenAI or of Anthropic
(`tocsin.intake.dialects`), and each answer is a call of the source's service like any other, with
the prompt as its prompt version. The detector `model_change` compares them: asked the same, a model
that answers otherwise is another one. A request that fails is a call that failed; nobody is left to
guess why there are fewer.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar
from urllib.parse import urlsplit

from tocsin.domain.clock import monotonic_s
from tocsin.domain.secret import Secret, secret
from tocsin.intake.asking import Answered, Asker, check_url
from tocsin.intake.dialects import DIALECTS, Api, Dialect, Prompt, refused
from tocsin.intake.records import ERROR, OK, SpanRecord, stand_in_id
from tocsin.intake.source import Entry, Origin, Polled, Unreadable

_MOST_PROMPTS, _MOST_BYTES = 200, 2_000_000
_NAMED = 60
_SCOPE = "tocsin.model_probe"
_HEADER = re.compile(r"[A-Za-z0-9-]{1,60}")
_PROVIDERS = {
    ".openai.com": "openai", ".anthropic.com": "anthropic", ".openai.azure.com": "azure.ai.openai"
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ModelProbeConfig:
    """url: of the endpoint, such as https://api.openai.com/v1/chat/completions. api: the dialect it
    speaks, openai (and all that are compatible) or anthropic. model: as it is asked for. prompts:
    what is asked, each once per interval. system: goes before each. api_key: sent as that dialect
    does, or in key_header (`api-key` on Azure). max_tokens, temperature: as they are sent; keep
    them, or everything changes. Reasoning counts among the tokens, and reasoning models take no
    temperature: give them thousands and none. allow_private: the endpoint may lie in your own
    network and be plain http.
    """

    url: str
    model: str
    prompts: tuple[str, ...]
    api: Api = "openai"
    system: str = ""
    api_key: Secret | None = None
    key_header: str = ""
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
        if self.key_header and (self.api_key is None or not _HEADER.fullmatch(self.key_header)):
            raise ValueError("key_header: the name of a header that has the api_key: api-key")


class ModelProbe:
    """Asks each prompt on its own."""

    Config: ClassVar[type[ModelProbeConfig]] = ModelProbeConfig
    extra: ClassVar[str] = ""
    every: ClassVar[timedelta] = timedelta(minutes=15)

    def __init__(self, config: ModelProbeConfig, origin: Origin) -> None:
        self.config = config
        self._origin = origin
        self._dialect: Dialect = DIALECTS[config.api]()
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
            if answer.status == 400 and self._dialect.learns(answer.body):
                began = monotonic_s()  # asked wrongly, which was no call
                answer = await self._ask(self._prompts[target])
        except Unreadable as error:
            record = self._record(target, now, monotonic_s() - began, _failed("connection", error))
        else:
            record = self._record(target, now, monotonic_s() - began, self._read(answer))
        entry = Entry(record.span_id, now, record)
        return Polled(entries=[entry], since=now - timedelta(hours=1))

    def unread(self, target: str, now: datetime) -> Sequence[bytes]:
        """No metrics."""
        del target, now
        return ()

    async def close(self) -> None:
        """Close the connections."""
        await self._asker.close()

    async def _ask(self, text: str) -> Answered:
        config, dialect = self.config, self._dialect
        prompt = Prompt(
            config.model, text, config.system, config.max_tokens, config.temperature,
            config.api_key.reveal() if config.api_key is not None else "", config.key_header,
        )  # fmt: skip
        return await self._asker.post(config.url, dialect.body(prompt), dialect.headers(prompt))

    def _read(self, answer: Answered) -> dict[str, Any]:
        if answer.status != 200:
            told = _failed(f"HTTP {answer.status}", refused(answer.status, answer.body))
            return {**told, "http.response.status_code": answer.status}
        try:
            return {**self._dialect.read(answer.json())}
        except (Unreadable, KeyError, IndexError, TypeError, AttributeError) as error:
            kind = type(error).__name__
            return _failed("unreadable answer", f"it is no answer of {self.config.api} ({kind})")

    def _record(
        self, target: str, now: datetime, lasted_s: float, told: Mapping[str, Any]
    ) -> SpanRecord:
        start_ns = int(now.timestamp() * 1e6) * 1000
        id_ = stand_in_id(self._origin.name, target, now.isoformat())
        error = str(told.get("error.type", ""))
        attributes = {
            "openinference.span.kind": "LLM",
            "gen_ai.operation.name": "chat",
            **_provider(self.config.url),
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


def _provider(url: str) -> dict[str, str]:
    """Who answers, where that is known: nothing for a server of one's own or a gateway."""
    host = f".{urlsplit(url).hostname}"
    found = [name for end, name in _PROVIDERS.items() if host.endswith(end)]
    return {"gen_ai.provider.name": found[0]} if found else {}


def _failed(kind: str, reason: object) -> dict[str, Any]:
    return {"error.type": kind, "error.message": str(reason)[:300]}
