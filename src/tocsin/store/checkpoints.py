"""Signed checkpoints: what keeps somebody who owns the database from writing the ledger anew.

A hash chain shows that an entry was changed only to who knows where the chain ended; whoever may
write to the database can compute all of it again. A checkpoint says with an Ed25519 signature
(RFC 8032) that entry `seq` had hash `hash` at a time. The private key lies where secrets lie, not
in the database, so entries up to the last checkpoint cannot be replaced without it, and anybody who
has the public key can see that, offline.

What a signature cannot show is that the newest checkpoints were taken away together with the
entries behind them. For that a checkpoint has to be kept elsewhere: each is written to the log, and
`tocsin ledger verify --checkpoint FILE` holds an export against it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

from tocsin.domain.errors import StoreError
from tocsin.store.ledger import (
    GENESIS,
    ChainBreak,
    Head,
    LedgerEntry,
    canonical,
    first_break,
    verify,
)

PRIVATE, PUBLIC = "tocsin-ledger-private:", "tocsin-ledger-public:"
_CONTEXT = b"tocsin ledger checkpoint 1\n"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The end of the chain at one time, signed. key: which key signed it; signature: base64."""

    seq: int
    hash: str
    at_us: int
    key: str
    signature: str

    @property
    def head(self) -> Head:
        """What it vouches for."""
        return Head(self.seq, self.hash)


@dataclass(frozen=True, slots=True)
class Audit:
    """What a check of a chain found.

    entries: how many were read. head: where they end. signed: the last entry that a checkpoint
    vouches for, 0 when none does; is_proved: the signatures were checked with a public key.
    """

    entries: int
    head: Head
    signed: int
    is_proved: bool
    broken: ChainBreak | None = None


class SigningKey:
    """The private half; made by `tocsin ledger key`, given as the secret TOCSIN_LEDGER_KEY."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public = VerifyingKey(key.public_key())

    @classmethod
    def new(cls) -> SigningKey:
        """A fresh key from the system's randomness."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def of(cls, text: str) -> SigningKey:
        """From its text. StoreError when it is none; the text is never repeated."""
        return cls(Ed25519PrivateKey.from_private_bytes(_raw(text, PRIVATE)))

    @property
    def text(self) -> str:
        """To be kept as a secret."""
        return PRIVATE + base64.b64encode(self._key.private_bytes_raw()).decode()

    def sign(self, head: Head, at_us: int) -> Checkpoint:
        """A checkpoint of `head`."""
        signature = self._key.sign(_signed(head, at_us))
        text = base64.b64encode(signature).decode()
        return Checkpoint(head.seq, head.hash, at_us, self.public.id, text)


class VerifyingKey:
    """The public half; it belongs to whoever audits, not on the machine that is audited."""

    def __init__(self, key: Ed25519PublicKey) -> None:
        self._key = key

    @classmethod
    def of(cls, text: str) -> VerifyingKey:
        """From its text. StoreError when it is none."""
        return cls(Ed25519PublicKey.from_public_bytes(_raw(text, PUBLIC)))

    @property
    def id(self) -> str:
        """A short name of the key: 16 hex digits of its SHA-256."""
        return hashlib.sha256(self._key.public_bytes_raw()).hexdigest()[:16]

    @property
    def text(self) -> str:
        """To be given to auditors."""
        return PUBLIC + base64.b64encode(self._key.public_bytes_raw()).decode()

    def signed(self, checkpoint: Checkpoint) -> bool:
        """Whether this key's owner vouches for the checkpoint as it stands."""
        try:
            signature = base64.b64decode(checkpoint.signature, validate=True)
            self._key.verify(signature, _signed(checkpoint.head, checkpoint.at_us))
        except (InvalidSignature, binascii.Error, ValueError):
            return False
        return True


def audit(
    entries: Iterable[LedgerEntry],
    checkpoints: Sequence[Checkpoint] = (),
    *,
    key: VerifyingKey | None = None,
    head: Head | None = None,
) -> Audit:
    """Check a whole chain in one pass: unbroken from the first entry, as every checkpoint says.

    head: where the chain is recorded to end. key: checkpoints must be signed with it, and there
    must be one. What is wrong first (by entry number) is told.
    """
    wanted: dict[int, list[Checkpoint]] = {}
    for one in checkpoints:
        wanted.setdefault(one.seq, []).append(one)
    walk = _Walk(wanted)
    broken = verify(walk.through(entries), head=head)
    problems = [broken, *walk.problems, *_missing(wanted, walk.last), *_forged(checkpoints, key)]
    if key is not None and not checkpoints:
        what = "no checkpoint vouches for it: the whole chain may have been written anew"
        problems.append(ChainBreak(1, what))
    return Audit(
        entries=walk.count,
        head=walk.last,
        signed=max((one.seq for one in checkpoints if one.seq <= walk.last.seq), default=0),
        is_proved=key is not None,
        broken=first_break(*problems),
    )


def checkpoint_of(row: Mapping[str, Any]) -> Checkpoint:
    """From its JSON object. StoreError when a field is missing or not of its kind."""
    try:
        seq, at_us = int(row["seq"]), int(row["at"])
        return Checkpoint(seq, str(row["hash"]), at_us, str(row["key"]), str(row["signature"]))
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(
            f"a checkpoint is a JSON object of seq, hash, at, key, signature; not so: {error}"
        ) from None


def to_row(checkpoint: Checkpoint) -> dict[str, Any]:
    """Its JSON object."""
    return {
        "seq": checkpoint.seq, "hash": checkpoint.hash, "at": checkpoint.at_us,
        "key": checkpoint.key, "signature": checkpoint.signature,
    }  # fmt: skip


# --- private -----------------------------------------------------------------------------------


class _Walk:
    """Entries on their way through `verify`, held against checkpoints as they pass."""

    def __init__(self, wanted: Mapping[int, Sequence[Checkpoint]]) -> None:
        self._wanted = wanted
        self.problems: list[ChainBreak] = []
        self.count = 0
        self.last = Head(0, GENESIS)

    def through(self, entries: Iterable[LedgerEntry]) -> Iterator[LedgerEntry]:
        for entry in entries:
            self.count += 1
            self.last = Head(entry.seq, entry.hash)
            for one in self._wanted.get(entry.seq, ()):
                if one.hash != entry.hash:
                    what = "is not the one that its checkpoint vouches for: it was written anew"
                    self.problems.append(ChainBreak(entry.seq, what))
            yield entry


def _missing(wanted: Mapping[int, Sequence[Checkpoint]], last: Head) -> list[ChainBreak]:
    """Entries that a checkpoint saw and that are not there."""
    latest = max(wanted, default=0)
    if latest <= last.seq:
        return []
    return [ChainBreak(last.seq + 1, f"missing: a checkpoint saw the chain reach {latest}")]


def _forged(checkpoints: Sequence[Checkpoint], key: VerifyingKey | None) -> list[ChainBreak]:
    return [
        ChainBreak(one.seq, f"its checkpoint is not signed with key {key.id}")
        for one in checkpoints
        if key is not None and not key.signed(one)
    ]


def _signed(head: Head, at_us: int) -> bytes:
    return _CONTEXT + canonical({"seq": head.seq, "hash": head.hash, "at": at_us}).encode()


def _raw(text: str, prefix: str) -> bytes:
    """The 32 bytes of a key from its text."""
    body = text.strip()
    try:
        raw = base64.b64decode(body.removeprefix(prefix), validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if not body.startswith(prefix) or len(raw) != 32:
        raise StoreError(
            f"this is no key that begins with {prefix!r}; `tocsin ledger key` makes a pair"
        )
    return raw
