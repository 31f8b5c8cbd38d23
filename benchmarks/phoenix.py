"""Arize Phoenix as a rival: its own environment, `phoenix serve`, and how many spans it finds.

The environment is made once, in `__cache__/phoenix` of the checkout, from the package index.
Phoenix runs as its defaults say, with SQLite in a fresh directory.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.running import answers, free_ports, running

ENVIRONMENT = Path(__file__).resolve().parents[1] / "__cache__" / "phoenix"
DISTRIBUTION = "arize-phoenix"
INSTALL_WITHIN_S = 600
_COUNT = json.dumps({"query": "{ projects { edges { node { recordCount } } } }"}).encode()


class Absent(Exception):
    """Phoenix cannot be had here; the text says why."""


@dataclass(frozen=True, slots=True)
class Phoenix:
    """A running Phoenix. directory: where its database is."""

    process: subprocess.Popen[bytes]
    port: int
    directory: Path

    @property
    def pid(self) -> int:
        """Of its only process."""
        return self.process.pid

    def spans(self) -> int:
        """Spans that its GraphQL API counts now."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/graphql",
            _COUNT,
            {"content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as reply:
            edges = json.load(reply)["data"]["projects"]["edges"]
        return sum(edge["node"]["recordCount"] for edge in edges)


def install() -> str:
    """Its version, once it is installed. Absent when it cannot be."""
    python = ENVIRONMENT / "bin" / "python"
    if not (ENVIRONMENT / "bin" / "phoenix").exists():
        _told([sys.executable, "-m", "venv", str(ENVIRONMENT)])
        _told([str(python), "-m", "pip", "install", "--quiet", DISTRIBUTION])
    ask = f"from importlib.metadata import version; print(version({DISTRIBUTION!r}))"
    return _told([str(python), "-c", ask]).strip()


@contextlib.contextmanager
def phoenix(directory: Path) -> Iterator[Phoenix]:
    """`phoenix serve` with an empty directory, ready to answer; ended by SIGTERM."""
    directory.mkdir()
    port, grpc = free_ports(2)
    inherited = {
        k: v for k, v in os.environ.items() if not k.startswith(("PHOENIX_", "PYTHONPATH"))
    }
    own = {
        "PHOENIX_HOST": "127.0.0.1",
        "PHOENIX_PORT": str(port),
        "PHOENIX_GRPC_PORT": str(grpc),
        "PHOENIX_WORKING_DIR": str(directory),
        "PHOENIX_TELEMETRY_ENABLED": "false",
    }
    with running(
        [str(ENVIRONMENT / "bin" / "phoenix"), "serve"], {**inherited, **own},
        directory.parent / "phoenix.log", lambda: answers(f"http://127.0.0.1:{port}/healthz"),
    ) as process:  # fmt: skip
        yield Phoenix(process, port, directory)


def database(directory: Path) -> tuple[int, int]:
    """Bytes of its SQLite database, and how many spans are in it; after it has ended."""
    with contextlib.closing(sqlite3.connect(directory / "phoenix.db")) as held:
        spans = held.execute("SELECT count(*) FROM spans").fetchone()[0]
    return sum(path.stat().st_size for path in directory.glob("phoenix.db*")), int(spans)


def _told(command: list[str]) -> str:
    """What a command printed. Absent, with the end of its complaint, when it fails."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=INSTALL_WITHIN_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Absent(f"{DISTRIBUTION} cannot be installed: {error}") from None
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
        raise Absent(f"{DISTRIBUTION} cannot be installed: {last[0][:300]}")
    return done.stdout
