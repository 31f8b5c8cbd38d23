"""Every registered detector on the same panel of situations."""

from __future__ import annotations

import doctest
import importlib
import inspect
from dataclasses import fields, is_dataclass
from functools import cache

import numpy as np
import pytest

from tocsin.assess.detectors import DETECTORS
from tocsin.assess.judge import compile_monitors, judge
from tocsin.assess.monitor import Monitor
from tocsin.assess.window import Window
from tocsin.domain.buckets import LATENCY, PACE
from tocsin.domain.findings import Judgement
from tocsin.domain.series import MinuteBlock, Ratio, SeriesId

START, WARM, JUDGED = 29_000_160, 2 * 1440, 120
CHANGE = WARM + 30  # when the panel's event begins
SERIES = SeriesId("svc", "availability")
KINDS = sorted(DETECTORS)
# What makes a kind answer to the panel's events, where its defaults are about something slower.
SETTINGS = {
    "zscore": {"for_minutes": 2, "k": 6.0},
    "static_threshold": {"for_minutes": 2},
    "no_data": {"min_minutes": 2, "threshold": 3.0},
}
# The event is an outage for those that miss calls, and silence is what they tell.
MISSES_CALLS = {"no_data", "volume_drop"}
# Textbook rules, right on the series they were made for (test_kinds_gauges) and not on a percentile
# of thirty calls a minute.
TEXTBOOK = {
    "ewma",
    "cusum",
    "iqr",
    "relative_change",
    "rolling_level",
    "seasonal",
    "western_electric",
}
# Those that compare samples have a panel of their own, test_kinds_samples.py.
NO_SPIKES = {"change_point"}  # a new level is what it waits for
# What is told ahead has events of its own: test_forecast.py, test_capacity.py.
LOOKS_AHEAD = {"forecast", "capacity"}
BY_MINUTE = [
    kind for kind in KINDS if DETECTORS[kind].config.needs != "samples" and kind not in LOOKS_AHEAD
]
HEARS_CALLS = sorted(set(BY_MINUTE) - MISSES_CALLS)
TRUSTED = sorted(set(BY_MINUTE) - TEXTBOOK)


def needs_series(config) -> bool:
    return getattr(config, "measure", "") in ("share", "volume") or config.needs == "counts"


def calls(panel: str, scale: int = 1):
    """(bad, slow, total) per minute: bad calls fail, slow ones take five times as long."""
    rng = np.random.default_rng(20)
    minutes = WARM + JUDGED
    total = rng.poisson(30 * scale, minutes)
    share = np.full(minutes, 0.01)
    if panel == "step":
        share[CHANGE:] = 0.5
    if panel == "spike":
        share[CHANGE : CHANGE + 3] = 0.9
    if panel == "outage":
        total[CHANGE:] = 0
    if panel == "short outage":
        total[CHANGE : CHANGE + 3] = 0
    if panel == "gaps":
        total[rng.random(minutes) < 0.5] = 0
        total[CHANGE : CHANGE + 60] = 0
    if panel == "zero":
        share[:] = 0.0
    if panel == "nothing":
        total[:] = 0
    return rng.binomial(total, share), rng.binomial(total, share), total


@cache
def judged(kind: str, panel: str, scale: int = 1):
    """Verdicts by minute of one monitor of `kind` on a panel."""
    bad, slow, total = calls(panel, scale)
    rng = np.random.default_rng(21)
    latency = np.zeros((1, len(total), LATENCY.count), np.int64)
    pace = np.zeros((1, len(total), PACE.count), np.int64)
    for counts, factor in ((total - slow, 1.0), (slow, 5.0)):
        at = np.repeat(np.arange(len(total)), counts)
        us = 2e6 * factor * np.exp(0.3 * rng.normal(size=at.size))
        np.add.at(latency[0], (at, LATENCY.bucket(us)), 1)
        np.add.at(pace[0], (at, PACE.bucket(us / 50)), 1)
    config = DETECTORS[kind].config(**SETTINGS.get(kind, {}))
    monitor = Monitor(
        f"detector/{kind}", kind, "svc", "error_rate", "page",
        SERIES if needs_series(config) else None,
        Ratio("failed") if needs_series(config) else None,
        config, {"env": "prod"},
    )  # fmt: skip
    window, compiled = Window([monitor]), compile_monitors([monitor])
    found = {}
    for start, stop in [(0, WARM), *((m, m + 1) for m in range(WARM, WARM + JUDGED))]:
        here = slice(start, stop)
        window.advance(
            MinuteBlock(
                START + start, (SERIES,), bad[None, here], total[None, here], ("svc",),
                latency[:, here], pace[:, here],
            )
        )  # fmt: skip
        found[stop - 1] = judge(compiled, window, START + stop - 1)
    return found


