"""Opens the state database: SQLite made durable, PostgreSQL as it is, migrated to this release.

SQLite: write-ahead log, synchronous FULL (a commit survives a power cut), BEGIN IMMEDIATE for
writers, so that two of them wait for each other instead of failing half way. PostgreSQL: writers
take one advisory lock for the length of their transaction, which makes the ledger's single chain
and the engine's compare-and-set behave exactly as on SQLite and cannot deadlock; they are a few
milliseconds long. A database in memory has one connection that threads share under a lock.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.pool import StaticPool

from tocsin.domain.errors import StoreError
from tocsin.store.ledger import serialised
from tocsin.store.tables import METADATA

MEMORY = ":memory:"
BUSY_TIMEOUT_MS = 30_000
_WRITER_LOCK = 0x746F6373696E  # "tocsin"; the advisory lock of PostgreSQL writers
_MIGRATIONS = Path(__file__).parent / "migrations"


class Database:
    """Connections for one state database, for readers and for writers.

    Inside a transaction of this thread every read goes through it and sees its own writes.
    is_private: no other process can write to it (it lives in memory).
    """

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        self._is_sqlite = engine.dialect.name == "sqlite"
        self.is_private = isinstance(engine.pool, StaticPool)
        self._writer = threading.RLock()
        # Held from a commit until what is remembered tells of it. A private database has one lock.
        self._settling = self._writer if self.is_private else threading.RLock()
        self._local = threading.local()
        self._watcher: sqlite3.Connection | None = None
        self._watching = threading.Lock()

    @contextmanager
    def write(self, committed: Callable[[], None] = lambda: None) -> Iterator[sa.Connection]:
        """One atomic write: commits on normal exit, rolls back on an exception.

        committed: called after the commit, before another thread of this process may write or
        hold the version still. Raises StoreError when a transaction of this thread is already open,
        and for whatever the database refuses: a full disk, a lost connection.
        """
        if self._open is not None:
            raise StoreError("a transaction is already open in this thread; use that one")
        with _refusals(), self._writer_turn(), self.engine.connect() as connection:
            writer = connection.execution_options(tocsin_writer=True)
            with writer.begin() as transaction:
                if not self._is_sqlite:
                    writer.execute(sa.select(sa.func.pg_advisory_xact_lock(_WRITER_LOCK)))
                self._local.connection = writer
                try:
                    yield writer
                finally:
                    self._local.connection = None
                with self._settling:
                    transaction.commit()
                    committed()

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A consistent view; the open transaction, or the open view, of this thread if it has one.

        For a private database it also keeps writers of other threads out.
        """
        joined = self._open or getattr(self._local, "reader", None)
        if joined is not None:
            yield joined
            return
        turn = self._writer if self.is_private else nullcontext()
        with _refusals(), turn, self.engine.connect() as connection, connection.begin():
            self._local.reader = connection
            try:
                yield connection
            finally:
                self._local.reader = None

    @contextmanager
    def write_or_join(self) -> Iterator[sa.Connection]:
        """The open transaction of this thread, or a new one."""
        if self._open is not None:
            yield self._open
        else:
            with self.write() as connection:
                yield connection

    @contextmanager
    def still(self) -> Iterator[None]:
        """Nobody of this process commits meanwhile: what is read is of the version that is."""
        with self._settling:
            yield

    def version(self) -> int | None:
        """A number that differs once anybody, in any process, has committed; None if unknown.

        SQLite counts commits of other connections for each connection (PRAGMA data_version), so a
        connection that never writes sees all of them, in microseconds.
        """
        if self.is_private:
            return 0
        if not self._is_sqlite:
            return None
        with self._watching:
            if self._watcher is None:
                path = str(self.engine.url.database)
                self._watcher = sqlite3.connect(path, check_same_thread=False)
            return int(self._watcher.execute("PRAGMA data_version").fetchone()[0])

    def close(self) -> None:
        """Give all connections back."""
        with self._watching:
            if self._watcher is not None:
                self._watcher.close()
                self._watcher = None
        self.engine.dispose()

    @property
    def is_writing(self) -> bool:
        """Whether a transaction of this thread is open."""
        return self._open is not None

    @property
    def _open(self) -> sa.Connection | None:
        return getattr(self._local, "connection", None)

    @contextmanager
    def _writer_turn(self) -> Iterator[None]:
        # Threads of one process queue here rather than in SQLite's busy handler, which sleeps.
        if self._is_sqlite:
            with self._writer:
                yield
        else:
            yield


