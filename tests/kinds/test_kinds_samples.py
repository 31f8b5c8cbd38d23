"""Every detector that compares samples of calls, on the same panel of situations."""

from __future__ import annotations

import numpy as np
import pytest

from tocsin.assess.detectors import DETECTORS
from tocsin.assess.detectors.correlation import relation, weakening
from tocsin.assess.judge import compile_monitors
from tocsin.assess.monitor import Monitor
from tocsin.assess.window import Window
from tocsin.domain.findings import Judgement, Verdict
from tocsin.domain.samples import Look, Sample

# Those that add up by key have a panel of their own, test_heavy_hitter.py.
KINDS = [
    kind
    for kind in sorted(DETECTORS)
    if DETECTORS[kind].config.needs == "samples" and kind != "heavy_hitter"
]
# What follows length is told by another panel than the rest.
RELATED = {"correlation"}
COMPARED = sorted(set(KINDS) - RELATED)
MINUTE = 29_000_160


def calls(rng: np.random.Generator, n: int, **changed: object) -> Sample:
    """Answers of one model to prompts of two versions."""
    said = {"typical": 150.0, "refusing": 0.02, "format": ("prose", "list"), "asked": 300.0,
            "model": "gpt", "unknown": 0.0, "slow": 1.0, "constant": False,
            "related": 1.0} | changed  # fmt: skip
    prompt = rng.lognormal(np.log(said["asked"]), 0.6, n)
    # Longer questions have longer answers.
    output = said["typical"] * (prompt / 300.0) ** 0.5 * rng.lognormal(0, 0.4, n)
    if said["constant"]:
        output = np.full(n, 100.0)
    gone = rng.random(n) < said["unknown"]
    relation = float(said["related"])
    quality = rng.beta(4, 2, n)
    noise = rng.random(n)
    numbers = {
        "score:quality": quality,
        "score:outcome": (noise > relation * quality + (1 - relation) * quality.mean()) * 1.0,
        "input_tokens": prompt, "output_tokens": output, "output_chars": output * 4,
        "duration_ms": output * 20 * said["slow"], "ms_per_output_token": 20 * said["slow"]
        * rng.lognormal(0, 0.3, n), "first_token_share": rng.beta(2, 8, n),
    }  # fmt: skip
    columns = {
        name: tuple(None if g else float(v) for v, g in zip(values, gone, strict=True))
        for name, values in numbers.items()
    }
    columns |= {
        "model": (said["model"],) * n,
        "prompt_version": tuple(rng.choice(["v1", "v2"], n).tolist()),
        "output_format": tuple(rng.choice(said["format"], n).tolist()),
        "refusal": tuple(np.where(rng.random(n) < said["refusing"], "yes", "no").tolist()),
        "finish_reason": ("stop",) * n,
        "response_model": ("gpt-1",) * n,
    }
    return Sample(columns, tuple((f"{i:032x}", f"{i:016x}") for i in range(n)))


def look(kind: str, seed: int = 0, sizes: tuple[int, int] = (1000, 600), **changed: object):
    """The verdict about a window in which something `changed`, None when all is well."""
    rng = np.random.default_rng(seed)
    config = DETECTORS[kind].config()
    monitor = Monitor(f"detector/{kind}", kind, "svc", kind, "ticket", None, None, config,
                      {"env": "prod"})  # fmt: skip
    wish, window = config.wish("svc"), Window([monitor])
    usual = {"constant": True} if changed.get("constant") else {}
    window.looks[wish] = Look(
        wish.boundary(MINUTE), calls(rng, sizes[0], **usual), calls(rng, sizes[1], **changed)
    )
    (group,) = compile_monitors([monitor]).groups
    found = group.judge(window, MINUTE)
    assert group.judge(window, MINUTE) == found
    return found[0] if found else None


def breaches(kind: str, **changed: object) -> list[Verdict]:
    found = [look(kind, seed, **changed) for seed in range(5)]
    return [v for v in found if v is not None and v.judgement is Judgement.BREACH]


