"""A process that takes telemetry in until it is killed; run by test_telemetry_crash.

Arguments: data directory, number of the first batch, how many batches there are.
"""

from __future__ import annotations

import sys
from hashlib import md5
from pathlib import Path

from telemetry_build import BATCHES, FOREVER, MINUTE, batch, clock

from tocsin.store.segments import Limits
from tocsin.store.telemetry import Telemetry

LINES = 40


def content(number: int) -> bytes:
    """Batch `number`: lines over three hours, some of them on another day."""
    minute = MINUTE - 5 - 60 * (number % 3) - (1440 if number % 7 == 0 else 0)
    return batch(range(number * LINES, (number + 1) * LINES), minute=minute)


def main(path: Path, first: int, stop: int) -> None:
    limits = Limits(segment_bytes=12_000, segment_age_s=0.05, linger_s=0.001, min_free_bytes=0)
    with Telemetry.open(path, clock(), kinds=[BATCHES], limits=limits, retention=FOREVER) as store:
        print("open", *(settled.action for settled in store.settled), flush=True)
        for number in range(first, stop):
            body = content(number)
            store.writer.append_now("batches", [body], digest=md5(body).digest())
            print("done", number, flush=True)
    print("end", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
