"""The count scan: rings for what is broken, hardly ever for what is not, at any traffic."""

from __future__ import annotations

import json

import numpy as np
import pytest
from counting import DAY, block, scanner, series, verdicts_by_minute, wandering

from tocsin.assess.detectors import CountScanConfig
from tocsin.assess.scan import WIDTHS, Limits, scan
from tocsin.assess.window import Window
from tocsin.domain.findings import Judgement

WEEK = 7 * DAY


def traffic(rng, kind: str, rows: int, minutes: int, per_minute: float, rate: float, cv2: float):
    """(bad, total) of healthy services: the rate flickers or wanders, or calls come in bursts."""
    calls = np.full((rows, minutes), float(per_minute))
    if kind == "bursts":
        calls = rng.gamma(0.5, per_minute / 0.5, (rows, minutes))
    total = rng.poisson(calls)
    if cv2 == 0:
        return rng.binomial(total, rate), total
    if kind == "wander":
        return rng.binomial(total, wandering(rng, rows, minutes, rate, cv2)), total
    rho = cv2 * rate / (1 - rate)
    share = rng.beta(rate * (1 - rho) / rho, (1 - rate) * (1 - rho) / rho, (rows, minutes))
    return rng.binomial(total, share), total


def episodes(found, quiet_minutes: int = 60) -> int:
    """Breaches, counted once per monitor until it was quiet for an hour."""
    last: dict[str, int] = {}
    count = 0
    for at, verdicts in found.items():
        for verdict in verdicts:
            if verdict.judgement is Judgement.BREACH:
                count += at - last.get(verdict.monitor, -WEEK) > quiet_minutes
                last[verdict.monitor] = at
    return count


@pytest.mark.parametrize("per_minute", [2, 20, 300, 20_000])
@pytest.mark.parametrize(
    ("kind", "rate", "cv2"),
    [
        ("flicker", 0.01, 0.0),
        ("flicker", 0.01, 2.0),
        ("bursts", 0.01, 0.25),
        ("wander", 0.01, 0.25),
    ],
)
def test_healthy_services_ring_less_than_once_in_five_weeks(per_minute, kind, rate, cv2) -> None:
    rng = np.random.default_rng(17)
    rows, judged = 70, DAY
    bad, total = traffic(rng, kind, rows, WEEK + judged, per_minute, rate, cv2)
    names = series(rows)
    monitors = [scanner(name) for name in names]
    found = verdicts_by_minute(monitors, names, bad, total, warm=WEEK)
    assert episodes(found) <= 2  # ten monitor-weeks


@pytest.mark.parametrize(
    ("per_minute", "rate", "times", "within", "share_found"),
    [
        (2, 0.01, 40, 30, 0.9),
        (10, 0.01, 15, 30, 0.9),
        (20, 0.01, 15, 15, 0.9),
        (60, 0.01, 15, 5, 0.9),
        (10, 0.004, 7.5, 120, 0.4),
        (20, 0.004, 7.5, 60, 0.6),
        (300, 0.01, 6, 15, 0.65),
        (300, 0.01, 15, 2, 0.95),
        (20_000, 0.01, 15, 1, 0.95),
    ],
)
def test_an_incident_is_found_in_time(per_minute, rate, times, within, share_found) -> None:
    rng = np.random.default_rng(5)
    rows, warm = 60, 3 * DAY
    bad, total = traffic(rng, "wander", rows, warm + within, per_minute, rate, 0.25)
    bad[:, warm:] = rng.binomial(total[:, warm:], rate * times)
    names = series(rows)
    found = verdicts_by_minute([scanner(name) for name in names], names, bad, total, warm=warm)
    rung = {v.monitor for verdicts in found.values() for v in verdicts}
    assert len(rung) >= share_found * rows