def connect(url_or_path: str | Path) -> Database:
    """Open and migrate the database at a file path, a `:memory:`, or a SQLAlchemy URL.

    Raises StoreError when it cannot be reached, or was written by a newer Tocsin.
    """
    target = str(url_or_path)
    try:
        if target in {MEMORY, "sqlite://", "sqlite:///:memory:"}:
            return _in_memory()
        database = Database(_sqlite(target) if _is_path(target) else _by_url(target))
        _migrate(database)
    except (sa.exc.SQLAlchemyError, _Refused) as error:
        line = error.line if isinstance(error, _Refused) else _first_line(error)
        message = f"the state database {_shown(target)} cannot be opened: {line}"
        raise StoreError(message) from None
    return database


# --- private -----------------------------------------------------------------------------------


class _Refused(StoreError):
    """What a database refused, in the first line of its words: SQLAlchemy's text holds the
    statement and its values, which are nobody's business in a log."""

    def __init__(self, line: str) -> None:
        super().__init__(f"the state database failed: {line}")
        self.line = line


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except sa.exc.DBAPIError as error:
        raise _Refused(_first_line(error)) from None


def _is_path(target: str) -> bool:
    return "://" not in target or target.startswith("sqlite:///")


def _in_memory() -> Database:
    engine = sa.create_engine(
        "sqlite://",
        poolclass=StaticPool,
        connect_args={"check_same_thread": False},
        json_serializer=serialised,
    )
    _configure_sqlite(engine, in_memory=True)
    database = Database(engine)
    with database.write() as connection:
        METADATA.create_all(connection)
    return database


def _sqlite(target: str) -> sa.Engine:
    path = Path(target.removeprefix("sqlite:///"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"the directory {path.parent} cannot be made: {error.strerror}; choose another one"
        ) from None
    engine = sa.create_engine(
        f"sqlite:///{path}",
        connect_args={"check_same_thread": False, "timeout": BUSY_TIMEOUT_MS / 1000},
        json_serializer=serialised,
    )
    _configure_sqlite(engine, in_memory=False)
    return engine


def _by_url(target: str) -> sa.Engine:
    url = sa.make_url(target)
    if url.get_backend_name() != "postgresql":
        raise StoreError(
            f"the state database {_shown(target)} is neither a path nor a postgresql:// URL"
        )
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    try:
        return sa.create_engine(url, json_serializer=serialised, pool_pre_ping=True)
    except ModuleNotFoundError as error:
        raise StoreError(
            f"PostgreSQL needs the driver {error.name}: install tocsin[postgres]"
        ) from None


def _configure_sqlite(engine: sa.Engine, *, in_memory: bool) -> None:
    @sa.event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # transactions are begun below, not by the driver
        pragmas = ["foreign_keys=ON", f"busy_timeout={BUSY_TIMEOUT_MS}"]
        if not in_memory:
            pragmas += ["journal_mode=WAL", "synchronous=FULL", "journal_size_limit=67108864"]
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}")

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        is_writer = connection.get_execution_options().get("tocsin_writer", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if is_writer else "BEGIN")


def _migrate(database: Database) -> None:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    scripts = ScriptDirectory.from_config(config)
    newest = scripts.get_current_head()
    with database.read() as connection:
        current = MigrationContext.configure(connection).get_current_revision()
    if current == newest:
        return
    known = {script.revision for script in scripts.walk_revisions()}
    if current is not None and current not in known:
        raise StoreError(
            f"the state database is at revision {current}, which this Tocsin does not know: "
            "it was migrated by a newer release; upgrade this process"
        )
    with database.write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _shown(target: str) -> str:
    if _is_path(target):
        return target
    try:
        return sa.make_url(target).render_as_string(hide_password=True)
    except sa.exc.ArgumentError:
        return "(the URL cannot be parsed)"


def _first_line(error: Exception) -> str:
    return str(getattr(error, "orig", None) or error).strip().split("\n")[0]
