"""What can be wrong with a machine before Tocsin runs on it, each with what to do about it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import shutil
import socket
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from tocsin.delivery.answers import Answering, Listening, Polling
from tocsin.domain.clock import Clock
from tocsin.domain.errors import SpecError, StoreError
from tocsin.engine.settings import FLIGHT_PORT, GRPC_PORT, Settings, secrets, with_secrets
from tocsin.spec.desired import load
from tocsin.store import fitness
from tocsin.store.clickhouse import ClickHouse
from tocsin.store.layout import Layout

DISK_NEEDED = 2_000_000_000
DISK_COMFORTABLE = 20_000_000_000
MOST_PROBLEMS = 10
MEMORY_NEEDED = 1_500_000_000
# The release of this version: a machine that believes it is earlier has a wrong clock.
RELEASED = datetime(2026, 11, 1, tzinfo=UTC)

OPTIONAL = {
    "boto3": "reads CloudWatch and SageMaker; pip install 'tocsin[aws]'",
    "google.auth": "reads Google Cloud Logging; pip install 'tocsin[gcp]'",
    "grpc": "takes OTLP/gRPC, on port 4317; pip install 'tocsin[grpc]'",
    "isal": "decompresses gzip about twice as fast; pip install 'tocsin[fast]'",
    "weasyprint": "writes reports as PDF; pip install 'tocsin[pdf]'",
    "psycopg": "state on PostgreSQL instead of SQLite; pip install 'tocsin[postgres]'",
}


class Grade(StrEnum):
    """Result of one check. Only `FAIL` keeps Tocsin from running."""

    OK = "ok"
    NOTE = "note"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: what it is like, and what to do when it is not right."""

    check: str
    grade: Grade
    found: str
    fix: str = ""


def examine(settings: Settings, clock: Clock) -> list[Finding]:
    """Every check, in the order a person would fix things. Changes nothing, apart from creating
    and removing one temporary file to prove write access."""
    checks: tuple[Callable[[], Iterator[Finding]], ...] = (
        _python,
        lambda: _directory(settings.data_dir),
        lambda: _disk(settings.data_dir),
        _memory,
        lambda: _port("port", settings.host, settings.port, "--port"),
        lambda: _own_port(
            "OTLP/gRPC", settings.host, settings.grpc_port, GRPC_PORT, "TOCSIN_GRPC_PORT"
        ),
        lambda: _own_port(
            "Arrow Flight", settings.host, settings.flight_port, FLIGHT_PORT, "TOCSIN_FLIGHT_PORT"
        ),
        lambda: _access(settings),
        lambda: _clickhouse(settings),
        lambda: _clock(clock),
        _libraries,
        lambda: _configuration(settings),
        lambda: _receivers(settings),
    )
    return [finding for check in checks for finding in check()]


def _python() -> Iterator[Finding]:
    version = platform.python_version()
    good = sys.version_info >= (3, 11)
    yield Finding("python", Grade.OK if good else Grade.FAIL, version, "use Python 3.11 or newer")
    yield Finding("sqlite", Grade.OK, sqlite3.sqlite_version)


def _directory(path: Path) -> Iterator[Finding]:
    probe = path
    while not probe.exists():
        probe = probe.parent
    try:
        with tempfile.TemporaryFile(dir=probe) as file:
            file.write(b"tocsin")
    except OSError as error:
        yield Finding(
            "data directory", Grade.FAIL, f"{path}: {error.strerror}",
            f"make {probe} writable, or choose another --data-dir",
        )  # fmt: skip
        return
    state = "exists" if path.exists() else "will be created"
    yield Finding("data directory", Grade.OK, f"{path} ({state}, writable)")


def _disk(path: Path) -> Iterator[Finding]:
    probe = path
    while not probe.exists():
        probe = probe.parent
    free = shutil.disk_usage(probe).free
    grade = Grade.OK
    if free < DISK_COMFORTABLE:
        grade = Grade.WARN if free >= DISK_NEEDED else Grade.FAIL
    yield Finding(
        "disk", grade, f"{free / 1e9:.1f} GB free",
        "intake stops before the disk is full; about 75 bytes a call, 460 with content",
    )  # fmt: skip


def _memory() -> Iterator[Finding]:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        yield Finding("memory", Grade.NOTE, "cannot be read on this system")
        return
    facts = dict(line.split(":", 1) for line in lines if ":" in line)
    available = int(facts["MemAvailable"].split()[0]) * 1024
    grade = Grade.OK if available >= MEMORY_NEEDED else Grade.WARN
    fix = "lower TOCSIN_MEMORY_BYTES, or free some memory"
    yield Finding("memory", grade, f"{available / 1e9:.1f} GB available", fix)


