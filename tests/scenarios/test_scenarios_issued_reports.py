"""Reports made by themselves and kept: once per period through crashes, told, shown, downloaded."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from world import CONFIG, T0, Phase, World

from tocsin.delivery.channels.email import EmailConfig, compose
from tocsin.delivery.message import render_digest
from tocsin.engine.reporting import pdf
from tocsin.engine.reporting.issuing import Issuer

REPORT = """
---
apiVersion: tocsin/v1
kind: Report
metadata: {name: morning, displayName: Every morning}
spec:
  {template: review, cron: "10 9 * * *", to: [mail, audit], formats: [html, json], services: chat}
"""
MINUTE = timedelta(minutes=1)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    path: Path = tmp_path_factory.mktemp("issued")
    config = path / "config.yaml"
    config.write_text(CONFIG.read_text() + REPORT)
    with World(path / "data", [Phase("chat", -120, 30, 6)], config=config) as world:
        yield world


def test_a_report_is_made_and_told_once_per_period_whatever_dies(
    made: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Issuer(made.house).look() == []  # due at ten past nine
    made.clock.set(T0 + 10 * MINUTE + timedelta(seconds=59))
    assert Issuer(made.house).look() == []  # what was received by then is still being loaded

    def dies(*_: Any) -> Any:
        raise RuntimeError("power cut before the commit")

    made.clock.set(T0 + 12 * MINUTE)
    with monkeypatch.context() as patch:
        patch.setattr(made.house.conductor, "deciding", dies)
        patch.setattr(Issuer, "_rest", lambda *_: None)  # it is dead
        assert Issuer(made.house).look() == []
    made.restart()
    [kept] = Issuer(made.house).look()
    assert kept.as_of == T0 + 10 * MINUTE
    made.restart()
    assert Issuer(made.house).look() == []
    made.clock.advance(MINUTE)
    made.deliver()
    [hook], [letter] = made.of("audit"), made.of("mail")
    assert hook.body["data"]["title"].startswith("Every morning")
    assert hook.body["data"]["links"]["Report"].endswith(f"/reports/{kept.id}/report.html")
    assert any(line.startswith("Calls: ") for line in hook.body["data"]["items"])
    assert "Calls: " in letter.text
    [effect] = made.state.effects_named([f"report:{kept.id}:mail"])  # the sink keeps text only
    message = render_digest(effect, "http://localhost", at=T0)
    mail = compose(message, EmailConfig("localhost", ("a@example.org",), "b@example.org"))
    [attached] = list(mail.iter_attachments())
    assert attached.get_filename() == "morning-2026-11-09.html"
    body = attached.get_payload(decode=True)
    assert hashlib.sha256(body).hexdigest() == kept.files["report.html"]
    made.clock.advance(timedelta(days=2))  # two mornings were missed
    later = Issuer(made.house).look()
    assert [one.as_of - kept.as_of for one in later] == [timedelta(days=1), timedelta(days=2)]
    entries = made.state.entries_of(["report.made"])
    assert len(entries) == len({e.data["id"] for e in entries}) == 3


def test_what_was_made_is_listed_and_downloaded_as_it_was(made: World) -> None:
    given = {"name": "executive", "from": "2026-11-16T08:00Z", "to": "2026-11-16T09:00Z",
             "as_of": "2026-11-16T09:01Z", "by": "ana"}  # fmt: skip
    first = made.web.post("/api/v1/reports", json=given)
    assert first.status_code == 201, first.text
    assert made.web.post("/api/v1/reports", json=given).json() == first.json()
    page = made.web.get("/reports", headers={"accept": "text/html"})
    assert "Every morning" in page.text
    assert f"/reports/{first.json()['id']}/report.html" in page.text
    for name, digest in first.json()["files"].items():
        answer = made.web.get(f"/reports/{first.json()['id']}/{name}")
        assert hashlib.sha256(answer.content).hexdigest() == digest
    html = made.web.get(f"/reports/{first.json()['id']}/report.html")
    assert "sandbox" in html.headers["content-security-policy"]
    assert made.web.get(f"/reports/{first.json()['id']}/../../etc").status_code == 404


def test_the_form_makes_one_and_says_what_is_wrong(made: World) -> None:
    fields = {"report": "segments", "from": "2026-11-16T08:00", "to": "2026-11-16T09:00"}
    answer = made.form("/reports", "/reports", **fields)
    assert answer.status_code == 303, answer.text
    assert made.web.get(answer.headers["location"]).status_code == 200
    wrong = made.form("/reports", "/reports", **{**fields, "to": "soon"})
    assert wrong.status_code == 400
    assert "is no time such as" in wrong.text
    assert 'value="2026-11-16T08:00"' in wrong.text


@pytest.mark.skipif(not pdf.is_there(), reason="WeasyPrint is not installed")
def test_pdf_is_laid_out_once_and_kept(
    made: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    html = made.web.get("/api/v1/reports").json()["made"][-1]["id"]
    address = f"/reports/{html}/report.pdf"
    first = made.web.get(address)
    with monkeypatch.context() as patch:
        patch.setattr(pdf.subprocess, "run", None)  # it is not laid out a second time
        again = made.web.get(address)
    assert first.content.startswith(b"%PDF-"), first.text
    assert first.content == again.content
    [kept] = [r for r in made.web.get("/api/v1/reports").json()["made"] if r["id"] == html]
    assert kept["files"]["report.pdf"] == hashlib.sha256(first.content).hexdigest()
    if shutil.which("pdftotext"):
        file = tmp_path / "report.pdf"
        file.write_bytes(first.content)
        text = subprocess.run(["pdftotext", "-layout", file, "-"], capture_output=True, check=True)
        assert b"Every morning" in text.stdout


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdf, "is_there", lambda: False)
    with pytest.raises(pdf.NoPdf, match=r"pip install 'tocsin\[pdf\]'"):
        pdf.as_pdf(b"<p>")


@pytest.mark.skipif(not pdf.is_there(), reason="WeasyPrint is not installed")
def test_a_report_fetches_nothing() -> None:
    page = b'<img src="file:///etc/passwd"><link rel=stylesheet href="http://169.254.169.254/x">ok'
    assert b"root:" not in pdf.as_pdf(page)
