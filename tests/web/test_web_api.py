from __future__ import annotations

import pytest
from starlette.testclient import TestClient
from structlog.testing import capture_logs
from web_desk import NOW, MemoryDesk

from tocsin.domain.clock import iso

INCIDENT = "/api/v1/incidents/support/latency_p95-3"


def test_calls_are_listed_with_total_items_and_a_cursor(client: TestClient) -> None:
    first = client.get("/api/v1/calls?limit=100").json()
    assert first["total"] == 230
    assert len(first["items"]) == 100
    second = client.get("/api/v1/calls", params={"limit": 200, "cursor": first["next"]}).json()
    assert second["next"] is None
    ids = [c["trace_id"] for c in first["items"] + second["items"]]
    assert len(set(ids)) == 230


def test_a_call_has_every_promised_field_and_null_for_unknown(client: TestClient) -> None:
    call = client.get("/api/v1/calls?limit=1").json()["items"][0]
    promised = {
        "kind", "provider", "model", "input_tokens", "output_tokens", "usage_known",
        "error_class", "ttft_ms", "duration_ms", "truncated", "trace_id", "span_id",
        "response_id", "project", "service", "ts", "cost_usd",
    }  # fmt: skip
    assert promised <= call.keys()
    assert call["usage_known"] is False
    for unknown in ("input_tokens", "output_tokens", "cost_usd", "error_class", "ttft_ms"):
        assert call[unknown] is None
    assert call["ts"] == iso(NOW)


@pytest.mark.parametrize("since", ["2026-03-03T14:04:00Z", "2026-03-03T14:04:00", "1772546640"])
def test_since_is_a_time_with_or_without_a_zone(client: TestClient, since: str) -> None:
    assert client.get("/api/v1/calls", params={"since": since}).json()["total"] == 9


def test_one_call_is_told_with_all_there_is_about_it(client: TestClient) -> None:
    row = client.get("/api/v1/calls?limit=1").json()["items"][0]
    path = f"/api/v1/calls/{row['trace_id']}/{row['span_id']}"
    found = client.get(path).json()
    assert found["call"] == row
    assert (found["content_from"], found["output"]) == ("log records", "Yes.")
    assert [note["name"] for note in found["logs"]] == ["gen_ai.choice"]
    assert [(s["name"], s["value"]) for s in found["scores"]] == [("feedback", 1.0)]
    missing = client.get(f"/api/v1/calls/{row['trace_id']}/ffff")
    assert (missing.status_code, missing.headers["content-type"]) == (
        404, "application/problem+json",
    )  # fmt: skip


def test_calls_are_filtered_by_service(client: TestClient) -> None:
    assert client.get("/api/v1/calls?service=nobody").json()["total"] == 0


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/calls?limit=0",
        "/api/v1/calls?limit=many",
        "/api/v1/calls?since=yesterday",
        "/api/v1/services?window=3w",
        "/api/v1/incidents?tier=9",
        "/api/v1/incidents?state=odd",
        "/api/v1/metrics?from=today&service=support",
        "/api/v1/metrics?step=0&service=support",
    ],
)
def test_a_wrong_parameter_is_a_problem_document_that_names_it(
    client: TestClient, path: str
) -> None:
    answer = client.get(path)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == 422
    name = path.partition("?")[2].partition("=")[0]
    assert body["errors"][0]["where"] == f"query.{name}"
    assert name in body["detail"]