@pytest.mark.parametrize("kind", KINDS)
def test_it_seldom_cries_wolf(kind: str) -> None:
    alarms = [look(kind, seed, sizes=(500, 250)) for seed in range(60)]
    assert sum(v is not None and v.judgement is Judgement.BREACH for v in alarms) <= 2


@pytest.mark.parametrize("kind", COMPARED)
def test_longer_answers_are_found(kind: str) -> None:
    found = breaches(kind, typical=260.0)
    assert len(found) == 5
    assert "output_tokens" in found[0].reason


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("changed", [{}, {"constant": True}, {"unknown": 0.02}])
def test_it_is_quiet_when_nothing_changed(kind: str, changed: dict[str, object]) -> None:
    assert not breaches(kind, **changed)


@pytest.mark.parametrize("kind", KINDS)
def test_few_calls_are_unknown_with_a_reason(kind: str) -> None:
    verdict = look(kind, sizes=(1000, 12))
    assert verdict is not None
    assert verdict.judgement is Judgement.UNKNOWN
    assert "too few sessions" in verdict.reason
    assert "12" in verdict.reason


@pytest.mark.parametrize("kind", KINDS)
def test_what_cannot_be_read_is_unknown(kind: str) -> None:
    config = DETECTORS[kind].config()
    monitor = Monitor("detector/x", "x", "svc", kind, "ticket", None, None, config)
    window, wish = Window([monitor]), config.wish("svc")
    (group,) = compile_monitors([monitor]).groups
    assert [v.reason for v in group.judge(window, MINUTE)] == ["not looked at yet"]
    window.looks[wish] = Look(MINUTE, problem="calls could not be read: no disk")
    assert [v.reason for v in group.judge(window, MINUTE)] == ["calls could not be read: no disk"]


@pytest.mark.parametrize("kind", COMPARED)
def test_its_verdicts_are_complete(kind: str) -> None:
    verdict = breaches(kind, typical=300.0)[0]
    assert (verdict.monitor, verdict.service, verdict.signal) == (f"detector/{kind}", "svc", kind)
    assert verdict.minute == MINUTE
    assert verdict.labels == {"env": "prod"}
    assert verdict.value > 0.1
    assert verdict.score >= 2
    assert "\n" not in verdict.reason
    lead = verdict.evidence["features"][0]
    assert lead["drifted"]
    assert lead["examples"][0].count("/") == 1


