"""A server under test: `tocsin serve` in a process of its own, and what the process costs.

It listens on free loopback ports. What it holds is counted through its served store, for
`SELECT count()` reads nothing but the engine's own account of its parts: asking how far it is must
not slow it down.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

START_WITHIN_S, STOP_WITHIN_S = 90, 60
POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class Server:
    """A running `tocsin serve`. port: HTTP; store: its ClickHouse; grpc, flight: other doors."""

    process: subprocess.Popen[bytes]
    port: int
    store: int
    grpc: int
    flight: int

    @property
    def pid(self) -> int:
        """Of the server's only process."""
        return self.process.pid

    def rows(self, table: str = "calls") -> int:
        """Rows that a query finds now."""
        return int(self.ask(f"SELECT count() FROM tocsin.{table}"))

    def ask(self, statement: str) -> str:
        """What the engine answers, as tab-separated text."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.store}/", statement.encode())
        with urllib.request.urlopen(request, timeout=60) as reply:
            return str(reply.read().decode()).strip()


@contextlib.contextmanager
def tocsin(
    data: Path, *, config: Path | None = None, environment: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """`tocsin serve` with an empty directory `data`, ready to answer; ended by SIGTERM."""
    port, store, grpc, flight = free_ports(4)
    command = [str(Path(sys.executable).with_name("tocsin")), "serve"]
    command += ["--data-dir", str(data), "--port", str(port)]
    command += ["--config", str(config)] if config else []
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("TOCSIN_")}
    doors = {
        "TOCSIN_STORE_PORT": str(store),
        "TOCSIN_GRPC_PORT": str(grpc),
        "TOCSIN_FLIGHT_PORT": str(flight),
    }
    with running(
        command, {**inherited, **doors, **(environment or {})}, data.parent / "server.log",
        lambda: answers(f"http://127.0.0.1:{port}/readyz"),
    ) as process:  # fmt: skip
        yield Server(process, port, store, grpc, flight)


@contextlib.contextmanager
def running(
    command: Sequence[str], environment: Mapping[str, str], log: Path, is_up: Callable[[], bool]
) -> Iterator[subprocess.Popen[bytes]]:
    """A process, from when it is up; it is asked to end, and killed when it does not."""
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env=dict(environment))
    try:
        deadline = time.monotonic() + START_WITHIN_S
        while not is_up():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command[0]} did not start:\n{log.read_text()[-4000:]}")
            time.sleep(POLL_S)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_WITHIN_S)
        if process.poll() is None:
            process.kill()
            process.wait()


def answers(url: str) -> bool:
    """Whether `url` is answered with a 200."""
    try:
        with urllib.request.urlopen(url, timeout=10) as reply:
            return bool(reply.status == 200)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


def free_ports(count: int) -> list[int]:
    """Loopback ports that nobody listens on, all different."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def wait_until(held: Callable[[], int], wanted: int, *, since: float, within_s: float) -> float:
    """Seconds from `since` (perf_counter) until `held()` is `wanted`, to POLL_S."""
    found = -1
    while time.perf_counter() - since < within_s:
        found = held()
        if found >= wanted:
            if found > wanted:
                raise RuntimeError(f"{found} rows of {wanted} that were sent")
            return time.perf_counter() - since
        time.sleep(POLL_S)
    raise RuntimeError(f"{found} of {wanted} rows after {within_s} s")


def bytes_on_disk(data: Path, *tables: str) -> dict[str, float]:
    """Table -> bytes in ClickHouse once its parts are merged, by the engine's own account.

    data: the directory of a server that has ended.
    """
    script = (
        "import json, sys; from pathlib import Path\n"
        "from tocsin.store.clickhouse import ClickHouse\n"
        "from tocsin.store.reads import Reads\n"
        "engine = ClickHouse.embedded(Path(sys.argv[1]), memory_bytes=2_000_000_000)\n"
        "for table in sys.argv[2:]:\n"
        "    engine.execute(f'OPTIMIZE TABLE tocsin.{table} FINAL')\n"
        "print(json.dumps({k: v[1] for k, v in Reads(engine).sizes().items()}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(data / "clickhouse"), *tables],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    sizes: dict[str, float] = json.loads(done.stdout)
    return {table: sizes[table] for table in tables}


def cpu_seconds(pid: int) -> float:
    """Processor time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mb(pid: int, what: str = "VmRSS") -> float:
    """Of /proc/<pid>/status, in megabytes: VmRSS now, VmHWM at most, RssAnon without files."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{what}:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise RuntimeError(f"no {what} of process {pid}")


def spread(values: Sequence[float], digits: int = 0) -> dict[str, Any]:
    """The median of some rounds, and the lowest and the highest."""
    low, middle, high = (
        round(value, digits) if digits else round(value)
        for value in (min(values), statistics.median(values), max(values))
    )
    return {"median": middle, "low": low, "high": high}
