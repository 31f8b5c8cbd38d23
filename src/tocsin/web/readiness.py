"""Whether this process can do its work, part by part: what probes ask, and what pages warn of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tocsin.domain.errors import StoreError
from tocsin.engine.house import House

MOST_LAG_S = 60.0


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether the process can do its work; `checks` maps a part to "" (fine) or its problem."""

    checks: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_ready(self) -> bool:
        """True when no check names a problem."""
        return not any(self.checks.values())


def readiness(house: House, blind: str) -> Readiness:
    """Every part with "" or what is wrong with it. blind: why nothing is judged, or ""."""
    return Readiness({
        "telemetry": _failure(house.telemetry.reads.first_minute),
        "intake": trouble(house),
        "state": _failure(house.state.ledger_head),
        "evaluation": blind,
    })  # fmt: skip


def trouble(house: House) -> str:
    """Why telemetry does not come in as it should, or "": cheap enough for every page."""
    obstacle = house.telemetry.writer.obstacle()
    if obstacle:
        return obstacle
    loader = house.telemetry.loader()
    if loader.lag_s < MOST_LAG_S:
        return ""
    why = loader.last_error or "the loader does not keep up"
    return (
        f"{loader.waiting_segments} segments of accepted telemetry wait to be loaded, the oldest"
        f" for {loader.lag_s:.0f} s: {why}"
    )


def _failure(ask: Callable[[], object]) -> str:
    try:
        ask()
    except StoreError as error:
        return str(error)
    return ""