@pytest.mark.parametrize(
    ("path", "status", "detail"),
    [
        ("/api/v1/nope", 404, "Not Found"),
        ("/api/v1/incidents/x-1", 404, "there is no incident 'x-1'"),
        ("/api/v1/ledger?cursor=zz", 400, "'zz' is not a cursor of this server"),
    ],
)
def test_what_is_not_there_is_a_problem_document(
    client: TestClient, path: str, status: int, detail: str
) -> None:
    answer = client.get(path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"] == detail


def test_a_failure_inside_is_a_problem_document_without_details(
    client: TestClient, desk: MemoryDesk
) -> None:
    desk.broken = RuntimeError("secret detail")
    with capture_logs() as logged:
        answer = client.get("/api/v1/services")
    assert [entry["event"] for entry in logged] == ["api_failed"]
    assert answer.status_code == 500
    assert answer.json()["title"] == "Internal Server Error"
    assert "secret" not in answer.text


def test_services_are_listed_with_unknown_as_null(client: TestClient) -> None:
    body = client.get("/api/v1/services").json()
    assert body["total"] == 7
    by_name = {s["name"]: s for s in body["items"]}
    assert by_name["support"]["state"] == "bad"
    silent = by_name["search"]
    assert silent["state"] == "unknown"
    assert silent["budget_left"] is None
    assert silent["reason"] == "no calls for 3 h"


def test_objectives_come_with_their_burn(client: TestClient) -> None:
    first = client.get("/api/v1/objectives").json()["items"][0]
    assert first["burns"][0]["is_firing"] is True
    assert first["budget_left"] == pytest.approx(0.062)


def test_incidents_are_filtered_and_read_one_by_one(client: TestClient) -> None:
    assert client.get("/api/v1/incidents").json()["total"] == 4
    assert client.get("/api/v1/incidents?state=live&tier=1").json()["total"] == 1
    one = client.get(INCIDENT).json()
    assert one["title"] == "Support assistant is slow"
    assert one["slices"][0] == {
        "label": "prompt_version=v42",
        "share": 0.91,
        "detail": "8,213 of 9,020 slow requests",
    }
    assert one["value"] == 4.1
    assert one["told"][1]["state"] == "dead"


def test_acknowledge_resolve_and_verdict_answer_with_the_incident(client: TestClient) -> None:
    body = client.post(f"{INCIDENT}/acknowledge", json={"actor": "ana"}).json()
    assert (body["state"], body["acknowledged_by"]) == ("acknowledged", "api:ana")
    body = client.post(
        f"{INCIDENT}/resolve", json={"actor": "ana", "reason": "rolled back v42"}
    ).json()
    assert body["state"] == "resolved"
    body = client.post(f"{INCIDENT}/verdict", json={"actor": "ana", "kind": "real"}).json()
    assert body["verdict"] == "real"
    late = client.post(f"{INCIDENT}/acknowledge", json={"actor": "bo"})
    assert late.status_code == 409
    assert "already resolved" in late.json()["detail"]


@pytest.mark.parametrize(
    ("action", "body"),
    [
        ("acknowledge", {}),
        ("acknowledge", {"actor": "  "}),
        ("acknowledge", {"actor": "x" * 81}),
        ("acknowledge", {"actor": "ana", "force": True}),
        ("resolve", {"actor": "ana"}),
        ("verdict", {"actor": "ana", "kind": "meh"}),
    ],
)
def test_an_action_with_a_wrong_body_is_refused_and_changes_nothing(
    client: TestClient, desk: MemoryDesk, action: str, body: dict[str, object]
) -> None:
    assert client.post(f"{INCIDENT}/{action}", json=body).status_code == 422
    assert desk.incident("support/latency_p95-3").row.acknowledged_by == ""


def test_an_action_must_be_json_so_that_no_form_can_send_it(client: TestClient) -> None:
    answer = client.post(
        f"{INCIDENT}/acknowledge",
        content=b'{"actor": "x"}',
        headers={"Content-Type": "text/plain"},
    )
    assert answer.status_code in (415, 422)


@pytest.mark.parametrize("name", ["ledger", "messages", "quarantine", "changes"])
def test_records_are_lists_with_total_items_and_next(client: TestClient, name: str) -> None:
    body = client.get(f"/api/v1/{name}?limit=1").json()
    assert {"total", "items", "next"} <= body.keys()
    assert len(body["items"]) == 1


def test_the_ledger_says_whether_the_chain_holds(client: TestClient) -> None:
    body = client.get("/api/v1/ledger?limit=1").json()
    assert body["intact"] is True
    assert body["head"] == body["items"][0]["hash"]


def test_the_openapi_document_describes_every_path_of_the_api(client: TestClient) -> None:
    document = client.get("/api/openapi.json").json()
    assert document["openapi"].startswith("3.")
    assert document["servers"] == [{"url": "/api"}]
    assert set(document["paths"]) == {
        "/v1/services", "/v1/objectives", "/v1/objectives/{name}", "/v1/calls", "/v1/changes",
        "/v1/quarantine",
        "/v1/calls/{trace_id}/{span_id}",
        "/v1/incidents", "/v1/incidents/{incident_id}", "/v1/messages", "/v1/ledger", "/v1/metrics",
        "/v1/sources", "/v1/breakdown", "/v1/data-quality", "/v1/why",
        "/v1/oncall", "/v1/figures", "/v1/arrangements", "/v1/silences", "/v1/overrides",
        "/v1/arrangements/{arrangement_id}/end",
        "/v1/detectors", "/v1/detectors/{name}", "/v1/page-budgets", "/v1/precision",
        "/v1/incidents/{incident_id}/acknowledge", "/v1/incidents/{incident_id}/resolve",
        "/v1/incidents/{incident_id}/verdict",
    }  # fmt: skip
    assert "/docs" not in str(document)


def test_health_and_readiness_answer_for_machines(client: TestClient, desk: MemoryDesk) -> None:
    assert client.get("/healthz").text == "ok\n"
    assert client.get("/readyz").json() == {
        "status": "ready",
        "checks": {"telemetry": "ok", "state": "ok", "engine": "ok"},
    }
    desk.problems["state"] = "database is locked"
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["checks"]["state"] == "database is locked"


def test_metrics_are_asked_for_by_service_metric_and_time(client: TestClient) -> None:
    query = "from=2026-03-03T12:00:00Z&to=2026-03-03T13:00:00&step=5"
    answer = client.get(f"/api/v1/metrics?service=support&metric=x&{query}").json()
    assert (answer["start"], answer["stop"]) == ("2026-03-03T12:00:00Z", "2026-03-03T13:00:00Z")
    assert (answer["step_s"], answer["names"][0]["metric"]) == (300, "vllm:num_requests_waiting")


@pytest.mark.parametrize("last", ["2026-03-02T00:00:00Z", "2026-05-02T00:00:00Z"])
def test_metrics_are_read_forward_and_a_month_at_a_time(client: TestClient, last: str) -> None:
    answer = client.get(f"/api/v1/metrics?service=support&from=2026-03-02T00:00:00Z&to={last}")
    assert answer.status_code == 422
    assert "at most 31 days" in answer.json()["detail"]


def test_sources_are_listed_with_why_one_cannot_be_read(client: TestClient) -> None:
    items = client.get("/api/v1/sources").json()["items"]
    assert [(item["state"], item["reason"]) for item in items] == [
        ("up", ""), ("unknown", "HTTP 502")
    ]  # fmt: skip


def test_a_breakdown_is_asked_for_a_range_and_a_measure(client: TestClient) -> None:
    asked = {"service": "support", "measure": "slow", "from": "2026-03-03T13:45:00Z"}
    told = client.get("/api/v1/breakdown", params=asked).json()
    assert told["slices"][0]["where"] == {"model": "gpt-4o", "region": "eu"}
    assert told["measure"] == "slow"
    wrong = client.get("/api/v1/breakdown", params=asked | {"to": "2026-03-03T13:00:00Z"})
    assert (wrong.status_code, wrong.headers["content-type"]) == (422, "application/problem+json")
    assert "neither is empty" in wrong.json()["detail"]
