"""Pages about detectors: what they did, what they see, and what other settings would have done."""

from __future__ import annotations

from typing import cast

import numpy as np
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tocsin.domain.clock import from_minute, to_minute
from tocsin.engine.replay import CannotReplay
from tocsin.web.desk import Desk
from tocsin.web.detector_views import DetectorView
from tocsin.web.detectors import LATELY, asked_of
from tocsin.web.listing import paged
from tocsin.web.render import Renderer
from tocsin.web.tone import Tone
from tocsin.web.views import ChartView, Series, Unit

MOST_ROWS = 200
DAYS = (1, 7, 14, 30)
SHOWN_DAYS = 30
_TITLES = {"s": "Latency", "ratio": "Share of bad calls", "count": "Calls"}


class DetectorPages:
    """One method per page; they block, so the router runs them in worker threads."""

    def __init__(self, desk: Desk, renderer: Renderer) -> None:
        self._desk = desk
        self._renderer = renderer

    def routes(self) -> list[Route]:
        """Both pages."""
        return [
            Route("/detectors", self.detectors, methods=["GET"]),
            Route("/detectors/{name:path}", self.detector, methods=["GET"]),
        ]

    def detectors(self, request: Request) -> Response:
        """Every detector, a page of them at a time, and every page budget."""
        view, service = self._desk.detectors.all(), request.query_params.get("service", "")
        mine = [row for row in view.detectors if service in ("", row.service)]
        page = paged(mine, request.query_params.get("after"), MOST_ROWS, lambda row: row.name)
        return self._renderer.page(
            request, "detectors.html", title="Detectors", live=True, view=view, page=page,
            services=sorted({row.service for row in view.detectors}), service=service,
            total=len(mine),
        )  # fmt: skip

    def detector(self, request: Request) -> Response:
        """One detector over 30 days. Settings in the query are tried."""
        name, problem = request.path_params["name"], ""
        text = request.query_params.get("days", "")
        days = int(text) if text in map(str, DAYS) else LATELY
        try:
            view = self._desk.detectors.one(name, asked_of(request.query_params), days)
        except CannotReplay as error:
            problem = str(error)
            view = self._desk.detectors.one(name, {}, days)
        return self._renderer.page(
            request, "detector.html", title=view.row.document, view=view, problem=problem,
            days_offered=DAYS, trace=trace_chart(view), evidence=evidence_chart(view),
        )  # fmt: skip


def trace_chart(view: DetectorView) -> ChartView | None:
    """What it measured in the last day, what it expected, and where it found something."""
    trace = view.trace
    if trace is None:
        return None
    expected = _array(trace.expected)
    return ChartView(
        service=view.row.service,
        title=f"{_TITLES.get(trace.unit, 'Value')} in the last day",
        unit=cast(Unit, trace.unit),
        series=Series(trace.start, trace.step_s, _array(trace.values)),
        expected=expected if np.isfinite(expected).any() else None,
        low=_array(trace.low),
        high=_array(trace.high),
        anomalous=np.array(trace.found, np.bool_),
        tone=Tone.BAD if trace.found and trace.found[-1] else Tone.OK,
    )


def evidence_chart(view: DetectorView) -> ChartView:
    """The strongest evidence of every hour of 30 days, and how much a page needs."""
    last = to_minute(view.updated) // 60
    values = np.full(SHOWN_DAYS * 24, np.nan)
    for at, evidence in view.peaks:
        place = to_minute(at) // 60 - last + len(values) - 1
        if 0 <= place < len(values):
            values[place] = evidence
    hours = f"{view.judged_hours:,} hours were judged"
    return ChartView(
        service=view.row.service,
        title="Evidence by hour in 30 days",
        unit="count",
        series=Series(from_minute((last - len(values) + 1) * 60), 3600, values),
        anomalous=np.isfinite(values),
        threshold=view.row.page_limit,
        threshold_label="" if view.row.page_limit is None else f"page {view.row.page_limit:.1f}",
        reason=f"No hour reached evidence 3; {hours}" if view.judged_hours else "Nothing is kept",
    )


def _array(numbers: tuple[float | None, ...]) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.array([np.nan if x is None else x for x in numbers], np.float64)
