"""`tocsin demo` in once mode: the summary it writes, and whose data directory it takes."""

from __future__ import annotations

import io
import json
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tocsin.demo.run import MARKER, DemoOptions, run_demo
from tocsin.domain.errors import StoreError
from tocsin.engine.settings import Settings

LLMPERF = Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "llmperf_2023_12.parquet"


def play(folder: Path, **options: Any) -> tuple[dict[str, Any], str]:
    """One run: what it wrote, and what it printed."""
    text = io.StringIO()
    summary = folder / "demo-summary.json"
    run_demo(
        Settings(folder / "data", port=0),
        DemoOptions(once=True, summary=summary, **options),
        Console(file=text, width=160),
    )
    found: dict[str, Any] = json.loads(summary.read_text())
    return found, text.getvalue()


def states(folder: Path) -> sqlite3.Connection:
    return sqlite3.connect(folder / "data" / "state.db")


def check_keys(summary: dict[str, Any]) -> None:
    assert list(summary) == ["calls", "services", "incidents", "pages", "messages"]
    assert list(summary["incidents"]) == ["labelled", "caught", "missed", "seconds_to_page"]
    assert list(summary["incidents"]["seconds_to_page"]) == ["p50", "max"]
    assert list(summary["pages"]) == ["sent", "false"]
    assert list(summary["messages"]) == ["sent", "grouped", "digested", "inhibited"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], str]:
    folder = tmp_path_factory.mktemp("demo")
    return folder, *play(folder, days=1, scale=0.5)


def test_the_summary_has_exactly_the_documented_keys(
    run: tuple[Path, dict[str, Any], str],
) -> None:
    check_keys(run[1])


def test_its_numbers_agree_with_each_other(run: tuple[Path, dict[str, Any], str]) -> None:
    _, summary, _ = run
    incidents, pages, messages = (summary[name] for name in ("incidents", "pages", "messages"))
    assert summary["services"] == 6
    assert summary["calls"] > 1000
    assert incidents["caught"] + len(incidents["missed"]) == incidents["labelled"]
    assert 0 <= pages["false"] <= pages["sent"]
    assert messages["sent"] >= pages["sent"]
    p50, longest = incidents["seconds_to_page"]["p50"], incidents["seconds_to_page"]["max"]
    assert (p50 is None) == (longest is None)
    assert p50 is None or 0 < p50 <= longest


def test_its_numbers_are_those_of_what_was_stored(run: tuple[Path, dict[str, Any], str]) -> None:
    folder, summary, _ = run
    with states(folder) as database:
        (delivered,) = database.execute(
            "SELECT count(*) FROM effect WHERE kind = 'notify' AND state = 'done'"
        ).fetchone()
        (received,) = database.execute("SELECT count(*) FROM sink_message").fetchone()
    database.close()
    assert summary["messages"]["sent"] == delivered
    assert received >= delivered or delivered == 0


def test_the_screen_says_the_same(run: tuple[Path, dict[str, Any], str]) -> None:
    _, summary, text = run
    assert f"{summary['calls']:,} calls of 6 services" in text
    incidents = summary["incidents"]
    assert f"{incidents['caught']} of {incidents['labelled']} caught" in text
    assert "http://127.0.0.1:" in text


def test_a_directory_of_its_own_is_made_anew(run: tuple[Path, dict[str, Any], str]) -> None:
    folder, summary, _ = run
    assert (folder / "data" / MARKER).exists()
    again, _ = play(folder, days=1, scale=0.05)
    assert again["calls"] < summary["calls"]


def test_a_directory_that_is_not_the_demos_is_left_alone(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "precious").write_text("keep me")
    with pytest.raises(StoreError, match="choose another --data-dir"):
        play(tmp_path, days=1, scale=0.05)
    assert [p.name for p in data.iterdir()] == ["precious"]
    assert not (tmp_path / "demo-summary.json").exists()


@pytest.mark.skipif(not LLMPERF.exists(), reason="the shared traces are not beside the checkout")
def test_a_trace_is_replayed_instead(tmp_path: Path) -> None:
    summary, text = play(tmp_path, trace=LLMPERF)
    check_keys(summary)
    assert summary["calls"] == 1950
    assert summary["incidents"]["labelled"] == 0, "nobody labelled a trace"
    assert summary["incidents"]["missed"] == []
    assert summary["pages"]["sent"] == 0, "a trace is told to the channel, not paged"
    assert "Mapping: " in text


def test_it_ends_when_it_is_told_to_and_writes_no_half_summary(tmp_path: Path) -> None:
    words = [sys.executable, "-u", "-c", "from tocsin.cli import main; main()", "demo", "--once",
             "--data-dir", str(tmp_path / "data")]  # fmt: skip
    with subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        assert "Dashboard" in demo.stdout.readline()
        demo.send_signal(signal.SIGTERM)
        said, _ = demo.communicate(timeout=120)
    assert "Interrupted" in said
    assert demo.returncode == 130
    assert not (tmp_path / "demo-summary.json").exists()
