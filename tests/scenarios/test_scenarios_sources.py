"""A configuration that is applied while the server runs changes what is read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from random import Random

from tocsin.delivery.http import client as http_client
from tocsin.domain.clock import SystemClock
from tocsin.engine.house import House
from tocsin.engine.settings import Settings
from tocsin.engine.sources import SourceRunner
from tocsin.intake.intake import Intake
from tocsin.spec.desired import load_text
from tocsin.store.otlp_kinds import KINDS, TABLES
from tocsin.store.state import StateStore
from tocsin.store.telemetry import Telemetry
from tocsin.web.server import NOTHING, running

CONFIG = """
apiVersion: tocsin/v1
kind: Service
metadata: {name: chat}
spec: {team: cx}
---
apiVersion: tocsin/v1
kind: Source
metadata: {name: vllm}
spec:
  type: prometheus
  service: chat
  interval: 1s
  timeout: 1s
  allow_private: true
  targets: ["http://127.0.0.1:9/"]
  token: {secret: TOKEN}
"""


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.02)


def test_sources_are_adopted_changed_and_dropped_with_the_configuration(tmp_path: Path) -> None:
    clock = SystemClock()
    settings = Settings(data_dir=tmp_path, interval=timedelta(seconds=1))
    state = StateStore.open(tmp_path / "state.db")

    def apply(text: str) -> None:
        desired = load_text(text)
        body = {"text": desired.text}
        state.record_config(desired.digest, body, actor="ana", now=clock.now(), reason="test")

    async def story(house: House, runner: SourceRunner) -> None:
        resolve = {"TOKEN": "t"}.get
        async with (
            http_client() as http,
            running(house, http, settings, Random(1), resolve, runner),
        ):
            assert runner.statuses() == ()
            apply(CONFIG)
            await until(lambda: any(status.polls for status in runner.statuses()))
            apply(CONFIG.replace("127.0.0.1:9", "127.0.0.1:19"))
            await until(lambda: any(":19" in s.target and s.polls for s in runner.statuses()))
            assert len(runner.statuses()) == 1
            apply(CONFIG.split("---")[0])
            await until(lambda: runner.statuses() == ())

    with Telemetry.open(tmp_path, clock, kinds=KINDS, tables=TABLES) as telemetry:
        house = House(telemetry, state, clock, NOTHING, lateness=timedelta(0))
        intake = Intake(telemetry.writer, clock)
        asyncio.run(story(house, SourceRunner(intake, state, telemetry, clock)))
    state.close()
