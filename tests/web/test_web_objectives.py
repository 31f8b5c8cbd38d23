"""The list of objectives, filtered and in order, and the page of one."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from starlette.testclient import TestClient
from web_desk import SERVICES, MemoryDesk, objective

from tocsin.web.objective_list import ObjectiveFilter

HTML = {"Accept": "text/html"}


def names(client: TestClient, query: str) -> list[str]:
    text = client.get(f"/objectives{query}", headers=HTML).text
    return re.findall(r'<th scope="row"><a href="/objectives/([\w-]+)"', text)


def test_the_list_is_filtered_and_in_order(client: TestClient, desk: MemoryDesk) -> None:
    standings = ("breached", "inconclusive", "met", "met", "met", "met", "no_data")
    views = tuple(
        replace(objective(row), standing=standing)
        for row, standing in zip(SERVICES, standings, strict=True)
    )
    desk.objectives = lambda: views  # type: ignore[method-assign]
    assert names(client, "") == [view.name for view in views]
    assert names(client, "?q=retrieval") == ["contracts-0"]
    by_name = names(client, "?standing=met&sort=name")
    assert by_name == ["claims-0", "voice-0", "drafts-0", "review-0"]
    assert names(client, "?tone=unknown") == names(client, "?standing=no%20data") == ["search-0"]
    assert names(client, "?sort=burn")[0] == "support-0"
    assert "No objective matches" in client.get("/objectives?q=zzz", headers=HTML).text
    assert client.get("/objectives?sort=luck", headers=HTML).status_code == 400
    told = client.get("/objectives", headers=HTML).text
    assert re.search(r"<dt>Met</dt><dd[^>]*>4</dd>", told)


def test_a_thousand_come_page_by_page_with_the_filter_kept(
    client: TestClient, desk: MemoryDesk
) -> None:
    views = tuple(
        replace(objective(SERVICES[n % 7], n), name=f"o-{n:04}", budget_left=n / 1000, slots=())
        for n in range(1000)
    )
    desk.objectives = lambda: views  # type: ignore[method-assign]
    page = client.get("/objectives?q=support", headers=HTML)
    first = names(client, "?q=support")
    assert len(first) == 50
    assert len(page.content) < 130_000
    link = re.search(r'href="(/objectives\?[^"]*cursor=[^"]*)">More', page.text)[1]
    second = re.findall(r'row"><a href="/objectives/([\w-]+)"',
                        client.get(link.replace("&amp;", "&"), headers=HTML).text)  # fmt: skip
    assert second[0] == ObjectiveFilter(q="support").of(views)[50].name
    assert not set(first) & set(second)


def test_the_page_of_one_says_what_lay_near_its_breach(client: TestClient) -> None:
    page = client.get("/objectives/support-0", headers=HTML).text
    assert "18 min before the breach" in page
    assert "deploys frozen" in page
    assert "remaining &lt; 25 %" in page
    assert client.get("/objectives/none", headers=HTML).status_code == 404
    told = client.get("/api/v1/objectives/support-0").json()
    assert [note["kind"] for note in told["annotations"]] == ["breach", "change"]
    assert told["policies"][0]["state"] == "holds"


@pytest.mark.parametrize("path", ["/objectives", "/objectives/support-0"])
def test_pages_name_their_tables_and_pictures(client: TestClient, path: str) -> None:
    text = client.get(path, headers=HTML).text
    assert text.count("<table") == text.count("<caption")
