"""A client of Statuspage's API that others wrote reads our status page."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from client_run import APPS, run_in

from tocsin.reports.status import Component, Notice, StatusPage, Update, documents, with_notices

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def noticed(title: str, *words: str, impact: str = "major", hours: int = 0) -> Notice:
    updates = tuple(Update(NOW + n * HOUR, word, f"{word}.") for n, word in enumerate(words))
    planned = (NOW + 24 * HOUR, NOW + (24 + hours) * HOUR) if hours else (None, None)
    return Notice(title, title, impact, updates, {"Answers": "partial_outage"},  # type: ignore[arg-type]
                  start=planned[0], stop=planned[1])  # fmt: skip


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """The page as `tocsin status export` writes it, on loopback."""
    notices = (
        noticed("Some answers fail", "investigating", "identified"),
        noticed("Slow", "investigating", "resolved", impact="minor"),
        noticed("A move", "scheduled", impact="maintenance", hours=2),
    )
    parts = [Component("Answers", "operational", group="API"), Component("Search", "operational")]
    page = StatusPage("public", "Example AI", "https://status.example", "UTC", NOW + 3 * HOUR,
                      tuple(with_notices(parts, notices)), notices)  # fmt: skip
    for path, document in documents(page).items():
        file = tmp_path / "api" / "v2" / f"{path}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(document))
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_it_reads_components_incidents_and_maintenances(address: str) -> None:
    found = run_in("statuspage", APPS / "statuspage.py", {"PAGE": address})
    assert (found["status"], found["impact"]) == ("Partial System Outage", "Major")
    assert found["components"] == {
        "Answers": ["Partial Outage", "API", ["Some answers fail"]],
        "Search": ["Operational", "", []],
    }
    assert found["incidents"] == {
        "Some answers fail": ["Identified", "Major", ["Identified", "Investigating"]],
    }
    assert found["maintenances"] == {"A move": ["2026-11-21T12:00:00", "2026-11-21T14:00:00"]}
