"""The pages of health scores: all of them, and one with its history, changes and opinions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import cast, get_args

import numpy as np
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from tocsin.domain.clock import from_minute
from tocsin.domain.health import HealthSample, Opinion
from tocsin.engine.health import service_health
from tocsin.engine.health_history import (
    HealthChange,
    HealthHistory,
    groups,
    history,
    say,
)
from tocsin.engine.house import House
from tocsin.web.actions import LONGEST_REASON, Actions, actor
from tocsin.web.render import Renderer, address
from tocsin.web.tone import Tone
from tocsin.web.views import ChartView, Marker, Series

DAYS = (1, 7, 30)
MOST_CHANGES = 50
_STEP = {1: 5, 7: 30, 30: 120}  # days -> minutes of a point
TONES = {"ok": Tone.OK, "warning": Tone.WARN, "critical": Tone.BAD}


@dataclass(frozen=True, slots=True)
class Step:
    """One term of a change, as a bar from the middle. share: of the largest term."""

    name: str
    points: float
    share: float


@dataclass(frozen=True, slots=True)
class ChangeRow:
    """A change of state with its terms, the largest first."""

    change: HealthChange
    tone: Tone
    minute: int
    since: datetime | None
    steps: tuple[Step, ...]


class HealthPages:
    """The list, one score, and the form for opinions."""

    def __init__(self, house: House) -> None:
        self._house = house

    def routes(self, renderer: Renderer, actions: Actions) -> list[Route]:
        """Every page and form."""

        def every(request: Request) -> Response:
            scores = sorted(
                service_health(self._house), key=lambda one: (order(one.state), one.name)
            )
            return renderer.page(
                request, "health.html", title="Health", live=True, scores=scores, tones=TONES,
                groups=groups(self._house),
            )  # fmt: skip

        def one(request: Request) -> Response:
            text = request.query_params.get("days", "")
            days = int(text) if text in map(str, DAYS) else 1
            view = history(self._house, request.path_params["name"], days)
            return renderer.page(
                request, "health_score.html", title=view.now.title, view=view, days=days,
                days_offered=DAYS, chart=score_chart(view, days), tones=TONES,
                changes=change_rows(view.changes[:MOST_CHANGES]),
                done="opinion" in request.query_params.get("done", ""),
            )  # fmt: skip

        async def opinion(request: Request) -> Response:
            form = await actions.form(request)
            name, said = request.path_params["name"], form.get("opinion", "")
            if said not in get_args(Opinion):
                raise HTTPException(400, f"choose one of {', '.join(get_args(Opinion))}")
            minute, note = form.get("minute", ""), form.get("note", "").strip()
            if len(note) > LONGEST_REASON:
                raise HTTPException(400, f"the note is longer than {LONGEST_REASON} characters")
            if minute and not minute.isdecimal():
                raise HTTPException(400, "minute is a number of minutes since 1970")
            await run_in_threadpool(
                say, self._house, name, int(minute) if minute else None, cast(Opinion, said),
                actor(form), note,
            )  # fmt: skip
            return RedirectResponse(address(f"/health/{name}", done="opinion"), 303)

        return [
            Route("/health", every, methods=["GET"]),
            Route("/health/{name}", one, methods=["GET"]),
            Route("/health/{name}/opinion", opinion, methods=["POST"]),
        ]


def order(state: str) -> int:
    """The worst first; not knowing goes before being well."""
    return ["critical", "warning", "unknown", "idle", "ok"].index(state)


def score_chart(view: HealthHistory, days: int) -> ChartView:
    """The score over some days, each change of state marked, each span below the warning shaded."""
    step = _STEP[days]
    count = days * 1440 // step
    first = (view.now.minute + 1) // step * step - count * step
    values = np.full(count + 1, np.nan)
    for sample in view.samples:
        place = (sample.minute - first) // step
        if sample.score is not None and 0 <= place < len(values):
            # The lowest of a point: an hour that was bad stays visible in a month.
            held = values[place]
            values[place] = sample.score if np.isnan(held) else min(held, sample.score)
    return ChartView(
        service=view.now.service,
        title=f"Score in the last {days} d" if days > 1 else "Score in the last 24 h",
        unit="count",
        series=Series(from_minute(first), step * 60, values),
        anomalies=_spans(view.samples),
        changes=tuple(
            Marker(one.at, f"{one.before or 'begun'} to {one.state}") for one in view.changes
        )
        + tuple(
            Marker(from_minute(since), f"formula {digest}") for digest, since in view.formulas[1:]
        ),
        threshold=view.now.warning,
        threshold_label=f"warning {view.now.warning:.0f}, critical {view.now.critical:.0f}",
        tone=TONES.get(view.now.state, Tone.UNKNOWN),
        reason="No score was kept in this time",
    )


def change_rows(changes: Sequence[HealthChange]) -> list[ChangeRow]:
    """Changes with their terms as bars."""
    return [_row(one) for one in changes]


def _row(one: HealthChange) -> ChangeRow:
    moved = one.moved
    terms = dict(moved.get("terms") or {})
    if abs(moved.get("config") or 0.0) > 0.05:
        terms["changed formula"] = moved["config"]
    shown = sorted(
        ((name, points) for name, points in terms.items() if abs(points) >= 0.05),
        key=lambda item: -abs(item[1]),
    )
    largest = max((abs(points) for _, points in shown), default=1.0)
    steps = tuple(Step(name, points, abs(points) / largest) for name, points in shown)
    since = from_minute(moved["since"] + 1) if moved.get("since") is not None else None
    minute = int(one.at.timestamp()) // 60 - 1
    return ChangeRow(one, TONES.get(one.state, Tone.UNKNOWN), minute, since, steps)


def _spans(
    samples: Sequence[HealthSample],
) -> tuple[tuple[datetime, datetime | None], ...]:
    """Where the state was warning or critical."""
    found: list[tuple[datetime, datetime | None]] = []
    begun: int | None = None
    for sample in samples:
        is_bad = sample.state in ("warning", "critical")
        if is_bad and begun is None:
            begun = sample.minute
        elif not is_bad and begun is not None:
            found.append((from_minute(begun), from_minute(sample.minute)))
            begun = None
    if begun is not None:
        found.append((from_minute(begun), None))
    return tuple(found)
