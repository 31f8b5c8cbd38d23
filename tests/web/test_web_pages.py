from __future__ import annotations

import gzip
import itertools
import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from page_tree import SHAPES, Node, parse
from starlette.testclient import TestClient
from structlog.testing import capture_logs
from web_desk import NOW, MemoryDesk

import tocsin.web
from tocsin.domain.clock import ManualClock
from tocsin.domain.errors import StoreError
from tocsin.web.app import create_app
from tocsin.web.auth import AuthPolicy

INCIDENT = "/incidents/support/latency_p95-3"
PAGES = (
    "/",
    "/?window=1h",
    "/?window=28d",
    "/services",
    "/services?q=voice&tone=warn",
    "/services?q=nothing-like-it",
    "/services/support",
    "/services/review?window=7d",
    "/services/search",
    "/objectives",
    "/incidents",
    "/incidents?state=all&tier=1",
    INCIDENT,
    INCIDENT + "?done=acknowledged",
    "/incidents/claims/error_rate-7",
    INCIDENT + "/why",
    "/calls",
    "/messages",
    "/audit",
    "/oncall",
    "/figures",
    "/data-quality",
    "/detectors",
    "/detectors/failures/support?threshold=4",
    "/detectors/slow",
    "/sources",
    "/quarantine",
    "/setup",
)
STATIC = Path(tocsin.web.__file__).parent / "static"
TEMPLATES = Path(tocsin.web.__file__).parent / "templates"
HTML = {"Accept": "text/html"}


def browse(client: TestClient, path: str, status: int = 200) -> Node:
    answer = client.get(path, headers=HTML)
    assert answer.status_code == status, answer.text[:300]
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    return parse(answer.text)


def browser_for(desk: MemoryDesk, clock: ManualClock) -> TestClient:
    app = create_app(desk, auth=AuthPolicy.for_bind("127.0.0.1"), clock=clock)
    return TestClient(app, base_url="http://127.0.0.1:4318", raise_server_exceptions=False)


@pytest.fixture(scope="module")
def site() -> Callable[[str], Node]:
    """The pages of a desk nobody changes, each parsed once."""
    client = browser_for(MemoryDesk(), ManualClock(NOW))
    return cache(lambda path: browse(client, path))


@pytest.mark.parametrize("path", PAGES)
def test_every_page_has_a_language_a_title_landmarks_and_one_heading(
    site: Callable[[str], Node], path: str
) -> None:
    page = site(path)
    assert page.one("html").attributes["lang"] == "en"
    assert page.one("head").one("title").text.endswith("· Tocsin")
    assert len(page.all("h1")) == 1
    assert len(page.all("main")) == 1
    assert page.one("nav", aria_label="Main").all("a")
    assert page.one("a", class_="skip").attributes["href"] == "#main"


@pytest.mark.parametrize("path", PAGES)
def test_headings_never_skip_a_level(site: Callable[[str], Node], path: str) -> None:
    levels = [int(h.tag[1]) for h in site(path).all("h1", "h2", "h3", "h4")]
    assert levels[0] == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels)), levels


@pytest.mark.parametrize("path", PAGES)
def test_every_drawing_has_a_name_or_is_hidden(site: Callable[[str], Node], path: str) -> None:
    for drawing in site(path).all("svg"):
        if drawing.within("svg") or drawing.attributes.get("aria-hidden") == "true":
            continue
        assert drawing.attributes.get("role") == "img"
        assert drawing.attributes.get("aria-label")


@pytest.mark.parametrize("path", PAGES)
def test_every_control_has_a_label_and_every_button_and_link_a_text(
    site: Callable[[str], Node], path: str
) -> None:
    page = site(path)
    for control in page.all("input", "select", "textarea"):
        if control.attributes.get("type") != "hidden":
            assert control.within("label"), control.attributes
    for node in page.all("button", "a", "th", "label", "legend", "caption", "summary"):
        assert node.text, (node.tag, node.attributes)


@pytest.mark.parametrize("path", PAGES)
def test_ids_are_unique_and_named_regions_have_different_names(
    site: Callable[[str], Node], path: str
) -> None:
    page = site(path)
    ids = [n.attributes["id"] for n in page.walk() if "id" in n.attributes]
    assert len(ids) == len(set(ids))
    names = [n.attributes["aria-label"] for n in page.all("nav")]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("path", PAGES)
