"""Small marks drawn as SVG text: sparkline, ring, budget bar, strip of states, histogram.

Pure functions over arrays: the same input gives the same bytes, no number in the output is ever
NaN, and no data is drawn as an explicit empty state. Colour comes from the style sheet by class
(`t-ok`, `t-warn`, `t-bad`, `t-unknown`), never from an attribute, so both themes share the marks.
Every picture is `role="img"` with a label that says in words what it shows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from tocsin.reports.marks import Attribute, element, number, picture
from tocsin.web import format as fmt
from tocsin.web.tone import Tone
from tocsin.web.views import HistogramView

Floats = npt.NDArray[np.float64]


def runs(values: Floats) -> list[tuple[int, int]]:
    """Half-open index ranges of consecutive finite values."""
    finite = np.isfinite(values).astype(np.int8)
    edges = np.flatnonzero(np.diff(np.concatenate(([0], finite, [0]))))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def line_path(x: Floats, y: Floats) -> str:
    """Path data through the points, in whole units and relative steps; gaps where y is NaN.

    A point with a gap on both sides becomes a line of no length, which round caps show as a dot.
    """
    return "".join(_run_path(x[a:b], y[a:b]) for a, b in runs(y))


def area_path(x: Floats, upper: Floats, lower: Floats) -> str:
    """Closed path data between two lines; gaps where either is NaN."""
    known = np.where(np.isfinite(lower), upper, np.nan)
    parts = []
    for a, b in runs(known):
        outline_x = np.concatenate((x[a:b], x[a:b][::-1]))
        outline_y = np.concatenate((upper[a:b], lower[a:b][::-1]))
        parts.append(_run_path(outline_x, outline_y) + "z")
    return "".join(parts)


def _run_path(x: Floats, y: Floats) -> str:
    px, py = np.rint(x).astype(int), np.rint(y).astype(int)
    if len(px) == 1:
        return f"M{px[0]} {py[0]}h0"
    steps = np.column_stack((np.diff(px), np.diff(py))).ravel().tolist()
    return f"M{px[0]} {py[0]}l" + " ".join(map(str, steps)).replace(" -", "-")


def sparkline(values: Floats | None, *, label: str, tone: Tone, height: int = 36) -> Markup:
    """A line over its own range with a shaded foot; stretches to the width it is given.

    The range starts at the data's minimum less a tenth of its extent: a sparkline shows shape, the
    number beside it shows size.
    """
    wide, high = 1200.0, height * 4.0
    kind = f"spark t-{tone}"
    if values is None or not np.isfinite(values).any():
        return picture(
            f"{label}: no data",
            element("line", x1=0, x2="100%", y1="50%", y2="50%", class_="none"),
            class_=f"{kind} empty",
            height=height,
        )
    known = np.isfinite(values)
    low, top = float(values[known].min()), float(values[known].max())
    extent = (top - low) or abs(top) or 1.0
    floor, ceiling = low - 0.1 * extent, top + 0.1 * extent
    x = np.linspace(0.0, wide, len(values)) if len(values) > 1 else np.array([wide / 2])
    y = (ceiling - values) / (ceiling - floor) * high
    return picture(
        label,
        element("path", d=area_path(x, y, np.full_like(y, high)), class_="area"),
        element("path", d=line_path(x, y), class_="line"),
        class_=kind,
        view_box=f"0 0 {number(wide)} {number(high)}",
        preserve_aspect_ratio="none",
        height=height,
    )


def ring(share: float | None, *, label: str, tone: Tone, size: int = 50) -> Markup:
    """A ring filled clockwise from the top to `share` (0 to 1), with "62 % left" inside.

    A negative share leaves the ring empty and says so in the number; unknown is a dashed grey ring.
    """
    middle, width = size / 2, 5.0
    radius = middle - width / 2
    circle: dict[str, Attribute] = {
        "cx": middle,
        "cy": middle,
        "r": radius,
        "fill": "none",
        "stroke_width": width,
    }
    if share is None or not math.isfinite(share):
        track = element("circle", class_="track", stroke_dasharray="3 4", **circle)
        text, unit, tone, arc = "–", "", Tone.UNKNOWN, Markup()
    else:
        filled = min(max(share, 0.0), 1.0) * 100
        track = element("circle", class_="track", **circle)
        text, unit = fmt.budget(share).removesuffix(" %"), "% left"
        arc = Markup()
        if filled > 0:
            arc = element(
                "circle",
                class_="arc",
                path_length=100,
                stroke_dasharray=f"{number(filled)} 100",
                transform=f"rotate(-90 {number(middle)} {number(middle)})",
                **circle,
            )
    return picture(
        label,
        track,
        arc,
        element("text", text, x=middle, y=middle + (1.5 if unit else 5), text_anchor="middle"),
        element("text", unit, class_="unit", x=middle, y=middle + 10.5, text_anchor="middle")
        if unit
        else "",
        class_=f"ring t-{tone}",
        view_box=f"0 0 {size} {size}",
        width=size,
        height=size,
    )


def bar(share: float | None, *, label: str, tone: Tone, height: int = 6) -> Markup:
    """A horizontal bar filled to `share` (0 to 1). Unknown is a dashed outline."""
    round_: dict[str, Attribute] = {"height": height, "rx": height / 2}
    if share is None or not math.isfinite(share):
        middle = height / 2
        dashes = element("line", class_="none", x1=0, x2="100%", y1=middle, y2=middle)
        return picture(label, dashes, class_="bar t-unknown", height=height)
    filled = min(max(share, 0.0), 1.0) * 100
    fill = element("rect", class_="fill", width=f"{number(filled)}%", **round_)
    return picture(
        label,
        element("rect", class_="track", width="100%", **round_),
        fill if filled > 0 else "",
        class_=f"bar t-{tone}",
        height=height,
    )


def interval(
    low: float | None, high: float | None, value: float | None, limit: float, *, label: str,
    tone: Tone, height: int = 16,
) -> Markup:  # fmt: skip
    """Where a difference lies, with its interval, beside no difference and the most allowed.

    Drawn from two limits on the other side of 0 to two on its own; what reaches further is cut. An
    interval that is not known is a dashed line.
    """
    middle, reach = height / 2, 2 * abs(limit)

    def place(at: float) -> str:
        return f"{number(50 + 50 * min(max(at / reach, -1), 1) if reach else 50)}%"

    lines = [
        element("line", class_="zero", x1="50%", x2="50%", y1=0, y2=height),
        element("line", class_="limit", x1=place(limit), x2=place(limit), y1=0, y2=height),
    ]
    if low is None or high is None or value is None:
        lines.append(element("line", class_="none", x1=0, x2="100%", y1=middle, y2=middle))
        return picture(label, *lines, class_="interval t-unknown", height=height)
    span = element("line", class_="span", x1=place(low), x2=place(high), y1=middle, y2=middle)
    point = element("circle", class_="point", cx=place(value), cy=middle, r=3.5)
    return picture(label, *lines, span, point, class_=f"interval t-{tone}", height=height)


_STRIP_HEIGHT = {Tone.OK: 0.55, Tone.WARN: 0.78, Tone.BAD: 1.0, Tone.UNKNOWN: 0.3}


def strip(
    tones: Sequence[Tone], *, label: str, titles: Sequence[str] = (), height: int = 26
) -> Markup:
    """One upright mark per stretch of time; worse is taller, so that shape says what colour says.

    titles: a tooltip per mark, "" or missing for none.
    """
    if not tones:
        line = element("line", class_="none", x1=0, x2="100%", y1="50%", y2="50%")
        return picture(f"{label}: no data", line, class_="strip t-unknown empty", height=height)
    pitch = 100 / len(tones)
    marks = []
    for index, tone in enumerate(tones):
        tall = height * _STRIP_HEIGHT[tone]
        title = titles[index] if index < len(titles) else ""
        marks.append(
            element(
                "rect",
                *([element("title", title)] if title else []),
                class_=f"t-{tone}",
                x=f"{number(index * pitch)}%",
                y=height - tall,
                width=f"{number(pitch * 0.72)}%",
                height=tall,
                rx=1.5,
            )
        )
    return picture(label, *marks, class_="strip", height=height)


def histogram(view: HistogramView, *, label: str, height: int = 150) -> Markup:
    """Counts as columns of equal width (the edges are usually logarithmic), with marks above.

    The axis names the first, the middle and the last edge; a mark is placed inside its column in
    proportion.
    """
    total = sum(view.counts)
    if total == 0:
        text = element("text", "No calls in this window", x="50%", y="50%", text_anchor="middle")
        return picture(f"{label}: no data", text, class_="histogram empty", height=height)
    foot, head = 22.0, 18.0
    body = height - foot - head
    pitch = 100 / len(view.counts)
    tallest = max(view.counts)
    parts = []
    for index, counted in enumerate(view.counts):
        if counted == 0:
            continue
        tall = max(body * counted / tallest, 1.0)
        span = f"{fmt.quantity(view.edges[index], view.unit)} to " + fmt.quantity(
            view.edges[index + 1], view.unit
        )
        parts.append(
            element(
                "rect",
                element("title", f"{span}: {fmt.plural(counted, 'call')}"),
                class_="column",
                x=f"{number(index * pitch + pitch * 0.06)}%",
                y=head + body - tall,
                width=f"{number(pitch * 0.88)}%",
                height=tall,
            )
        )
    parts += [_mark(view, name, place, head, head + body) for name, place in view.marks]
    for anchor, index in (("start", 0), ("middle", len(view.edges) // 2), ("end", -1)):
        at = 0 if index == 0 else (100 if index == -1 else index * pitch)
        edge = fmt.quantity(view.edges[index], view.unit)
        parts.append(element("text", edge, x=f"{number(at)}%", y=height - 6, text_anchor=anchor))
    return picture(label, *parts, class_="histogram", height=height)


def _mark(view: HistogramView, name: str, place: float, top: float, foot: float) -> Markup:
    edges = np.asarray(view.edges, dtype=np.float64)
    index = int(np.clip(np.searchsorted(edges, place, side="right") - 1, 0, len(edges) - 2))
    inside = (place - edges[index]) / ((edges[index + 1] - edges[index]) or 1.0)
    x = f"{number((index + min(max(inside, 0.0), 1.0)) * 100 / len(view.counts))}%"
    return element("line", class_="mark", x1=x, x2=x, y1=top, y2=foot) + element(
        "text", name, class_="mark", x=x, y=top - 5, text_anchor="middle"
    )
