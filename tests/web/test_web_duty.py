"""The page of who is on call: silences and stand-ins are made, shown, and ended."""

from __future__ import annotations

from datetime import timedelta

import pytest
from page_tree import parse
from starlette.testclient import TestClient
from web_desk import NOW, MemoryDesk

HTML = {"accept": "text/html"}


def post(client: TestClient, path: str, **fields: str) -> tuple[int, str]:
    page = client.get("/oncall", headers=HTML).text
    token = page.partition('name="form_token" value="')[2].partition('"')[0]
    answer = client.post(path, data={"form_token": token, **fields}, headers=HTML)
    return answer.status_code, answer.text


def test_a_silence_is_made_shown_and_ended(client: TestClient, desk: MemoryDesk) -> None:
    fields = {"matches": "service=chat\n signal = error_rate ", "lasting": "2h",
              "comment": "being fixed", "name": "Ana", "kind": "silence"}  # fmt: skip
    status, text = post(client, "/oncall/silence", **fields)
    assert (status, "Nobody is told, and what was under way is stopped." in text) == (200, True)
    (made,) = desk.arranging.held(NOW)
    assert made.when == {"service": "chat", "signal": "error_rate"}
    assert (made.stop - NOW, made.made_by, made.kind) == (timedelta(hours=2), "web:Ana", "silence")
    assert "being fixed" in text
    status, text = post(client, f"/oncall/{made.id}/end")
    assert (status, desk.arranging.held(NOW)) == (200, [])


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"matches": "chat"}, "is no label: write service=chat"),
        ({"matches": ""}, "would silence everything"),
        ({"comment": ""}, "say in a few words why"),
        ({"lasting": "for ever"}, "choose how long"),
        ({"start": "tomorrow"}, "is not a time such as"),
        ({"start": "2026-01-01T00:00"}, "over before it begins"),
    ],
)
def test_a_silence_that_cannot_be_says_why(
    client: TestClient, desk: MemoryDesk, fields: dict[str, str], says: str
) -> None:
    whole = {"matches": "service=chat", "lasting": "2h", "comment": "why", **fields}
    status, text = post(client, "/oncall/silence", **whole)
    assert (status, says in text) == (400, True), text[-2000:]
    assert desk.arranging.held(NOW) == []


def test_a_form_without_its_token_silences_nothing(client: TestClient, desk: MemoryDesk) -> None:
    fields = {"matches": "service=chat", "lasting": "2h", "comment": "why"}
    assert client.post("/oncall/silence", data=fields).status_code == 403
    assert desk.arranging.held(NOW) == []


def test_gaps_are_shown_and_a_stand_in_fills_them(client: TestClient) -> None:
    page = parse(client.get("/oncall", headers=HTML).text)
    (alert,) = [n for n in page.all("p") if n.attributes.get("class") == "say t-warn"]
    assert "Nobody will be on call 2026-03-06 09:00:00 to 2026-03-06 10:00:00 UTC" in alert.text
    status, text = post(client, "/oncall/override", schedule="first", user="cy",
                        start="2026-03-06T09:00", lasting="1h")  # fmt: skip
    assert (status, "cy for first" in text) == (200, True)
    assert "Nobody will be on call" not in text


def test_an_incident_leads_to_a_silence_about_it(client: TestClient) -> None:
    page = parse(client.get("/incidents/support/latency_p95-3", headers=HTML).text)
    (link,) = [a for a in page.all("a") if a.text == "Silence it"]
    text = client.get(link.attributes["href"], headers=HTML).text
    assert "service=support\nsignal=latency_p95</textarea>" in text


def test_programs_do_the_same(client: TestClient) -> None:
    until = (NOW + timedelta(hours=1)).isoformat()
    body = {"actor": "ana", "when": {"service": "chat"}, "stop": until, "comment": "restart"}
    made = client.post("/api/v1/silences", json=body)
    assert made.status_code == 201, made.text
    assert client.post("/api/v1/silences", json={**body, "when": {}}).status_code == 422
    too_long = {**body, "stop": (NOW + timedelta(days=9)).isoformat()}
    assert client.post("/api/v1/silences", json=too_long).status_code == 400
    stand_in = {"actor": "ana", "schedule": "first", "user": "cy", "stop": until}
    assert client.post("/api/v1/overrides", json=stand_in).status_code == 201
    assert client.get("/api/v1/arrangements").json()["total"] == 2
    found = client.get("/api/v1/oncall").json()
    assert found["schedules"][0]["user"] == "cy"
    assert found["gaps"][0]["policy"] == "page-15m"
    end = f"/api/v1/arrangements/{made.json()['id']}/end"
    assert client.post(end, json={"actor": "ana"}).status_code == 200
    assert client.post(end, json={"actor": "ana"}).status_code == 400
