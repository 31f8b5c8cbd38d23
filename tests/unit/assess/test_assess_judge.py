"""Judging all monitors together."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
from counting import START, block, objective, pacer, scanner, series

from tocsin.assess.judge import compile_monitors, judge
from tocsin.assess.monitor import DetectorConfig
from tocsin.assess.window import Window
from tocsin.domain.findings import Judgement
from tocsin.domain.registry import UnknownKind


def test_all_quiet_means_no_verdicts() -> None:
    names = series(50)
    monitors = [objective(n) for n in names] + [scanner(n, baseline=0.01) for n in names]
    window = Window(monitors)
    total = np.full((50, 200), 30)
    window.advance(block(names, total * 0, total))
    assert judge(compile_monitors(monitors), window, START + 199) == []


def test_objectives_and_detectors_on_one_series_each_say_their_own() -> None:
    names = series(2)
    monitors = [objective(names[0]), scanner(names[0], baseline=0.01), objective(names[1])]
    window = Window(monitors)
    total = np.full((2, 60), 30)
    bad = np.zeros_like(total)
    bad[0, -10:] = 15
    window.advance(block(names, bad, total))
    verdicts = judge(compile_monitors(monitors), window, START + 59)
    assert [(v.monitor, v.judgement) for v in verdicts] == [
        ("slo/service-0", Judgement.BREACH),
        ("detector/service-0", Judgement.BREACH),
    ]


def test_a_minute_nobody_read_is_unknown_for_everybody() -> None:
    names = series(2)
    monitors = [objective(names[0]), scanner(names[1])]
    window, compiled = Window(monitors), compile_monitors(monitors)
    assert [v.judgement for v in judge(compiled, window, START)] == [Judgement.UNKNOWN] * 2
    window.advance(block(names, [[0], [0]], [[9], [9]]))
    late = judge(compiled, window, START + 1)
    assert {v.reason for v in late} == {"no telemetry was read for this minute"}


def test_two_monitors_of_one_name_are_refused() -> None:
    monitor = objective(series()[0])
    with pytest.raises(ValueError, match="two monitors are named 'slo/service-0'"):
        compile_monitors([monitor, monitor])


def test_a_monitor_of_counts_needs_a_series() -> None:
    with pytest.raises(ValueError, match="needs a series"):
        compile_monitors([replace(objective(series()[0]), series=None)])


def test_an_unregistered_detector_is_named_with_those_that_exist() -> None:
    @dataclass(frozen=True, slots=True)
    class Oracle(DetectorConfig):
        kind: ClassVar[str] = "oracle"

    monitor = replace(scanner(series()[0]), method=Oracle())
    with pytest.raises(
        UnknownKind, match=r"unknown detector 'oracle'; known: .*count_scan.*pace_shift"
    ):
        compile_monitors([monitor])


def test_no_monitors_say_nothing() -> None:
    assert judge(compile_monitors([]), Window([]), START) == []


def test_a_window_knows_which_series_and_services_to_ask_for() -> None:
    names = series(2)
    window = Window([objective(names[0]), scanner(names[1]), pacer("x")], services=("y",))
    assert list(window.ratios) == list(names)
    assert window.services == ("y", "x")


def test_compiled_monitors_can_move_to_another_window() -> None:
    names = series(2)
    monitors = [objective(n) for n in names]
    compiled = compile_monitors(monitors)
    found = []
    for held in (monitors, monitors[::-1]):
        window = Window(held)
        window.advance(block(names, [[40], [0]], [[50], [50]]))
        found.append([v.service for v in judge(compiled, window, START)])
    assert found == [["service-0"], ["service-0"]]
