"""`tocsin demo`: the whole way, once, on a laptop: traffic in, pages out, an honest account."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import shutil
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from importlib.resources import files
from pathlib import Path
from random import Random

import httpx
import numpy as np
import uvicorn
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.progress import (
    Progress as Bar,
)

from tocsin.delivery.http import client as http_client
from tocsin.delivery.smtp_sink import serve_smtp
from tocsin.delivery.worker import Courier
from tocsin.demo import screen
from tocsin.demo.replay import Progress, Replay
from tocsin.demo.responder import Responder
from tocsin.demo.result import scorecard
from tocsin.demo.script import Label
from tocsin.demo.sinkhole import keeper, sink_app, sink_secrets
from tocsin.demo.spans import Chunk
from tocsin.demo.timepiece import ReplayClock
from tocsin.demo.trace_config import for_services
from tocsin.demo.traces import TraceReplay
from tocsin.demo.traffic import Traffic
from tocsin.domain.clock import ManualClock, SystemClock, from_minute
from tocsin.domain.errors import StoreError
from tocsin.domain.ports import MinuteSource
from tocsin.engine.feed import ReadAhead
from tocsin.engine.house import House
from tocsin.engine.settings import Settings
from tocsin.intake.intake import Intake
from tocsin.spec.desired import Desired, load
from tocsin.web.bound import http_server, listen
from tocsin.web.live import LiveDesk
from tocsin.web.server import (
    Secrets,
    Stores,
    courier_for,
    open_stores,
    running,
    web_app,
)
from tocsin.web.views import ReplayProgress

SEED = 7
DAYS = 14
MARKER = "this-is-demo-data"
AT_ONCE = 16  # requests in flight, as from a handful of exporters
SUMMARY = Path("demo-summary.json")


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """once: write the summary and end. trace, mapping: replay a file instead of the script.

    days, scale: how long the script is played, and a factor on its traffic. summary: the file.
    """

    once: bool = False
    trace: Path | None = None
    mapping: Path | None = None
    scale: float = 1.0
    days: int = DAYS
    summary: Path = SUMMARY


def run_demo(settings: Settings, options: DemoOptions, console: Console) -> None:
    """Replay, print what happened, and (unless `once`) go on live until interrupted.

    KeyboardInterrupt when that was before the replay had ended: then no summary is written.
    """
    try:
        asyncio.run(_Demo(settings, options, console).run())
    except _Interrupted:
        console.print("Interrupted; no summary was written.")
        raise KeyboardInterrupt from None


def demo_config() -> Path:
    """The demo's configuration: in the package when installed, in `examples/` of a checkout."""
    packaged = Path(str(files("tocsin.demo"))) / "config"
    return packaged if packaged.is_dir() else Path(__file__).parents[3] / "examples" / "demo"


class _Interrupted(Exception):
    """Somebody wants the demo to end before the replay has."""


