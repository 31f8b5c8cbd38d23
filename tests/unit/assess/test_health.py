"""Health scores: arithmetic that can be checked by hand, and what must never happen."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.assess.health import (
    Component,
    HealthConfig,
    Method,
    Reading,
    State,
    config_from,
    formula_of,
    health,
    normalised,
)
from tocsin.assess.health_change import attribution
from tocsin.assess.health_state import HealthTrack, follow, track_of

IDENTITY = ((0.0, 0.0), (100.0, 100.0))
WELL = HealthTrack("ok", "ok")
WEIGHTS = (0.4, 0.25, 0.15, 0.1, 0.1)
FIVE = HealthConfig(
    tuple(Component(f"m{i}", w, IDENTITY) for i, w in enumerate(WEIGHTS)), headroom=None
)


def read(*values: float | None) -> dict[str, Reading]:
    return {f"m{i}": Reading(value) for i, value in enumerate(values)}


@pytest.mark.parametrize(
    ("values", "plain", "geometric", "least", "capped"),
    [  # the table of the study that chose the cap; quality and latency are critical
        ((100, 0, 100, 100, 100), 75, 31.6, 0, 20),
        ((0, 100, 100, 100, 100), 60, 15.8, 0, 20),
        ((100, 100, 100, 100, 0), 90, 63.1, 0, 90),
        ((50, 95, 95, 95, 95), 77, 73.5, 50, 70),
    ],
)
def test_how_scores_become_one(
    values: tuple[float, ...], plain: float, geometric: float, least: float, capped: float
) -> None:
    components = [replace(one, critical=i < 2) for i, one in enumerate(FIVE.components)]
    with_cap = replace(FIVE, components=tuple(components), headroom=20.0)
    by_method: dict[Method, float] = {
        "weighted_sum": plain,
        "geometric": geometric,
        "min": least,
    }
    for method, wanted in by_method.items():
        found = health(replace(FIVE, method=method), read(*values)).score
        assert found == pytest.approx(wanted, abs=0.06), method
    assert health(with_cap, read(*values)).score == pytest.approx(capped)


def test_curves_are_straight_between_their_points_and_level_beyond() -> None:
    seconds = ((1.0, 100.0), (5.0, 0.0))
    found = [normalised(seconds, value) for value in (0, 1, 3, 4, 5, 60)]
    assert found == [100, 100, 50, 25, 0, 0]


def test_what_is_missing_is_not_healthy() -> None:
    found = health(FIVE, read(90, 90, None, 90, 90))
    assert (found.state, found.coverage) == ("ok", pytest.approx(0.85))
    assert found.score == pytest.approx(90)
    found = health(FIVE, read(None, 90, 90, 90, 90))
    assert (found.state, found.score) == ("unknown", None)
    assert "60% of the weight is there" in found.reason
    assert health(FIVE, {}).state == "unknown"
    needed = replace(FIVE.components[4], required=True)
    config = replace(FIVE, components=(*FIVE.components[:4], needed))
    assert health(config, read(90, 90, 90, 90, None)).reason == "required and missing: m4"
    assert health(FIVE, read(90, math.nan, math.inf, 90, 90)).coverage == pytest.approx(0.6)


def test_no_calls_are_idle_and_not_perfect() -> None:
    nothing = {f"m{i}": Reading(None, events=0) for i in range(5)}
    assert (health(FIVE, nothing).state, health(FIVE, nothing).score) == ("idle", None)


def test_a_metric_without_a_curve_counts_as_missing() -> None:
    config = replace(FIVE, components=(*FIVE.components, Component("odd", 0.2, ())))
    found = health(config, {**read(90, 90, 90, 90, 90), "odd": Reading(3.0)})
    assert found.coverage == pytest.approx(1 / 1.2)
    assert found.parts[-1].value == 3.0
    assert "uncalibrated" in found.parts[-1].reason


def test_a_sensor_that_was_bad_when_it_vanished_is_carried_and_then_unknown() -> None:
    before = read(10, 95, 95, 95, 95)
    now = read(None, 95, 95, 95, 95)
    found = health(replace(FIVE, min_coverage=0.5), now, before)
    assert found.score == health(FIVE, before).score
    assert found.parts[0].carried
    old = {name: replace(reading, age_minutes=31) for name, reading in before.items()}
    assert health(FIVE, now, old).state == "unknown"


def test_intervals_of_independent_components_add_in_quadrature() -> None:
    config = HealthConfig(
        (Component("m0", 1, IDENTITY), Component("m1", 1, IDENTITY)), headroom=None
    )
    both = {"m0": Reading(50, 44, 56), "m1": Reading(50, 42, 58)}
    found = health(config, both)
    assert (found.low, found.high) == (45, 55)


numbers = st.floats(0, 100) | st.none()
methods: st.SearchStrategy[Method] = st.sampled_from(("weighted_sum", "geometric", "min"))


@st.composite
def formulas(draw: st.DrawFn) -> HealthConfig:
    count = draw(st.integers(1, 5))
    components = tuple(
        Component(f"m{i}", draw(st.floats(0.01, 5)), IDENTITY, critical=draw(st.booleans()))
        for i in range(count)
    )
    headroom = draw(st.none() | st.floats(0, 50))
    return HealthConfig(components, draw(methods), headroom, min_coverage=0.0)


@given(formulas(), formulas(), st.lists(numbers, min_size=5, max_size=5),
       st.lists(numbers, min_size=5, max_size=5))  # fmt: skip
@settings(max_examples=300, deadline=None)
def test_the_terms_of_a_change_add_up_to_it(
    before: HealthConfig,
    after: HealthConfig,
    old: list[float | None],
    new: list[float | None],
) -> None:
    found = attribution(before, after, read(*old), read(*new))
    if found.change is not None:
        assert sum(found.terms.values()) + found.config == pytest.approx(found.change, abs=1e-6)


@given(formulas(), st.lists(st.floats(0, 100), min_size=5, max_size=5), st.integers(0, 4))
@settings(max_examples=200, deadline=None)
def test_a_worse_component_never_improves_the_score(
    config: HealthConfig, values: list[float], which: int
) -> None:
    score = health(config, read(*values)).score
    worse = [v / 2 if i == which else v for i, v in enumerate(values)]
    below = health(config, read(*worse)).score
    assert score is not None
    assert below is not None
    assert below <= score + 1e-9


@given(formulas(), st.lists(st.floats(0, 100), min_size=5, max_size=5), st.integers(0, 4))
@settings(max_examples=200, deadline=None)
def test_losing_a_bad_sensor_never_improves_the_state(
    config: HealthConfig, values: list[float], which: int
) -> None:
    before = read(*values)
    without = {name: r for name, r in before.items() if name != f"m{which}"}
    rank = {"ok": 0, "warning": 1, "critical": 2, "unknown": 3, "idle": 3}
    was_bad = values[which] < config.warning
    if was_bad:
        now, then = health(config, without, before), health(config, before)
        assert rank[now.state] >= rank[then.state]


def test_a_state_is_entered_after_a_while_and_left_well_above() -> None:
    config = replace(FIVE, components=(Component("m0", 1, IDENTITY),))
    track, told = WELL, []
    for value in [70] * 5 + [82] * 12 + [86] * 10 + [50] * 5:
        track = follow(config, track, health(config, read(value)))
        told.append(track.state)
    assert told == ["ok"] * 4 + ["warning"] * 22 + ["ok"] * 5 + ["critical"]
    assert track.flips == 3


def test_an_uncertain_score_waits_before_it_alarms() -> None:
    config = replace(FIVE, components=(Component("m0", 1, IDENTITY),), enter_minutes=1)
    wide = {"m0": Reading(75, 60, 90)}
    assert follow(config, WELL, health(config, wide)).state == "ok"
    narrow = {"m0": Reading(75, 72, 78)}
    assert follow(config, WELL, health(config, narrow)).state == "warning"


def test_not_knowing_neither_ends_a_state_nor_begins_one() -> None:
    config = replace(FIVE, components=(Component("m0", 1, IDENTITY),))
    track, told = HealthTrack("warning", "warning"), []
    for value in [None, 95, 95, None, *[95] * 10, None, *[30] * 5]:
        track = follow(config, track, health(config, read(value)))
        told.append(track.state)
    assert told == ["unknown", "warning", "warning", "unknown", *["warning"] * 9, "ok", "unknown",
                    *["ok"] * 4, "critical"]  # fmt: skip


def test_the_first_state_is_found_and_not_presumed() -> None:
    config = replace(FIVE, components=(Component("m0", 1, IDENTITY),))
    track, told = HealthTrack(), []
    for value in [30] * 5:
        track = follow(config, track, health(config, read(value)))
        told.append(track.state)
    assert told == ["unknown"] * 4 + ["critical"]


@pytest.mark.parametrize(
    ("first", "values", "told"),
    [  # critical below 60, warning below 80, each left 5 above; 5 minutes in and 10 out
        # About a threshold below another: the milder state all the time, the worse one when it is.
        ("ok", [58, 62] * 4 + [58] * 5, ["ok"] * 5 + ["warning"] * 7 + ["critical"]),
        ("unknown", [58, 62] * 3, ["unknown"] * 5 + ["warning"]),
        ("unknown", [78, 82] * 3, ["unknown"] * 5 + ["ok"]),
        # A mild minute on the way down is no state of its own, and delays no page.
        ("ok", [75, *[50] * 5], ["ok"] * 5 + ["critical"]),
        ("ok", [*[75] * 4, *[50] * 5], ["ok"] * 8 + ["critical"]),
        ("ok", [*[75] * 4, 50, 75, 50], ["ok"] * 5 + ["warning"] * 2),
        # Neither warning nor ok for ten minutes, yet better than critical all of the time.
        ("critical", [70, 95] * 6, ["critical"] * 10 + ["warning"] * 2),
        ("critical", [70, *[95] * 10], ["critical"] * 10 + ["ok"]),
        ("critical", [95] * 10, ["critical"] * 9 + ["ok"]),
        ("critical", [*[95] * 9, 64, *[95] * 9], ["critical"] * 19),
    ],
)
def test_every_level_is_counted_by_itself(
    first: State, values: list[float], told: list[State]
) -> None:
    config = replace(FIVE, components=(Component("m0", 1, IDENTITY),))
    track, found = HealthTrack(first, first), []
    for value in values:
        track = follow(config, track, health(config, read(value)))
        found.append(track.state)
    assert found == told


@given(st.lists(st.sampled_from([50, 58, 62, 70, 82, 86, None]), min_size=20, max_size=60))
@settings(max_examples=200, deadline=None)
def test_minutes_below_a_threshold_are_never_told_to_be_better(values: list[float | None]) -> None:
    config = replace(FIVE, components=(Component("m0", 1, IDENTITY),))
    track, rank = HealthTrack(), {"ok": 0, "warning": 1, "critical": 2, "unknown": 3}
    for at, value in enumerate(values):
        track = follow(config, track, health(config, read(value)))
        last = [one for one in values[max(at - 4, 0) : at + 1] if one is not None]
        if len(last) == 5 and max(last) < 60:
            assert track.state == "critical"
        if len(last) == 5 and max(last) < 80 and last[-1] >= 60:  # else it is on its way there
            assert rank[track.state] >= rank["warning"]


def test_a_track_that_was_kept_before_levels_were_counted_goes_on() -> None:
    config = replace(FIVE, components=(Component("m0", 1, IDENTITY),))
    kept = {"state": "ok", "known": "ok", "towards": "critical", "minutes": 4, "flips": 1}
    track = track_of(kept)
    assert track == HealthTrack("ok", "ok", (4, 4, 4), 1)
    assert follow(config, track, health(config, read(50))).state == "critical"
    kept = {"state": "critical", "known": "critical", "towards": "warning", "minutes": 9}
    track = track_of({**kept, "flips": 2})
    assert follow(config, track, health(config, read(70))).state == "warning"
    first = {"state": "unknown", "known": "unknown", "towards": "unknown", "minutes": 0}
    assert track_of({**first, "flips": 0}) == HealthTrack()
    assert track_of(json.loads(json.dumps(asdict(track)))) == track


def test_a_vanished_component_stands_in_for_no_longer_than_it_may() -> None:
    light = replace(
        FIVE, components=(*FIVE.components[1:], replace(FIVE.components[0], weight=0.1))
    )
    before, now = read(10, 95, 95, 95, 95), read(None, 95, 95, 95, 95)
    assert health(light, now, before).score == health(light, before).score
    old = {"m0": replace(before["m0"], age_minutes=31)}
    assert (health(light, now, old).state, health(light, now, old).score) == ("unknown", None)
    well = {"m0": Reading(95, age_minutes=31)}
    assert health(light, now, well).state == "ok"
    # A policy says what a missing component counts: the worst is 0, whatever was read before.
    assert health(replace(light, missing="worst"), now, before).parts[-1].score == 0
    needed = replace(light.components[-1], required=True)
    required = replace(light, components=(*light.components[:-1], needed))
    assert health(required, now, before).state == "unknown"


def test_no_score_before_or_now_leaves_no_change_to_explain() -> None:
    for old, new in ((read(90, 90), read(90, 90, 90, 90, 90)), (read(90, 90, 90, 90, 90), {})):
        assert attribution(FIVE, FIVE, old, new).change is None


def test_beyond_ten_components_the_binding_one_has_the_residual() -> None:
    many = tuple(Component(f"m{i}", 1, IDENTITY, critical=i == 0) for i in range(12))
    config = HealthConfig(many)
    old = {f"m{i}": Reading(100.0) for i in range(12)}
    new = {f"m{i}": Reading(0.0 if i == 0 else 88.0) for i in range(12)}
    found = attribution(config, config, old, new)
    assert found.change == pytest.approx(-80)
    assert sum(found.terms.values()) == pytest.approx(-80)
    assert found.terms["m1"] == pytest.approx(-1.0)
    assert found.terms["m0"] == pytest.approx(-69.0)


@pytest.mark.parametrize("method", ["weighted_sum", "geometric", "min"])
@pytest.mark.parametrize("missing", ["renormalize", "carry", "worst", "unknown"])
def test_a_floor_has_no_weight_and_holds_the_whole_near_it(method: str, missing: str) -> None:
    bare = replace(FIVE, method=method, missing=missing)  # type: ignore[arg-type]
    floor = Component("worst segment", 0.0, ((0.0, 0.0), (100.0, 100.0)), floor=10.0)
    config = replace(bare, components=(*bare.components, floor))
    now = read(90, 90, 90, 90, 90)
    for away in ({}, {"worst segment": Reading(None)}, {"worst segment": Reading(100.0)}):
        assert health(config, {**now, **away}).score == health(bare, now).score
    held = health(config, {**now, "worst segment": Reading(40.0, 35.0, 45.0, 50)})
    assert (held.score, held.capped_by, held.coverage) == (50.0, "worst segment", 1.0)
    assert held.reason == "held at 50.0 by worst segment"
    assert (held.low, held.high) == (45.0, 55.0)
    idle = {one.metric: Reading(None, events=0) for one in bare.components}
    assert health(config, {**idle, "worst segment": Reading(40.0, events=50)}).state == "idle"
    assert config_from(formula_of(config)) == config
    assert "floor" not in formula_of(bare)["components"][0], "digests stay as they were"
