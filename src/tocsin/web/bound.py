"""The address that a server listens on, and the HTTP server behind it."""

from __future__ import annotations

import contextlib
import signal
import socket
from collections.abc import Iterator

import uvicorn
from starlette.types import ASGIApp

from tocsin.domain.errors import StoreError
from tocsin.engine.settings import Settings
from tocsin.web.connection import MOST_CONNECTIONS, BoundedConnection


class _Server(uvicorn.Server):
    """Ends by returning when asked to stop.

    uvicorn raises SIGTERM once more after its last request, which would end the process before the
    stores are closed.
    """

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        with super().capture_signals():
            yield
            self._captured_signals[:] = [s for s in self._captured_signals if s != signal.SIGTERM]


def http_server(app: ASGIApp, settings: Settings) -> uvicorn.Server:
    """A server that is not listening yet."""
    return _Server(
        uvicorn.Config(
            app,
            host=settings.host,
            port=settings.port,
            log_config=None,
            access_log=False,
            lifespan="off",
            http=BoundedConnection,
            ws="none",
            limit_concurrency=MOST_CONNECTIONS,
            timeout_graceful_shutdown=5,
        )
    )


def listen(settings: Settings) -> socket.socket:
    """Bind the address now, so that a taken port is an error before anything else happens."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((settings.host, settings.port))
        bound.listen()  # bound alone, another process that loads as well could take it
    except OSError as error:
        bound.close()
        raise StoreError(
            f"cannot listen on {settings.host}:{settings.port}: {error.strerror}; "
            "choose another --port, or stop what listens there"
        ) from None
    return bound