def steady(minutes: int, per_minute: int = 20, every: int = 250):
    """One failure in `every` calls, evenly."""
    total = np.full(minutes, per_minute)
    ends = total.cumsum()
    return np.diff(ends // every, prepend=0), total


def test_the_reason_is_one_plain_sentence() -> None:
    bad, total = steady(DAY)
    bad, total = np.append(bad, [0, 3, 3, 3]), np.append(total, [20, 20, 21, 20])
    names = series()
    found = verdicts_by_minute([scanner(names[0])], names, bad, total, warm=DAY)
    (verdict,) = found[DAY + 3]
    assert verdict.reason == "9 of 61 calls failed in 3 min (15 %), usual 0.4 %"
    assert verdict.judgement is Judgement.BREACH
    assert verdict.severity == "page"
    assert verdict.value == pytest.approx(9 / 61)
    assert verdict.expected == pytest.approx(0.004, rel=0.01)
    assert verdict.score > 6
    assert verdict.window[1] - verdict.window[0] == 3
    assert json.loads(json.dumps(dict(verdict.evidence)))["total"] == 61


def test_too_little_history_is_unknown_with_the_numbers() -> None:
    bad, total = steady(3 * 60 + 20, per_minute=1)
    names = series()
    found = verdicts_by_minute([scanner(names[0])], names, bad, total, warm=len(total) - 1)
    ((verdict,),) = found.values()
    assert verdict.judgement is Judgement.UNKNOWN
    assert verdict.reason == (
        "too little history: 180 calls over 3 h, 200 calls over 6 h are needed; "
        "or declare a baseline"
    )


def test_a_declared_baseline_is_judged_by_at_once_and_given_up_later() -> None:
    names = series()
    monitors = [scanner(names[0], baseline=0.004)]
    bad, total = np.array([0, 0, 12]), np.array([20, 20, 20])
    assert verdicts_by_minute(monitors, names, bad, total)[2][0].judgement is Judgement.BREACH
    rng = np.random.default_rng(8)
    total = np.full(2 * DAY, 50)
    bad = rng.binomial(total, 0.05)
    found = verdicts_by_minute([scanner(names[0], baseline=0.04)], names, bad, total, warm=DAY)
    assert not [v for verdicts in found.values() for v in verdicts]


def test_silence_of_callers_during_an_incident_is_unknown() -> None:
    bad, total = steady(DAY)
    bad, total = np.append(bad, [15] * 5 + [0] * 20), np.append(total, [20] * 5 + [0] * 20)
    names = series()
    found = verdicts_by_minute([scanner(names[0])], names, bad, total, warm=DAY)
    assert found[DAY + 4][0].judgement is Judgement.BREACH
    (last,) = found[DAY + 24]
    assert (last.judgement, last.reason) == (Judgement.UNKNOWN, "no calls in the last 12 min")


def test_a_spike_shorter_than_its_persistence_does_not_ring() -> None:
    bad, total = steady(DAY)
    spike = np.append(bad, [18] + [0] * 20), np.append(total, [20] + [20] * 20)
    lasting = np.append(bad, [12] * 21), np.append(total, [20] * 21)
    names = series()
    rung = []
    for counts in (spike, lasting):
        monitors = [scanner(names[0], for_minutes=15)]
        found = verdicts_by_minute(monitors, names, *counts, warm=DAY)
        rung.append([at - DAY for at, verdicts in found.items() if verdicts])
    assert rung[0] == []
    assert rung[1] == list(range(14, 21))


def test_three_failures_of_a_service_that_never_fails_wake_nobody_at_high_volume() -> None:
    total = np.full(DAY + 10, 20_000)
    bad = np.zeros_like(total)
    bad[-3:] = 3
    names = series()
    found = verdicts_by_minute([scanner(names[0])], names, bad, total, warm=DAY)
    assert not any(found.values())


def test_a_certain_but_small_change_does_not_ring() -> None:
    rng = np.random.default_rng(11)
    total = np.full((5, 3 * DAY), 20_000)
    share = np.where(np.arange(3 * DAY) < 2 * DAY, 0.02, 0.026)
    names = series(5)
    found = verdicts_by_minute(
        [scanner(n) for n in names], names, rng.binomial(total, share), total, warm=2 * DAY
    )
    assert not any(found.values())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"threshold": 2.0}, "threshold is -log10 p, from 3"),
        ({"min_bad": 0}, "min_bad is at least 1"),
        ({"min_ratio": 0.5}, "min_ratio is at least 1"),
        ({"for_minutes": 61}, "for_minutes is 1 to 60"),
        ({"floor": 1.0}, "floor is a share"),
        ({"baseline": -0.1}, "baseline is a share"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message) -> None:
    with pytest.raises(ValueError, match=message):
        CountScanConfig(**settings)


def test_monitors_of_one_kind_keep_their_own_settings() -> None:
    rng = np.random.default_rng(12)
    bad, total = steady(DAY)
    noise = rng.integers(4, 5, 6)
    bad, total = np.append(bad, noise), np.append(total, [20] * 6)
    names = series(3)
    counts = np.stack([bad] * 3), np.stack([total] * 3)
    monitors = [
        scanner(names[0]),
        scanner(names[1], threshold=60.0),
        scanner(names[2], min_bad=100),
    ]
    found = verdicts_by_minute(monitors, names, *counts, warm=DAY)
    assert {v.service for verdicts in found.values() for v in verdicts} == {"service-0"}


def test_restarting_from_history_judges_like_running_on() -> None:
    rng = np.random.default_rng(13)
    rows, minutes = 20, 2 * DAY
    bad, total = traffic(rng, "wander", rows, minutes, 60, 0.01, 1.0)
    bad[:5, -90:] = rng.binomial(total[:5, -90:], 0.2)
    names = series(rows)
    monitors = [scanner(name, threshold=4.0) for name in names]
    running = verdicts_by_minute(monitors, names, bad, total, warm=60, overlap=3)
    restarted = verdicts_by_minute(monitors, names, bad, total, warm=minutes - 200)
    assert any(restarted.values())
    for at, verdicts in restarted.items():
        assert verdicts == running[at]


def test_a_window_is_bound_to_one_detector_group_at_a_time() -> None:
    from tocsin.assess.detectors import CountScan

    names = series(2)
    monitors = [scanner(names[1], baseline=0.01)]
    group = CountScan(monitors)
    bad, total = [[0], [9]], [[20], [20]]
    for held in (monitors, [scanner(names[0]), *monitors]):
        window = Window(held)
        window.advance(block(names, bad, total))
        assert [v.service for v in group.judge(window, window.end - 1)] == ["service-1"]


@pytest.mark.parametrize(("per_minute", "rate"), [(3, 0.02), (40, 0.02), (2000, 0.02)])
def test_five_widths_together_alarm_as_rarely_as_the_threshold_says(
    per_minute: int, rate: float
) -> None:
    rng = np.random.default_rng(31)
    minutes, rows = 4000, 60
    total = rng.poisson(per_minute, (minutes, rows))
    sums = np.stack([rng.binomial(total, rate), total]).cumsum(axis=1)
    at = np.arange(60, minutes)
    bad, calls = np.stack([sums[:, at] - sums[:, at - width] for width in WIDTHS], axis=1)
    rho = np.full(bad.shape, 1e-8)
    found = scan(bad, calls, np.full(rows, rate), rho, Limits(3.0, 1, 1.0))
    ringing = np.zeros((len(at), rows), np.bool_)
    ringing[found.breaching[1:]] = True
    assert 2e-5 < ringing.mean() <= 1e-3
