"""What an answer of a provider's client says about itself: model, tokens, end, text.

Read by shape, so that no provider's library is imported and a dictionary does as well as an object:
OpenAI's chat completions, responses and embeddings, Anthropic's messages, and the chunks each of
them streams. Whatever is not of the expected type is left out: unknown is not zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Fields = dict[str, Any]


def read_answer(answer: Any) -> Fields:
    """Fields of a call that a whole answer tells; empty when it is no answer of a provider."""
    usage = _get(answer, "usage")
    if usage is None and _get(answer, "choices") is None:
        return {}
    fields = _usage(usage)
    if not fields and not _texts_of(answer):
        return {}
    fields.update(_known("response_model", _text(_get(answer, "model"))))
    fields.update(_known("response_id", _text(_get(answer, "id"))))
    fields.update(_known("finish_reason", _finish(answer)))
    fields.update(_known("output", _texts_of(answer)))
    return fields


class StreamReader:
    """Puts together what the chunks of one stream tell. is_provider: whether any was understood."""

    def __init__(self, keep_text: bool) -> None:
        self._keep_text = keep_text
        self._texts: list[str] = []
        self._fields: Fields = {}
        self.is_provider = False

    def read(self, chunk: Any) -> None:
        """Take one chunk in."""
        if isinstance(chunk, (str, bytes)) or chunk is None:
            self._keep(chunk if isinstance(chunk, str) else "")
            return
        kind = _text(_get(chunk, "type"))
        if kind:
            self._event(kind, chunk)
        elif _get(chunk, "choices") is not None:
            self._openai_chunk(chunk)

    @property
    def fields(self) -> Fields:
        """What is known so far."""
        found = dict(self._fields)
        found.update(_known("output", "".join(self._texts)))
        return found

    def _openai_chunk(self, chunk: Any) -> None:
        self.is_provider = True
        self._fields.update(_usage(_get(chunk, "usage")))
        self._fields.update(_known("response_model", _text(_get(chunk, "model"))))
        self._fields.update(_known("response_id", _text(_get(chunk, "id"))))
        choice = _first(_get(chunk, "choices"))
        self._fields.update(_known("finish_reason", _text(_get(choice, "finish_reason"))))
        self._keep(_text(_get(_get(choice, "delta"), "content")))

    def _event(self, kind: str, event: Any) -> None:
        """Anthropic's events, and those of OpenAI's responses."""
        if kind == "message_start":
            message = _get(event, "message")
            self.is_provider = True
            self._fields.update(_usage(_get(message, "usage")))
            self._fields.update(_known("response_model", _text(_get(message, "model"))))
            self._fields.update(_known("response_id", _text(_get(message, "id"))))
        elif kind == "content_block_delta":
            self._keep(_text(_get(_get(event, "delta"), "text")))
        elif kind == "message_delta":
            reason = _text(_get(_get(event, "delta"), "stop_reason"))
            self._fields.update(_known("finish_reason", reason))
            # The input was told by message_start, cached tokens included; here it may be repeated.
            later = _usage(_get(event, "usage"))
            self._fields.update(_known("output_tokens", later.get("output_tokens")))
        elif kind == "response.output_text.delta":
            self.is_provider = True
            self._keep(_text(_get(event, "delta")))
        elif kind in ("response.completed", "response.incomplete"):
            self._texts.clear()
            self._fields.update(read_answer(_get(event, "response")))

    def _keep(self, text: str) -> None:
        if text and self._keep_text:
            self._texts.append(text)


def read_failure(error: BaseException) -> Fields:
    """Fields of a call that an exception tells: its type, its words, the HTTP status behind it."""
    fields: Fields = {"error_type": type(error).__name__}
    try:
        fields["status_message"] = str(error)[:2000]
    except Exception:
        fields["status_message"] = "(the exception has no text)"
    for holder in (error, _get(error, "response")):
        for name in ("status_code", "http_status", "status", "code"):
            status = _get(holder, name)
            if isinstance(status, int) and not isinstance(status, bool) and 400 <= status < 600:
                fields["http_status"] = int(status)
                return fields
    return fields


def _usage(usage: Any) -> Fields:
    """Token counts. Anthropic counts cached input apart from input; here it is part of it."""
    if usage is None:
        return {}
    given = _count(usage, "input_tokens", "prompt_tokens")
    output = _count(usage, "output_tokens", "completion_tokens")
    cached = _count(usage, "cache_read_input_tokens")
    if given is not None and cached is not None:
        given += cached + (_count(usage, "cache_creation_input_tokens") or 0)
    elif cached is None:
        details = _get(usage, "input_tokens_details") or _get(usage, "prompt_tokens_details")
        cached = _count(details, "cached_tokens")
    details = _get(usage, "output_tokens_details") or _get(usage, "completion_tokens_details")
    found = {
        "input_tokens": given,
        "output_tokens": output,
        "cached_tokens": cached,
        "reasoning_tokens": _count(details, "reasoning_tokens"),
    }
    return {name: value for name, value in found.items() if value is not None}


def _finish(answer: Any) -> str:
    choice = _first(_get(answer, "choices"))
    incomplete = _text(_get(_get(answer, "incomplete_details"), "reason"))
    said = (
        _text(_get(choice, "finish_reason")),
        _text(_get(answer, "stop_reason")),
        incomplete,
        _text(_get(answer, "status")),
    )
    return next((reason for reason in said if reason), "")


def _texts_of(answer: Any) -> str:
    message = _text(_get(_get(_first(_get(answer, "choices")), "message"), "content"))
    if message:
        return message
    whole = _text(_get(answer, "output_text"))
    if whole:
        return whole
    content = _get(answer, "content")
    if not isinstance(content, (list, tuple)):
        return ""
    return "".join(_text(_get(block, "text")) for block in content)


def _get(holder: Any, name: str) -> Any:
    """A member of a mapping or an object, None when there is none."""
    if holder is None:
        return None
    try:
        if isinstance(holder, Mapping):
            return holder.get(name)
        return getattr(holder, name, None)
    except Exception:  # a property of somebody else's object
        return None


def _first(items: Any) -> Any:
    return items[0] if isinstance(items, (list, tuple)) and items else None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _count(holder: Any, *names: str) -> int | None:
    for name in names:
        value = _get(holder, name)
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
    return None


def _known(name: str, value: Any) -> Fields:
    return {} if value in (None, "") else {name: value}
