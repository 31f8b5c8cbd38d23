"""The script of the demo: complete, and clear about what is wrong with another one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from tocsin.demo.fleet import FLEET
from tocsin.demo.script import load
from tocsin.demo.spans import trapezoid
from tocsin.domain.errors import SpecError

START = datetime(2026, 11, 2, tzinfo=UTC)
SERVICES = [service.name for service in FLEET]

ONE = """\
events:
  - id: outage
    kind: provider_outage
    services: [voice-agent]
    at: d3 10:12
    lasts: 1h5m
    real: true
    expect: page
    effects:
      - {errors: 0.5, as: overloaded, ramp: 4m, fade: 6m}
    changes:
      - {at: d3 10:00, service: voice-agent, kind: deploy, title: R, over: 5m, sets: {release: r}}
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "script.yaml"
    path.write_text(text)
    return path


def problems(tmp_path: Path, text: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        load(written(tmp_path, text), services=SERVICES)
    return [str(problem) for problem in caught.value.problems]


def test_the_script_holds_every_kind_of_incident_and_of_harmless_event() -> None:
    labels = load(services=SERVICES).bind(START, 14 * 1440).labels
    real = {label.kind for label in labels if label.real}
    harmless = {label.kind for label in labels if not label.real}
    assert real >= {
        "provider_outage", "slow_model_variant", "prompt_regression", "retrieval_failure",
        "cost_runaway", "stream_truncation", "slow_burn", "capacity_loss",
    }  # fmt: skip
    assert harmless >= {
        "innocent_deploy", "batch_job", "night_gap", "traffic_surge", "telemetry_gap",
        "rate_limit_blip", "tenant_mix_shift",
    }  # fmt: skip
    assert len({label.id for label in labels}) == len(labels)
    assert all(label.explanation for label in labels)
    assert all(label.expect in ("page", "channel") for label in labels if label.real)
    assert all(label.expect == "none" for label in labels if not label.real)
    assert any(label.start.hour < 5 for label in labels if label.real), "one happens at night"


def test_a_script_is_put_on_the_calendar(tmp_path: Path) -> None:
    script = load(written(tmp_path, ONE)).bind(START, 14 * 1440)
    (label,) = script.labels
    assert label.start == datetime(2026, 11, 5, 10, 12, tzinfo=UTC)
    assert label.end - label.start == timedelta(minutes=65)
    (effect,) = script.effects
    assert effect.services == ("voice-agent",)
    assert (effect.start, effect.stop, effect.ramp, effect.fade) == (4932, 4997, 4, 6)
    assert effect.shares == {"errors": 0.5}
    ((minute, step),) = script.steps
    assert minute == 4920
    assert step.sets == {"release": "r"}


def test_live_events_count_from_the_end_of_the_replay(tmp_path: Path) -> None:
    text = ONE.replace("at: d3 10:12", "at: live +20m")
    (label,) = load(written(tmp_path, text)).bind(START, 100).labels
    assert label.live
    assert label.start == START + timedelta(minutes=120)


def test_an_effect_rises_holds_and_falls() -> None:
    minutes = np.array([9.0, 10.0, 12.0, 14.0, 20.0, 25.0, 30.0])
    strength = trapezoid(minutes, start=10, stop=20, ramp=4, fade=10)
    assert strength.tolist() == [0, 0, 0.5, 1, 1, 0.5, 0]
    assert trapezoid(minutes, 10, 20, 0, 0).tolist() == [0, 1, 1, 1, 0, 0, 0]


@pytest.mark.parametrize(
    ("old", "new", "line", "says"),
    [
        ("at: d3 10:12", "at: tomorrow", 2, "write d<day> <hh:mm>"),
        ("at: d3 10:12", "at: d3 25:12", 2, "write d<day> <hh:mm>"),
        ("lasts: 1h5m", "lasts: long", 2, "is not a duration"),
        ("real: true", "real: maybe", 2, "real must be true or false"),
        ("expect: page", "expect: phone", 2, "use page, channel, digest, none"),
        ("[voice-agent]", "[voice]", 2, "unknown service 'voice'"),
        ("errors: 0.5", "errors: 50", 2, "a share lies between 0 and 1"),
        ("errors: 0.5", "errors: much", 2, "errors is 'much'"),
        ("errors: 0.5", "erors: 0.5", 2, "unknown key 'erors'"),
        ("as: overloaded", "as: tired", 2, "use one of rate_limit"),
        ("sets: {release: r}", "sets: {colour: r}", 2, "sets 'colour'"),
        ("    kind: provider_outage\n", "", 2, "kind is missing"),
    ],
)
def test_a_fault_in_a_script_names_place_and_fix(
    tmp_path: Path, old: str, new: str, line: int, says: str
) -> None:
    assert old in ONE
    (problem,) = problems(tmp_path, ONE.replace(old, new))
    assert f"script.yaml:{line}: events[0]" in problem
    assert says in problem


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    second = ONE.removeprefix("events:\n").replace("real: true", "real: 1")
    assert len(problems(tmp_path, ONE.replace("lasts: 1h5m", "lasts: x") + second)) == 2


def test_an_id_may_not_be_given_twice(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, ONE + ONE.removeprefix("events:\n"))
    assert "'outage' is given twice" in problem


@pytest.mark.parametrize("text", ["[]\n", "events: 3\n", "", "events: []\n"])
def test_a_script_without_events_is_refused(tmp_path: Path, text: str) -> None:
    assert problems(tmp_path, text)
