"""The thread that sends: takes batches, tries them until they are through, says what was lost.

    accepted                delivered
    400, 413, 422           the batch is halved until the bad row is alone; that one is given up
    429, 5xx, no answer     tried again, the same bytes, after Retry-After or a growing, random wait
    401, 403, 404, other    the address or the token is wrong: tried again at the longest wait, for
                            an operator may mend it, and nothing is lost until the queue is full

Nothing is given up for having been tried too often: the queue bounds what waits. Rows that were
dropped are told to the server as a change of kind `telemetry_loss`, right after the next batch that
gets through, so that a chart says where its numbers are too low.
"""

from __future__ import annotations

import json
import logging
import os
import random
import socket
import threading
import time
from collections.abc import Iterable

from tocsin_sdk.batch import HEADERS, PATHS, Batch
from tocsin_sdk.buffer import Buffer, Entry
from tocsin_sdk.settings import Row, Settings
from tocsin_sdk.transport import Answer, Transport

log = logging.getLogger("tocsin_sdk")

LOSS = "telemetry_loss"
_BAD_ROW = frozenset({400, 413, 422})
_TRY_AGAIN = frozenset({0, 408, 425, 429})
_MOST_HALVINGS = 64  # of one batch, so that a batch of nothing but bad rows ends
_LONGEST_RETRY_AFTER = 300.0


class Sender:
    """One per client and process.

    Counts: rows delivered, rejected by the server and filtered by `before_send`; tries that failed.
    """

    def __init__(self, settings: Settings, buffer: Buffer) -> None:
        self._settings = settings
        self._buffer = buffer
        self._failures = 0
        self._warned: set[str] = set()
        self.delivered = 0
        self.rejected = 0
        self.filtered = 0
        self.failed_tries = 0
        self.last_error = ""
        self._thread = threading.Thread(target=self._run, name="tocsin-sdk", daemon=True)

    def start(self) -> None:
        """Begin; the thread never keeps the process from ending."""
        self._thread.start()

    def join(self, seconds: float) -> None:
        """Wait for the thread to end, which it does once the buffer is closed."""
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(seconds)

    def _run(self) -> None:
        transport = Transport(self._settings.headers, self._settings.timeout)
        while not self._buffer.is_closed:
            entries = self._buffer.take(self._settings.linger)
            try:
                self._deliver(transport, entries)
            except Exception:  # a defect of ours must not end the thread
                log.exception("tocsin-sdk: %d rows were lost to a defect", len(entries))
                self._lost(entry.row for entry in entries)
            finally:
                self._buffer.settle()

    def _deliver(self, transport: Transport, entries: list[Entry]) -> None:
        for kind in PATHS:
            rows = self._prepared(kind, (e for e in entries if e.kind == kind))
            if rows and self._push(transport, Batch.of(kind, rows)):
                self._report_losses(transport)

    def _prepared(self, kind: str, entries: Iterable[Entry]) -> list[Row]:
        """The rows as `before_send` lets them go. One that it fails on is never sent as it is."""
        hook = self._settings.before_send
        rows: list[Row] = []
        for entry in entries:
            row: Row | None = entry.row
            if hook is not None:
                try:
                    row = hook(kind, dict(entry.row))
                except Exception:
                    self._warn("before_send", "before_send failed; the row was dropped", trace=True)
                    self._lost([entry.row])
                    continue
            if row is None:
                self.filtered += 1
            else:
                rows.append(row)
        return rows

    def _push(self, transport: Transport, whole: Batch) -> bool:
        """Send a batch, in pieces if it must be; says whether anything of it got through."""
        pending = [whole]
        halvings = 0
        got_through = False
        while pending and not self._buffer.is_closed:
            batch = pending.pop()
            answer = self._send(transport, batch)
            if answer.is_accepted:
                self._accepted(batch, answer)
                got_through = True
            elif answer.status in _BAD_ROW:
                if len(batch.rows) > 1 and halvings < _MOST_HALVINGS:
                    halvings += 1
                    pending += reversed(batch.halves())
                else:
                    self._reject(batch, answer)
            else:
                pending.append(batch)
                self._wait(answer)
        self._lost(row for batch in pending for row in batch.rows)
        return got_through

    def _send(self, transport: Transport, batch: Batch) -> Answer:
        project = self._settings.project
        headers = {**HEADERS, "x-project-name": project} if project else HEADERS
        return transport.send(self._settings.url(PATHS[batch.kind]), batch.body, headers)

    def _accepted(self, batch: Batch, answer: Answer) -> None:
        if self._failures:
            log.info("tocsin-sdk: delivering again after %d failed tries", self._failures)
        self._failures = 0
        self._warned.clear()
        refused = _rejected_of(answer.text)
        self.rejected += refused
        self.delivered += len(batch.rows) - refused

    def _reject(self, batch: Batch, answer: Answer) -> None:
        self.rejected += len(batch.rows)
        self._note(answer)
        self._warn("rejected", f"{len(batch.rows)} {batch.kind} were refused: {self.last_error}")

    def _wait(self, answer: Answer) -> None:
        """Until the next try: what the server asked for, else twice as long as before, jittered."""
        self._failures += 1
        self.failed_tries += 1
        self._note(answer)
        longest = self._settings.longest_backoff
        if answer.status in _TRY_AGAIN or answer.status >= 500:
            self._warn("away", f"{self._settings.endpoint}: {self.last_error}; trying again")
            doubled = self._settings.backoff * 2.0 ** min(self._failures - 1, 20)
            seconds = min(doubled, longest)
        else:
            what = f"{self._settings.endpoint}: {self.last_error}; check the address and the token"
            self._warn("refused", what)
            seconds = longest
        if answer.retry_after is not None:
            asked = min(answer.retry_after, _LONGEST_RETRY_AFTER)
            self._buffer.pause(asked + random.uniform(0, 0.1 * asked), may_hurry=False)
        else:
            self._buffer.pause(random.uniform(0.5, 1.0) * seconds)

    def _report_losses(self, transport: Transport) -> None:
        lost = self._buffer.take_unreported()
        if not lost:
            return
        rows = [_loss(service or self._settings.service, rows) for service, rows in lost.items()]
        if not self._push(transport, Batch.of("changes", rows)):
            return
        self.delivered -= len(rows)  # nobody put these

    def _lost(self, rows: Iterable[Row]) -> None:
        for row in rows:
            self._buffer.count_dropped(str(row.get("service") or ""))

    def _note(self, answer: Answer) -> None:
        status = f"HTTP {answer.status}: " if answer.status else ""
        self.last_error = (status + " ".join(answer.text.split()))[:500]

    def _warn(self, topic: str, text: str, *, trace: bool = False) -> None:
        """Log once per topic until something gets through again."""
        if topic not in self._warned:
            self._warned.add(topic)
            log.warning("tocsin-sdk: %s", text, exc_info=trace)


def _rejected_of(text: str) -> int:
    """How many rows of an accepted body the server set aside."""
    try:
        return int(json.loads(text).get("rejected", 0))
    except (ValueError, TypeError, AttributeError):
        return 0


def _loss(service: str, rows: int) -> Row:
    return {
        "ts": time.time_ns(),
        "service": service or "unknown",
        "kind": LOSS,
        "title": f"{rows} records of telemetry were dropped before they could be sent",
        "labels": {
            "dropped": str(rows),
            "sender": "tocsin-sdk",
            "host": socket.gethostname(),
            "pid": str(os.getpid()),
        },
    }
