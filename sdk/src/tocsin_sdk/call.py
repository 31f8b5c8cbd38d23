"""One call of a model, a tool or a retriever, while it happens: what is known of it, and its times.

    with tocsin_sdk.call("answer") as c:
        c.model = "gpt-4o-mini"
        c.response = client.chat.completions.create(...)

An exception is recorded and goes on unchanged. What Tocsin has no member for becomes an attribute.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import suppress
from contextvars import ContextVar, Token
from types import TracebackType
from typing import TYPE_CHECKING, Any

from tocsin_sdk.settings import Row
from tocsin_sdk.trace import Place, active_span, new_span_id, new_trace_id
from tocsin_sdk.usage import StreamReader, read_answer, read_failure

if TYPE_CHECKING:
    from tocsin_sdk.client import Client

# Members of a row that `POST /api/v1/calls` knows and that a user may set on a call.
MEMBERS = (
    "service", "env", "release", "project", "provider", "model", "response_model", "response_id",
    "operation", "input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens",
    "finish_reason", "cost_usd", "streamed", "http_status", "session_id", "user_id",
    "prompt_version", "input", "output", "ttft_ms", "duration_ms", "error_class", "error_type",
    "status_message", "trace_id", "parent_id", "abandoned",
)  # fmt: skip
_OWN = frozenset({"dims", "attributes", "kind", "name", "id", "tokens", "response"})
_KNOWN = frozenset(MEMBERS)
# A caller that walked away is no failure of the service; GeneratorExit is how a stream learns it.
_WALKED_AWAY = (GeneratorExit,)
_INTERRUPTED = (KeyboardInterrupt, SystemExit)

_current: ContextVar[Call | None] = ContextVar("tocsin_call", default=None)


def current_call() -> Call | None:
    """The innermost call that is under way in this task or thread, None when there is none."""
    return _current.get()


class Call:
    """What is known of one call so far. Attributes may be set at any time until it ends.

    id: its span id, by which scores and feedback find it. dims: what it may be sliced by (few
    values each). attributes: anything else worth keeping. tokens: (input, output), a mapping, or
    one total. response: an answer of OpenAI's or Anthropic's client, from which model, tokens, end
    and text are read.
    """

    id: str
    name: str
    kind: str
    dims: dict[str, Any]
    attributes: dict[str, Any]
    _client: Client
    _place: Place | None
    _fields: dict[str, Any]
    _token: Token[Call | None] | None
    _start_ns: int
    _began: float
    _ended: bool

    def __init__(
        self,
        client: Client,
        name: str,
        kind: str,
        fields: Mapping[str, Any],
        place: Place | None,
    ) -> None:
        # Past __setattr__, which is for users: half the time of a call otherwise goes there.
        self.__dict__.update(
            id=new_span_id(),
            name=name,
            kind=kind,
            dims={},
            attributes={},
            _client=client,
            _place=place,
            _fields={},
            _token=None,
            _start_ns=0,
            _began=0.0,
            _ended=False,
        )
        for member, value in fields.items():
            setattr(self, member, dict(value) if member in ("dims", "attributes") else value)

    # --- what users set and read ---

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _KNOWN:
            self._fields[name] = value
        elif name.startswith("_") or name in _OWN:
            object.__setattr__(self, name, value)
        else:
            self.attributes[name] = value

    def __getattr__(self, name: str) -> Any:
        """A member that is not known yet is None."""
        if name.startswith("_"):
            raise AttributeError(name)
        return self._fields[name] if name in self._fields else self.attributes.get(name)

    @property
    def tokens(self) -> tuple[int | None, int | None]:
        """Input and output tokens, None for what is unknown."""
        return self._fields.get("input_tokens"), self._fields.get("output_tokens")

    @tokens.setter
    def tokens(self, value: Any) -> None:
        self._client.quietly(self._set_tokens, value)

    @property
    def response(self) -> Any:
        """Not kept: only what could be read from it is."""
        return None

    @response.setter
    def response(self, value: Any) -> None:
        self.learn(value)

    def learn(self, answer: Any, *, content: bool = True) -> None:
        """Read what a provider's answer tells; without `content` all but its text."""
        self._client.quietly(self._learn, answer, content)

    def fail(self, error: BaseException) -> None:
        """Record a failure that does not leave the block as an exception."""
        self._client.quietly(self._fail, error)

    def first_chunk(self) -> None:
        """The first piece of a streamed answer is here; later ones change nothing."""
        if "ttft_ms" not in self._fields:
            self._fields["ttft_ms"] = self._elapsed_ms()
            self._fields["streamed"] = True

    def chunks(self, stream: Iterable[Any]) -> Iterator[Any]:
        """`stream`, with the first chunk timed and the provider's chunks read as they pass."""
        reader = self.reader()
        for chunk in stream:
            self.see(reader, chunk)
            yield chunk
        self.complete(reader)

    async def achunks(self, stream: AsyncIterator[Any]) -> AsyncIterator[Any]:
        """As `chunks`, for an asynchronous stream."""
        reader = self.reader()
        async for chunk in stream:
            self.see(reader, chunk)
            yield chunk
        self.complete(reader)

    # --- its life ---

    def __enter__(self) -> Call:
        self.begin()
        self.enter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.leave()
        self.end(error)

    async def __aenter__(self) -> Call:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.__exit__(kind, error, traceback)

    def begin(self) -> None:
        """The clock starts; the place in the trace is settled."""
        self.__dict__.update(_start_ns=time.time_ns(), _began=time.perf_counter())
        outer = _current.get()
        place = self._place or (outer.place if outer is not None else None) or active_span()
        if place is not None:
            self._fields.setdefault("trace_id", place.trace_id)
            self._fields.setdefault("parent_id", place.span_id)
        self._fields.setdefault("trace_id", "")
        if not self._fields["trace_id"]:
            self._fields["trace_id"] = new_trace_id()

    @property
    def place(self) -> Place:
        """Where calls inside of this one belong."""
        return Place(str(self._fields.get("trace_id") or ""), self.id)

    def enter(self) -> None:
        """Calls that begin from now on in this task or thread are inside of this one."""
        self._token = _current.set(self)

    def leave(self) -> None:
        """They no longer are."""
        token, self._token = self._token, None
        if token is not None:
            with suppress(ValueError):  # entered in another context, which has ended with it
                _current.reset(token)

    def end(self, error: BaseException | None = None) -> None:
        """The call is over and is recorded, with `error` as a failure. The first end counts."""
        if self._ended:
            return
        self._ended = True
        self._client.quietly(self._record, error)

    def reader(self, *, content: bool = True) -> StreamReader:
        """Something that reads the chunks of a stream of this call, their text with `content`."""
        return StreamReader(content and self._client.keeps_content)

    def see(self, reader: StreamReader, chunk: Any) -> None:
        """A chunk has arrived."""
        self.first_chunk()
        self._client.quietly(reader.read, chunk)

    def complete(self, reader: StreamReader) -> None:
        """The stream ended by itself.

        A provider's stream that ends without saying why is cut off, and stays without a finish
        reason; of any other nothing more can be known than that it came to its end.
        """
        self.merge(reader.fields)
        if not reader.is_provider:
            self._fields.setdefault("finish_reason", "completed")

    def merge(self, fields: Mapping[str, Any]) -> None:
        """Take what is not known yet from `fields`."""
        for name, value in fields.items():
            if self._fields.get(name) is None:
                self._fields[name] = value

    # --- private ---

    def _elapsed_ms(self) -> float:
        return round((time.perf_counter() - self._began) * 1000.0, 3)

    def _set_tokens(self, value: Any) -> None:
        if isinstance(value, Mapping):
            for name, count in value.items():
                setattr(self, name if str(name).endswith("_tokens") else f"{name}_tokens", count)
        elif isinstance(value, (tuple, list)):
            for name, count in zip(("input_tokens", "output_tokens", "cached_tokens"), value):
                self._fields[name] = count
        elif value is not None:
            self.attributes["gen_ai.usage.total_tokens"] = int(value)

    def _learn(self, answer: Any, content: bool) -> None:
        fields = read_answer(answer)
        if not content:
            fields.pop("output", None)
        self.merge(fields)

    def _fail(self, error: BaseException) -> None:
        if isinstance(error, _WALKED_AWAY):
            self._fields["abandoned"] = True
        elif _is_cancelled(error):
            # By whom is not known. It is an error, and it spends no availability budget.
            self._fields.setdefault("error_class", "bad_request")
            self._fields.setdefault("status_message", "cancelled from outside before it ended")
            self.attributes["tocsin.cancelled"] = "true"
        else:
            self.merge(read_failure(error))

    def _record(self, error: BaseException | None) -> None:
        self._fields.setdefault("duration_ms", self._elapsed_ms())
        if error is not None:
            self._fail(error)
        self._client.record_call(self._row())

    def _row(self) -> Row:
        row: Row = {
            "ts": self._start_ns,
            "name": self.name,
            "kind": self.kind,
            "span_id": self.id,
        }
        row.update((name, value) for name, value in self._fields.items() if value is not None)
        if "model" not in row and "response_model" in row:
            row["model"] = row["response_model"]
        if self.dims:
            row["dims"] = {str(name): str(value) for name, value in self.dims.items()}
        if self.attributes:
            row["attributes"] = dict(self.attributes)
        return row


def _is_cancelled(error: BaseException) -> bool:
    """Whether somebody outside ended it. asyncio is slow to import: asked only if it is there."""
    asyncio = sys.modules.get("asyncio.exceptions")
    return isinstance(error, _INTERRUPTED) or (
        asyncio is not None and isinstance(error, asyncio.CancelledError)
    )


def content_text(value: Any, most: int) -> str:
    """A prompt or an answer as text of at most `most` characters; what is not text becomes JSON."""
    if isinstance(value, str):
        text = value
    elif isinstance(value, bytes):
        text = value.decode("utf-8", "replace")
    else:
        text = json.dumps(value, ensure_ascii=False, default=str)
    if len(text) <= most:
        return text
    return f"{text[:most]}… ({len(text) - most} more characters were not sent)"
