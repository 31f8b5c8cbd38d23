"""What one tick reads, with a history of 1, 10 and 100 days of the same traffic behind it.

The store is filled by SQL, newest day first, so that the minutes that are read are the same rows at
every size; that the counts are the same is checked. Reads are those of a tick: the newest four
minutes of 1,075 series and 25 services, and the hours that late scores restate. For a page the
newest hundred calls are read as well.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.bodies import MODELS, SERVICES, TIERS
from benchmarks.running import spread
from tocsin.domain.clock import ManualClock
from tocsin.domain.series import MinuteBlock, Ratio, SeriesId
from tocsin.store.otlp_kinds import KINDS, TABLES
from tocsin.store.schema import Retention
from tocsin.store.telemetry import Telemetry

DAYS = (1, 10, 100)
CALLS_A_MINUTE, SCORES_A_MINUTE, REREAD = 36, 4, 4
READS = 15
SETTLE_WITHIN_S = 60
# A fixed moment in the last minute of a day: all of that day's calls lie in the day being read.
NOW = datetime(2026, 11, 20, 23, 59, 30, tzinfo=UTC)
_DAY_MIN = 24 * 60
_SHARED = """
    'bench' AS project, cityHash64({day}, number) AS r,
    fromUnixTimestamp64Micro(toInt64({from_us} + number * {apart_us}), 'UTC') AS ts,
    concat('svc-', leftPad(toString(r % {services}), 2, '0')) AS service, {day} AS seg,
    ts + INTERVAL 5 SECOND AS recv,
"""
_FILLED: dict[str, tuple[int, str, str]] = {  # table -> rows a minute, columns, their values
    "calls": (
        CALLS_A_MINUTE,
        "project, ts, service, seg, recv, trace_id, span_id, env, kind, name, model, provider,"
        " error_class, duration_us, ttft_us, input_tokens, output_tokens, usage_known, cost_usd,"
        " cost_known, dims",
        """
        lower(hex(sipHash128({day}, number))) AS trace_id, lower(hex(r)) AS span_id,
        'production' AS env, 'llm' AS kind, 'chat' AS name, 'openai' AS provider,
        {models}[1 + intDiv(r, 64) % {n_models}] AS model,
        if(intDiv(r, 4096) % 80 = 0, 'rate_limit', '') AS error_class,
        300000 + intDiv(r, 1048576) % 4000000 AS duration_us,
        1 + intDiv(duration_us, 3) AS ttft_us, intDiv(r, 512) % 6000 AS input_tokens,
        intDiv(r, 8192) % 1200 AS output_tokens, 1 AS usage_known, 1 AS cost_known,
        input_tokens * 2.5e-6 + output_tokens * 1e-5 AS cost_usd,
        map('tier', {tiers}[1 + intDiv(r, 16384) % {n_tiers}]) AS dims
        """,
    ),
    "scores": (
        SCORES_A_MINUTE,
        "project, ts, service, seg, recv, call_id, name, value, source",
        """
        lower(hex(r)) AS call_id, 'feedback' AS name, 'api' AS source,
        toFloat64(intDiv(r, 64) % 10 > 0) AS value
        """,
    ),
}


def run() -> dict[str, Any]:
    """The cost of reading at every size, and its ratio to that of one day."""
    sizes: dict[int, dict[str, Any]] = {}
    last = _minute(NOW)
    with tempfile.TemporaryDirectory(prefix="tocsin-bench-") as name:
        store = Telemetry.open(
            Path(name), ManualClock(NOW), kinds=KINDS, tables=TABLES, retention=Retention(0, 0, 0)
        )
        with store:
            known: MinuteBlock | None = None
            filled = 0
            for days in DAYS:
                for day in range(filled, days):
                    fill(store, last - (day + 1) * _DAY_MIN + 1, day)
                filled = days
                settle(store)
                block = read(store, last)
                if known is not None and not _same(block, known):
                    raise RuntimeError("the newest minutes changed while history grew")
                known = block
                sizes[days] = {
                    "calls": days * _DAY_MIN * CALLS_A_MINUTE,
                    "tick": cost(lambda: read(store, last)),
                    "newest_100_calls": cost(lambda: store.reads.calls(100)),
                }
    return {
        "what": "one tick's reads as history grows at the same traffic",
        "level": "in process, embedded ClickHouse",
        "series": len(WATCHED),
        "services": SERVICES,
        "calls_a_minute": CALLS_A_MINUTE,
        "days": sizes,
        "times_one_day": {
            what: {
                f"{days} days": {
                    unit: round(sizes[days][what][unit]["median"] / base["median"], 2)
                    for unit, base in sizes[DAYS[0]][what].items()
                }
                for days in DAYS[1:]
            }
            for what in ("tick", "newest_100_calls")
        },
    }


def series() -> dict[SeriesId, Ratio]:
    """43 for each service: failures in all and by tier and model, thresholds, feedback."""
    ratios: list[tuple[str, tuple[str, str], Ratio]] = [
        (column, segment, Ratio(column))
        for column, segment in product(
            ("failed", "error", "truncated"), [("", ""), *(("tier", tier) for tier in TIERS)]
        )
    ]
    ratios += [(f"model-{m}", ("", ""), Ratio("failed", model=m)) for _, m in MODELS]
    ratios += [
        (f"slower-{ms}", ("", ""), Ratio("duration_ms", "gt", ms))
        for ms in (500, 1000, 1500, 2000, 2500, 3000, 3500, 4000)
    ]
    ratios += [
        (f"first-{ms}", ("", ""), Ratio("ttft_ms", "gt", ms)) for ms in (300, 600, 900, 1200)
    ]
    ratios += [(f"cost-{usd}", ("", ""), Ratio("cost_usd", "gt", usd)) for usd in (0.01, 0.02)]
    ratios += [("long", ("", ""), Ratio("output_tokens", "gt", 1000))]
    ratios += [("large", ("", ""), Ratio("input_tokens", "gt", 5000))]
    ratios += [("thumbs", ("", ""), Ratio("feedback_negative"))]
    return {
        SeriesId(service, name, segment): ratio
        for service in _services()
        for name, segment, ratio in ratios
    }


def read(store: Telemetry, last: int) -> MinuteBlock:
    """What a tick at the end of epoch minute `last` asks for."""
    store.restated(NOW - timedelta(minutes=6), last - REREAD)
    return store.minutes(WATCHED, _services(), last + 1 - REREAD, last + 1)


def cost(work: Callable[[], object]) -> dict[str, dict[str, Any]]:
    """Processor time of this process, the engine's threads included, and wall time."""
    work()
    cpu, wall = [], []
    for _ in range(READS):
        cpu_s, began = time.process_time(), time.perf_counter()
        work()
        wall.append((time.perf_counter() - began) * 1000)
        cpu.append((time.process_time() - cpu_s) * 1000)
    return {"cpu_ms": spread(cpu, 1), "wall_ms": spread(wall, 1)}


