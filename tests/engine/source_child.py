"""A process that reads a log group until it is killed; run by test_engine_kills.

Arguments: data directory, address of the AWS.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from aws_fake import KEY, REGION, SECRET
from source_build import FOREVER, configured

from tocsin.domain.clock import SystemClock
from tocsin.engine.sources import SourceRunner
from tocsin.intake.intake import Intake
from tocsin.store.otlp_kinds import KINDS, TABLES
from tocsin.store.state import StateStore
from tocsin.store.telemetry import Telemetry

SPEC = """type: cloudwatch_logs
interval: 1s
region: {region}
endpoint: {url}
allow_private: true
access_key: {{secret: AWS_KEY}}
secret_key: {{secret: AWS_SECRET}}
groups: [/bedrock]
format: bedrock
overlap: 1m
first: 1h
"""


async def read(store: Telemetry, state: StateStore, url: str) -> None:
    clock = SystemClock()
    runner = SourceRunner(Intake(store.writer, clock), state, store, clock)
    secrets = {"AWS_KEY": KEY, "AWS_SECRET": SECRET}
    runner.use(configured(SPEC.format(region=REGION, url=url), secrets))
    print("open", flush=True)
    await runner.run(asyncio.Event())


def main(path: Path, url: str) -> None:
    state = StateStore.open(path / "state.db")
    with Telemetry.open(
        path, SystemClock(), kinds=KINDS, tables=TABLES, retention=FOREVER
    ) as store:
        asyncio.run(read(store, state, url))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
