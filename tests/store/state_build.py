"""Builders for tests of the state store: incidents, effects, events, and where to keep them."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tocsin.domain.findings import (
    Alert,
    AlertState,
    Incident,
    IncidentState,
    LedgerEvent,
    NewEffect,
)
from tocsin.store.state import StateStore

T0 = datetime(2026, 3, 2, 10, 0, 0, 123456, tzinfo=UTC)
POSTGRES = os.environ.get("TOCSIN_TEST_POSTGRES", "")

BACKENDS = [
    "memory",
    "sqlite",
    pytest.param(
        "postgres",
        marks=[
            pytest.mark.postgres,
            pytest.mark.skipif(not POSTGRES, reason="TOCSIN_TEST_POSTGRES names no database"),
        ],
    ),
]


@contextmanager
def opened(backend: str, directory: Path) -> Iterator[tuple[StateStore, str]]:
    """A new, empty store on `backend`, and the address to open it a second time."""
    if backend == "postgres":
        with postgres_schema() as url:
            store = StateStore.open(url)
            yield store, url
            store.close()
        return
    url = ":memory:" if backend == "memory" else str(directory / "state.db")
    store = StateStore.open(url)
    yield store, url
    store.close()


@contextmanager
def postgres_schema() -> Iterator[str]:
    """A schema of its own in the database under test, dropped afterwards."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    url = sa.make_url(POSTGRES).set(drivername="postgresql+psycopg")
    admin = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(sa.text(f"CREATE SCHEMA {name}"))
    yield url.update_query_dict({"options": f"-csearch_path={name}"}).render_as_string(
        hide_password=False
    )
    with admin.connect() as connection:
        connection.execute(sa.text(f"DROP SCHEMA {name} CASCADE"))
    admin.dispose()


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def alert(fingerprint: str = "a1", **changes: Any) -> Alert:
    fields: dict[str, Any] = {
        "fingerprint": fingerprint,
        "labels": {"service": "support", "monitor": "slo/support"},
        "state": AlertState.FIRING,
        "since": T0,
        "updated": T0,
        "severity": "page",
        "value": 0.25,
        "evidence": {"burn": 14.4, "changes": ["deploy 12"]},
    }
    return Alert(**{**fields, **changes})


def incident(group: str = "g", episode: int = 1, **changes: Any) -> Incident:
    fields: dict[str, Any] = {
        "id": f"{group}-{episode}",
        "group_key": group,
        "episode": episode,
        "state": IncidentState.TRIGGERED,
        "title": "support fails",
        "labels": {"service": "support", "env": "prod"},
        "tier": 1,
        "opened": T0,
        "updated": T0,
        "alerts": ("a1",),
        "receivers": ("pager",),
    }
    return Incident(**{**fields, **changes})


def effect(key: str, **changes: Any) -> NewEffect:
    fields: dict[str, Any] = {
        "kind": "notify",
        "receiver": "pager",
        "incident_id": "g-1",
        "action": "trigger",
        "due": T0,
        "lane": 1,
    }
    return NewEffect(key=key, **{**fields, **changes})


def event(kind: str = "test.event", **changes: Any) -> LedgerEvent:
    fields: dict[str, Any] = {
        "at": T0,
        "actor": "engine",
        "subject": "g-1",
        "reason": "because",
        "data": {"n": 1},
    }
    return LedgerEvent(kind=kind, **{**fields, **changes})
