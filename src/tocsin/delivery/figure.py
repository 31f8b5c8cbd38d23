"""A small picture of what an incident is about: a line, what was expected, when it began.

Drawn when a message is sent, from numbers that travel with it, so that a message that is sent again
shows the same. Mail programs and chats take no SVG, and no style sheet of ours: hence pixels, with
the words in an alternative text.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from tocsin.domain.clock import iso, parse_iso
from tocsin.reports import wording

MOST_MARKS = 5
_SCALE = 2  # drawn twice as large, then reduced: smooth lines
_PAPER, _INK, _SOFT, _GRID = "#ffffff", "#1b2330", "#5b6573", "#e4e8ef"
_BAND, _LINE, _BAD, _SINCE = "#dfe7f8", "#2456c9", "#c0362c", "#fdf0ee"
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 14, 40, 26
_COLOURS = 64
_SIZES = {"title": 16, "label": 12}
_LONGEST_MARK = 30


@dataclass(frozen=True, slots=True)
class Figure:
    """Values in `unit` (ratio, s, usd or count), one each `step` from `start`, None for unknown.

    low, high: what was expected, None where nothing was. began: the incident. changes: at, what.
    """

    title: str
    unit: str
    start: datetime
    step: timedelta
    values: tuple[float | None, ...]
    low: tuple[float | None, ...]
    high: tuple[float | None, ...]
    began: datetime
    changes: tuple[tuple[datetime, str], ...] = ()

    @property
    def stop(self) -> datetime:
        """The end of the last step."""
        return self.start + len(self.values) * self.step

    def words(self) -> str:
        """What the picture shows, for those who do not see it."""
        known = [value for value in self.values if value is not None]
        if not known:
            return f"{self.title}: no data"
        last, most = say(known[-1], self.unit), say(max(known), self.unit)
        since = f"{self.start:%H:%M} to {self.stop:%H:%M} UTC"
        text = f"{self.title}, {since}: last {last}, at most {most}"
        usual = [value for value in self.high if value is not None]
        return f"{text}, expected up to {say(usual[-1], self.unit)}" if usual else text

    def to_json(self) -> dict[str, Any]:
        """As it is kept with an effect."""
        return {
            "title": self.title,
            "unit": self.unit,
            "start": iso(self.start),
            "step_s": self.step.total_seconds(),
            "values": list(self.values),
            "low": list(self.low),
            "high": list(self.high),
            "began": iso(self.began),
            "changes": [[iso(at), text] for at, text in self.changes],
        }

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Figure:
        """The one that `to_json` was made from."""
        return cls(
            title=str(kept["title"]),
            unit=str(kept["unit"]),
            start=parse_iso(kept["start"]),
            step=timedelta(seconds=kept["step_s"]),
            values=tuple(kept["values"]),
            low=tuple(kept["low"]),
            high=tuple(kept["high"]),
            began=parse_iso(kept["began"]),
            changes=tuple((parse_iso(at), str(text)) for at, text in kept["changes"]),
        )


def png(figure: Figure, width: int = 720, height: int = 240) -> bytes:
    """The picture as PNG, some 5 to 10 kB; the same figure gives the same bytes."""
    image = Image.new("RGB", (width * _SCALE, height * _SCALE), _PAPER)
    _Drawing(figure, image, width, height).draw()
    small = image.resize((width, height), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    small.quantize(_COLOURS, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
    return out.getvalue()


def say(value: float, unit: str) -> str:
    """A value as people read it."""
    words = {"ratio": wording.percent, "s": wording.seconds, "usd": wording.usd}
    return words.get(unit, wording.count)(value)


# --- private -----------------------------------------------------------------------------------


class _Drawing:
    """Coordinates are of the finished picture."""

    def __init__(self, figure: Figure, image: Image.Image, width: int, height: int) -> None:
        self._figure = figure
        self._pen = ImageDraw.Draw(image)
        self._width, self._height = width, height
        self._fonts = {name: ImageFont.load_default(size * _SCALE) for name, size in _SIZES.items()}
        known = [v for v in (*figure.values, *figure.high) if v is not None and math.isfinite(v)]
        self._ticks = _ticks(max(known, default=0.0))

    def draw(self) -> None:
        figure = self._figure
        self._shade_since()
        self._grid()
        self._band()
        self._changes()
        for run in _runs(figure.values):
            points = [(self._x(place + 0.5), self._y(figure.values[place] or 0.0)) for place in run]
            self._line(points, _LINE, 2)
        self._text((_LEFT, 10), figure.title, "title", _INK)
        if not any(value is not None for value in figure.values):
            self._text((_LEFT + 8, self._height / 2 - 10), "no data", "label", _SOFT)

    def _x(self, place: float) -> float:
        room = self._width - _LEFT - _RIGHT
        return _LEFT + room * place / max(len(self._figure.values), 1)

    def _y(self, value: float) -> float:
        room = self._height - _TOP - _BOTTOM
        return self._height - _BOTTOM - room * min(value / self._ticks[-1], 1.0)

    def _place(self, at: datetime) -> float:
        place = (at - self._figure.start) / self._figure.step
        return min(max(place, 0.0), float(len(self._figure.values)))

    def _shade_since(self) -> None:
        left = self._x(self._place(self._figure.began))
        corners = ((left, _TOP), (self._width - _RIGHT, self._height - _BOTTOM))
        self._pen.rectangle([_scaled(point) for point in corners], fill=_SINCE)
        self._line([(left, _TOP), (left, self._height - _BOTTOM)], _BAD, 1)
        self._text((min(left + 4, self._width - 60), _TOP - 2), "began", "label", _BAD)

    def _grid(self) -> None:
        for tick in self._ticks:
            y = self._y(tick)
            self._line([(_LEFT, y), (self._width - _RIGHT, y)], _GRID, 1)
            label = say(tick, self._figure.unit)
            width = self._fonts["label"].getlength(label) / _SCALE
            self._text((_LEFT - 6 - width, y - 7), label, "label", _SOFT)
        for part in (0.0, 1 / 3, 2 / 3):
            place = part * len(self._figure.values)
            at = self._figure.start + place * self._figure.step
            self._text((self._x(place), self._height - 20), f"{at:%H:%M}", "label", _SOFT)
        self._text((self._width - _RIGHT - 62, self._height - 20), f"{self._figure.stop:%H:%M} UTC",
                   "label", _SOFT)  # fmt: skip

    def _band(self) -> None:
        low, high = self._figure.low, self._figure.high
        for run in _runs(high):
            upper = [(self._x(place + 0.5), self._y(high[place] or 0.0)) for place in run]
            lower = [(self._x(place + 0.5), self._y(low[place] or 0.0)) for place in run]
            if len(run) > 1:
                self._pen.polygon([_scaled(p) for p in upper + lower[::-1]], fill=_BAND)

    def _changes(self) -> None:
        for row, (at, text) in enumerate(self._figure.changes[-MOST_MARKS:]):
            x = self._x(self._place(at))
            for top in range(_TOP, self._height - _BOTTOM, 8):
                self._line([(x, top), (x, top + 4)], _SOFT, 1)
            label = text if len(text) <= _LONGEST_MARK else f"{text[: _LONGEST_MARK - 1]}…"
            left = x - 4 - self._fonts["label"].getlength(label) / _SCALE
            self._text((max(left, _LEFT + 4), _TOP + 2 + 14 * row), label, "label", _SOFT)

    def _line(self, points: list[tuple[float, float]], colour: str, width: int) -> None:
        scaled = [_scaled(point) for point in points]
        if len(scaled) == 1:
            (x, y), r = scaled[0], width * _SCALE
            self._pen.ellipse([(x - r, y - r), (x + r, y + r)], fill=colour)
        else:
            self._pen.line(scaled, fill=colour, width=width * _SCALE, joint="curve")

    def _text(self, at: tuple[float, float], text: str, font: str, colour: str) -> None:
        self._pen.text(_scaled(at), text, font=self._fonts[font], fill=colour)


def _scaled(point: tuple[float, float]) -> tuple[float, float]:
    return point[0] * _SCALE, point[1] * _SCALE


def _runs(values: tuple[float | None, ...]) -> Iterator[list[int]]:
    """Places of consecutive known values."""
    run: list[int] = []
    for place, value in enumerate(values):
        if value is None or not math.isfinite(value):
            if run:
                yield run
            run = []
        else:
            run.append(place)
    if run:
        yield run


def _ticks(most: float) -> list[float]:
    """0 and up to five round steps that reach `most`."""
    if most <= 0:
        return [0.0, 1.0]
    size = 10 ** math.floor(math.log10(most))
    step = next(s * size / 5 for s in (1, 2, 2.5, 5, 10, 20) if 4 * s * size / 5 >= most)
    return [step * n for n in range(math.ceil(most / step) + 1)]
