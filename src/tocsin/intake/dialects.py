"""How a model is asked one prompt, and what its answer says: OpenAI's dialect and Anthropic's.

Nearly every server speaks the first (vLLM, Azure, gateways). Its limit of tokens has two names: the
older is known by all, and reasoning models refuse it by name; then the newer one is sent.

https://platform.openai.com/docs/api-reference/chat/create
https://docs.anthropic.com/en/api/messages
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

Api = Literal["openai", "anthropic"]
Told = dict[str, str | int]
Usage = tuple[int | None, int | None]

_ANTHROPIC_VERSION = "2023-06-01"


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is asked. key_header: instead of the header that the dialect has for a key."""

    model: str
    text: str
    system: str = ""
    max_tokens: int = 256
    temperature: float | None = None
    key: str = ""
    key_header: str = ""


class Dialect(Protocol):
    """One way to ask, as it was understood so far."""

    def headers(self, prompt: Prompt) -> dict[str, str]:
        """The headers that say who asks."""
        ...

    def body(self, prompt: Prompt) -> dict[str, Any]:
        """What is sent as JSON."""
        ...

    def learns(self, refusal: bytes) -> bool:
        """Whether a refusal (HTTP 400) says how to ask, so that asking again helps."""
        ...

    def usage(self, answer: Any) -> Usage:
        """(input, output) tokens that were counted; None for what is not said, whatever came."""
        ...

    def read(self, answer: Mapping[str, Any]) -> Told:
        """Attributes of a call, by the conventions for generative AI; what the answer leaves out is
        left out. KeyError, IndexError, TypeError or AttributeError for one of another form."""
        ...


class OpenAi:
    """Chat completions."""

    def __init__(self) -> None:
        self._limit = "max_tokens"

    def headers(self, prompt: Prompt) -> dict[str, str]:
        """As `Dialect.headers`."""
        if prompt.key_header:
            return {prompt.key_header: prompt.key}
        return {"Authorization": f"Bearer {prompt.key}"} if prompt.key else {}

    def body(self, prompt: Prompt) -> dict[str, Any]:
        """As `Dialect.body`."""
        system = [{"role": "system", "content": prompt.system}] if prompt.system else []
        told: dict[str, Any] = {
            "model": prompt.model,
            "messages": [*system, {"role": "user", "content": prompt.text}],
            self._limit: prompt.max_tokens,
        }
        return told if prompt.temperature is None else told | {"temperature": prompt.temperature}

    def learns(self, refusal: bytes) -> bool:
        """As `Dialect.learns`."""
        other = "max_completion_tokens"
        told = refusal.decode("utf-8", "replace")
        if self._limit == other or other not in told:
            return False
        self._limit = other
        return True

    def usage(self, answer: Any) -> Usage:
        """As `Dialect.usage`."""
        counted = _usage(answer)
        return _whole(counted.get("prompt_tokens")), _whole(counted.get("completion_tokens"))

    def read(self, answer: Mapping[str, Any]) -> Told:
        """As `Dialect.read`."""
        choice = answer["choices"][0]
        given, made = self.usage(answer)
        details = _usage(answer).get("completion_tokens_details") or {}
        return _known(
            {
                "gen_ai.response.id": answer.get("id"),
                "gen_ai.response.model": answer.get("model"),
                "gen_ai.response.finish_reasons": choice.get("finish_reason"),
                "gen_ai.usage.input_tokens": given,
                "gen_ai.usage.output_tokens": made,
                "gen_ai.usage.reasoning_tokens": details.get("reasoning_tokens"),
                "output.value": _text(choice["message"].get("content")),
            }
        )


class Anthropic:
    """Messages."""

    def headers(self, prompt: Prompt) -> dict[str, str]:
        """As `Dialect.headers`."""
        key = {prompt.key_header or "x-api-key": prompt.key} if prompt.key else {}
        return {"anthropic-version": _ANTHROPIC_VERSION, **key}

    def body(self, prompt: Prompt) -> dict[str, Any]:
        """As `Dialect.body`."""
        told: dict[str, Any] = {
            "model": prompt.model,
            "messages": [{"role": "user", "content": prompt.text}],
            "max_tokens": prompt.max_tokens,
        }
        if prompt.system:
            told["system"] = prompt.system
        return told if prompt.temperature is None else told | {"temperature": prompt.temperature}

    def learns(self, refusal: bytes) -> bool:
        """As `Dialect.learns`: there is one way."""
        del refusal
        return False

    def usage(self, answer: Any) -> Usage:
        """As `Dialect.usage`. Theirs leaves out what was cached, the conventions' count has it."""
        counted = _usage(answer)
        asked = _whole(counted.get("input_tokens"))
        cached = [
            _whole(counted.get(f"cache_{how}_input_tokens")) or 0 for how in ("creation", "read")
        ]
        return None if asked is None else asked + sum(cached), _whole(counted.get("output_tokens"))

    def read(self, answer: Mapping[str, Any]) -> Told:
        """As `Dialect.read`. Thinking is no part of the text."""
        given, made = self.usage(answer)
        return _known(
            {
                "gen_ai.response.id": answer.get("id"),
                "gen_ai.response.model": answer.get("model"),
                "gen_ai.response.finish_reasons": answer.get("stop_reason"),
                "gen_ai.usage.input_tokens": given,
                "gen_ai.usage.output_tokens": made,
                "output.value": _text(answer["content"]),
            }
        )


DIALECTS: Mapping[Api, type[OpenAi] | type[Anthropic]] = {"openai": OpenAi, "anthropic": Anthropic}


def _usage(answer: Any) -> Mapping[str, Any]:
    found = answer.get("usage") if isinstance(answer, dict) else None
    return found if isinstance(found, dict) else {}


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) else None


def refused(status: int, body: bytes) -> str:
    """What an answer other than 200 says: the message of its error, or its beginning."""
    try:
        error = json.loads(body)["error"]
        message = error if isinstance(error, str) else error["message"]
    except (ValueError, KeyError, TypeError):
        message = body.decode("utf-8", "replace")
    return str(message)[:300] or f"HTTP {status}"


def _text(content: Any) -> str:
    """The text of an answer: one text, or those among its parts."""
    if content is None or isinstance(content, str):
        return content or ""
    return "".join(part["text"] for part in content if part.get("type") == "text")


def _known(told: Mapping[str, Any]) -> Told:
    return {name: value for name, value in told.items() if isinstance(value, str | int)}
