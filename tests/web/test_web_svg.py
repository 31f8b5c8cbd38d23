from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tocsin.reports import marks
from tocsin.web import charts, svg
from tocsin.web.tone import Tone
from tocsin.web.views import (
    ChartView,
    HistogramView,
    Marker,
    Series,
)

START = datetime(2026, 3, 2, tzinfo=UTC)
NAN = float("nan")

measured = arrays(
    np.float64,
    st.integers(0, 80),
    elements=st.one_of(st.just(NAN), st.floats(-1e12, 1e12), st.just(0.0)),
)
shares = st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True))


def chart(values: object, **more: object) -> ChartView:
    array = np.asarray(values, dtype=np.float64)
    return ChartView("support", "p95 latency", "s", Series(START, 300, array), **more)


def check(drawing: str) -> ElementTree.Element:
    """Well-formed, named, and free of anything that is not a number."""
    root = ElementTree.fromstring(drawing)
    assert root.tag == "svg"
    assert root.get("role") == "img"
    assert root.get("aria-label")
    assert root.get("style") is None
    for node in root.iter():
        for name, value in node.attrib.items():
            if name != "aria-label":
                assert not re.search(r"\bnan\b|\binf|None", value), f"{name}={value}"
    return root


@given(measured)
def test_a_sparkline_never_draws_what_is_not_a_number(values: np.ndarray) -> None:
    root = check(svg.sparkline(values, label="p95", tone=Tone.OK))
    empty = "empty" in root.get("class", "").split()
    assert empty == (not np.isfinite(values).any())


@given(shares)
def test_rings_and_bars_never_draw_what_is_not_a_number(share: float | None) -> None:
    for drawing in (
        svg.ring(share, label="budget", tone=Tone.OK),
        svg.bar(share, label="budget", tone=Tone.OK),
    ):
        root = check(drawing)
        unknown = share is None or not np.isfinite(share)
        assert ("t-unknown" in root.get("class", "")) == unknown


@given(measured, st.one_of(st.none(), st.floats(-1e9, 1e9)))
def test_a_band_chart_never_draws_what_is_not_a_number(
    values: np.ndarray, threshold: float | None
) -> None:
    view = chart(
        values,
        low=values - 1,
        high=values + 1,
        expected=values,
        anomalous=np.ones(len(values), bool),
        threshold=threshold,
    )
    root = check(charts.band_chart(view))
    circles = [n for n in root.iter("circle") if n.get("class") == "anomaly"]
    assert len(circles) == np.isfinite(values).sum()


def test_the_same_input_gives_the_same_bytes() -> None:
    values = np.random.default_rng(1).random(50)
    assert svg.sparkline(values, label="a", tone=Tone.OK) == svg.sparkline(
        values.copy(), label="a", tone=Tone.OK
    )


def test_a_sparkline_has_exactly_this_structure() -> None:
    drawn = svg.sparkline(np.array([0.0, 1.0, NAN, 0.5]), label="p95", tone=Tone.WARN, height=25)
    assert drawn == (
        '<svg role="img" aria-label="p95" class="spark t-warn" viewBox="0 0 1200 100" '
        'preserveAspectRatio="none" height="25">'
        '<path d="M0 92l400-84 0 92-400 0zM1200 50l0 50z" class="area"/>'
        '<path d="M0 92l400-84M1200 50h0" class="line"/></svg>'
    )


def test_a_gap_is_drawn_as_a_gap_and_a_lonely_point_as_a_dot() -> None:
    path = svg.line_path(np.arange(6.0), np.array([1.0, 2.0, NAN, 3.0, NAN, 4.0]))
    assert path == "M0 1l1 1M3 3h0M5 4h0"


def test_a_ring_at_62_percent_has_exactly_this_structure() -> None:
    root = check(svg.ring(0.62, label="error budget left: 62 %", tone=Tone.WARN))
    track, arc = root.findall("circle")
    assert track.get("class") == "track"
    assert arc.get("stroke-dasharray") == "62 100"
    assert arc.get("pathLength") == "100"
    assert [text.text for text in root.findall("text")] == ["62", "% left"]


def test_an_overspent_budget_shows_an_empty_ring_and_a_negative_number() -> None:
    root = check(svg.ring(-0.12, label="x", tone=Tone.BAD))
    assert len(root.findall("circle")) == 1
    assert root.findall("text")[0].text == "−12"


def test_an_unknown_ring_is_grey_and_dashed_whatever_tone_was_asked_for() -> None:
    root = check(svg.ring(None, label="unknown", tone=Tone.OK))
    assert root.get("class") == "ring t-unknown"
    assert root.find("circle").get("stroke-dasharray") == "3 4"
    assert root.find("text").text == "–"


@pytest.mark.parametrize(
    ("share", "width"), [(0.06, "6%"), (1.4, "100%"), (0.5, "50%"), (0.12345, "12.35%")]
)
def test_a_bar_is_as_long_as_its_share(share: float, width: str) -> None:
    root = check(svg.bar(share, label="x", tone=Tone.OK))
    assert root.find("rect[@class='fill']").get("width") == width