def fill(store: Telemetry, first: int, day: int) -> None:
    """A day of calls and feedback from epoch minute `first` on, through the rollups' views."""
    for table, (a_minute, columns, values) in _FILLED.items():
        rows = (_SHARED + values).format(
            from_us=first * 60_000_000, apart_us=60_000_000 // a_minute, day=day + 1,
            services=SERVICES, models=[model for _, model in MODELS], n_models=len(MODELS),
            tiers=list(TIERS), n_tiers=len(TIERS),
        )  # fmt: skip
        store.engine.execute(
            f"INSERT INTO tocsin.{table} ({columns}) SELECT {columns} FROM"
            f" (SELECT {rows} FROM numbers({_DAY_MIN * a_minute}))"
        )


def settle(store: Telemetry) -> None:
    """Wait until the engine has nothing to merge, which would be counted as reading."""
    deadline = time.monotonic() + SETTLE_WITHIN_S
    quiet = 0
    while quiet < 3 and time.monotonic() < deadline:
        time.sleep(0.5)
        quiet = 0 if store.engine.rows("SELECT count() FROM system.merges")[0][0] else quiet + 1


def _services() -> list[str]:
    return [f"svc-{number:02d}" for number in range(SERVICES)]


def _minute(moment: datetime) -> int:
    return int(moment.timestamp()) // 60


WATCHED = series()


def _same(one: MinuteBlock, other: MinuteBlock) -> bool:
    return all(
        np.array_equal(getattr(one, part), getattr(other, part))
        for part in ("bad", "total", "latency", "pace")
    ) and bool(one.total.sum())
