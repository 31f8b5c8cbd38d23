"""What the command line asks about a Tocsin: a running server, or a data directory that none has.

Either way the same view answers, so that a terminal, a page and a pipeline never disagree.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from typing import Any
from urllib.parse import quote

from tocsin.domain.clock import Clock, iso
from tocsin.domain.errors import StoreError
from tocsin.engine.asking import answering, asked
from tocsin.engine.freezes import deploy_gates
from tocsin.engine.house import House
from tocsin.engine.reporting.making import make
from tocsin.engine.settings import STATE_FILE, Settings
from tocsin.engine.status_pages import StatusPages
from tocsin.web.as_of import as_of_view, recount_view
from tocsin.web.evaluators import kept, resources
from tocsin.web.live import LiveDesk
from tocsin.web.report_asking import ordered
from tocsin.web.reports import evidence_of
from tocsin.web.server import configuration, open_stores
from tocsin.web.status_pages import FILES, files


def objectives(settings: Settings, clock: Clock) -> list[dict[str, Any]]:
    """Every objective as the API has it, least budget first.

    StoreError when the server does not answer, or the directory is not there or not free.
    """
    if settings.url:
        return _items(settings, "/api/v1/objectives", {})
    with _opened(settings, clock) as house:
        return [_plain(asdict(view)) for view in LiveDesk(house).objectives()]


def deploy_gate(settings: Settings, clock: Clock, service: str, change: str) -> dict[str, Any]:
    """Whether `service` may be deployed, as the API has it.

    StoreError as `objectives`; NoSuchService from a data directory.
    """
    if settings.url:
        found = _items(settings, "/api/v1/deploy-freeze", {"service": service, "change": change})
        return found[0]
    with _opened(settings, clock) as house:
        blind = LiveDesk(house).blind()
        gate = deploy_gates(house, service, change, blind)[0]
        return dict(_plain(asdict(gate)))


def known_at(settings: Settings, clock: Clock, name: str, at: datetime) -> dict[str, Any]:
    """An objective as it was known at `at`, and as known now, as the API has it.

    Raises as `engine.as_of.as_of`, and as `objectives`.
    """
    if settings.url:
        return _asked(settings, f"/api/v1/objectives/{quote(name)}/as-of", {"at": iso(at)})
    with _opened(settings, clock) as house:
        return dict(_plain(as_of_view(house, name, at)))


def recounted(settings: Settings, clock: Clock, name: str) -> dict[str, Any]:
    """An objective held against raw rows, as the API has it. Raises as `known_at`."""
    if settings.url:
        return _asked(settings, f"/api/v1/objectives/{quote(name)}/recount", {})
    with _opened(settings, clock) as house:
        return dict(_plain(recount_view(house, name)))


def verdict(settings: Settings, gate: str, candidate: str, baseline: str) -> dict[str, Any]:
    """How a trial of a gate stands on a running server, as the API has it.

    StoreError when there is no server, it does not answer, or knows no such gate.
    """
    if not settings.url:
        raise StoreError("a gate is judged by a running server (--url) or over a file (--from)")
    arms = {"candidate": candidate, "baseline": baseline}
    return _asked(settings, f"/api/v1/gates/{quote(gate, safe='')}/verdict", arms)


def evaluators(settings: Settings, clock: Clock) -> list[dict[str, Any]]:
    """Every evaluator as the API has it. StoreError as `objectives`."""
    if settings.url:
        return _items(settings, "/api/v1/evaluators", {})
    with _opened(settings, clock) as house:
        return [_plain(one) for one in resources(house, kept(house))]


def status_page(settings: Settings, clock: Clock, name: str) -> dict[str, bytes]:
    """A status page as files: path -> content. StoreError as `objectives`; NoSuchPage from a data
    directory."""
    if settings.url:
        return {path: _file(settings, f"/status/{quote(name)}/{path}") for path in FILES}
    with _opened(settings, clock) as house:
        pages = StatusPages(house, LiveDesk(house).blind)
        return {path: body for path, (body, _) in files(pages.page(name)).items()}


def report_files(
    settings: Settings, clock: Clock, name: str, format_: str, asked: Mapping[str, str]
) -> dict[str, bytes]:
    """A report as files: report.FORMAT, manifest.json, and `since` as text. asked: see
    `web.report_asking`.

    StoreError as `objectives`; NoSuchReport and BadOrder from a data directory.
    """
    if settings.url:
        path = f"/api/v1/reports/{quote(name, safe='')}"
        query = {key: value for key, value in asked.items() if value}
        found = _asked(settings, f"{path}/files", {**query, "format": format_})
        files = {key: base64.b64decode(body) for key, body in found["files"].items()}
        return {**files, "since": found["since"].encode()}
    with _opened(settings, clock) as house:
        order = ordered(house, name, asked)
        made = make(house, order, [format_])  # type: ignore[list-item]  # the caller's enumeration
        return {**made.files, "since": order.wish.since.isoformat().encode()}


def vendor_evidence(
    settings: Settings, clock: Clock, name: str, format_: str, asked: Mapping[str, str]
) -> bytes:
    """The calls that count for an agreement, as `parquet` or `csv`. asked: from, to, as_of.

    StoreError as `objectives`; NoSuchAgreement and BadOrder from a data directory.
    """
    if settings.url:
        query = {key: value for key, value in asked.items() if value}
        path = f"/api/v1/vendor-agreements/{quote(name, safe='')}/evidence"
        asked_for = {**query, "format": format_}
        with answering(settings.url, settings.token, path, asked_for) as answer:
            return answer.read()
    with _opened(settings, clock) as house:
        since, until, as_of = (asked.get(key, "") for key in ("from", "to", "as_of"))
        return evidence_of(house, name, since, until, as_of, format_).body


# --- private -----------------------------------------------------------------------------------


@contextmanager
def _opened(settings: Settings, clock: Clock) -> Iterator[House]:
    """The house of a data directory that no server has."""
    if not settings.state_url and not (settings.data_dir / STATE_FILE).exists():
        raise StoreError(
            f"{settings.data_dir} holds no Tocsin; name its --data-dir, or a running server's --url"
        )
    stores = open_stores(
        settings.data_dir, clock, memory_bytes=settings.memory_bytes, state_url=settings.state_url,
        clickhouse=settings.clickhouse, password=settings.clickhouse_password,
        cluster=settings.clickhouse_cluster,
        configured=lambda state: configuration(settings, state, None),
    )  # fmt: skip
    try:
        yield House(
            stores.telemetry, stores.state, clock, stores.desired, lateness=settings.lateness
        )
    finally:
        stores.close()


def _file(settings: Settings, path: str) -> bytes:
    with answering(settings.url, settings.token, path) as answer:
        return answer.read()


def _items(settings: Settings, path: str, query: Mapping[str, str]) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = _asked(settings, path, query)["items"]
    return items


def _asked(settings: Settings, path: str, query: Mapping[str, str]) -> dict[str, Any]:
    return asked(settings.url, settings.token, path, query)


def _plain(value: Any) -> Any:
    """The same with times as text."""
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