def _own_port(
    name: str, host: str, asked: int | None, usual: int, variable: str
) -> Iterator[Finding]:
    if asked == 0:
        yield Finding(name, Grade.NOTE, f"off ({variable}=0)", f"unset {variable} to have it")
    else:
        yield from _port(name, host, usual if asked is None else asked, variable)


def _port(name: str, host: str, port: int, setting: str) -> Iterator[Finding]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            fix = f"another process listens there (a running Tocsin is fine), or use {setting}"
            yield Finding(name, Grade.WARN, f"{host}:{port}: {error.strerror}", fix)
            return
    yield Finding(name, Grade.OK, f"{host}:{port} is free")


def _access(settings: Settings) -> Iterator[Finding]:
    if settings.is_loopback:
        yield Finding("access", Grade.OK, "loopback only, no login needed")
    elif settings.token:
        found = f"{settings.host} with a token"
        yield Finding("access", Grade.OK, found, "put TLS in front of it")
    else:
        fix = "set TOCSIN_TOKEN, or bind to 127.0.0.1"
        yield Finding("access", Grade.FAIL, f"{settings.host} without a token", fix)


def _clickhouse(settings: Settings) -> Iterator[Finding]:
    """Whether the server of TOCSIN_CLICKHOUSE can be used; asked, not changed."""
    if not settings.clickhouse:
        yield Finding("telemetry", Grade.OK, "embedded ClickHouse in the data directory")
        return
    known = with_secrets(settings, secrets(settings))
    try:
        engine = ClickHouse(
            known.clickhouse,
            layout=Layout(known.clickhouse_cluster),
            password=known.clickhouse_password,
        )
        with closing(engine):
            fitness.check(engine)
            version = engine.rows("SELECT version()")[0][0]
            found = f"ClickHouse {version} at {engine.address}"
    except StoreError as error:
        yield Finding("telemetry", Grade.FAIL, str(error), "see docs/operate/cluster.md")
        return
    yield Finding("telemetry", Grade.OK, found)


def _clock(clock: Clock) -> Iterator[Finding]:
    now = clock.now()
    good = now >= RELEASED
    fix = "synchronise the clock (NTP): every window and every signature depends on it"
    yield Finding("clock", Grade.OK if good else Grade.FAIL, f"{now:%Y-%m-%d %H:%M:%S} UTC", fix)


def _libraries() -> Iterator[Finding]:
    for name in ("chdb", "clickhouse-connect", "pyarrow", "numpy", "sqlalchemy"):
        try:
            yield Finding(name, Grade.OK, importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            yield Finding(name, Grade.FAIL, "not installed", "run make setup")
    for name, gain in OPTIONAL.items():
        present = importlib.util.find_spec(name) is not None
        grade = Grade.OK if present else Grade.NOTE
        yield Finding(name, grade, "installed" if present else "not installed (optional)", gain)


def _configuration(settings: Settings) -> Iterator[Finding]:
    path = settings.config_dir
    if path is None:
        fix = "pass --config DIR; examples/demo is a complete one"
        yield Finding("configuration", Grade.NOTE, "none given", fix)
    elif not path.is_dir():
        yield Finding("configuration", Grade.FAIL, f"{path} is not a directory", "pass --config")
    else:
        documents = sum(1 for _ in path.rglob("*.yaml")) + sum(1 for _ in path.rglob("*.yml"))
        yield Finding("configuration", Grade.OK, f"{path}: {documents} files; check: tocsin plan")


def _receivers(settings: Settings) -> Iterator[Finding]:
    """Whether each receiver has what it needs, its secrets included; nothing is sent."""
    path = settings.config_dir
    if path is None or not path.is_dir():
        return
    try:
        found = load([path], secrets(settings)).receivers
    except SpecError as error:
        for problem in error.problems[:MOST_PROBLEMS]:
            yield Finding("receivers", Grade.FAIL, str(problem), "then run tocsin doctor again")
        return
    for name, receiver in sorted(found.items()):
        channel: object = receiver.channel
        grade, fix = Grade.OK, ""
        how = "somebody acknowledges in Tocsin"
        if isinstance(channel, Answering) and channel.answers:
            how = f"answers at {settings.base_url}/callbacks/{name}"
        elif isinstance(channel, Listening) and channel.line is not None:
            how = "answers over a connection that it opens"
        elif isinstance(channel, Polling) and channel.polls:
            how = "asked for answers every 30 s"
        elif isinstance(channel, Answering):
            how = "nothing comes back from it"
            grade, fix = Grade.NOTE, "docs/guides/receivers.md, Answers come back"
        yield Finding(f"receiver {name}", grade, f"{receiver.type}, {how}", fix)
