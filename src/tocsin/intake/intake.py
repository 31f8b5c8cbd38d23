"""Takes requests in: screens them, refuses none twice, and returns when they are on disk."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeVar
from urllib.parse import unquote

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from tocsin.domain.clock import Clock, iso
from tocsin.domain.errors import IntakeError
from tocsin.domain.redaction import Redactions, clean
from tocsin.intake.admission import IN_FLIGHT_BYTES, Admission, Ticket
from tocsin.intake.bodies import BodyLimits, read_body, unpack, window_bits
from tocsin.intake.envelope import envelope_head
from tocsin.intake.mending import Rejected
from tocsin.intake.screening import screen
from tocsin.intake.strict import redacted_body, redacted_rows

# What can be restored from an export -> kind of segment that takes its rows.
RESTORED = {"calls": "calllines", "scores": "scores", "changes": "changes"}
_SIGNALS = ("traces", "logs", "metrics")
_LOOPBACK = {"127.0.0.1", "::1", "localhost", "testclient"}
_BODY_PREVIEW = 16_000
MOST_SET_ASIDE = 1000  # items of one body that are kept one by one
_USUAL_RATIO = 8  # of a body unpacked to the same body packed
MAX_PROJECT = 200
LARGE = 256 << 10  # bytes that take longer to read than a request may hold up the others
STRICT_FACTOR = 50  # how much longer redacting a body takes than reading it

T = TypeVar("T")


class Writer(Protocol):
    """Where accepted records go; see `tocsin.store.segments.SegmentWriter`."""

    async def append(
        self,
        kind: str,
        chunks: Sequence[bytes | bytearray | memoryview],
        *,
        digest: bytes = b"",
        careful: bool = False,
    ) -> bool:
        """Returns when the record is durable; False if `digest` had been accepted before."""
        ...

    def seen(self, digest: bytes) -> bool:
        """Whether a record with this digest is known to have been accepted."""
        ...


Authenticate = Callable[[Request], None]


def loopback_only(request: Request) -> None:
    """Let in whoever is on this machine. IntakeError 401 for everybody else."""
    if request.client is not None and request.client.host not in _LOOPBACK:
        raise IntakeError(
            401, "this server takes telemetry from its own machine only; configure a token"
        )


def project_named(headers: Mapping[str, str]) -> str:
    """The project that the header (or metadata) `x-project-name` gives, "" when it is not there."""
    return unquote(headers.get("x-project-name", "")).strip()[:MAX_PROJECT]


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a request. rejected: items set aside in quarantine, `reason` why."""

    accepted: int
    rejected: int = 0
    reason: str = ""
    is_duplicate: bool = False