def test_nothing_in_a_page_needs_a_looser_content_security_policy(
    site: Callable[[str], Node], path: str
) -> None:
    page = site(path)
    for node in page.walk():
        assert "style" not in node.attributes, node.tag
        assert not [a for a in node.attributes if a.startswith("on")], node.attributes
        if node.tag == "script":
            assert re.fullmatch(r"/static/tocsin\.[0-9a-f]{12}\.js", node.attributes["src"])
            assert not node.text
        assert node.tag != "style"


def test_further_detectors_are_a_link_away(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tocsin.web.detector_pages.MOST_ROWS", 1)
    first = client.get("/detectors", headers=HTML).text
    (link,) = re.findall(r'href="(/detectors\?after=[^"]+)"', first)
    further = client.get(link, headers=HTML)
    assert further.status_code == 200
    shown = [set(re.findall(r'href="/detectors/([^"]+)"', text)) for text in (first, further.text)]
    assert all(len(names) == 1 for names in shown)
    assert shown[0] != shown[1]


def test_every_link_inside_leads_somewhere(client: TestClient, site: Callable[[str], Node]) -> None:
    links = {a.attributes["href"] for path in PAGES for a in site(path).all("a")}
    for link in sorted(link for link in links if link.startswith("/")):
        assert client.get(link, headers=HTML).status_code == 200, link


@pytest.mark.parametrize("path", PAGES)
def test_state_is_a_word_wherever_it_is_a_colour(site: Callable[[str], Node], path: str) -> None:
    for node in site(path).walk():
        classes = node.attributes.get("class", "").split()
        if ("chip" in classes or "word" in classes) and any(c.startswith("t-") for c in classes):
            assert node.text


def test_the_fleet_shows_four_tiles_a_card_per_service_and_the_worst_chart(
    client: TestClient,
) -> None:
    page = browse(client, "/")
    tiles = {dt.text: dt.parent.text for dt in page.all("dt") if dt.parent is not None}
    assert "6 %" in tiles["Lowest error budget"]
    assert "13 / 14 1 breached, 2 at risk, 1 unknown" in tiles["SLOs met"]
    assert "3 1 page, 2 tickets" in tiles["Firing"]
    assert "$1,284 +6 % vs. usual Tuesday" in tiles["Spend today · 12 unpriced"]
    cards = [n for n in page.all("li") if n.attributes.get("class") == "card"]
    assert [card.one("h2").text for card in cards][:2] == [
        "Support assistant",
        "Contract search (RAG)",
    ]
    for part in ("2 firing", "6 % left", "burning 14.2×", "5.2 s p95", "p95 under 4 s, 28 d"):
        assert part in cards[0].text
    chart = page.one("figure")
    assert "anomaly since 09:23" in chart.text
    assert "prompt v42 deployed" in chart.text


def test_an_unknown_service_is_drawn_as_unknown_and_never_in_green(client: TestClient) -> None:
    cards = [n for n in browse(client, "/").all("li") if n.attributes.get("class") == "card"]
    (silent,) = [card for card in cards if "Product search" in card.text]
    assert "unknown" in silent.text
    assert "no calls for 3 h" in silent.text
    tones = {
        c for n in silent.walk() for c in n.attributes.get("class", "").split() if c[:2] == "t-"
    }
    assert tones == {"t-unknown"}
    assert "0 %" not in silent.text


def test_the_chosen_window_is_in_the_address_and_kept_by_links(client: TestClient) -> None:
    page = browse(client, "/?window=7d")
    chosen = [a for a in page.one("nav", aria_label="Time range").all("a")
              if "aria-current" in a.attributes]  # fmt: skip
    assert [a.text for a in chosen] == ["7 d"]
    assert page.all("h2")[0].one("a").attributes["href"] == "/services/support?window=7d"


def test_an_impossible_window_is_a_clear_400(client: TestClient) -> None:
    page = browse(client, "/?window=3w", 400)
    assert "window='3w' is not one of 1h, 24h, 7d, 28d" in page.text


def test_a_service_page_shows_indicators_objectives_and_exemplars(client: TestClient) -> None:
    page = browse(client, "/services/support")
    heads = [f.one("figcaption") for f in page.all("figure")]
    titles = [head.all("h2")[0].text for head in heads if head.all("h2")]
    serving = [head.all("h3")[0].text for head in heads if head.all("h3")]
    assert serving == ["requests waiting", "KV cache in use"]
    assert titles == ["p95 latency", "Requests", "Error rate", "Tokens", "Cost",
                      "Negative feedback", "How long requests take"]  # fmt: skip
    text = page.text
    for part in ("p50", "p99", "1 h / 5 min", "18,760 bad of 400,000", "rate_limit",
                 "prompt v42 deployed", "Support assistant is slow", "$0.0231",
                 "mean of 400,000 calls", "known of 93 % of them", "usually $0.02",
                 "$2,760"):  # fmt: skip
        assert part in text, part
    rows = [r for r in page.all("tr") if "embedding" in r.text]
    assert "unknown" in rows[0].text, "a call without usage must not show tokens as 0"


def test_an_incident_explains_itself(client: TestClient) -> None:
    text = browse(client, INCIDENT).text
    for part in (
        "p95 latency is 4.1 s where 1.2 to 1.9 s is usual", "Since 2026-03-03 09:32:00 UTC",
        "held against: the median of four seasonal baselines", "prompt_version=v42", "91 %",
        "prompt v42 deployed", "status page says operational", "6 %", "14.2×", "Runbook",
        "Compare v41 and v42", "pager-ai-ops", "dead", "channel gone", "tier 1 because",
        "Acknowledge", "Resolve", "Yes: a real problem", "p95 above band",
    ):  # fmt: skip
        assert part in text, part


def test_a_settled_incident_offers_a_verdict_but_no_acknowledgement(client: TestClient) -> None:
    page = browse(client, "/incidents/claims/error_rate-7")
    buttons = page.one("main").all("button")
    assert [b.attributes["value"] for b in buttons] == ["real", "false", "duplicate", "noise"]
    (chosen,) = [b for b in buttons if b.attributes["aria-pressed"] == "true"]
    assert chosen.text == "✓ Yes: a real problem"


def test_routing_is_explained_rule_by_rule(client: TestClient) -> None:
    page = browse(client, INCIDENT + "/why")
    matched = [r.text for r in page.all("tr") if " yes " in r.text]
    assert matched == [
        "classify p95 in production yes tier=1",
        "route page yes the walk ends here",
    ]
    text = page.one("main").text
    assert "Derived again from the ledger: the same." in text
    assert "oncall/second has nobody" in text
    assert "ana acknowledged it" in text


def test_long_lists_are_read_page_by_page(client: TestClient) -> None:
    seen: list[str] = []
    path = "/calls"
    while path:
        page = browse(client, path)
        seen += [n.attributes["title"] for n in page.all("td") if "title" in n.attributes]
        older = [a for a in page.all("a") if a.text == "Older"]
        path = older[0].attributes["href"] if older else ""
    assert len(seen) == len(set(seen)) == 230


def test_a_call_shows_its_texts_its_log_records_and_its_scores(client: TestClient) -> None:
    link = browse(client, "/calls").one("tbody").all("a")[1].attributes["href"]
    assert link.startswith("/calls/")
    page = browse(client, link)
    asked, answered = page.all("pre")
    assert '"content": "<b>Where</b> is my parcel?"' in asked.text  # laid out, and escaped
    assert answered.text == "Yes."
    text = page.one("main").text
    for said in ("from the log records", "gen_ai.choice", "thumbs_up", "api.example"):
        assert said in text
    assert "there is no call" in browse(client, "/calls/00/11", 404).text


def test_a_text_too_long_to_read_is_cut_and_says_so(
    client: TestClient, desk: MemoryDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = desk.calls(1, None, "", None).items[0]
    whole = replace(desk.call(found.trace_id, found.span_id), output="x" * 60_000)
    monkeypatch.setattr(desk, "call", lambda *_: whole)
    shown = browse(client, f"/calls/{found.trace_id}/{found.span_id}").all("pre")[1].text
    assert shown.endswith("… (60000 characters; the API has all of them)")
    path = f"/api/v1/calls/{found.trace_id}/{found.span_id}"
    assert client.get(path).json()["output"] == whole.output


def test_a_foreign_cursor_is_a_clear_400(client: TestClient) -> None:
    assert "is not a cursor of this server" in browse(client, "/audit?cursor=zz", 400).text


def test_a_time_that_is_none_is_a_clear_400(client: TestClient) -> None:
    assert "is not a time such as" in browse(client, "/calls?since=yesterday", 400).text


def test_a_broken_chain_says_so(client: TestClient, desk: MemoryDesk, monkeypatch) -> None:
    assert "Chain intact." in browse(client, "/audit").text
    whole = desk.ledger

    def broken(*arguments: object) -> object:
        return replace(whole(*arguments), intact=False, problem="entry 7 was changed")

    monkeypatch.setattr(desk, "ledger", broken)
    text = browse(client, "/audit").text
    assert "Chain broken. entry 7 was changed" in text


def test_the_whole_chain_is_verified_when_somebody_asks_for_it(
    client: TestClient, desk: MemoryDesk
) -> None:
    before, inputs = desk.verified, browse(client, "/audit").all("input")
    token = next(n.attributes["value"] for n in inputs if n.attributes["name"] == "form_token")
    answer = client.post("/audit/verify", data={"form_token": token}, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/audit")
    assert desk.verified == before + 1
    assert client.post("/audit/verify", data={"form_token": "x"}).status_code == 403


@pytest.mark.parametrize("path", ["/", "/setup"])
def test_a_fresh_install_says_how_to_send_the_first_call(clock: ManualClock, path: str) -> None:
    page = browse(browser_for(MemoryDesk(empty=True), clock), path)
    assert "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318" in page.text
    assert "OTEL_EXPORTER_OTLP_HEADERS" not in page.text


@pytest.mark.parametrize(
    "path",
    ["/services", "/objectives", "/incidents", "/calls", "/messages", "/audit", "/quarantine"],
)
def test_lists_without_items_say_what_that_means(clock: ManualClock, path: str) -> None:
    page = browse(browser_for(MemoryDesk(empty=True), clock), path)
    assert [n for n in page.all("p") if n.attributes.get("class") == "empty-note"]


def test_the_replay_shows_its_progress_and_refreshes_faster(clock: ManualClock) -> None:
    page = browse(browser_for(MemoryDesk(replaying=True), clock), "/")
    assert "64 % at 2026-02-26 14:05:00 · 812,345 calls · 41,000/s" in page.text
    assert page.one("div", id="live").attributes["data-refresh"] == "2"


def test_a_fragment_is_the_live_part_alone(client: TestClient) -> None:
    answer = client.get("/", headers={**HTML, "Tocsin-Fragment": "1"})
    tree = parse(answer.text)
    assert [n.attributes.get("id") for n in tree.children] == ["firing", "live"]
    assert "Tocsin-Fragment" in answer.headers["vary"]
    assert "set-cookie" not in answer.headers


def test_what_does_not_exist_is_a_404_page(client: TestClient) -> None:
    assert "There is no such page." in browse(client, "/no/such/page", 404).text
    assert "no service is called 'nobody'" in browse(client, "/services/nobody", 404).text
    assert "there is no incident 'x-1'" in browse(client, "/incidents/x-1", 404).text


@pytest.mark.parametrize("error", [RuntimeError("secret detail"), StoreError("disk is full")])
def test_a_failing_store_is_a_500_page_that_draws_without_it(
    client: TestClient, desk: MemoryDesk, error: Exception
) -> None:
    desk.broken = error
    with capture_logs() as logged:
        answer = client.get("/", headers=HTML)
    assert [entry["event"] for entry in logged] == ["page_failed"]
    assert answer.status_code == 500
    assert "secret detail" not in answer.text
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert len(parse(answer.text).all("h1")) == 1


def test_the_theme_is_a_cookie_and_nothing_else(client: TestClient) -> None:
    assert "data-theme" not in browse(client, "/").one("html").attributes
    answer = client.post("/theme", data={"theme": "dark", "next": "/calls?service=a"},
                         follow_redirects=False)  # fmt: skip
    assert answer.headers["location"] == "/calls?service=a"
    assert browse(client, "/").one("html").attributes["data-theme"] == "dark"
    client.post("/theme", data={"theme": "auto", "next": "/"})
    assert "data-theme" not in browse(client, "/").one("html").attributes


def test_static_files_are_kept_for_a_year_under_a_name_with_their_hash(client: TestClient) -> None:
    page = browse(client, "/")
    for address in (
        page.one("link", rel="stylesheet").attributes["href"],
        page.one("script").attributes["src"],
        page.one("link", rel="icon").attributes["href"],
    ):
        answer = client.get(address)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert client.get("/static/tocsin.000000000000.css").status_code == 404
    assert client.get("/static/..%2Fapp.py").status_code == 404


def test_1000_services_fit_in_60_kilobytes_and_all_are_on_the_page(clock: ManualClock) -> None:
    client = browser_for(MemoryDesk(services=1000), clock)
    answer = client.get("/", headers=HTML)
    assert answer.text.count("/services/") >= 1000
    assert len(gzip.compress(answer.content, 6)) < 60_000


def test_services_are_found_by_name_team_model_and_state(client: TestClient) -> None:
    def found(query: str) -> list[str]:
        return [r.text for r in browse(client, f"/services?{query}").all("th")
                if r.attributes.get("scope") == "row"]  # fmt: skip

    assert found("q=cx-platform") == ["Support assistant", "Voice agent"]
    assert found("q=cx+realtime") == ["Voice agent"]
    assert found("tone=unknown") == ["Product search"]


def test_every_class_in_a_template_has_a_style() -> None:
    styles = (STATIC / "tocsin.css").read_text()
    used = set()
    for template in TEMPLATES.glob("*.html"):
        text = re.sub(r"\{[{%].*?[%}]\}", " ", template.read_text())
        for classes in re.findall(r'class="([^"]*)"', text):
            used |= set(classes.split())
    behaviour_only = {"t-", "extra", "chip", "head", "value", "odd"}
    missing = {c for c in used - behaviour_only if f".{c}" not in styles}
    assert not missing


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(
    ("ink", "ground", "ratio"),
    [
        *((ink, ground, 4.5) for ink in ("ink", "soft", "accent", "ok-ink", "warn-ink", "bad-ink")
          for ground in ("panel", "page")),
        *((f"{tone}-ink", f"{tone}-wash", 4.5) for tone in ("ok", "warn", "bad")),
        ("soft", "unknown-wash", 4.5), ("on-accent", "accent", 4.5),
        *((tone, "panel", 3.0) for tone in ("ok", "warn", "bad", "accent")),
    ],
)  # fmt: skip
def test_text_and_marks_have_enough_contrast(
    ink: str, ground: str, ratio: float, theme: int
) -> None:
    styles = (STATIC / "tocsin.css").read_text()

    def colour(name: str) -> str:
        found = re.search(rf"--{name}: light-dark\((#\w+), (#\w+)\)", styles)
        assert found, name
        return found.groups()[theme]

    a, b = sorted((luminance(colour(ink)), luminance(colour(ground))))
    assert (b + 0.05) / (a + 0.05) >= ratio


def test_no_shape_is_left_to_the_default_black_fill(client: TestClient) -> None:
    for path in ("/", "/services/support"):
        for drawing in browse(client, path).all("svg"):
            for shape in drawing.all(*SHAPES):
                named = shape.attributes.get("class") or shape.attributes.get("fill")
                assert named or drawing.attributes.get("aria-hidden") == "true"


def test_a_range_in_the_address_of_a_service_is_broken_down(client: TestClient) -> None:
    plain = client.get("/services/support").text
    assert "Choose a range" in plain
    asked = {"from": "2026-03-03T13:45", "to": "2026-03-03T14:00", "measure": "slow"}
    shown = client.get("/services/support", params=asked).text
    assert "model gpt-4o and region eu" in shown
    assert "41 of 310, 14.2 times as likely" in shown
    assert "Changed at 2026-03-03 13:50 UTC" in shown
    assert "13:48 deploy: prompt v43" in shown
    assert '<option value="slow" selected>' in shown
    assert "neither is empty" in client.get(
        "/services/support", params=asked | {"to": "2026-03-03T13:00"}
    ).text  # fmt: skip
    unread = client.get("/services/support", params={"from": "soon"})
    assert "is no time" in unread.text
