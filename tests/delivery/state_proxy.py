"""Stands between a process and PostgreSQL, and cuts connections in the middle of a commit."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import sqlalchemy as sa

COMMIT = b"COMMIT"
MARGIN_S = 0.02  # how long the server gets to carry out a commit whose answer is then lost


@dataclass
class Proxy:
    """cut: the share of commits that are cut: one half before the server has them, one half after
    it carried them out and before its answer is through."""

    host: str
    port: int
    cut: float = 0.0
    before: int = 0
    after: int = 0
    own: int = 0
    _random: random.Random = field(default_factory=lambda: random.Random(7))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def url(self, url: str) -> str:
        """The same database, through the proxy."""
        made = sa.make_url(url).set(host="127.0.0.1", port=self.own)
        return made.render_as_string(hide_password=False)

    def hold(self, client: socket.socket) -> None:
        server = socket.create_connection((self.host, self.port))
        back = threading.Thread(target=_copy, args=(server, client), daemon=True)
        back.start()
        with suppress(OSError):
            while data := client.recv(65_536):
                fate = self._fate() if COMMIT in data else ""
                if fate != "before":
                    server.sendall(data)
                if fate == "after":
                    # Nothing of the answer may get through: the client is cut off first.
                    client.shutdown(socket.SHUT_RDWR)
                    time.sleep(MARGIN_S)
                if fate:
                    break
        for end in (client, server):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _fate(self) -> str:
        with self._lock:
            if self._random.random() >= self.cut:
                return ""
            if self._random.random() < 0.5:
                self.before += 1
                return "before"
            self.after += 1
            return "after"


@contextmanager
def cutting(url: str) -> Iterator[Proxy]:
    """A proxy in front of the database of `url`; it cuts nothing until told to."""
    made = sa.make_url(url)
    proxy = Proxy(made.host or "127.0.0.1", made.port or 5432)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        proxy.own = listening.getsockname()[1]

        def accept() -> None:
            with suppress(OSError):
                while True:
                    client, _ = listening.accept()
                    threading.Thread(target=proxy.hold, args=(client,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield proxy


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65_536):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_RDWR)