@pytest.mark.parametrize("settings", [
    {"window_hours": 0}, {"reference_days": 40}, {"every_minutes": 1}, {"most": 10},
    {"min_calls": 5}, {"level": 0.9}, {"min_share": 2.0}, {"since": "2026-01-01"},
    {"since": "2026-02-01T00:00:00Z", "until": "2026-01-01T00:00:00Z"},
    {"since": "spring", "until": "summer"},
])  # fmt: skip
@pytest.mark.parametrize("kind", KINDS)
def test_settings_that_cannot_work_are_refused(kind: str, settings: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        DETECTORS[kind].config(**settings)


def test_a_reference_that_stays_is_read_as_declared() -> None:
    config = DETECTORS["drift"].config(since="2026-01-01T00:00:00Z", until="2026-01-08T00:00:00Z")
    reference, window = config.wish("svc").spans(MINUTE)
    assert reference[1] - reference[0] == 7 * 1440
    assert window == (MINUTE - 1440, MINUTE)


def test_drift_sees_categories_missing_values_and_vectors() -> None:
    assert "finish" not in str(breaches("drift"))
    gone = breaches("drift", unknown=0.4)
    assert len(gone) == 5
    assert "(missing)" in gone[0].reason
    config = DETECTORS["drift"].config(features=("embedding",), of_kind="embedding")
    rng = np.random.default_rng(0)

    def vectors(n: int, shift: float, width: int = 8) -> Sample:
        rows = tuple(tuple(row) for row in (rng.normal(size=(n, width)) + shift).tolist())
        return Sample({"embedding": rows}, (("t", "s"),) * n)

    monitor = Monitor("detector/e", "e", "svc", "drift", "ticket", None, None, config)
    window, wish = Window([monitor]), config.wish("svc")
    for now, expected in ((vectors(300, 0.8), "embedding drifted"),
                          (vectors(300, 0.0, 9), "embedding model was exchanged")):  # fmt: skip
        window.looks[wish] = Look(MINUTE, vectors(500, 0.0), now)
        (verdict,) = compile_monitors([monitor]).groups[0].judge(window, MINUTE)
        assert expected in verdict.reason
    with pytest.raises(ValueError, match="there is no feature 'mood'"):
        DETECTORS["drift"].config(features=("mood",))


@pytest.mark.parametrize("changed", [
    {"refusing": 0.3}, {"format": ("json",)}, {"typical": 80.0},
])  # fmt: skip
def test_a_model_that_answers_differently_is_found(changed: dict[str, object]) -> None:
    found = breaches("model_change", **changed)
    assert len(found) >= 4
    assert found[0].reason.startswith("gpt answers differently, asked the same: ")


def test_other_questions_are_no_other_model() -> None:
    """Prompts twice as long have longer answers: drift, but not of the model."""
    assert not breaches("model_change", asked=600.0)
    assert len(breaches("drift", asked=600.0)) == 5


def test_a_slow_hour_is_no_other_model() -> None:
    assert not breaches("model_change", slow=2.0)


def test_a_new_model_has_no_past_to_be_compared_with() -> None:
    verdict = look("model_change", model="gpt-next")
    assert verdict is not None
    assert verdict.judgement is Judgement.UNKNOWN
    assert "gpt-next: too few sessions" in verdict.reason


def test_prompts_that_changed_altogether_make_it_unknown() -> None:
    verdict = look("model_change", asked=9000.0)
    assert verdict is not None
    assert verdict.reason == "gpt: prompts changed too much to compare answers"


def test_an_outcome_that_no_longer_follows_quality_is_found_and_told() -> None:
    found = [look("correlation", seed, (2000, 1200), related=0.2) for seed in range(5)]
    assert sum(v is not None and v.judgement is Judgement.BREACH for v in found) >= 4
    verdict = next(v for v in found if v is not None)
    assert verdict.value > verdict.expected  # from -0.4 towards 0
    assert verdict.evidence["pairs"] == [2000, 1200]
    assert verdict.score >= 2
    assert verdict.reason.startswith("score:outcome follows score:quality less: correlation -0.")


def test_a_relation_that_was_none_is_unknown_and_one_that_grows_rings_for_nobody() -> None:
    rng = np.random.default_rng(2)
    config = DETECTORS["correlation"].config()
    monitor = Monitor("detector/c", "c", "svc", "correlation", "ticket", None, None, config)
    window, wish = Window([monitor]), config.wish("svc")
    (group,) = compile_monitors([monitor]).groups
    for before, now, told in ((0.0, 1.0, "no relation that could weaken"), (0.6, 1.0, None)):
        window.looks[wish] = Look(MINUTE, calls(rng, 1500, related=before),
                                  calls(rng, 1500, related=now))  # fmt: skip
        found = group.judge(window, MINUTE)
        assert (told in found[0].reason) if told else found == []
    window.looks[wish] = Look(MINUTE, calls(rng, 500), calls(rng, 500, unknown=0.99))
    assert "too few calls have both" in group.judge(window, MINUTE)[0].reason


@pytest.mark.parametrize("shape", ["normal", "binary", "heavy"])
def test_the_relation_of_two_windows_differs_by_chance_as_often_as_it_says(shape: str) -> None:
    rng = np.random.default_rng(7)

    def pairs(n: int) -> tuple[np.ndarray, np.ndarray]:
        first = rng.standard_t(2, n) if shape == "heavy" else rng.normal(size=n)
        second = 0.5 * first + rng.normal(size=n)
        return first, (second > 0.3) * 1.0 if shape == "binary" else second

    alarms = [weakening(relation(*pairs(600)), relation(*pairs(150))) >= 1.301 for _ in range(1000)]
    assert 0.025 <= np.mean(alarms) <= 0.085
