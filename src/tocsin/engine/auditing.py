"""The ledger asked from outside the server: a data directory, a running server, or an export."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tocsin.domain.clock import Clock
from tocsin.domain.errors import StoreError
from tocsin.engine.asking import answering, asked
from tocsin.engine.responses import figures_at
from tocsin.engine.settings import STATE_FILE, Settings
from tocsin.engine.why import why
from tocsin.store import ledger_files
from tocsin.store.checkpoints import Audit, Checkpoint, VerifyingKey, audit
from tocsin.store.ledger import jsonable
from tocsin.store.state import StateStore

_EXPORT = "/api/v1/ledger/export"


@contextmanager
def state_of(settings: Settings) -> Iterator[StateStore]:
    """The state database of these settings, a running server's too. StoreError if there is none."""
    if not settings.state_url and not (settings.data_dir / STATE_FILE).exists():
        raise StoreError(
            f"{settings.data_dir} holds no state of Tocsin; name one with --data-dir, or a running "
            "server with --url"
        )
    store = StateStore.open(settings.state_url or settings.data_dir / STATE_FILE)
    try:
        yield store
    finally:
        store.close()


@contextmanager
def exported(settings: Settings) -> Iterator[Iterator[bytes]]:
    """An export's bytes: made by the server at `settings.url`, or here."""
    if not settings.url:
        with state_of(settings) as store:
            yield ledger_files.write(store)
        return
    with answering(settings.url, settings.token, _EXPORT) as answer:
        yield answer.iter_bytes()


def check(
    settings: Settings,
    file: Path | None,
    key: VerifyingKey | None,
    kept: Sequence[Checkpoint] = (),
) -> Audit:
    """Check an export, a running server's ledger, or that of the data directory.

    kept: checkpoints that were kept elsewhere; the chain must agree with them as well.
    """
    if file is None and not settings.url:
        with state_of(settings) as store:
            return store.audit_ledger(key, kept)
    with _lines(settings, file) as (lines, name):
        found = ledger_files.read(lines, name)
        return audit(found.entries, [*found.checkpoints, *kept], key=key, head=found.head)


def account(settings: Settings, subject: str) -> dict[str, Any]:
    """What `engine.why` tells about an incident or an alert, as JSON."""
    if not settings.url:
        with state_of(settings) as store:
            found: dict[str, Any] = jsonable(asdict(why(store, subject)))
            return found
    return _asked(settings, "why", {"subject": subject})


def paging(settings: Settings, clock: Clock, days: int, time_zone: str) -> dict[str, Any]:
    """What `engine.responses` counts, with the proposed patch, as JSON."""
    if settings.url:
        return _asked(settings, "figures", {"days": str(days), "tz": time_zone})
    with state_of(settings) as store:
        view, patch = figures_at(store, clock, days, time_zone)
        found: dict[str, Any] = jsonable({**asdict(view), "patch": patch})
        return found


@contextmanager
def _lines(settings: Settings, file: Path | None) -> Iterator[tuple[Iterator[str], str]]:
    if file is None:
        with answering(settings.url, settings.token, _EXPORT) as answer:
            yield answer.iter_lines(), settings.url
        return
    try:
        with file.open(encoding="utf-8") as opened:
            yield iter(opened), str(file)
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"{file} cannot be read: {error}") from None


def _asked(settings: Settings, what: str, query: Mapping[str, str]) -> dict[str, Any]:
    return asked(settings.url, settings.token, f"/api/v1/{what}", query)
