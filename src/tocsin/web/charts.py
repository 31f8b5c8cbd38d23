"""The band chart: what was measured, what was expected, where it went wrong, what changed.

Lines live in a nested drawing that stretches with the page; text, points and markers are placed by
percentage, so type keeps its size at every width. Axis labels stand outside the drawing's box: its
surroundings leave GUTTER pixels on the left and FOOT below. The measured values travel along in
`data-` attributes of the surrounding element for the hover card (see static/tocsin.js).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from markupsafe import Markup

from tocsin.reports.marks import element, number, picture
from tocsin.web import format as fmt
from tocsin.web import scale
from tocsin.web.svg import Floats, area_path, line_path
from tocsin.web.views import ChartView, Marker

_WIDE, _HIGH = 2400.0, 1000.0
GUTTER, FOOT = 56, 28
_MARKER_LEVELS = 3
_LABEL_LENGTH = 32


@dataclass(frozen=True, slots=True)
class Frame:
    """Maps instants and values to percent of the plot."""

    start: datetime
    stop: datetime
    ticks: tuple[float, ...]

    @property
    def whole(self) -> timedelta:
        """The time range; never empty."""
        return max(self.stop - self.start, timedelta(seconds=1))

    def x(self, at: datetime) -> float:
        """Percent from the left, clipped to the plot."""
        return min(max((at - self.start) / self.whole * 100, 0.0), 100.0)

    def y(self, value: float) -> float:
        """Percent from the top, clipped to the plot."""
        low, high = self.ticks[0], self.ticks[-1]
        return min(max((high - value) / (high - low) * 100, 0.0), 100.0)

    def rows(self, values: Floats) -> Floats:
        """Values in the units of the stretched drawing; NaN stays NaN."""
        low, high = self.ticks[0], self.ticks[-1]
        return np.clip((high - values) / (high - low), 0.0, 1.0) * _HIGH


def band_chart(view: ChartView, *, height: int = 250) -> Markup:
    """The chart, or a box that says why there is none. height: of the plot, in pixels."""
    frame = _frame(view)
    if frame is None:
        reason = view.reason or "No data in this window"
        text = element("text", reason, x="50%", y="50%", text_anchor="middle")
        return picture(f"{view.title}: {reason}", text, class_="chart empty", height=height)
    return picture(
        describe(view),
        *_shades(view, frame),
        *_grid(view, frame),
        _lines(view, frame),
        *_threshold(view, frame),
        *_points(view, frame),
        *_markers(view.changes, frame),
        element("g", class_="cursor"),
        element("rect", class_="hit", width="100%", height="100%"),
        class_=f"chart t-{view.tone}",
        height=height,
        overflow="visible",
    )


def describe(view: ChartView) -> str:
    """The chart in a sentence or two, for those who cannot see it."""
    values = view.series.values
    known = values[np.isfinite(values)]
    if not len(known):
        return f"{view.title}: no data"

    def say(value: float) -> str:
        return fmt.quantity(float(value), view.unit)

    text = (
        f"{view.title} from {fmt.moment(view.series.start)} to {fmt.moment(view.series.stop)} UTC: "
        f"last {say(known[-1])}, lowest {say(known.min())}, highest {say(known.max())}."
    )
    if view.low is not None and view.high is not None:
        both = np.flatnonzero(np.isfinite(view.low) & np.isfinite(view.high))
        if len(both):
            text += f" Expected at the end {say(view.low[both[-1]])} to {say(view.high[both[-1]])}."
    if view.anomalous is not None and view.anomalous.any():
        text += f" {fmt.plural(int(view.anomalous.sum()), 'anomalous point')}."
    for marker in view.changes:
        text += f" {fmt.moment(marker.at)}: {marker.label}."
    return text


def hover_data(view: ChartView) -> dict[str, str]:
    """`data-` attributes for the script: start, step, unit, measure, comma-separated values."""
    data = {
        "data-start": str(int(view.series.start.timestamp())),
        "data-step": str(view.series.step_s),
        "data-unit": view.unit,
        "data-name": view.title,
        "data-values": _csv(view.series.values),
    }
    if view.measure:
        data["data-measure"] = view.measure
    if view.low is not None and view.high is not None:
        data["data-low"], data["data-high"] = _csv(view.low), _csv(view.high)
    for index, (name, series) in enumerate(view.extra):
        data[f"data-extra{index}"] = _csv(series.values)
        data[f"data-extra{index}-name"] = name
    return data


def _csv(values: Floats) -> str:
    return ",".join("" if not np.isfinite(v) else f"{v:.4g}" for v in values.tolist())


def _frame(view: ChartView) -> Frame | None:
    series = [view.series.values, *(extra.values for _, extra in view.extra)]
    if not any(np.isfinite(values).any() for values in series):
        return None
    arrays = [*series, *(a for a in (view.low, view.high) if a is not None)]
    known = np.concatenate([a[np.isfinite(a)] for a in arrays])
    top = float(known.max())
    if view.threshold is not None:
        top = max(top, view.threshold)
    low = min(float(known.min()), 0.0)
    return Frame(view.series.start, view.series.stop, scale.value_ticks(low, top))


def _grid(view: ChartView, frame: Frame) -> Sequence[Markup]:
    parts = []
    for value in frame.ticks:
        y = f"{number(frame.y(value))}%"
        parts.append(element("line", class_="grid", x1=0, x2="100%", y1=y, y2=y))
        text = scale.tick_label(value, frame.ticks, view.unit)
        parts.append(element("text", text, class_="axis", x=-8, y=y, dy=".35em", text_anchor="end"))
    for index, at in enumerate(scale.time_ticks(frame.start, frame.stop)):
        x = frame.x(at)
        anchor = "start" if x < 1 else "end" if x > 99 else "middle"
        parts.append(
            element(
                "text",
                scale.time_label(at, frame.whole),
                class_="axis odd" if index % 2 else "axis",
                x=f"{number(x)}%",
                y="100%",
                dy=20,
                text_anchor=anchor,
            )
        )
    return parts


def _shades(view: ChartView, frame: Frame) -> Sequence[Markup]:
    shades = []
    for start, stop in view.anomalies:
        left, right = frame.x(start), frame.x(stop or frame.stop)
        shades.append(
            element(
                "rect",
                class_="shade",
                x=f"{number(left)}%",
                width=f"{number(max(right - left, 0.3))}%",
                height="100%",
            )
        )
    return shades


def _lines(view: ChartView, frame: Frame) -> Markup:
    def columns(count: int) -> Floats:
        return np.linspace(0.0, _WIDE, count) if count > 1 else np.array([0.0])

    x = columns(len(view.series.values))
    parts = []
    if view.low is not None and view.high is not None:
        band = area_path(x, frame.rows(view.high), frame.rows(view.low))
        parts.append(element("path", class_="band", d=band))
    if view.expected is not None:
        parts.append(element("path", class_="expected", d=line_path(x, frame.rows(view.expected))))
    for index, (_, series) in enumerate(view.extra):
        rows = frame.rows(series.values)
        path = line_path(columns(len(rows)), rows)
        parts.append(element("path", class_=f"line extra{index}", d=path))
    parts.append(element("path", class_="line", d=line_path(x, frame.rows(view.series.values))))
    return element(
        "svg",
        *parts,
        view_box=f"0 0 {number(_WIDE)} {number(_HIGH)}",
        preserve_aspect_ratio="none",
        width="100%",
        height="100%",
        overflow="visible",
    )


def _threshold(view: ChartView, frame: Frame) -> Sequence[Markup]:
    if view.threshold is None:
        return ()
    place = frame.y(view.threshold)
    y = f"{number(place)}%"
    label = view.threshold_label or fmt.quantity(view.threshold, view.unit)
    return (
        element("line", class_="threshold", x1=0, x2="100%", y1=y, y2=y),
        element("text", label, class_="threshold", x=6, y=y, dy=-5 if place > 8 else 14),
    )


def _points(view: ChartView, frame: Frame) -> Sequence[Markup]:
    if view.anomalous is None:
        return ()
    values = view.series.values
    last = max(len(values) - 1, 1)
    return [
        element(
            "circle",
            class_="anomaly",
            cx=f"{number(index * 100 / last)}%",
            cy=f"{number(frame.y(float(values[index])))}%",
            r=3,
        )
        for index in np.flatnonzero(view.anomalous & np.isfinite(values)).tolist()
    ]


def _markers(changes: Sequence[Marker], frame: Frame) -> Sequence[Markup]:
    parts = []
    inside = [marker for marker in changes if frame.start <= marker.at <= frame.stop]
    inside.sort(key=lambda marker: marker.at)  # the newest are labelled
    for index, marker in enumerate(inside):
        x = frame.x(marker.at)
        place = f"{number(x)}%"
        parts.append(element("line", class_="change", x1=place, x2=place, y1=0, y2="100%"))
        if index >= len(inside) - _MARKER_LEVELS:
            level = index - max(len(inside) - _MARKER_LEVELS, 0)
            text = fmt.short(marker.label, _LABEL_LENGTH)
            parts.append(
                element(
                    "text",
                    element("title", f"{fmt.moment(marker.at)} UTC: {marker.label}"),
                    text,
                    class_="change",
                    x=place,
                    y=9 + 15 * level,
                    dx=-6 if x > 50 else 6,
                    text_anchor="end" if x > 50 else "start",
                )
            )
    return parts
