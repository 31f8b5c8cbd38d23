"""The notary: looks whether the ledger is still what was written, and signs how far it reaches.

Once an hour, and when the process ends, everything written since the last look is checked against
the chain as this process remembers it, so that a hand on the database is noticed while it is there.
With a key the end of the chain is then signed (see `store.checkpoints`) and the checkpoint written
to the log as well: a log that is shipped elsewhere is the witness that nobody took the end away.
A chain that does not hold is never signed.
"""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta

import structlog

from tocsin.domain.clock import Clock
from tocsin.store.checkpoints import Checkpoint, SigningKey, to_row
from tocsin.store.ledger import ChainBreak, Head
from tocsin.store.rows import to_us
from tocsin.store.state import StateStore

log = structlog.get_logger(__name__)

INTERVAL = timedelta(hours=1)


class Notary:
    """Checks and signs the ledger of one state database. key: None checks and signs nothing."""

    def __init__(self, state: StateStore, clock: Clock, key: SigningKey | None = None) -> None:
        self._state = state
        self._clock = clock
        self._key = key
        self._seen: Head | None = None
        self.broken: ChainBreak | None = None

    def look(self) -> Checkpoint | None:
        """Check what is new; the checkpoint that was signed, if any. Blocks."""
        signed = [c for c in self._state.checkpoints() if self._is_ours(c)]
        start = self._seen or (signed[-1].head if signed else Head())
        head, self.broken = self._state.verify_ledger_from(start)
        if self.broken is not None:
            log.error("ledger_broken", entry=self.broken.seq, problem=self.broken.problem)
            return None
        self._seen = head
        if self._key is None or not head.seq or (signed and signed[-1].seq >= head.seq):
            return None
        checkpoint = self._key.sign(head, to_us(self._clock.now()))
        with self._state.transaction() as tx:
            tx.keep_checkpoint(checkpoint)
        log.info("ledger_checkpoint", checkpoint=json.dumps(to_row(checkpoint)))
        return checkpoint

    async def run(self, stop: asyncio.Event) -> None:
        """Look once an hour until `stop` is set, and once more then."""
        while True:
            try:
                await asyncio.to_thread(self.look)
            except Exception:  # worker loop: looked at again in an hour
                log.exception("notary_failed")
            if stop.is_set():
                return
            try:
                await asyncio.wait_for(stop.wait(), INTERVAL.total_seconds())
            except TimeoutError:
                continue

    def _is_ours(self, checkpoint: Checkpoint) -> bool:
        return self._key is not None and self._key.public.signed(checkpoint)