def breaching(kind: str, panel: str, scale: int = 1) -> list[int]:
    if kind in MISSES_CALLS:
        panel = {"step": "outage", "spike": "short outage"}.get(panel, panel)
    return [
        at
        for at, verdicts in judged(kind, panel, scale).items()
        for verdict in verdicts
        if verdict.judgement is Judgement.BREACH
    ]


@pytest.mark.parametrize("kind", TRUSTED)
@pytest.mark.parametrize("panel", ["flat", "gaps", "zero"])
@pytest.mark.parametrize("scale", [1, 10])
def test_it_stays_quiet_when_nothing_happened(kind: str, panel: str, scale: int) -> None:
    if kind in MISSES_CALLS and panel == "gaps":
        pytest.skip("half of all minutes without calls, and then an hour: that is for it to tell")
    assert breaching(kind, panel, scale) == []


@pytest.mark.parametrize("kind", TRUSTED)
@pytest.mark.parametrize("scale", [1, 10])
def test_it_finds_a_step_within_five_minutes_and_stays_on(kind: str, scale: int) -> None:
    found = breaching(kind, "step", scale)
    patience = 12 if kind in NO_SPIKES else 5
    assert CHANGE <= found[0] <= CHANGE + patience
    if kind in NO_SPIKES:
        assert len([at for at in found if at < CHANGE + 60]) >= 40
        return
    if DETECTORS[kind].config.needs == "gauge":
        # A percentile of a few calls flickers, and the hour's baselines follow a new level.
        assert len([at for at in found if at < CHANGE + 15]) >= 8
        return
    assert found == list(range(found[0], WARM + JUDGED))


@pytest.mark.parametrize("kind", TRUSTED)
def test_it_finds_a_spike_and_ends_with_it(kind: str) -> None:
    found = breaching(kind, "spike")
    if kind in NO_SPIKES:
        assert found == []
        return
    assert CHANGE <= found[0] <= CHANGE + 3
    assert found[-1] <= CHANGE + 3 + 12


@pytest.mark.parametrize("kind", HEARS_CALLS)
def test_it_is_unknown_while_there_are_no_calls(kind: str) -> None:
    (verdict,) = judged(kind, "gaps")[CHANGE + 30]
    assert verdict.judgement is Judgement.UNKNOWN
    assert verdict.reason
    assert all(v[0].judgement is Judgement.UNKNOWN for v in judged(kind, "nothing").values())


@pytest.mark.parametrize("kind", BY_MINUTE)
def test_its_verdicts_are_complete(kind: str) -> None:
    panel = "outage" if kind in MISSES_CALLS else "step"
    verdict = judged(kind, panel)[CHANGE + 20][0]
    assert verdict.monitor == f"detector/{kind}"
    assert (verdict.service, verdict.severity, verdict.minute) == (
        "svc",
        "page",
        START + CHANGE + 20,
    )
    assert verdict.labels == {"env": "prod"}
    assert verdict.expected is None or (verdict.value > verdict.expected) == (panel == "step")
    assert verdict.unit
    assert verdict.score >= (1 if kind in TEXTBOOK else 3)
    assert verdict.window[1] == verdict.minute + 1 > verdict.window[0]
    assert verdict.reason[0].isalnum()
    assert "\n" not in verdict.reason


@pytest.mark.parametrize("kind", BY_MINUTE)
def test_it_decides_the_same_twice(kind: str) -> None:
    first = judged(kind, "step")
    judged.cache_clear()
    assert judged(kind, "step") == first


@pytest.mark.parametrize("kind", KINDS)
def test_its_settings_are_frozen_have_defaults_and_carry_its_name(kind: str) -> None:
    config = DETECTORS[kind].config
    assert is_dataclass(config)
    assert config.kind == kind
    assert config() == config()
    for setting in fields(config):
        assert setting.name in (config.__doc__ or ""), f"{setting.name} is not described"


@pytest.mark.parametrize("kind", KINDS)
def test_its_docstring_says_what_it_assumes_and_its_example_runs(kind: str) -> None:
    plugin = DETECTORS[kind]
    text = inspect.getdoc(plugin) or ""
    for part in ("What:", "Assumes:", "Misleads:", "Parameters:", "Paper:", ">>>"):
        assert part in text
    module = importlib.import_module(plugin.__module__)
    outcome = doctest.testmod(module)
    assert outcome.attempted > 0
    assert outcome.failed == 0
