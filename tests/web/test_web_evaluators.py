"""The page of evaluators and the one on which people label, with their API, over real stores."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

sys.path.insert(0, str(Path(__file__).parents[1] / "engine"))
from judge_build import Works, document, telemetry, works

from tocsin.cli.evaluators import show
from tocsin.cli.terminal import out
from tocsin.domain.errors import StoreError
from tocsin.engine.reporting.keeping import Shelf
from tocsin.engine.settings import Settings
from tocsin.web.server import web_app

RUN = document("type: length\nmax_words: 3", spec="target: 0.9\nhumanLabels: {min: 2}")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Works]:
    with telemetry(tmp_path_factory.mktemp("web")) as store, works(store, RUN) as held:
        held.calls(["Short <b>answer</b>.", "A somewhat longer answer."] * 8)
        held.judge()
        yield held


@pytest.fixture
def web(shop: Works) -> TestClient:
    app = web_app(shop.house, shop.intake, Settings(Path()), evaluators=shop.runner)
    return TestClient(app, base_url="http://127.0.0.1:4318", client=("127.0.0.1", 5000))


def fields(page: str) -> dict[str, str]:
    found = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page)
    return dict(found)


def test_a_person_labels_one_answer_after_the_other(shop: Works, web: TestClient) -> None:
    page = web.get("/evaluators/faithful/label").text
    assert "16 judged in 7 days" in page
    before_opening = page.partition("<details")[0]
    assert "probability" not in before_opening, "it would give away what the judge said"
    assert "<b>answer</b>" not in page, "an answer is text, whatever it holds"
    form = fields(page) | {"label": "bad", "name": "Ann", "note": "too long"}
    first = form["span_id"]
    answer = web.post("/evaluators/faithful/label", data=form, follow_redirects=False)
    assert answer.status_code == 303
    following = web.get(answer.headers["location"])
    assert "Labelled bad." in following.text
    assert fields(following.text)["span_id"] != first
    assert 'value="Ann"' in following.text, "nobody types a name twice"
    again = web.post("/evaluators/faithful/label", data=form)
    assert again.status_code == 409
    without = {name: value for name, value in form.items() if name != "form_token"}
    assert web.post("/evaluators/faithful/label", data=without).status_code == 403
    shop.store.flush()
    assert shop.scores("faithful.human")[first] == (0.0, "bad")
    (entry,) = [e for e in shop.state.entries_about("faithful") if e.kind == "label.given"]
    assert (entry.actor, entry.data["note"]) == ("web:Ann", "too long")


def test_programs_and_terminals_see_the_same(
    shop: Works, web: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    (one,) = web.get("/api/v1/evaluators").json()["items"]
    assert (one["name"], one["state"], one["today"]["judged"]) == ("faithful", "judging", 16)
    queue = web.get("/api/v1/evaluators/faithful/queue?limit=3").json()
    assert len(queue["items"]) == 3
    label = {"span_id": queue["items"][0]["span_id"], "good": True, "actor": "ci"}
    assert web.post("/api/v1/evaluators/faithful/labels", json=label).status_code == 201
    assert web.post("/api/v1/evaluators/faithful/labels", json=label).status_code == 409
    assert web.get("/api/v1/evaluators/nobody/queue").status_code == 404
    monkeypatch.setattr(out, "width", 160)
    with out.capture() as told:
        show([one])
    assert f"{one['series']}  judging" in told.get()
    assert "16 of 16" in told.get()
    page = web.get("/evaluators").text
    assert "faithful@" in page
    assert "of 16 calls" in page


def test_what_goes_wrong_keeps_its_own_words_and_status(
    shop: Works, web: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = web.get("/evaluators/nobody/label")
    assert (missing.status_code, "nobody" in missing.text) == (404, True)
    form = fields(web.get("/evaluators/faithful/label").text) | {"label": "bad", "name": "Ann"}
    missing = web.post("/evaluators/nobody/label", data=form)
    assert (missing.status_code, "nobody" in missing.text) == (404, True)

    def fails(*_: object) -> None:
        raise StoreError("the disk is full: make room")

    asked = {"form_token": form["form_token"], "name": "Ann", "report": "executive"}
    wrong = web.post("/reports", data={**asked, "from": "tomorrow"})
    assert (wrong.status_code, "is no time such as" in wrong.text) == (400, True)
    monkeypatch.setattr(Shelf, "make", fails)
    failed = web.post("/reports", data=asked)
    assert (failed.status_code, "make room" in failed.text) == (500, True)
