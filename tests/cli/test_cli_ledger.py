"""`tocsin ledger`: export, verification on nothing but the export, and keys."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tocsin.cli import app
from tocsin.domain.clock import ManualClock
from tocsin.domain.findings import LedgerEvent
from tocsin.engine.notary import Notary
from tocsin.store.checkpoints import SigningKey
from tocsin.store.state import StateStore

NOW = datetime(2026, 11, 16, 9, 0, tzinfo=UTC)


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["ledger", *map(str, arguments)], env={"COLUMNS": "200"})


@pytest.fixture
def key() -> SigningKey:
    private, public = run("key").output.split()
    made = SigningKey.of(private)
    assert made.public.text == public
    return made


@pytest.fixture
def data(tmp_path: Path, key: SigningKey) -> Path:
    store = StateStore.open(tmp_path / "state.db")
    with store.transaction() as tx:
        for n in range(5):
            tx.append(LedgerEvent(NOW, "test.event", "ana", f"subject {n}", "because", {"n": n}))
    Notary(store, ManualClock(NOW), key).look()
    store.close()
    return tmp_path


def test_an_export_is_verified_offline_with_the_public_key(
    data: Path, key: SigningKey, tmp_path: Path
) -> None:
    file = tmp_path / "ledger.jsonl"
    assert run("export", "--data-dir", data, "--file", file).exit_code == 0
    public = tmp_path / "public"
    public.write_text(key.public.text)
    done = run("verify", file, "--key", public)
    assert (done.exit_code, "signed up to entry 5" in done.output) == (0, True), done.output
    found = json.loads(run("verify", "--data-dir", data, "--output", "json").stdout)
    assert (found["intact"], found["entries"], found["signed_to"]) == (True, 5, 5)

    lines = file.read_text().splitlines()
    file.write_text("\n".join(lines[:-1]) + "\n")
    done = run("verify", file)
    assert (done.exit_code, "ledger entry 5: missing" in done.output) == (2, True), done.output


def test_what_cannot_be_checked_is_an_error_and_not_intact(data: Path, tmp_path: Path) -> None:
    assert run("verify", tmp_path / "nothing.jsonl").exit_code == 1
    assert run("verify", "--data-dir", tmp_path / "nothing").exit_code == 1
    assert run("verify", "--data-dir", data, "--key", "secret").exit_code == 1
    done = run("verify", "--data-dir", data, "--key", SigningKey.new().public.text)
    assert (done.exit_code, "not signed with key" in done.output) == (2, True), done.output
