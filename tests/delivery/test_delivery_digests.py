"""A digest counts what it tells by day and by service: bars in the mail, numbers elsewhere."""

from __future__ import annotations

from datetime import timedelta
from html.parser import HTMLParser

from delivery_build import T0, World

from tocsin.delivery.channels.email import EmailConfig, compose
from tocsin.delivery.message import Message
from tocsin.domain.findings import NewEffect

CONFIG = EmailConfig(host="localhost", to=("a@example.org",), sender="tocsin@example.org")


def issued(items: list[tuple[int, str, str]], after: timedelta) -> Message:
    """The digest of items (days after T0, fingerprint, text), sent so long after T0."""
    world = World()
    with world.store.transaction() as tx:
        for days, fingerprint, text in items:
            tx.add_digest_item("weekly", T0 + timedelta(days=days), fingerprint, text)
    world.clock.advance(after)
    payload = {"digest": "weekly", "to": ["chat"]}
    world.add(NewEffect("digest:weekly:1", "digest", "weekly", "", "trigger", world.clock.now(), 3,
                        payload))  # fmt: skip
    world.drain()
    (message,) = world.receivers["chat"].seen
    return message


WEEK = [
    (0, "a", "support: cost, tier 3, open"), (0, "b", "chat: tokens, tier 3, open"),
    (1, "a", "support: cost, tier 3, resolved"), (3, "c", "support: volume, tier 3, open"),
]  # fmt: skip


class Bars(HTMLParser):
    """Labels, bar widths and counts of the charts of a mail."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.widths: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag == "td" and found.get("bgcolor"):
            self.widths.append(str(found["width"]))


def test_a_weekly_digest_counts_findings_once_and_shows_days_without_any() -> None:
    message = issued(WEEK, timedelta(days=5))
    by_day, by_service = message.charts
    assert (by_day.title, by_service.title) == ("Findings by day", "Findings by service")
    assert by_day.bars == (
        ("Mon 02 Mar", 2), ("Tue 03 Mar", 0), ("Wed 04 Mar", 0), ("Thu 05 Mar", 1),
        ("Fri 06 Mar", 0), ("Sat 07 Mar", 0),
    )  # fmt: skip
    assert by_service.bars == (("support", 2), ("chat", 1))
    assert "Thu 05 Mar: 1" in message.text()
    part = compose(message, CONFIG).get_body(("html",))
    assert part is not None
    assert Bars(part.get_content()).widths == ["88.0%", "44.0%", "88.0%", "44.0%"]
    assert message.url.endswith("/incidents?state=all")


def test_a_daily_digest_of_one_service_is_a_list_alone() -> None:
    assert issued(WEEK[:1], timedelta(hours=12)).charts == ()
