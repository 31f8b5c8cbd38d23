from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from page_tree import parse
from starlette.testclient import TestClient
from web_desk import NOW, messages

from tocsin.web.messages import Layout, layout
from tocsin.web.views import MessageView

json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
    max_leaves=12,
)


def lay(channel: str, body: Any) -> Layout:
    return layout(MessageView("m", NOW, channel, "receiver", body, action="trigger"))


def text_of(laid: Layout) -> str:
    parts = [str(s.text or "") + str(s.facts) + str(s.links) for s in laid.sections]
    return laid.title + " ".join(parts)


def test_a_page_shows_summary_severity_key_details_and_link() -> None:
    pager = next(m for m in messages() if m.channel == "pagerduty")
    laid = layout(pager)
    assert laid.title == "Support assistant: p95 latency 4.1 s, expected 1.2 to 1.9 s"
    facts = dict(fact for section in laid.sections for fact in section.facts)
    assert facts["Severity"] == "critical"
    assert facts["slice"] == "prompt_version=v42 explains 91 %"
    assert laid.sections[-1].links[0][0] == "Incident"


def test_slack_blocks_become_text_bold_code_links_and_buttons() -> None:
    slack = next(m for m in messages() if m.channel == "slack")
    laid = layout(slack)
    drawn = text_of(laid)
    assert "<strong>Since</strong>" in drawn
    assert "<code>prompt_version=v42</code>" in drawn
    assert '<a href="https://git.example/pr/42" rel="noreferrer">prompt v42</a>' in drawn
    assert "&amp; nothing else &lt;script&gt;" in drawn
    links = [link for section in laid.sections for link in section.links]
    assert [label for label, _ in links] == ["Open"], "javascript: is no address"


def test_a_slack_message_without_blocks_shows_its_text() -> None:
    laid = lay("slack", {"text": "*all* good"})
    assert laid.sections[0].text == "<strong>all</strong> good"


def test_slack_attachments_are_read_like_blocks() -> None:
    block = {"type": "section", "text": {"type": "mrkdwn", "text": "hello"}}
    assert lay("slack", {"attachments": [{"color": "#f00", "blocks": [block]}]}).sections


@pytest.mark.parametrize(
    "body",
    [
        {"from": "a@x.example", "to": ["b@x.example"], "subject": "Slow", "text": "One\n\nTwo <b>"},
        "From: a@x.example\r\nTo: b@x.example\r\nSubject: Slow\r\n"
        "Content-Type: text/plain; charset=utf-8\r\n\r\nOne\r\n\r\nTwo <b>\r\n",
    ],
    ids=["fields", "as sent"],
)
def test_mail_is_read_as_fields_or_as_sent(body: Any) -> None:
    laid = lay("email", body)
    assert laid.title == "Slow"
    assert laid.sections[0].facts == (("From", "a@x.example"), ("To", "b@x.example"))
    assert [str(s.text) for s in laid.sections[1:]] == ["One", "Two &lt;b&gt;"]


def test_a_webhook_shows_its_type_and_its_plain_fields() -> None:
    laid = lay(
        "webhook", {"type": "incident.triggered", "data": {"title": "Slow", "n": 1, "x": {}}}
    )
    assert laid.title == "Slow"
    assert laid.sections[0].facts == (("Type", "incident.triggered"), ("title", "Slow"), ("n", "1"))


@given(st.sampled_from(["pagerduty", "slack", "email", "webhook", "pigeon"]), json_values)
def test_no_body_whatever_breaks_the_page(channel: str, body: Any) -> None:
    laid = lay(channel, body)
    assert laid.title
    assert isinstance(laid.raw, str)


@given(st.text())
def test_no_text_from_outside_becomes_markup(text: str) -> None:
    laid = lay("slack", {"text": text})
    allowed = {"root", "a", "strong", "code", "br"}
    for section in laid.sections:
        for node in parse(str(section.text or "").replace("<br>", "<br/>")).walk():
            assert node.tag in allowed
            assert set(node.attributes) <= {"href", "rel"}


def test_the_page_shows_each_message_and_its_raw_body(client: TestClient) -> None:
    page = parse(client.get("/messages?incident=support/latency_p95-3").text)
    articles = page.all("article")
    assert [a.attributes["class"].split()[-1] for a in articles] == [
        "webhook", "email", "slack", "pagerduty",
    ]  # fmt: skip
    assert "webhook-signature: v1,…" in articles[0].text
    assert '"event_action": "trigger"' in articles[3].text
