"""One process owns a data directory: an advisory lock on a file in it, gone with the process."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from tocsin.domain.errors import StoreError


class Owner:
    """Holds the lock of a directory until it is closed. StoreError when somebody else has it.

    Two processes over one write-ahead log would load each other's segments twice, also where the
    telemetry itself is on a server and the engine cannot tell them apart.
    """

    def __init__(self, directory: Path) -> None:
        self._descriptor = os.open(directory / "lock", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self.close()
            raise StoreError(
                f"another Tocsin process uses {directory}; stop it or choose another --data-dir"
            ) from None

    def close(self) -> None:
        """Let the next process have it."""
        os.close(self._descriptor)