def test_a_spent_budget_leaves_the_track_only() -> None:
    assert check(svg.bar(-0.3, label="x", tone=Tone.BAD)).find("rect[@class='fill']") is None


def test_a_strip_says_by_height_what_it_says_by_colour() -> None:
    root = check(svg.strip(list(Tone), label="x", titles=("fine",)))
    heights = {n.get("class"): float(n.get("height")) for n in root.findall("rect")}
    assert heights["t-bad"] > heights["t-warn"] > heights["t-ok"] > heights["t-unknown"]
    assert root.find("rect/title").text == "fine"


def test_a_histogram_draws_one_column_per_filled_bin_and_its_marks() -> None:
    view = HistogramView((0.1, 0.2, 0.4, 0.8), (3, 0, 1), marks=(("p95", 0.6), ("max", 9.0)))
    root = check(svg.histogram(view, label="latency"))
    columns = root.findall("rect")
    assert [c.find("title").text for c in columns] == [
        "100 ms to 200 ms: 3 calls",
        "400 ms to 800 ms: 1 call",
    ]
    assert float(columns[0].get("height")) == pytest.approx(
        3 * float(columns[1].get("height")), abs=0.02
    )
    marks = [n.get("x1") for n in root.findall("line")]
    assert marks == ["83.33%", "100%"]


@pytest.mark.parametrize(
    "drawn",
    [
        svg.histogram(HistogramView((0.0, 1.0), (0,)), label="latency"),
        svg.strip([], label="history"),
        svg.sparkline(np.array([]), label="p95", tone=Tone.OK),
        svg.sparkline(None, label="p95", tone=Tone.OK),
        charts.band_chart(chart([])),
        charts.band_chart(chart([NAN, NAN], reason="no calls for 3 h")),
    ],
)
def test_no_data_is_an_explicit_empty_state(drawn: str) -> None:
    root = check(drawn)
    assert "empty" in root.get("class", "").split()
    label = root.get("aria-label", "")
    assert "no data" in label or "no calls" in label or "No data" in label


def test_text_from_outside_is_escaped() -> None:
    view = chart([1.0, 2.0], changes=(Marker(START, '<script>"&'),))
    drawn = charts.band_chart(view)
    assert "<script>" not in drawn
    check(drawn)


def test_a_band_chart_holds_every_part_it_was_given() -> None:
    values = np.linspace(1, 5, 289)
    stop = START + timedelta(days=1)
    view = chart(
        values,
        low=values * 0.8,
        high=values * 1.2,
        expected=values,
        anomalous=np.arange(289) >= 287,
        anomalies=((stop - timedelta(hours=6), None),),
        changes=(Marker(stop - timedelta(hours=6), "prompt v42 deployed"),),
        threshold=4.0,
        threshold_label="objective 4 s",
        tone=Tone.BAD,
    )
    root = check(charts.band_chart(view))
    inner = root.find("svg")
    assert [p.get("class") for p in inner.findall("path")] == ["band", "expected", "line"]
    shade = root.find("rect[@class='shade']")
    assert (shade.get("x"), shade.get("width")) == ("75%", "25%")
    assert root.find("line[@class='change']").get("x1") == "75%"
    assert root.find("text[@class='threshold']").text == "objective 4 s"
    axis = [t.text for t in root.findall("text") if t.get("class", "").startswith("axis")]
    assert axis == ["0 s", "2 s", "4 s", "6 s", "00:00", "03:00", "06:00", "09:00", "12:00",
                    "15:00", "18:00", "21:00", "00:00"]  # fmt: skip
    assert len(root.findall("circle")) == 2


def test_the_newest_changes_are_labelled_in_whatever_order_they_come() -> None:
    newest_first = [Marker(START + timedelta(minutes=m), f"v{m}") for m in range(8, 0, -1)]
    root = check(charts.band_chart(chart(np.ones(100), changes=tuple(newest_first))))
    told = [t.find("title").tail for t in root.findall("text[@class='change']")]
    assert told[-1] == "v8"
    assert "v1" not in told


def test_the_label_of_a_chart_tells_its_story_in_words() -> None:
    view = chart(
        [1.0, 2.0, 4.0],
        low=np.array([0.5, 0.5, 1.2]),
        high=np.array([1.5, 1.5, 1.9]),
        anomalous=np.array([False, False, True]),
        changes=(Marker(START, "prompt v42"),),
    )
    assert charts.describe(view) == (
        "p95 latency from 2026-03-02 00:00:00 to 2026-03-02 00:10:00 UTC: last 4.0 s, lowest "
        "1.0 s, highest 4.0 s. Expected at the end 1.2 s to 1.9 s. 1 anomalous point. "
        "2026-03-02 00:00:00: prompt v42."
    )


def test_the_hover_card_gets_the_values_and_blanks_for_gaps() -> None:
    data = charts.hover_data(chart([1.0, NAN, 0.123456]))
    assert data["data-values"] == "1,,0.1235"
    assert data["data-start"] == str(int(START.timestamp()))
    assert "data-low" not in data


def test_a_number_that_cannot_be_drawn_is_an_error_not_a_broken_page() -> None:
    with pytest.raises(ValueError, match="cannot draw nan"):
        marks.number(NAN)
