"""Records what the application tells, from any thread, task or forked process, and never fails it.

Everything public here swallows its own errors: they are counted (`stats().errors`) and logged once.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
import weakref
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Callable

from tocsin_sdk.buffer import Bounds, Buffer
from tocsin_sdk.call import MEMBERS, Call, content_text, current_call
from tocsin_sdk.sender import Sender
from tocsin_sdk.settings import Row, Settings
from tocsin_sdk.trace import Place, is_sampled, new_span_id, new_trace_id

log = logging.getLogger("tocsin_sdk")

_CONTENT = ("input", "output")
_MEMBERS = frozenset((*MEMBERS, "ts", "name", "kind", "span_id", "dims", "attributes"))
_clients: weakref.WeakSet[Client] = weakref.WeakSet()
_sending: set[Client] = set()  # held until they are shut down, whoever else forgets them


@dataclass(frozen=True)
class Stats:
    """What became of the rows since the start of this process.

    recorded = delivered + rejected + dropped + filtered + waiting. delivered: the server has them
    on disk. rejected: it refused them. dropped: the queue was full, or the process ended. filtered:
    `before_send` returned None. sampled_out: calls that were never recorded, see `sample`.
    failed_tries: requests that will be, or were, tried again. errors: defects and misuse, logged.
    """

    recorded: int = 0
    delivered: int = 0
    rejected: int = 0
    dropped: int = 0
    filtered: int = 0
    waiting: int = 0
    sampled_out: int = 0
    failed_tries: int = 0
    errors: int = 0
    last_error: str = ""

    def __getitem__(self, name: str) -> Any:
        return asdict(self)[name]


class Client:
    """One queue and one sending thread. Make one per process and share it.

    The thread starts with the first record and again in a forked child, which begins with an empty
    queue: what waited at the fork is its parent's to send.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        self._errors = 0
        self._sampled_out = 0
        self._lock = threading.Lock()
        self._open()
        _clients.add(self)

    # --- recording ---

    def call(
        self,
        name: str = "",
        *,
        kind: str = "llm",
        place: Place | None = None,
        **fields: Any,
    ) -> Call:
        """A call to be entered with `with` or `async with`; fields as `POST /api/v1/calls` has."""
        return Call(self, name or kind, kind, fields, place)

    def log_call(self, **fields: Any) -> str | None:
        """Record a call that is over; returns its id. Unknown fields become attributes.

        Without `ts` it is taken to have ended now, `duration_ms` ago it began.
        """
        found: str | None = self.quietly(self._log_call, fields)
        return found

    def score(
        self,
        name: str,
        value: Any = None,
        *,
        label: str | None = None,
        call_id: str | None = None,
        **more: Any,
    ) -> bool:
        """Judge a call (the current one without `call_id`): a number, a label, or both.

        more: trace_id, service, project, source, comment, ts, dims. False when not recorded.
        """
        return bool(self.quietly(self._score, name, value, label, call_id, more))

    def feedback(
        self,
        value: Any,
        *,
        call_id: str | None = None,
        comment: str | None = None,
        **more: Any,
    ) -> bool:
        """What a user said: True or False for a thumb, or a number (0 and below is bad)."""
        number = float(value) if isinstance(value, bool) else value
        more = {"source": "user", "comment": comment, **more}
        return self.score("feedback", number, call_id=call_id, **more)

    def ground_truth(
        self, value: Any, *, call_id: str, name: str = "ground_truth", **more: Any
    ) -> bool:
        """What turned out to be true about a call, hours or weeks later."""
        number = float(value) if isinstance(value, bool) else value
        return self.score(name, number, call_id=call_id, **{"source": "ground_truth", **more})

    def change(self, kind: str, title: str, *, service: str | None = None, **more: Any) -> bool:
        """Say what somebody did: a deploy, a prompt version, a model switch.

        more: labels, project, ts.
        """
        row = {"ts": time.time_ns(), "kind": kind, "title": title, "service": service, **more}
        return bool(self.quietly(self._put, "changes", row))

    # --- its state ---

    def stats(self) -> Stats:
        """What became of everything so far."""
        buffer, sender = self._buffer, self._sender
        counted = sender.delivered + sender.rejected + buffer.dropped_count + sender.filtered
        return Stats(
            recorded=buffer.put_count,
            delivered=sender.delivered,
            rejected=sender.rejected,
            dropped=buffer.dropped_count,
            filtered=sender.filtered,
            waiting=max(buffer.put_count - counted, 0),
            sampled_out=self._sampled_out,
            failed_tries=sender.failed_tries,
            errors=self._errors,
            last_error=sender.last_error,
        )

    @property
    def keeps_content(self) -> bool:
        """Whether prompts and answers are sent."""
        return self.settings.content

    def flush(self, timeout: float = 5.0) -> bool:
        """Send what waits; True when all of it is delivered, rejected or dropped. Blocks."""
        return bool(self.quietly(self._buffer.wait_settled, timeout))

    async def aflush(self, timeout: float = 5.0) -> bool:
        """As `flush`, without blocking the event loop."""
        import asyncio

        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(None, self.flush, timeout)

    def shutdown(self, timeout: float | None = None) -> bool:
        """Flush for at most `timeout` seconds, then stop. What is left is dropped and logged."""
        return bool(self.quietly(self._shutdown, timeout))

    def quietly(self, work: Callable[..., Any], *args: Any) -> Any:
        """What `work` returns; None when it raises, which is counted and logged, never let out."""
        try:
            return work(*args)
        except Exception:
            self._errors += 1
            log_at = log.warning if self._errors == 1 else log.debug
            log_at("tocsin-sdk: a record could not be made", exc_info=True)
            return None

    # --- for the other modules ---

    def record_call(self, row: Row) -> bool:
        """Queue a row of `calls`, with this client's defaults; False when it is not sent."""
        settings = self.settings
        if not is_sampled(str(row.get("trace_id") or ""), settings.sample):
            self._sampled_out += 1
            return False
        for member in _CONTENT:
            if member in row:
                if settings.content:
                    row[member] = content_text(row[member], settings.content_chars)
                else:
                    del row[member]
        if settings.environment:
            row.setdefault("env", settings.environment)
        if settings.release:
            row.setdefault("release", settings.release)
        if settings.sample < 1.0:
            row["attributes"] = {**row.get("attributes", {}), "tocsin.sample": settings.sample}
        return self._put("calls", row)

    # --- private ---

    def _open(self) -> None:
        s = self.settings
        self._pid = os.getpid()
        self._buffer = Buffer(Bounds(s.queue_rows, s.queue_bytes, s.batch_rows, s.batch_bytes))
        self._sender = Sender(s, self._buffer)
        self._is_sending = False

    def _put(self, kind: str, row: Row) -> bool:
        if not self.settings.enabled:
            return False
        row["service"] = row.get("service") or self.settings.service or "unknown"
        if not self._is_sending:
            self._start()
        return self._buffer.put(kind, row)

    def _start(self) -> None:
        with self._lock:
            if not self._is_sending and not self._buffer.is_closed:
                self._sender.start()
                self._is_sending = True
                _sending.add(self)

    def _log_call(self, fields: Mapping[str, Any]) -> str | None:
        known = {name: value for name, value in fields.items() if value is not None}
        row = {name: value for name, value in known.items() if name in _MEMBERS}
        extra = {name: value for name, value in known.items() if name not in _MEMBERS}
        row.setdefault("kind", "llm")
        row.setdefault("span_id", new_span_id())
        outer = current_call()
        if "trace_id" not in row and outer is not None:
            row["trace_id"], row["parent_id"] = outer.place
        row.setdefault("trace_id", new_trace_id())
        if "ts" not in row:
            row["ts"] = time.time_ns() - int(float(row.get("duration_ms", 0.0)) * 1e6)
        if "dims" in row:
            row["dims"] = {str(name): str(value) for name, value in row["dims"].items()}
        if extra or "attributes" in row:
            row["attributes"] = {**row.get("attributes", {}), **extra}
        return str(row["span_id"]) if self.record_call(row) else None

    def _score(
        self, name: str, value: Any, label: str | None, call_id: str | None, more: Row
    ) -> bool:
        if isinstance(value, str):
            value, label = None, label if label is not None else value
        outer = current_call()
        if call_id is None and outer is not None:
            call_id = outer.id
            more.setdefault("trace_id", outer.place.trace_id)
            more.setdefault("service", outer.service)
        row = {"ts": time.time_ns(), "name": name, "value": value, "label": label,
               "call_id": call_id, "source": "sdk", **more}  # fmt: skip
        return self._put("scores", {key: held for key, held in row.items() if held is not None})

    def _shutdown(self, timeout: float | None) -> bool:
        wait = self.settings.at_exit if timeout is None else timeout
        done = not self._is_sending or self._buffer.wait_settled(wait)
        left = self._buffer.close()
        if left or not done:
            log.warning("tocsin-sdk: ended with %d records undelivered", self.stats().dropped)
        self._sender.join(0.5)
        _sending.discard(self)
        return done


def _forked() -> None:
    """In a child: new queue, new locks, no thread yet. What waits belongs to the parent."""
    _sending.clear()
    for client in list(_clients):
        client._lock = threading.Lock()
        client._open()


def _exit() -> None:
    for client in list(_sending):
        client.shutdown()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
atexit.register(_exit)
