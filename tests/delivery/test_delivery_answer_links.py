"""Links that answer: what is in them, how long they hold, who shows them."""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from typing import Any

import pytest
from delivery_build import T0, World, incident
from test_delivery_email import mail_server, settings

from tocsin.delivery.answer_links import HOLDS, PATH, AnswerLinks, Link
from tocsin.delivery.channels.email import Email
from tocsin.delivery.channels.teams import body_of
from tocsin.domain.secret import Secret
from tocsin.net.proof import NotAuthentic

LINKS = AnswerLinks(Secret("k" * 64), "https://tocsin.example.org/")


def token(address: str) -> str:
    assert address.startswith(f"https://tocsin.example.org{PATH}")
    return address.rpartition("/")[2]


def test_a_link_says_one_thing_about_one_incident_for_a_week() -> None:
    offered = LINKS.offer("support/prod-1", "mail", "trigger", T0)
    assert [words for words, _ in offered] == ["Acknowledge", "Resolve"]
    said = token(offered[0][1])
    assert LINKS.read(said, T0 + HOLDS) == Link("support/prod-1", "mail", "acknowledge")
    with pytest.raises(NotAuthentic, match="held until 2026-03-09"):
        LINKS.read(said, T0 + HOLDS + timedelta(seconds=1))
    words = [w for w, _ in LINKS.offer("s", "mail", "resolve", T0)]
    assert words == ["It was real", "Nothing was wrong", "Told already", "Not worth it"]
    assert [w for w, _ in LINKS.offer("s", "mail", "acknowledge", T0)] == ["Resolve"]


@pytest.mark.parametrize("spoil", ["body", "mac", "key", "cut", "odd", "empty", "long", "future"])
def test_a_link_that_is_not_ours_proves_nothing(spoil: str) -> None:
    good = token(LINKS.offer("support-1", "mail", "trigger", T0)[0][1])
    body, _, mac = good.partition(".")
    other = base64.urlsafe_b64encode(
        json.dumps(["support-1", "mail", "resolve", 2_000_000_000]).encode()
    ).decode()
    forged: dict[str, Any] = {
        "body": f"{other.rstrip('=')}.{mac}", "mac": f"{body}.{mac[:-2]}AA", "cut": good[:-5],
        "key": token(AnswerLinks(Secret("other"), LINKS.base).offer("s", "m", "trigger", T0)[0][1]),
        "odd": "é.\udc80", "empty": "", "long": "a" * 9_000,
        "future": token(LINKS.address(Link("s", "m", "explode"), T0)),  # type: ignore[arg-type]
    }  # fmt: skip
    with pytest.raises(NotAuthentic) as caught:
        LINKS.read(forged[spoil], T0)
    assert mac not in str(caught.value)


def test_only_a_receiver_that_asks_for_links_shows_them() -> None:
    with mail_server() as (box, port):
        for wants in (True, False):
            world = World()
            world.courier._answer_links = LINKS
            world.courier.use({"primary": Email(settings(port, answer_links=wants))})
            world.open(incident(), receivers=["primary"])
            world.drain()
    with_links, without = box.mails
    for kind in ("plain", "html"):
        assert with_links.get_body((kind,)).get_content().count(PATH) == 2
        assert PATH not in without.get_body((kind,)).get_content()


def test_a_card_of_teams_has_them_as_its_first_buttons() -> None:
    from delivery_build import message

    offered = LINKS.offer("support-1", "teams", "resolve", T0)
    (attachment,) = body_of(message(answers=offered))["attachments"]
    titles = [each["title"] for each in attachment["content"]["actions"]]
    assert titles == [
        "It was real",
        "Nothing was wrong",
        "Told already",
        "Not worth it",
        "Incident",
    ]
