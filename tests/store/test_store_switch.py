"""What is asked of a server before anything is made in it, and what is said when it will not do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from store_front_build import READ_TOKEN, TOKEN, Front, front
from telemetry_build import BATCHES, clock

from tocsin.domain.clock import SystemClock
from tocsin.domain.errors import StoreError
from tocsin.engine.doctor import examine
from tocsin.engine.settings import Settings
from tocsin.store import fitness
from tocsin.store.address import Address
from tocsin.store.clickhouse import ClickHouse, EngineError
from tocsin.store.layout import Layout
from tocsin.store.otlp_kinds import KINDS
from tocsin.store.telemetry import Telemetry


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Front]:
    with front(tmp_path / "served", tokens=True) as made:
        yield made


class Answers:
    """A server that answers as told; what it is not told of, it has."""

    def __init__(self, layout: Layout, answers: Mapping[str, Any]) -> None:
        self.layout = layout
        self.is_embedded = False
        self.address = Address.parse("http://tocsin:secret@ch:8123")
        self._answers = answers

    def rows(self, sql: str, parameters: object = None) -> Sequence[Sequence[Any]]:
        for words, answer in self._answers.items():
            if words in sql:
                if isinstance(answer, EngineError):
                    raise answer
                found: Sequence[Sequence[Any]] = answer
                return found
        if "system.functions" in sql:
            return [(name,) for name in (*fitness._FUNCTIONS, *fitness._SETTINGS)]
        return [("26.1.2.3",)]


CLUSTER = Layout("main")
NODES = [("other",), ("main",)]
MACROS = [("replica",), ("shard",)]


@pytest.mark.parametrize(
    ("layout", "answers", "words"),
    [
        (Layout(), {"version()": [("24.8.1.1",)]}, "is version 24.8.1.1; Tocsin needs 25.9"),
        (Layout(), {"system.functions": [("mapConcat",)]}, "lacks accurateCastOrDefault, array"),
        (CLUSTER, {"system.clusters": [("other",)]}, "knows no cluster 'main' .* it knows other"),
        (CLUSTER, {"system.clusters": []}, "it knows none"),
        (
            CLUSTER,
            {"system.clusters": NODES, "zookeeper": EngineError("no such table", 60)},
            "has no Keeper it can use",
        ),
        (
            CLUSTER,
            {"system.clusters": NODES, "system.macros": [("replica",)]},
            "has no macro shard",
        ),
        (
            Layout(),
            {"version()": EngineError("Not enough privileges", 497)},
            "gives user 'tocsin' too few rights",
        ),
    ],
    ids=["old", "functions", "cluster", "no cluster", "keeper", "macros", "rights"],
)
def test_what_a_server_lacks_is_said(
    layout: Layout, answers: Mapping[str, Any], words: str
) -> None:
    with pytest.raises(StoreError, match=words) as said:
        fitness.check(Answers(layout, answers))  # type: ignore[arg-type]
    assert "secret" not in str(said.value)
    assert "http://ch:8123" in str(said.value)


def test_a_server_with_everything_will_do() -> None:
    answers = {"system.clusters": NODES, "system.macros": MACROS}
    fitness.check(Answers(CLUSTER, answers))  # type: ignore[arg-type]
    fitness.check(Answers(Layout(), {}))  # type: ignore[arg-type]


def test_the_newest_thing_that_is_used_is_of_the_oldest_version(tmp_path: Path) -> None:
    """The engine knows when its settings came."""
    engine = ClickHouse.embedded(tmp_path / "clickhouse", memory_bytes=1_000_000_000)
    rows = engine.rows(
        "SELECT version FROM system.settings_changes ARRAY JOIN changes AS change"
        " WHERE change.name IN {names:Array(String)}",
        {"names": sorted({*fitness._SETTINGS, *(s for kind in KINDS for s in kind.settings)})},
    )
    engine.close()
    versions = {tuple(int(part) for part in str(row[0]).split(".")) for row in rows}
    assert max(versions) == fitness.OLDEST


def test_an_embedded_engine_has_no_keeper_and_says_so(tmp_path: Path) -> None:
    engine = ClickHouse.embedded(tmp_path / "clickhouse", memory_bytes=1_000_000_000)
    known = [row[0] for row in engine.rows("SELECT DISTINCT cluster FROM system.clusters")]
    for cluster in known[:1]:
        engine.layout = Layout(cluster)
        with pytest.raises(StoreError, match="no Keeper"):
            fitness.check(engine)
    engine.layout = Layout("nowhere")
    with pytest.raises(StoreError, match="knows no cluster 'nowhere'"):
        fitness.check(engine)
    engine.close()


def test_a_wrong_token_and_too_few_rights_are_told_apart(served: Front, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="does not let user 'tocsin' in") as said:
        ClickHouse(served.as_("not-the-token-at-all"))
    assert "not-the-token" not in str(said.value)
    with pytest.raises(StoreError, match="gives user 'tocsin' too few rights"):
        Telemetry.open(tmp_path / "own", clock(), kinds=[BATCHES], dsn=served.as_(READ_TOKEN))


def test_passwords_are_in_no_text_of_an_address() -> None:
    address = Address.parse("http://tocsin:p%40ss-word@[::1]:8123?verify=false")
    assert (address.place, address.password) == ("http://[::1]:8123", "p@ss-word")
    assert address.arguments()["verify"] == "false"
    for text in (str(address), repr(address), repr(Settings(Path("x"), clickhouse="u:p@h"))):
        assert "p@ss-word" not in text
        assert "u:p@h" not in text
    assert Address.parse("https://h", "later").password == "later"
    assert Address.parse("https://h").port == 8443


def test_doctor_tells_whether_the_server_can_be_used(served: Front, tmp_path: Path) -> None:
    def found(url: str) -> tuple[str, str]:
        findings = examine(Settings(tmp_path, clickhouse=url), SystemClock())
        return next((f.grade.value, f.found) for f in findings if f.check == "telemetry")

    assert found("") == ("ok", "embedded ClickHouse in the data directory")
    grade, text = found(served.as_(TOKEN))
    assert (grade, f"at {served.url}" in text) == ("ok", True)
    grade, text = found(served.as_("not-the-token-at-all"))
    assert grade == "fail"
    assert "not-the-token" not in text


def test_segments_for_another_store_are_not_loaded_into_this_one(
    served: Front, tmp_path: Path
) -> None:
    wal = tmp_path / "own" / "wal"
    wal.mkdir(parents=True)
    (wal / "0000000100000001-batches.ready").write_bytes(b"x")
    with pytest.raises(StoreError, match="1 segments that were accepted for another store"):
        Telemetry.open(tmp_path / "own", clock(), kinds=[BATCHES], dsn=served.as_(TOKEN))
    assert list(wal.glob("*.ready"))
