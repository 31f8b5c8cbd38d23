"""Silence: when it is told, when it is only unknown, and when it is excused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from counting import DAY, MONTH, START, block, objective, series, verdicts_by_minute

from tocsin.assess.absence import AbsenceConfig
from tocsin.assess.accounts import Correction
from tocsin.assess.judge import compile_monitors, judge
from tocsin.assess.monitor import Monitor
from tocsin.assess.window import Window
from tocsin.domain.findings import Judgement

NAMES = series(2)


def pair(after: int = 45, corrections: tuple[Correction, ...] = ()) -> list[Monitor]:
    promise = objective(NAMES[0], 0.95, MONTH)
    promise = replace(promise, method=replace(promise.method, corrections=corrections))
    silence = replace(
        promise, name=f"{promise.name}/no-data", signal="no_data", series=None, ratio=None,
        method=AbsenceConfig(promise, after),
    )  # fmt: skip
    return [promise, silence, objective(NAMES[1])]


def told(found, judgement: Judgement, first: int = 0) -> list[int]:
    return [
        minute
        for minute, all_ in found.items()
        for verdict in all_
        if verdict.monitor.endswith("no-data") and verdict.judgement is judgement
        and minute >= first
    ]  # fmt: skip


def counts(calls, others: int = 3):
    total = np.stack([np.asarray(calls), np.full(len(calls), others)])
    return np.zeros_like(total), total


def test_silence_is_told_after_its_time_and_over_with_the_first_call() -> None:
    calls = np.full(400, 2)
    calls[100:300] = 0
    found = verdicts_by_minute(pair(), NAMES, *counts(calls))
    assert told(found, Judgement.BREACH) == list(range(144, 300))
    assert not told(found, Judgement.UNKNOWN)


def test_who_never_called_is_unknown_and_so_is_who_has_only_just_been_looked_at() -> None:
    calls = np.zeros(200, int)
    found = verdicts_by_minute(pair(), NAMES, *counts(calls))
    assert told(found, Judgement.UNKNOWN) == list(range(200))
    calls[0] = 1
    found = verdicts_by_minute(pair(after=60), NAMES, *counts(calls))
    assert told(found, Judgement.BREACH) == list(range(60, 200))


def test_silence_beyond_the_burn_windows_and_with_all_telemetry_is_still_told() -> None:
    """Nothing at all is read any more: whoever asked to be told of silence is."""
    monitors = [replace(m, method=replace(m.method, window_minutes=DAY, steps=()))
                if m.series else m for m in pair(after=2 * DAY)]  # fmt: skip
    monitors[1] = replace(monitors[1], method=AbsenceConfig(monitors[0], 2 * DAY))
    window, compiled = Window(monitors), compile_monitors(monitors)
    bad, total = counts(np.full(60, 2))
    window.advance(block(NAMES, bad, total))
    for day in range(1, 4):
        last = START + 60 + day * DAY
        window.advance(block(NAMES, [[0], [0]], [[0], [0]], start=last, origin=last))
        found = {v.monitor: v.judgement for v in judge(compiled, window, last)}
        wanted = Judgement.BREACH if day > 1 else None
        assert found.get(monitors[1].name) is wanted


def test_announced_work_is_no_silence() -> None:
    calls = np.full(400, 2)
    calls[100:200] = 0
    work = Correction("reindex", START + 100, START + 180)
    found = verdicts_by_minute(pair(corrections=(work,)), NAMES, *counts(calls))
    assert not told(found, Judgement.BREACH)
    assert told(found, Judgement.UNKNOWN) == list(range(144, 200))
