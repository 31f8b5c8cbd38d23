"""Detector documents of gauges."""

from __future__ import annotations

from pathlib import Path

import pytest

from tocsin.assess.detectors import VolumeDropConfig
from tocsin.assess.gauges.slices import SlicesConfig
from tocsin.domain.errors import SpecError
from tocsin.indicators.catalogue import DURATIONS
from tocsin.spec.desired import load
from tocsin.spec.detector_presets import PRESETS

SERVICE = "apiVersion: tocsin/v1\nkind: Service\nmetadata: {name: svc}\nspec: {team: t}\n---\n"


def monitor(tmp_path: Path, spec: str):
    text = f"apiVersion: tocsin/v1\nkind: Detector\nmetadata: {{name: d}}\nspec: {spec}\n"
    path = tmp_path / "d.yaml"
    path.write_text(SERVICE + text)
    (found,) = load([path]).monitors
    return found


def test_a_volume_needs_no_indicator(tmp_path: Path) -> None:
    found = monitor(tmp_path, "{service: svc, use: volume_drop}")
    assert found.method == VolumeDropConfig()
    assert (found.signal, found.title) == ("volume", "svc: Number of calls")
    assert found.series is not None


def test_a_percentile_takes_no_indicator(tmp_path: Path) -> None:
    found = monitor(tmp_path, "{service: svc, use: committee, with: {measure: p99}}")
    assert (found.signal, found.series) == ("latency_p99", None)
    with pytest.raises(SpecError, match="remove indicator"):
        monitor(tmp_path, "{service: svc, use: committee, indicator: {use: errors}}")


def test_a_share_needs_one(tmp_path: Path) -> None:
    share = "with: {measure: share, limit: 0.2}"
    found = monitor(
        tmp_path, f"{{service: svc, use: static_threshold, indicator: {{use: errors}}, {share}}}"
    )
    assert found.signal == "error_rate"
    with pytest.raises(SpecError, match="add indicator"):
        monitor(tmp_path, f"{{service: svc, use: static_threshold, {share}}}")


def test_a_mean_is_of_a_value_of_calls(tmp_path: Path) -> None:
    found = monitor(
        tmp_path,
        "{service: svc, use: committee, value: elapsed, kind: retriever, with: {measure: mean}}",
    )
    assert found.title == "svc: Mean of elapsed of retriever calls"
    assert found.signal == "latency_p95"
    assert found.ratio is not None
    assert found.ratio.kind == "retriever"
    mean = "with: {measure: mean}"
    for spec, words in (
        (mean, "add value"),
        (f"value: model, {mean}", "is no number"),
        (f"value: cost_used, {mean}", "did you mean"),
        (f"value: cost_usd, indicator: {{use: errors}}, {mean}", "remove indicator"),
        ("value: cost_usd", "belong to with"),
    ):
        with pytest.raises(SpecError, match=words):
            monitor(tmp_path, f"{{service: svc, use: committee, {spec}}}")


def test_segments_of_a_gauge_are_each_judged_by_the_same_detector(tmp_path: Path) -> None:
    path = tmp_path / "d.yaml"
    text = "apiVersion: tocsin/v1\nkind: Detector\nmetadata: {name: d}\nspec: "
    path.write_text(
        SERVICE + text + "{service: svc, use: committee, value: latency_ms,"
        " with: {measure: mean}, segments: {by: [region, model], severity: page}}\n"
    )
    whole, sliced = load([path]).monitors
    assert sliced.method == SlicesConfig(by=("region", "model"), inner=whole.method)
    assert (sliced.name, sliced.severity) == ("detector/d/segments", "page")
    assert sliced.ratio == whole.ratio
    path.write_text(f"{SERVICE}{text}{{service: svc, use: committee, segments: {{by: region}}}}\n")
    whole, sliced = load([path]).monitors
    assert (whole.series, sliced.method.inner) == (None, whole.method)
    assert (sliced.ratio, sliced.signal) == (DURATIONS.ratio, "latency_p95")
    assert sliced.title == "svc: p95 latency, by region"
    for spec, words in (
        ("use: committee, metric: {name: m}, segments: {by: a}", "name them under labels"),
        ("use: volume_drop, segments: {by: a, fdr: 0.1}", "remove fdr"),
    ):
        with pytest.raises(SpecError, match=words):
            monitor(tmp_path, f"{{service: svc, {spec}}}")


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_every_preset_is_a_detector_and_stands_in_the_guide(tmp_path: Path, name: str) -> None:
    path = tmp_path / "d.yaml"
    text = "apiVersion: tocsin/v1\nkind: Detector\nmetadata: {name: d}\nspec: "
    path.write_text(f"{SERVICE}{text}{{services: '*', preset: {name}, severity: page}}\n")
    found = load([path])
    assert found.monitors[0].method.kind == PRESETS[name].spec["use"]
    assert found.monitors[0].severity == "page"
    guide = Path(__file__).parents[2] / "docs" / "guides" / "detectors.md"
    assert f"| `{name}` | {PRESETS[name].about} |" in guide.read_text("utf-8")


def test_settings_of_a_preset_are_changed_one_by_one(tmp_path: Path) -> None:
    preset = "{service: svc, preset: latency-tripled, with: {k: 1.0}}"
    found = monitor(tmp_path, preset).method
    assert (found.k, found.over, found.measure) == (1.0, 15, "p95")
    for wrong, words in (
        ("preset: latency-trippled", "did you mean 'latency-tripled'"),
        ("severity: page", "give use: the kind of detector, or a preset"),
        ("preset: latency-tripled, with: {k: many}", "k"),
    ):
        with pytest.raises(SpecError, match=words):
            monitor(tmp_path, f"{{service: svc, {wrong}}}")
