"""How a piece of an imported file is named, so that it counts once however often it is sent.

A batch is a run of rows of a file, named by what decides what it says: the file's content, how its
columns are read, and where it begins. The name travels with the request, lies in the write-ahead
segment beside the rows, and is remembered for good, unlike the digests of ordinary requests.
"""

from __future__ import annotations

import hashlib

MARK = b"file"  # how the digest of a batch begins
SIZE = 16
HEADER = "x-tocsin-batch"  # carries the name as hex digits


def batch_name(*parts: str | bytes | int) -> bytes:
    """Sixteen bytes for the batch that these parts describe."""
    digest = hashlib.blake2b(digest_size=SIZE - len(MARK))
    for part in parts:
        raw = part if isinstance(part, bytes) else str(part).encode()
        digest.update(len(raw).to_bytes(8, "big"))
        digest.update(raw)
    return MARK + digest.digest()


def is_batch(digest: bytes) -> bool:
    """Whether a digest names a batch of a file."""
    return len(digest) == SIZE and digest.startswith(MARK)


def read_name(text: str) -> bytes | None:
    """The name in a header's text; None when it is none."""
    try:
        name = bytes.fromhex(text.strip())
    except ValueError:
        return None
    return name if is_batch(name) else None
