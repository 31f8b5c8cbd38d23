"""What is asked of others: Arize's monitors, status pages, probes. Strict fakes on loopback."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from outside_build import NOW, Bench, empty
from source_build import Answer, pages

from tocsin.domain.clock import iso
from tocsin.domain.dependencies import DependencyState as State
from tocsin.domain.dependencies import DependencyStatus, standing
from tocsin.domain.findings import IncidentState
from tocsin.engine.listening import Listening
from tocsin.engine.rederive import rederive
from tocsin.engine.sources import SourceRunner
from tocsin.intake.intake import Intake
from tocsin.intake.source import Origin, Unreadable
from tocsin.intake.sources.statuspage import Statuspage, StatuspageConfig
from tocsin.store.telemetry import Telemetry

KEY = "an api key of arize"
SEARCH = """
---
apiVersion: tocsin/v1
kind: Service
metadata: {name: search}
spec: {team: cx, provider: openai, dependsOn: [qdrant], match: {project: docs-search}}
---
apiVersion: tocsin/v1
kind: Source
metadata: {name: NAME}
spec: {allow_private: true, SPEC}
"""


@pytest.fixture(scope="module")
def telemetry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Telemetry]:
    made = empty(tmp_path_factory.mktemp("telemetry"))
    yield made
    made.close()


class Asking:
    """A bench whose house has one source, polled by hand."""

    def __init__(self, path: Path, telemetry: Telemetry, spec: str, name: str = "source") -> None:
        text = SEARCH.replace("SPEC", spec).replace("NAME", name)
        self.bench = Bench(path, telemetry, text, ARIZE=KEY)
        listening = Listening(self.bench.house, self.bench.outside)
        intake = Intake(telemetry.writer, self.bench.clock)
        self.runner = SourceRunner(intake, self.bench.state, telemetry, self.bench.clock, listening)
        self.runner.use(self.bench.house.desired.sources)

    def poll(self, minutes: int = 1) -> str:
        """Ask once, some time later; what became of it."""
        self.bench.later(minutes=minutes)

        async def once() -> None:
            await self.runner.poll_once()
            await self.runner.close_connections()

        asyncio.run(once())
        (status, *_) = self.runner.statuses()
        return status.state if status.state == "up" else status.reason

    def states(self) -> dict[str, State]:
        return {one.name: one.state for one in self.bench.house.dependencies()}


# --- Arize ---


class Arize:
    """`GET /v2/monitors` as documented: a bearer key, pages by cursor, two monitors a page."""

    def __init__(self) -> None:
        self.monitors: list[dict[str, Any]] = []
        self.status = 200

    def answer(self, path: str, headers: Mapping[str, str]) -> Answer:
        url = urlsplit(path)
        asked = parse_qs(url.query)
        assert url.path == "/v2/monitors"
        assert set(asked) <= {"limit", "cursor", "space_id"}
        assert 1 <= int(asked["limit"][0]) <= 100
        if headers.get("authorization") != f"Bearer {KEY}":
            return Answer(b'{"title": "Unauthorized"}', 401)
        if self.status != 200:
            return Answer(b"", self.status)
        first = int(asked.get("cursor", ["0"])[0])
        rest = self.monitors[first : first + 2]
        more = first + 2 < len(self.monitors)
        page = {"has_more": more, **({"next_cursor": str(first + 2)} if more else {})}
        return Answer(json.dumps({"monitors": rest, "pagination": page}))

    def monitor(self, number: int, status: str | None, minutes: int = 0) -> dict[str, Any]:
        return {
            "id": f"mon-{number}", "name": f"p95 of docs {number}", "type": "PERFORMANCE",
            "status": status, "latest_computed_value": 7.5, "uri": f"https://a.test/m/{number}",
            "project_name": "docs-search", "evaluated_at": iso(NOW + timedelta(minutes=minutes)),
            "threshold": {"value": 5.0, "operator": "GREATER_THAN"}, "notification_configs": [],
        }  # fmt: skip


def test_arize_is_asked_for_what_was_missed_and_for_what_has_ended(
    tmp_path: Path, telemetry: Telemetry
) -> None:
    arize = Arize()
    arize.monitors = [
        arize.monitor(1, "CLEARED"), arize.monitor(2, "NO_DATA"), arize.monitor(3, "TRIGGERED"),
        arize.monitor(4, None), arize.monitor(5, "PURPLE"),
    ]  # fmt: skip
    with pages(arize.answer) as served:
        spec = f"type: arize, api_key: {{secret: ARIZE}}, url: '{served.url}'"
        made = Asking(tmp_path, telemetry, spec, "arize")
        assert made.poll() == "up"
        assert len(served.asked) == 3
        (note,) = made.runner.statuses()[0].notes
        assert "mon-5" in note
        held = made.bench.state.alerts().values()
        assert {one.labels["signal"] for one in held} == {"no_data", "p95_of_docs_3"}
        (third,) = (one for one in held if one.labels["signal"] != "no_data")
        assert (third.labels["service"], third.labels["source"]) == ("search", "arize")
        assert third.evidence["link"] == "https://a.test/m/3"
        assert third.reason == "p95 of docs 3: 7.5 against a threshold of 5"
        arize.status = 500  # nothing is known: nothing ends
        assert made.poll() == "HTTP 500"
        assert len(made.bench.state.alerts()) == 2
        arize.status = 200
        arize.monitors[1:3] = [arize.monitor(2, "CLEARED", 9), arize.monitor(3, "CLEARED", 9)]
        assert made.poll(10) == "up"
        assert not made.bench.state.alerts()
        assert {one.state for one in made.bench.incidents()} == {IncidentState.RESOLVED}
    made.bench.close()


# --- status pages ---


def summary(indicator: str | None = "none", **more: Any) -> dict[str, Any]:
    page = {"page": {"id": "x", "name": "OpenAI", "url": "https://status.openai.test/"}}
    status = {"indicator": indicator, "description": "…"}
    return {**page, **({"status": status} if indicator else {}), **more}


def component(name: str, status: str) -> dict[str, Any]:
    return {"id": name, "name": name, "status": status, "group": False}


INCIDENT = {
    "name": "Elevated error rates", "status": "investigating", "impact": "major",
    "created_at": "2026-11-20T11:50:00Z", "components": [{"name": "Chat"}],
}  # fmt: skip


@pytest.mark.parametrize(
    ("page", "components", "state", "reason"),
    [
        (summary(), (), State.OPERATIONAL, ""),
        (summary("minor"), (), State.DEGRADED, ""),
        (summary("critical", incidents=[INCIDENT]), (), State.OUTAGE,
         "Elevated error rates (major, investigating)"),
        (summary("maintenance"), (), State.MAINTENANCE, ""),
        (summary("purple"), (), State.UNKNOWN, ""),
        (summary(None, components=[component("Chat", "partial_outage")]), (), State.OUTAGE, "Chat"),
        (summary("major", components=[component("Chat", "operational"),
                                      component("Sora", "major_outage")]),
         ("Chat",), State.OPERATIONAL, ""),
        (summary("none", components=[component("Chat", "degraded_performance")],
                 incidents=[INCIDENT, {**INCIDENT, "components": [{"name": "Sora"}], "name": "S"}]),
         ("Chat",), State.DEGRADED, "Chat (Elevated error rates (major, investigating))"),
        (summary("none", components=[component("Sora", "operational")]), ("Chat",), State.UNKNOWN,
         "Chat"),
    ],
)  # fmt: skip
def test_a_status_page_is_read_with_or_without_parts_of_it(
    page: Any, components: tuple[str, ...], state: State, reason: str
) -> None:
    config = StatuspageConfig("openai", "https://status.openai.test", components)
    with pages(lambda _path, _headers: Answer(json.dumps(page))) as served:
        config = StatuspageConfig("openai", served.url, components, allow_private=True)
        source = Statuspage(config, Origin("x", ""))

        async def once() -> Any:
            try:
                return await source.poll(source.targets[0], NOW, None)
            finally:
                await source.close()

        (found,) = asyncio.run(once()).reports
    assert (found.state, found.reason) == (state, reason)
    assert found.link == "https://status.openai.test/"


def test_a_status_page_is_a_fact_stored_shown_and_in_the_evidence_of_an_alert(
    tmp_path: Path, telemetry: Telemetry
) -> None:
    now = {"page": summary("major", incidents=[INCIDENT]), "status": 200}

    def answer(path: str, headers: Mapping[str, str]) -> Answer:
        assert path == "/api/v2/summary.json"
        body = json.dumps(now["page"])
        tag = f'"{hash(body)}"'
        if now["status"] == 200 and headers.get("if-none-match") == tag:
            return Answer(b"", 304)
        return Answer(body, int(str(now["status"])), {"ETag": tag})

    with pages(answer) as served:
        spec = f"type: statuspage, dependency: openai, url: '{served.url}'"
        made = Asking(tmp_path, telemetry, spec)
        assert made.states() == {"openai": State.UNKNOWN, "qdrant": State.UNKNOWN}
        for _ in range(2):  # the second time by its tag
            assert made.poll() == "up"
            assert made.states()["openai"] is State.OUTAGE
        assert not made.bench.state.alerts()  # a fact, and no alert
        (found,) = made.bench.house.dependencies("search")[:1]
        assert found.services == ("search",)
        assert str(found.said[0]) == (
            "openai's status page: outage since 11:50 UTC: "
            "Elevated error rates (major, investigating)"
        )
        lines = [e for e in made.bench.state.ledger_entries() if e.kind == "dependency.changed"]
        assert [(e.subject, e.data["to"]) for e in lines] == [("openai", "outage")]
        # In the evidence of an alert, from what is stored: nobody is asked while it waits, and what
        # was found out stays when the alert is told again.
        asked = len(served.asked)
        for value in (1, 2):
            told = {"name": "Errors", "service": "search", "severity": "page", "value": value}
            made.bench.tell("generic", told)
            (held,) = made.bench.state.alerts().values()
            assert held.value == value
            assert held.evidence["dependencies"] == [str(found.said[0])]
        assert len(served.asked) == asked
        now["status"] = 502
        assert made.poll() == "HTTP 502"
        assert made.states()["openai"] is State.UNKNOWN
        now |= {"status": 200, "page": summary()}
        assert made.poll() == "up"
        assert made.states()["openai"] is State.OPERATIONAL
        made.bench.later(minutes=30)  # nobody asked
        assert made.states()["openai"] is State.UNKNOWN
    made.bench.close()


@pytest.mark.parametrize("body", ["[]", "{}", '{"status": 3}', "no json", "[" * 100_000])
def test_a_page_that_says_nothing_is_unknown_and_never_operational(body: str) -> None:
    with pages(lambda _path, _headers: Answer(body)) as served:
        config = StatuspageConfig("openai", served.url, allow_private=True)
        source = Statuspage(config, Origin("x", ""))
        with pytest.raises(Unreadable):
            asyncio.run(source.poll(source.targets[0], NOW, None))


def test_an_outage_that_is_said_makes_alerts_of_its_services_one_incident(
    tmp_path: Path, telemetry: Telemetry
) -> None:
    page = {"now": summary("minor")}
    with pages(lambda _path, _headers: Answer(json.dumps(page["now"]))) as served:
        spec = f"type: statuspage, dependency: openai, url: '{served.url}'"
        made = Asking(tmp_path, telemetry, spec)
        bench = made.bench
        made.poll()
        told = {"name": "Errors", "service": "search", "env": "prod", "signal": "error_rate"}
        bench.tell("generic", {**told, "severity": "page", "summary": "half of the calls fail"})
        assert [one.title for one in bench.incidents()] == ["search: error rate"], "only degraded"
        page["now"] = summary("major", incidents=[INCIDENT])
        made.poll()  # the fact alone is enough to decide anew
        parent, child = bench.incidents()
        assert (parent.title, parent.tier) == ("openai: dependency failure", 1)
        assert parent.receivers == child.receivers == ("pager",)
        assert parent.evidence["children"] == [
            "search error rate since 12:01: half of the calls fail"
        ]
        assert child.suppressed_by == "inhibition:dependency/openai/prod"
        entries = bench.state.ledger_entries()
        folded = [e for e in entries if e.data.get("suppressed_by") == child.suppressed_by][-1]
        again = rederive(folded, bench.house.rules, [], lambda: entries)
        assert (again.answer, again.differences) == ("same", ())
        served.answer = lambda _path, _headers: Answer(b"", 502)
        for _ in range(8):  # nobody knows any more: the cause ends, and the alert is told
            made.poll()
            bench.house.reconsider()
        parent, child = bench.incidents()
        assert parent.state is IncidentState.RESOLVED
        assert (child.state, child.suppressed_by) == (IncidentState.TRIGGERED, "")
    bench.close()


def test_a_page_that_moved_says_so_and_is_not_followed() -> None:
    moved = Answer(b"", 301, {"Location": "/elsewhere"})
    with pages(lambda _path, _headers: moved) as served:
        source = Statuspage(
            StatuspageConfig("openai", served.url, allow_private=True), Origin("x", "")
        )
        with pytest.raises(Unreadable, match="name the address it leads to"):
            asyncio.run(source.poll(source.targets[0], NOW, None))
        assert len(served.asked) == 1


# --- probes ---


def test_a_dependency_that_does_not_answer_twice_has_an_outage(
    tmp_path: Path, telemetry: Telemetry
) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        port = listening.getsockname()[1]
        spec = f"type: probe, dependency: qdrant, targets: ['tcp://127.0.0.1:{port}']"
        made = Asking(tmp_path, telemetry, spec)
        assert made.poll() == "up"
        assert made.states()["qdrant"] is State.OPERATIONAL
    for expected in (State.DEGRADED, State.OUTAGE, State.OUTAGE):
        made.poll()
        assert made.states()["qdrant"] is expected
    (qdrant,) = (one for one in made.bench.house.dependencies() if one.name == "qdrant")
    assert "no connection" in qdrant.said[0].reason
    assert "3 times in a row" in qdrant.said[0].reason
    with closing(socket.create_server(("127.0.0.1", port))):
        made.poll()
        assert made.states()["qdrant"] is State.OPERATIONAL
    made.bench.close()


def test_a_gateway_must_answer_as_expected_and_what_may_not_be_asked_is_unknown(
    tmp_path: Path, telemetry: Telemetry
) -> None:
    status = [204]
    with pages(lambda _path, _headers: Answer(b"", status[0])) as served:
        spec = f"type: probe, dependency: qdrant, expect: 204, targets: ['{served.url}/healthz']"
        made = Asking(tmp_path, telemetry, spec)
        made.poll()
        assert made.states()["qdrant"] is State.OPERATIONAL
        status[0] = 200
        made.poll()
        assert made.states()["qdrant"] is State.DEGRADED
        made.bench.close()
    (tmp_path / "other").mkdir()
    spec = "type: probe, dependency: qdrant, targets: ['http://169.254.169.254/latest']"
    made = Asking(tmp_path / "other", telemetry, spec)
    assert "never allowed" in made.poll()
    assert made.states()["qdrant"] is State.UNKNOWN
    made.bench.close()


def test_one_replica_that_is_down_is_no_outage_of_them_all() -> None:
    def status(state: State, source: str = "probe") -> DependencyStatus:
        return DependencyStatus("qdrant", source, "probe", state, NOW, NOW, NOW)

    down, up = status(State.OUTAGE), status(State.OPERATIONAL)
    assert standing([down, up]) is State.DEGRADED
    assert standing([down, down]) is State.OUTAGE
    assert standing([down, status(State.UNKNOWN)]) is State.OUTAGE
    assert standing([up, status(State.DEGRADED, "page")]) is State.DEGRADED
    assert standing([]) is State.UNKNOWN
