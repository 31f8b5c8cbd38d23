"""What expressions may speak of: the fields of a call, the functions, and the units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tocsin.domain.expressions import Op, Type


@dataclass(frozen=True, slots=True)
class Known:
    """A field: its type, and in words what it is and when it is unknown."""

    type: Type
    about: str


FIELDS: Mapping[str, Known] = {
    "latency": Known("duration", "from request to the end of an answer that came whole"),
    "latency_ms": Known("number", "the same in milliseconds"),
    "elapsed": Known("duration", "how long the call took, whatever came of it"),
    "ttft": Known("duration", "time to the first token, where it was measured"),
    "ttft_ms": Known("number", "the same in milliseconds"),
    "input_tokens": Known("number", "tokens of the prompt; unknown when no usage was told"),
    "output_tokens": Known("number", "tokens of the answer; unknown when no usage was told"),
    "total_tokens": Known("number", "both; unknown when no usage was told"),
    "cached_tokens": Known("number", "prompt tokens read from a cache"),
    "reasoning_tokens": Known("number", "tokens of hidden reasoning"),
    "cost_usd": Known("number", "US dollars; unknown when there is no price"),
    "documents": Known("number", "how many documents a retrieval found"),
    "error": Known("truth", "the call ended in an error, whoever is to blame"),
    "failed": Known("truth", "a system error or an answer that was cut off"),
    "truncated": Known("truth", "the answer was cut off"),
    "streamed": Known("truth", "the answer was streamed"),
    "policy_violation": Known("truth", "a content filter stopped the request or the answer"),
    "status": Known("text", "'ok' or 'error'"),
    "error_class": Known("text", "class of the error, '' for none; never unknown"),
    "error_type": Known("text", "what the client called the error"),
    "status_message": Known("text", "what the client said about the error"),
    "finish_reason": Known("text", "why the model stopped"),
    "env": Known("text", "deployment environment"),
    "name": Known("text", "name of the span"),
    "operation": Known("text", "what was asked for: chat, embeddings, ..."),
    "provider": Known("text", "who served the model"),
    "model": Known("text", "the model asked for"),
    "response_model": Known("text", "the model that answered"),
    "session_id": Known("text", "conversation or session"),
    "user_id": Known("text", "end user"),
    "release": Known("text", "version of the service"),
    "prompt_version": Known("text", "version of the prompt"),
    "input": Known("text", "the prompt, where texts are kept"),
    "output": Known("text", "the answer, where texts are kept"),
}
# field[...] with a text in the brackets
ENTRIES: Mapping[str, Known] = {
    "attributes": Known("text", "an attribute of the span"),
    "dimensions": Known("text", "a declared dimension of the service"),
    "resource": Known("text", "an attribute of the resource"),
}
# function(...) of one text: what is known about the call from elsewhere
LOOKUPS: Mapping[str, Known] = {
    "score": Known("number", "the number of the call's newest score of that name"),
    "label": Known("text", "the label of the call's newest score of that name"),
}


@dataclass(frozen=True, slots=True)
class Function:
    """A function: types of its arguments, and of its result. "any": all of one type, two or more.

    constant: its last argument must be written out.
    """

    op: Op
    takes: tuple[Type, ...] | str
    gives: Type | str
    about: str
    constant: bool = False


FUNCTIONS: Mapping[str, Function] = {
    "known": Function("known", "one", "truth", "whether it is known; never unknown itself"),
    "coalesce": Function("coalesce", "any", "any", "the first of its arguments that is known"),
    "number": Function("number", ("text",), "number", "the decimal number that a text is"),
    "lower": Function("lower", ("text",), "text", "in lower case"),
    "length": Function("length", ("text",), "number", "how many characters"),
    "contains": Function("contains", ("text", "text"), "truth", "has the other in it", True),
    "starts_with": Function("starts_with", ("text", "text"), "truth", "begins with it", True),
    "ends_with": Function("ends_with", ("text", "text"), "truth", "ends with it", True),
}

MILLISECONDS: Mapping[str, float] = {"ms": 1.0, "s": 1000.0, "min": 60_000.0, "h": 3_600_000.0}
MULTIPLES: Mapping[str, float] = {"k": 1e3, "M": 1e6, "%": 0.01}
WORDS = ("and", "or", "not", "in", "matches", "true", "false")
