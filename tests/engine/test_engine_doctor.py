"""What `tocsin doctor` says of receivers: have they what they need, and how do answers come."""

from __future__ import annotations

from pathlib import Path

import pytest

from tocsin.domain.clock import SystemClock
from tocsin.engine.doctor import Finding, Grade, examine
from tocsin.engine.settings import Settings

DOCUMENTS = """
apiVersion: tocsin/v1
kind: Receiver
metadata: {name: pager}
spec:
  type: pagerduty
  routing_key: {secret: DOCTOR_PD}
  webhook_secret: {secret: DOCTOR_HOOK, default: null}
---
apiVersion: tocsin/v1
kind: Receiver
metadata: {name: tickets}
spec:
  type: jira
  url: https://j.example
  email: a@b.example
  token: {secret: DOCTOR_JIRA}
  project: OPS
---
apiVersion: tocsin/v1
kind: Receiver
metadata: {name: mail}
spec: {type: email, host: smtp.example, sender: a@b.example, to: [c@d.example]}
"""


def findings(directory: Path) -> dict[str, Finding]:
    (directory / "config").mkdir(exist_ok=True)
    (directory / "config" / "receivers.yaml").write_text(DOCUMENTS)
    settings = Settings(
        directory / "data", config_dir=directory / "config", public_url="https://t.example",
        port=0, grpc_port=0, flight_port=0,
    )  # fmt: skip
    return {each.check: each for each in examine(settings, SystemClock())}


def test_a_missing_secret_is_named(tmp_path: Path) -> None:
    found = findings(tmp_path)["receivers"]
    assert found.grade is Grade.FAIL
    assert "the secret DOCTOR_" in found.found


def test_each_receiver_says_how_answers_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCTOR_PD", "k" * 32)
    monkeypatch.setenv("DOCTOR_JIRA", "hunter2hunter2")
    found = findings(tmp_path)
    assert found["receiver tickets"].found == "jira, asked for answers every 30 s"
    assert found["receiver mail"].found == "email, somebody acknowledges in Tocsin"
    pager = found["receiver pager"]
    assert (pager.grade, pager.found) == (Grade.NOTE, "pagerduty, nothing comes back from it")
    assert "hunter2" not in str(found)
    monkeypatch.setenv("DOCTOR_HOOK", "s")
    pager = findings(tmp_path)["receiver pager"]
    assert pager.found == "pagerduty, answers at https://t.example/callbacks/pager"
