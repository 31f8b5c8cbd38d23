"""Runs servers that are killed, one after another; driven by test_telemetry_kills over pipes.

Libraries are loaded once, then a process is forked for every line on standard input, a JSON object:

    path    data directory
    point   "" or where the process kills itself: a statement's beginning or a call on a file
    nth     at the how manieth time the point is reached
    after_s how long after it was reached

The process opens the store, serves the real intake routes on a free port and says what happens in
lines on standard output: `pid`, `open`, `port`, `hit`; when it is gone its parent says `dead`.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from telemetry_build import FOREVER, clock

from tocsin.intake.front import routes
from tocsin.intake.intake import Intake
from tocsin.store import loader
from tocsin.store.clickhouse import ClickHouse
from tocsin.store.otlp_kinds import KINDS, TABLES
from tocsin.store.segments import Limits
from tocsin.store.telemetry import Telemetry

LIMITS = Limits(segment_bytes=12_000, segment_age_s=0.03, linger_s=0.001, min_free_bytes=0)
FILE_CALLS = {
    "fdatasync": (os, "fdatasync"), "fsync": (os, "fsync"), "sync": (os, "sync"),
    "rename": (Path, "rename"), "replace": (Path, "replace"), "unlink": (Path, "unlink"),
}  # fmt: skip


class Point:
    """Kills this process when it is reached for the nth time."""

    def __init__(self, name: str, nth: int, after_s: float) -> None:
        self.name = name
        self._left = nth
        self._after_s = after_s

    def reached(self) -> None:
        self._left -= 1
        if self._left == 0:
            threading.Thread(target=self._kill, daemon=True).start()

    def _kill(self) -> None:
        threading.Event().wait(self._after_s)
        say("hit", self.name)
        os.kill(os.getpid(), signal.SIGKILL)

    def install(self) -> None:
        """Wrap what the name stands for."""
        if self.name in FILE_CALLS:
            owner, attribute = FILE_CALLS[self.name]
            setattr(owner, attribute, self._before(getattr(owner, attribute)))
            return
        real = ClickHouse.execute

        def execute(engine: ClickHouse, sql: str, *rest: Any) -> None:
            if sql.lstrip().startswith(self.name):
                self.reached()
            real(engine, sql, *rest)

        ClickHouse.execute = execute  # type: ignore[method-assign]

    def _before(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            self.reached()
            return real(*args, **named)

        return call


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def serve(order: dict[str, Any]) -> None:
    """One life of a server; it does not end by itself."""
    say("pid", os.getpid())
    if order["point"]:
        Point(order["point"], order["nth"], order["after_s"]).install()
    loader.SYNC_EVERY_S = 0.1
    store = Telemetry.open(
        Path(order["path"]), clock(), kinds=KINDS, tables=TABLES, limits=LIMITS, retention=FOREVER
    )
    say("open", *(settled.action for settled in store.settled))
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        say("port", listener.getsockname()[1])
        app = Starlette(routes=routes(Intake(store.writer, clock())))
        config = uvicorn.Config(app, log_config=None, lifespan="off", http="httptools")
        uvicorn.Server(config).run(sockets=[listener])


def main() -> None:
    importlib.import_module("clickhouse_connect")
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            try:
                serve(json.loads(line))
            finally:
                os._exit(3)
        _, status = os.waitpid(child, 0)
        say("dead", os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
