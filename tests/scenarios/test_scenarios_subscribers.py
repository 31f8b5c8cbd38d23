"""Mails about a status page: asked for, confirmed by their owner, told once, ended by one click."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from world import CONFIG, Phase, World

from tocsin.delivery.channels.email import EmailConfig, compose
from tocsin.delivery.message import render_digest
from tocsin.engine.endpoints import CannotSubscribe
from tocsin.engine.subscribers import Subscriptions
from tocsin.store import subscribers

PAGE = """
---
apiVersion: tocsin/v1
kind: StatusPage
metadata: {name: public, displayName: Example AI}
spec:
  url: https://status.example
  subscribers: mail
  components: [{name: Answers, service: chat}]
---
apiVersion: tocsin/v1
kind: StatusPage
metadata: {name: quiet}
spec: {components: [{name: Answers, service: chat}]}
"""
ANA = "ana@example.org"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    path: Path = tmp_path_factory.mktemp("subscribers")
    config = path / "config.yaml"
    config.write_text(CONFIG.read_text() + PAGE)
    with World(path / "data", [Phase("chat", -60, 30, 6)], config=config) as world:
        yield world


def post(made: World, what: str, page: str = "public", **fields: str):
    return made.web.post(f"/status/{page}/{what}", data=fields)


def mails(made: World) -> list[str]:
    made.deliver()
    return [told.text for told in made.of("mail")]


def held(made: World) -> dict[str, bool]:
    with made.state.reading() as tx:
        return {s.address: s.confirmed is not None for s in subscribers.of_page(tx, "public")}


def publish(made: World, body: str) -> str:
    given = {"title": "Answers fail", "body": body, "components": {"Answers": "major_outage"}}
    answer = made.web.post("/api/v1/status-pages/public/notices", json=given)
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def test_an_address_gets_mails_after_its_owner_said_so_and_until_it_ends_them(
    made: World,
) -> None:
    assert ">Subscribe</a>" in made.web.get("/status/public").text
    first, again = post(made, "subscribe", address=ANA), post(made, "subscribe", address=ANA)
    assert (first.status_code, again.text) == (202, first.text)
    [letter] = mails(made)  # one, however often somebody asks
    token = re.search(r"https://status.example/confirm\?token=([\w-]+)", letter)[1]
    publish(made, "We look into it.")
    assert len(mails(made)) == 1  # nobody has confirmed
    made.web.get(f"/status/public/confirm?token={token}")  # a scanner that follows links
    assert held(made) == {ANA: False}
    assert "whenever something is published" in post(made, "confirm", token=token).text
    assert held(made) == {ANA: True}
    made.restart()
    notice = publish(made, "It happens again.")
    made.clock.advance(timedelta(seconds=2))
    assert "Investigating: It happens again." in mails(made)[-1]
    path = f"/api/v1/status-pages/public/notices/{notice}/updates"
    assert made.web.post(path, json={"status": "resolved", "body": "Over."}).status_code == 201
    made.clock.advance(timedelta(seconds=2))
    assert "Resolved: Over." in mails(made)[-1]
    assert len(mails(made)) == 3
    one_click = made.web.post(
        f"/status/public/unsubscribe?token={token}",
        files={"List-Unsubscribe": (None, "One-Click")},  # as multipart, which RFC 8058 allows
    )
    assert one_click.status_code == 200
    assert held(made) == {}
    publish(made, "Nobody hears this.")
    made.clock.advance(timedelta(seconds=2))
    assert len(mails(made)) == 3
    assert post(made, "confirm", token=token).status_code == 404


def test_a_mail_has_one_reader_and_says_how_to_end_it(made: World) -> None:
    assert post(made, "subscribe", address="ben@example.org").status_code == 202
    [effect] = [
        e for e in made.state.list_effects(50) if e.payload.get("address") == "ben@example.org"
    ]
    message = render_digest(effect, "http://localhost", at=made.clock.now())
    mail = compose(message, EmailConfig("localhost", ("team@example.org",), "t@example.org"))
    assert (mail["To"], mail["Subject"]) == ("ben@example.org", "Example AI: please confirm")
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert mail["List-Unsubscribe"].startswith("<https://status.example/unsubscribe?token=")


@pytest.mark.parametrize(
    "address",
    ["", "ana", "a@b", "a b@example.org", "a@example.org\r\nBcc: x@example.org", "a,b@c.de"],
)
def test_what_is_no_address_is_not_written_to(made: World, address: str) -> None:
    answer = post(made, "subscribe", address=address)
    assert (answer.status_code, "no mail address" in answer.text) == (400, True)


def test_a_page_without_subscribers_has_no_form(made: World) -> None:
    assert post(made, "subscribe", page="quiet", address=ANA).status_code == 404
    assert made.web.get("/status/quiet/subscribe").status_code == 404
    assert ">Subscribe</a>" not in made.web.get("/status/quiet").text


def test_a_form_is_no_way_to_send_mail_to_strangers(made: World) -> None:
    sent = [post(made, "subscribe", address=f"v{n}@example.org").status_code for n in range(101)]
    assert sent.count(202) <= 100
    assert sent[-1] == 400
    made.clock.advance(timedelta(days=3))  # what nobody answers is forgotten
    assert post(made, "subscribe", address="late@example.org").status_code == 202
    assert held(made) == {"late@example.org": False}


def test_a_wish_that_cannot_be_met_is_the_askers_to_mend(made: World) -> None:
    with pytest.raises(CannotSubscribe, match="takes no subscribers") as told:
        Subscriptions(made.house, "https://status.example").ask("quiet", ANA)
    assert told.value.status == 400