class _Demo:
    def __init__(self, settings: Settings, options: DemoOptions, console: Console) -> None:
        self._settings = settings
        self._options = options
        self._console = console
        self._began = SystemClock().now()
        self._source = _source(options, self._began)
        self._clock = ReplayClock(from_minute(self._source.start_minute))
        self._ahead: list[ReadAhead] = []

    async def run(self) -> None:
        with listen(self._settings) as bound:
            await self._run(bound)

    async def _run(self, bound: socket.socket) -> None:
        settings = replace(self._settings, port=bound.getsockname()[1])
        stores = await asyncio.to_thread(self._fresh, settings.data_dir)
        try:
            smtp = await serve_smtp(keeper(stores.state), self._clock.now)
            resolve = sink_secrets(f"{settings.base_url}/sinks", smtp.sockets[0].getsockname()[1])
            house = await asyncio.to_thread(self._house, stores, resolve)
            intake = Intake(stores.telemetry.writer, self._clock)
            desk = LiveDesk(house, self._replayed)
            app = web_app(
                house, intake, settings, desk=desk,
                sink_app=sink_app(stores.state, self._clock.now),
            )  # fmt: skip
            server = http_server(app, settings)
            async with _listening(server, bound), http_client() as http:
                await self._play(settings, house, http, resolve, server)
            smtp.close()
        finally:
            await asyncio.to_thread(stores.close)

    async def _play(
        self,
        settings: Settings,
        house: House,
        http: httpx.AsyncClient,
        resolve: Secrets,
        server: uvicorn.Server,
    ) -> None:
        courier = courier_for(house, http, settings, Random(SEED))
        self._console.print(f"Dashboard: [bold]{settings.base_url}/[/]  (fills while it replays)")
        self._progress = Progress(
            from_minute(self._source.start_minute),
            from_minute(self._source.stop_minute),
            from_minute(self._source.start_minute),
        )
        await asyncio.to_thread(self._replay, house, courier, asyncio.get_running_loop(), server)
        card = scorecard(
            house,
            self._labels,
            calls=self._progress.calls,
            services=len(self._source.services),
            until=self._progress.stop,
        )
        self._options.summary.write_text(json.dumps(card.summary, indent=2) + "\n")
        spent = SystemClock().now() - self._began
        screen.show(
            self._console, card, settings, self._source, self._progress, spent,
            stays=not self._options.once,
        )  # fmt: skip
        if not self._options.once:
            await self._live(settings, house, http, resolve, server)

    def _replay(
        self,
        house: House,
        courier: Courier,
        loop: asyncio.AbstractEventLoop,
        server: uvicorn.Server,
    ) -> None:
        """Runs in a thread of its own; pages are served meanwhile. Raises _Interrupted."""

        def drain(now: datetime) -> None:
            asyncio.run_coroutine_threadsafe(courier.drain(now), loop).result()

        responder = Responder(house, np.random.default_rng(SEED), self._labels)
        replay = Replay(
            house, self._clock, self._ahead[-1], self._accept(house, loop), drain, responder,
            self._progress,
        )  # fmt: skip
        hours = math.ceil((self._progress.stop - self._progress.start) / timedelta(hours=1))
        with _bar(self._console) as bar:
            task = bar.add_task("replaying", total=max(hours, 1))

            def advanced(progress: Progress) -> None:
                if server.should_exit:  # it takes the signals
                    raise _Interrupted
                done = (progress.at - progress.start) / timedelta(hours=1)
                bar.update(
                    task, completed=min(round(done), hours),
                    description=f"{progress.at:%a %d %b %H:%M}  {progress.calls:,} calls",
                )  # fmt: skip

            replay.run(self._source, advanced)

    def _accept(self, house: House, loop: asyncio.AbstractEventLoop) -> Callable[[Chunk], None]:
        """Takes a piece in through the front, at the instant at which its last call had ended."""
        clock = ManualClock(self._clock.now())
        intake = Intake(house.telemetry.writer, clock)

        async def take(chunk: Chunk) -> None:
            for start in range(0, len(chunk.bodies), AT_ONCE):
                bodies = chunk.bodies[start : start + AT_ONCE]
                await asyncio.gather(*(intake.otlp("traces", body) for body in bodies))
            for kind, lines in (("scores", chunk.scores), ("changes", chunk.changes)):
                await intake.rows(kind, [json.loads(line) for line in lines.splitlines()], lines)

        def accept(chunk: Chunk) -> None:
            clock.set(from_minute(chunk.stop))
            asyncio.run_coroutine_threadsafe(take(chunk), loop).result()

        return accept

    async def _live(
        self,
        settings: Settings,
        house: House,
        http: httpx.AsyncClient,
        resolve: Secrets,
        server: uvicorn.Server,
    ) -> None:
        """On in real time: traffic is posted over HTTP, as any client would."""
        self._clock.go_live()
        self._ahead[-1].release()
        rng = Random(SEED)
        async with running(house, http, settings, rng, resolve):
            while not server.should_exit:
                if isinstance(self._source, Traffic):
                    await _post(http, settings.base_url, self._source.live(self._clock.now()))
                await _nap(server, 5.0)

    def _fresh(self, data_dir: Path) -> Stores:
        """An empty data directory; removes the last demo's, and nothing else's."""
        if data_dir.exists() and any(data_dir.iterdir()):
            if not (data_dir / MARKER).exists():
                raise StoreError(
                    f"{data_dir} holds data that is not the demo's; choose another --data-dir"
                )
            shutil.rmtree(data_dir)
        stores = open_stores(data_dir, self._clock, memory_bytes=self._settings.memory_bytes)
        (data_dir / MARKER).touch()
        return stores

    def _house(self, stores: Stores, resolve: Secrets) -> House:
        def ahead(inner: MinuteSource) -> MinuteSource:
            self._ahead.append(ReadAhead(inner))
            return self._ahead[-1]

        desired = self._desired(resolve)
        house = House(
            stores.telemetry, stores.state, self._clock, desired,
            lateness=self._settings.lateness, start=self._source.start_minute, source=ahead,
        )  # fmt: skip
        house.record_configuration(desired, "demo", "the demo's configuration")
        return house

    def _desired(self, resolve: Secrets) -> Desired:
        paths = [self._settings.config_dir or demo_config()]
        if self._options.trace is None:
            return load(paths, resolve)
        return for_services(load(paths, resolve), self._source.services, resolve)

    @property
    def _labels(self) -> tuple[Label, ...]:
        return self._source.labels if isinstance(self._source, Traffic) else ()

    def _replayed(self) -> ReplayProgress | None:
        progress: Progress | None = getattr(self, "_progress", None)
        if progress is None or self._clock.is_live:
            return None
        return ReplayProgress(progress.start, progress.stop, progress.at, progress.calls)


def _source(options: DemoOptions, now: datetime) -> Traffic | TraceReplay:
    if options.trace is not None:
        return TraceReplay(options.trace, options.mapping, end=now.replace(second=0, microsecond=0))
    start = now.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=options.days)
    days = (now.replace(second=0, microsecond=0) - start) / timedelta(days=1)
    return Traffic(SEED, start, days, options.scale)


def _bar(console: Console) -> Bar:
    return Bar(
        TextColumn("[progress.description]{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        MofNCompleteColumn(),
        TextColumn("h"),
        TimeElapsedColumn(),
        console=console,
    )


@contextlib.asynccontextmanager
async def _listening(server: uvicorn.Server, bound: object) -> AsyncIterator[None]:
    task = asyncio.create_task(server.serve(sockets=[bound]))  # type: ignore[list-item]
    try:
        while not server.started and not task.done():
            await asyncio.sleep(0.02)
        yield
    finally:
        server.should_exit = True
        await task


async def _post(http: httpx.AsyncClient, base_url: str, chunk: Chunk) -> None:
    headers = {"content-type": "application/x-protobuf"}
    for body in chunk.bodies:
        await http.post(f"{base_url}/v1/traces", content=body, headers=headers)
    lines = {"content-type": "application/x-ndjson"}
    for name, rows in (("scores", chunk.scores), ("changes", chunk.changes)):
        if rows:
            await http.post(f"{base_url}/api/v1/{name}", content=rows, headers=lines)


async def _nap(server: uvicorn.Server, seconds: float) -> None:
    for _ in range(round(seconds / 0.25)):
        if server.should_exit:
            return
        await asyncio.sleep(0.25)