class Intake:
    """The way into the store. One per process; any task may call it.

    counts: totals since the start, by name: `accepted.<signal>`, `rejected.<signal>`, `duplicates`,
    `bytes`, `refused.<status>`.
    """

    def __init__(
        self,
        writer: Writer,
        clock: Clock,
        *,
        authenticate: Authenticate = loopback_only,
        limits: BodyLimits | None = None,
        in_flight_bytes: int = IN_FLIGHT_BYTES,
        redactions: Callable[[], Redactions] = Redactions,
        kept_days: Callable[[], int] = lambda: 0,
    ) -> None:
        """in_flight_bytes: what all requests together may hold in memory. redactions: asked at each
        request for what has to be redacted before it is written. kept_days: for how many days calls
        are kept now; 0 is for ever.
        """
        self._kept_days = kept_days
        self._writer = writer
        self._redactions = redactions
        self._clock = clock
        self.authenticate = authenticate
        self.limits = limits or BodyLimits()
        self.counts: Counter[str] = Counter()
        self.admission = Admission(in_flight_bytes)
        self._large = asyncio.Lock()
        self._last: datetime | None = None

    @property
    def clock(self) -> Clock:
        """The clock that stamps what is received."""
        return self._clock

    @property
    def now_ns(self) -> int:
        """Nanoseconds since the epoch, to the microsecond."""
        return int(self._clock.now().timestamp() * 1e6) * 1000

    async def aside(self, size: int, work: Callable[..., T], *args: Any) -> T:
        """What `work` makes of a body of `size` bytes.

        A large one is read in a thread, so that nobody waits for it: neither health checks nor a
        page that is being sent. One at a time, because each may need many times its size in memory.
        """
        if size < LARGE:
            return work(*args)
        async with self._large:
            return await run_in_threadpool(work, *args)

    async def body(self, request: Request) -> bytes:
        """The request's body, unpacked, within its limits and those of all requests together."""
        encoding = request.headers.get("content-encoding", "")
        bits = window_bits(encoding)
        ticket: Ticket = request.state.ticket
        raw = await read_body(request, self.limits, ticket)
        if not bits:
            return raw
        # Nobody knows what it unpacks to; what is asked for is what such bodies usually come to.
        expected = min(_USUAL_RATIO * len(raw), self.limits.unpacked_bytes)
        ticket.grow(expected)
        body = await self.aside(expected, unpack, raw, bits, self.limits.unpacked_bytes)
        ticket.shrink(expected + len(raw))
        ticket.grow(len(body))
        return body

    async def otlp(
        self,
        signal: str,
        body: bytes,
        *,
        project: str = "",
        origin: bytes | None = None,
        batch: bytes = b"",
        rejected: Sequence[Rejected] = (),
    ) -> Receipt:
        """Store a protobuf body of a signal (traces, logs, metrics); returns when it is durable.

        project: overrides what the body says. origin: what the sender sent, where `body` was made
        from it; a second delivery is known by it. batch: names the piece of a file that it is
        (`tocsin.domain.batches`). rejected: what was left out of it already. IntakeError 400 for
        what is not OTLP, 429 or 503 when the store cannot take more.
        """
        now_ns = self.now_ns
        # What a file tells of long ago is history, and counts in the totals that are kept longer.
        kept_days = 0 if batch else self._kept_days()
        screened = await self.aside(len(body), screen, signal, body, now_ns, kept_days)
        digest = batch or _digest(signal, project, body if origin is None else origin)
        refused = (*rejected, *screened.rejected)
        stored, is_new = screened.body, True
        redactions = self._redactions()
        if screened.items and redactions.is_strict_anywhere:
            stored = await self.aside(
                STRICT_FACTOR * len(stored), redacted_body, signal, stored, project, redactions
            )
        if screened.items:
            head = envelope_head(project, now_ns, len(stored))
            is_new = await self._writer.append(
                signal, [head, stored], digest=digest, careful=screened.careful
            )
        # Also of a second delivery: the first may have been cut short between the two appends.
        if refused:
            await self._set_aside(signal, project, refused, _digest("rejects", digest))
        self.counts["bytes"] += len(body)
        if not is_new:
            self.counts["duplicates"] += 1
            return Receipt(0, is_duplicate=True)
        return self._counted(signal, screened.items, refused)

    async def rows(
        self,
        kind: str,
        rows: Sequence[Mapping[str, Any]],
        body: bytes,
        *,
        rejected: Sequence[Rejected] = (),
        batch: bytes = b"",
    ) -> Receipt:
        """Store rows of a JSON-lines kind (scores, changes, billing) as one record.

        body: what they came as. rejected: what of it is set aside. batch: names the rows where a
        file was cut into pieces (`tocsin.domain.batches`). Scores by id alone are placed apart.
        """
        digest = batch or _digest(kind, body)
        rows = await self._strictly(kind, rows, len(body))
        lines = await self.aside(len(body), _lines, kind, rows, self._stamp())
        careful = kind == "scores" and not all(row.get("placed") for row in rows)
        is_new = not lines or await self._writer.append(kind, lines, digest=digest, careful=careful)
        if rejected:
            await self._set_aside(kind, "", rejected, _digest("rejects", digest))
        if not is_new:
            self.counts["duplicates"] += 1
            return Receipt(0, is_duplicate=True)
        return self._counted(kind, len(rows), rejected)

    async def restore(
        self, kind: str, rows: Sequence[Mapping[str, Any]], body: bytes, *, batch: bytes = b""
    ) -> Receipt:
        """Store rows of Tocsin's own export of a kind as they are, times and versions included."""
        digest = batch or _digest("restore", kind, body)
        rows = await self._strictly(kind, rows, len(body))
        lines = [_line(row) for row in rows]
        if not await self._writer.append(RESTORED[kind], lines, digest=digest):
            self.counts["duplicates"] += 1
            return Receipt(0, is_duplicate=True)
        return self._counted(kind, len(rows), ())

    def _stamp(self) -> datetime:
        """When something was received: never the same instant twice, so that order is kept."""
        now = self._clock.now()
        if self._last is not None and now <= self._last:
            now = self._last + timedelta(microseconds=1)
        self._last = now
        return now

    def has_batch(self, name: bytes) -> bool:
        """Whether a batch of a file was accepted at any time before."""
        return self._writer.seen(name)

    def refused(self, error: IntakeError) -> None:
        """Count a request that was not taken."""
        self.counts[f"refused.{error.status}"] += 1

    async def _strictly(
        self, kind: str, rows: Sequence[Mapping[str, Any]], size: int
    ) -> Sequence[Mapping[str, Any]]:
        """The rows as they may be written to the disk."""
        redactions = self._redactions()
        if not redactions.is_strict_anywhere:
            return rows
        return await self.aside(STRICT_FACTOR * size, redacted_rows, kind, rows, redactions)

    async def _set_aside(
        self, signal: str, project: str, rejected: Sequence[Rejected], digest: bytes
    ) -> None:
        now = iso(self._clock.now())
        shown = list(rejected[:MOST_SET_ASIDE])
        for reason, more in Counter(item.reason for item in rejected[MOST_SET_ASIDE:]).items():
            shown.append(Rejected(reason, f"{more} more of the same body, not kept one by one"))
        strict = self._redactions().is_strict_anywhere
        lines = [
            _line({
                "recv": now,
                "source": f"otlp {signal}" if signal in _SIGNALS else signal,
                "reason": item.reason,
                "project": project,
                "body": (clean(item.body) if strict else item.body)[:_BODY_PREVIEW],
            })
            for item in shown
        ]  # fmt: skip
        await self._writer.append("quarantined", lines, digest=digest)

    def _counted(self, kind: str, accepted: int, rejected: Sequence[Rejected]) -> Receipt:
        self.counts[f"accepted.{kind}"] += accepted
        self.counts[f"rejected.{kind}"] += len(rejected)
        reasons = dict.fromkeys(item.reason for item in rejected)
        return Receipt(accepted, len(rejected), "; ".join(reasons))


def _lines(kind: str, rows: Sequence[Mapping[str, Any]], now: datetime) -> list[bytes]:
    """Rows as JSON lines with what intake knows of them: when they came, and in which order."""
    stamp = iso(now)
    return [
        _line({"ts": stamp, **row, "recv": stamp, **_place(kind, n)}) for n, row in enumerate(rows)
    ]


def _place(kind: str, number: int) -> dict[str, int]:
    return {"line": number} if kind == "scores" else {}


def _line(row: Mapping[str, Any]) -> bytes:
    return json.dumps(row, ensure_ascii=False).encode("utf-8", "replace") + b"\n"


def _digest(*parts: str | bytes) -> bytes:
    """Sixteen bytes that stand for these parts, each with its length."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        digest.update(len(raw).to_bytes(8, "big"))
        digest.update(raw)
    return digest.digest()
