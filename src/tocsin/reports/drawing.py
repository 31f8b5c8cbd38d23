"""What reports draw beside their numbers. Colours are attributes: not every reader knows styles."""

from __future__ import annotations

from collections.abc import Callable

from markupsafe import Markup

from tocsin.reports.marks import element, picture
from tocsin.reports.report import Bars, Measure

COLOURS = {
    "ok": "#1c9a6a", "warn": "#c67a06", "bad": "#d32a3f", "unknown": "#99a0b5", "": "#3454d1",
}  # fmt: skip
_TRACK, _SOFT = "#dfe3ee", "#6b7390"
Shown = Callable[[Measure], str]


def interval(measure: Measure, shown: Shown) -> Markup:
    """A value in its interval, beside its limit; the scale is that of the three."""
    known = [v for v in (measure.low, measure.high, measure.value, measure.limit) if v is not None]
    least, most = min(known), max(known)
    width, height, pad = 96.0, 14.0, 5.0

    def place(value: float) -> float:
        return pad + (width - 2 * pad) * ((value - least) / (most - least) if most > least else 0.5)

    colour, middle = COLOURS[measure.tone], height / 2
    low, high, value, limit = (
        place(v if v is not None else least)
        for v in (measure.low, measure.high, measure.value, measure.limit)
    )
    label = f"{shown(measure)}, held against {shown(_at_limit(measure))}"
    return picture(
        label,
        element("line", x1=0, x2=width, y1=middle, y2=middle, stroke=_TRACK, stroke_width=2),
        element("line", x1=low, x2=high, y1=middle, y2=middle, stroke=colour, stroke_width=4,
                stroke_linecap="round"),
        element("line", x1=limit, x2=limit, y1=1, y2=height - 1, stroke=_SOFT, stroke_width=1.5),
        element("circle", cx=value, cy=middle, r=3.2, fill=colour),
        width=width, height=height, view_box=f"0 0 {width:g} {height:g}", class_="mark",
    )  # fmt: skip


def left(measure: Measure, shown: Shown) -> Markup:
    """A bar of what is left of a budget; empty when it is overspent."""
    width, height = 96.0, 6.0
    share = min(max(measure.value or 0.0, 0.0), 1.0)
    round_ = {"height": height, "rx": 3.0}
    return picture(
        f"{shown(measure)} left",
        element("rect", width=width, fill=_TRACK, **round_),
        element("rect", width=width * share, fill=COLOURS[measure.tone], **round_) if share else "",
        width=width, height=height, view_box=f"0 0 {width:g} {height:g}", class_="mark",
    )  # fmt: skip


def bars(chart: Bars, shown: Shown) -> Markup:
    """Columns from 0 up, with intervals as whiskers; what is unknown is a dashed stub."""
    width, height, foot, head = 720.0, 150.0, 20.0, 14.0
    known = [m for m in chart.values if m.value is not None]
    if not known:
        text = element("text", "nothing is known", x=width / 2, y=height / 2, fill=_SOFT,
                       text_anchor="middle", font_size=12)  # fmt: skip
        return picture(f"{chart.title}: nothing is known", text, **_frame(width, 60))
    tops = [v for m in known for v in (m.value, m.high) if v is not None]
    most = max([*tops, chart.limit or 0.0]) or 1.0
    margin = 50.0 if chart.limit is not None else 0.0
    body, pitch = height - foot - head, (width - margin) / len(chart.values)
    parts: list[Markup] = []

    def up(value: float) -> float:
        return head + body * (1 - min(value / most, 1))

    for at, measure in enumerate(chart.values):
        x, middle = at * pitch + pitch * 0.12, (at + 0.5) * pitch
        if measure.value is None:
            parts.append(element(
                "line", element("title", f"{chart.labels[at]}: {measure.unknown}"),
                x1=x, x2=x + pitch * 0.76, y1=head + body - 1, y2=head + body - 1,
                stroke=COLOURS["unknown"], stroke_width=2, stroke_dasharray="3 3",
            ))  # fmt: skip
            continue
        parts.append(element(
            "rect", element("title", f"{chart.labels[at]}: {shown(measure)}"),
            x=x, width=pitch * 0.76, y=up(measure.value), height=head + body - up(measure.value),
            fill=COLOURS[measure.tone], rx=1.5,
        ))  # fmt: skip
        if measure.low is not None and measure.high is not None:
            parts.append(element(
                "line", x1=middle, x2=middle, y1=up(measure.low), y2=up(measure.high),
                stroke="#2b3250", stroke_width=1,
            ))  # fmt: skip
    unit = known[0].unit
    if chart.limit is not None:
        y = up(chart.limit)
        parts.append(element("line", x1=0, x2=width - margin, y1=y, y2=y, stroke=COLOURS["bad"],
                             stroke_width=1, stroke_dasharray="5 4"))  # fmt: skip
        parts.append(_text(shown(Measure(chart.limit, unit)), width, y + 4, "end"))
    if max(tops) > 0:
        parts.append(_text(shown(Measure(max(tops), unit)), 0, head - 4, "start"))
    for anchor, at in _named(len(chart.labels)):
        x = {"start": 0.0, "end": width - margin}.get(anchor, (at + 0.5) * pitch)
        parts.append(_text(chart.labels[at], x, height - 6, anchor))
    return picture(chart.title, *parts, **_frame(width, height))


def _named(count: int) -> list[tuple[str, int]]:
    if count == 1:
        return [("middle", 0)]
    return [("start", 0), *([("middle", count // 2)] if count > 2 else []), ("end", count - 1)]


def _text(text: str, x: float, y: float, anchor: str) -> Markup:
    return element("text", text, x=x, y=y, text_anchor=anchor, fill=_SOFT, font_size=11)


def _frame(width: float, height: float) -> dict[str, str]:
    return {"view_box": f"0 0 {width:g} {height:g}", "class_": "chart"}


def _at_limit(measure: Measure) -> Measure:
    return Measure(measure.limit if measure.limit is not None else 0.0, measure.unit)
