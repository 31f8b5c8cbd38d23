"""The runner: in time, never twice at once, through defects, restarts and changed configuration."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar

import pytest
from source_build import NOW, Answer, Yard, pages, yard

from tocsin.domain.clock import SystemClock
from tocsin.domain.errors import IntakeError
from tocsin.engine import sources as engine_sources
from tocsin.engine.sources import SourceRunner
from tocsin.intake.intake import Intake
from tocsin.intake.points import MetricRequest, nanoseconds
from tocsin.intake.records import LogEntry, SpanRecord
from tocsin.intake.source import Entry, Origin, Polled, Unreadable
from tocsin.intake.sources import SOURCES

Script = Callable[[str, datetime, Any], Awaitable[Polled]]


@dataclass(frozen=True, slots=True)
class ScriptedConfig:
    """names: of targets. mark: anything."""

    names: tuple[str, ...] = ("one",)
    mark: str = ""


class Scripted:
    """A source that does what the test says."""

    Config: ClassVar[type[ScriptedConfig]] = ScriptedConfig
    extra: ClassVar[str] = ""
    every: ClassVar[timedelta] = timedelta(minutes=1)
    script: ClassVar[Script]
    closed: ClassVar[list[str]]

    def __init__(self, config: ScriptedConfig, origin: Origin) -> None:
        if config.mark == "broken":
            raise RuntimeError("cannot be made")
        self.config = config
        self.origin = origin

    @property
    def targets(self) -> Sequence[str]:
        return self.config.names

    async def poll(self, target: str, now: datetime, cursor: Any) -> Polled:
        return await Scripted.script(target, now, cursor)

    def unread(self, target: str, now: datetime) -> Sequence[bytes]:
        return ()

    async def close(self) -> None:
        Scripted.closed.append(self.config.mark)


@pytest.fixture(autouse=True)
def scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SOURCES._entries, "scripted", Scripted)
    monkeypatch.setattr(Scripted, "closed", [], raising=False)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    with yard(tmp_path_factory.mktemp("sources")) as opened:
        yield opened


@pytest.fixture
def made(stores: Yard, request: pytest.FixtureRequest) -> Yard:
    return stores.another(request.node.name.replace("_", "-"))


def play(script: Script) -> None:
    Scripted.script = staticmethod(script)  # type: ignore[assignment]


def call(name: str, number: int, at: datetime) -> Entry:
    record = SpanRecord(
        "chat", nanoseconds(at), nanoseconds(at), f"{name}{number}", f"{name}{number}",
        attributes={"openinference.span.kind": "LLM"}, scope="tocsin.test",
        resource={"service.name": name, "tocsin.source": name},
    )  # fmt: skip
    return Entry(f"e{number}", at, record)


def test_entries_of_overlapping_windows_are_taken_once(made: Yard) -> None:
    """Each poll asks again for the last two minutes, in which late entries turn up."""
    seen: list[Any] = []

    async def script(_: str, now: datetime, cursor: Any) -> Polled:
        seen.append(cursor)
        minute = int((now - NOW).total_seconds() // 60)
        since = now - timedelta(minutes=2)
        late = [call(made.name, 1000 + minute, since + timedelta(seconds=1))]
        usual = [
            call(made.name, n, NOW + timedelta(minutes=n)) for n in range(minute - 2, minute + 1)
        ]
        return Polled(entries=[*usual, *late, *usual], since=since, cursor={"minute": minute})

    play(script)
    made.use("type: scripted")
    status = made.poll(5, timedelta(minutes=1))
    assert seen == [None, *({"minute": n} for n in range(4))]
    rows = made.rows(
        f"SELECT attrs['log.record.uid'] AS id FROM tocsin.calls WHERE service = '{made.name}'"
    )
    ids = sorted(row["id"] for row in rows)
    assert ids == sorted({f"e{n}" for n in range(-2, 5)} | {f"e{1000 + n}" for n in range(5)})
    assert status.entries == len(ids)


def test_a_process_that_died_before_its_cursor_was_kept_takes_nothing_twice(made: Yard) -> None:
    async def script(_: str, now: datetime, cursor: Any) -> Polled:
        since = now - timedelta(minutes=30)
        entries = [call(made.name, n, since + timedelta(minutes=n)) for n in range(20)]
        log = LogEntry(
            nanoseconds(now),
            "text",
            resource={"service.name": made.name, "tocsin.source": made.name},
        )
        return Polled(entries=[*entries, Entry("log", now, log)], since=since, cursor=7)

    play(script)
    made.use("type: scripted")
    assert made.poll().entries == 21
    made.state.set_meta(next(iter(made.runner._running.values()))[1][0].cursor_name, None)
    after = SourceRunner(made.intake, made.state, made.store, made.clock)
    after.use(made.runner._wanted)
    asyncio.run(after.poll_once())
    assert after.statuses()[0].entries == 0
    where = f"WHERE service = '{made.name}'"
    assert made.rows(f"SELECT count() AS n FROM tocsin.calls {where}") == [{"n": 20}]
    assert made.rows(f"SELECT count() AS n FROM tocsin.logs {where}") == [{"n": 1}]


def test_a_cursor_is_kept_only_after_what_came_with_it(
    made: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    cursors: list[Any] = []

    async def script(_: str, now: datetime, cursor: Any) -> Polled:
        cursors.append(cursor)
        request = MetricRequest({"service.name": made.name}, "test")
        request.level("x", nanoseconds(now), 1.0, {})
        return Polled(metrics=[request.body()], points=1, cursor=len(cursors))

    play(script)
    made.use("type: scripted")

    async def full(*_: Any, **__: Any) -> bool:
        raise IntakeError(429, "the loader is 1 GB behind", retry_after_s=5)

    with monkeypatch.context() as patched:
        patched.setattr(made.store.writer, "append", full)
        status = made.poll()
    assert (status.state, status.points) == ("unknown", 0)
    assert "read and not stored" in status.reason
    assert made.runner.counts["refused"] == 1
    made.poll(2)
    assert cursors == [None, None, 2]


def test_a_defect_of_one_source_is_counted_and_hurts_no_other(made: Yard) -> None:
    async def script(target: str, now: datetime, cursor: Any) -> Polled:
        if target == "bad":
            raise ZeroDivisionError("in a plugin")
        return Polled(points=1)

    play(script)
    made.use("type: scripted\nnames: [bad, good]")
    made.poll(3)
    bad, good = made.runner.statuses()
    assert (bad.state, bad.failures, good.state, good.points) == ("unknown", 3, "up", 3)
    assert "server's log" in bad.reason
    assert "plugin" not in bad.reason
    assert made.runner.counts["failures"] == 3


def test_a_source_that_cannot_be_made_is_shown_and_the_others_are_read(made: Yard) -> None:
    async def script(*_: Any) -> Polled:
        return Polled()

    play(script)
    made.use("type: scripted\nmark: broken")
    broken = dict(made.runner._wanted)
    made.name += "-2"
    made.use("type: scripted")
    made.runner.use({**made.runner._wanted, **broken})
    made.poll()
    first, second = made.runner.statuses()
    assert (first.state, second.state) == ("unknown", "up")
    assert "could not be started" in first.reason


def test_one_that_asks_for_patience_gets_more_of_it_each_time(made: Yard) -> None:
    asked: list[datetime] = []

    async def script(_: str, now: datetime, cursor: Any) -> Polled:
        asked.append(now)
        raise Unreadable("throttled", after=timedelta(seconds=20))

    play(script)
    made.use("type: scripted\ninterval: 1s")
    made.poll(6, timedelta(seconds=1))
    reader = next(iter(made.runner._running.values()))[1][0]
    assert reader.not_before == asked[-1] + timedelta(seconds=20 * 2**5)
    made.poll(10)
    assert reader.not_before - asked[-1] == engine_sources.LONGEST_PAUSE


class Live:
    """A runner at work on the clock of this machine, for as long as a test needs it."""

    def __init__(self, made: Yard) -> None:
        intake = Intake(made.store.writer, SystemClock())
        self.runner = SourceRunner(intake, made.state, made.store, SystemClock())

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not condition():
                await asyncio.sleep(0.01)

    def play(self, story: Callable[[Live], Awaitable[None]]) -> None:
        async def whole() -> None:
            stop = asyncio.Event()
            task = asyncio.create_task(self.runner.run(stop))
            try:
                await story(self)
            finally:
                stop.set()
                await task

        asyncio.run(whole())


def test_a_slow_target_is_never_asked_twice_at_once_and_delays_no_other(made: Yard) -> None:
    inside: dict[str, int] = {"slow": 0, "quick": 0}
    polls: dict[str, int] = {"slow": 0, "quick": 0}

    async def script(target: str, now: datetime, cursor: Any) -> Polled:
        inside[target] += 1
        polls[target] += 1
        assert inside[target] == 1
        if target == "slow":
            await asyncio.sleep(2.5)
        inside[target] -= 1
        return Polled()

    async def story(live: Live) -> None:
        live.runner.use(made.runner._wanted)
        await live.until(lambda: polls["quick"] >= 4 and live.runner.counts["skipped"] > 0)

    play(script)
    made.use("type: scripted\ninterval: 1s\nnames: [slow, quick]")
    live = Live(made)
    live.play(story)
    assert polls["slow"] < polls["quick"]
    assert live.runner.counts["failures"] == 0


def test_no_more_than_a_few_are_asked_at_once(made: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    inside, most, polls = 0, 0, 0

    async def script(*_: Any) -> Polled:
        nonlocal inside, most, polls
        inside, polls = inside + 1, polls + 1
        most = max(most, inside)
        await asyncio.sleep(0.2)
        inside -= 1
        return Polled()

    async def story(live: Live) -> None:
        live.runner.use(made.runner._wanted)
        await live.until(lambda: polls >= 60)

    play(script)
    monkeypatch.setattr(engine_sources, "AT_ONCE", 3)
    made.use(f"type: scripted\ninterval: 1s\nnames: {[f't{n}' for n in range(30)]}")
    Live(made).play(story)
    assert most == 3


def test_targets_are_spread_over_their_interval(made: Yard) -> None:
    made.use(f"type: scripted\ninterval: 60s\nnames: {[f't{n}' for n in range(200)]}")
    (configured,) = made.runner._wanted.values()
    due = sorted(made.runner._due(reader) - NOW for reader in made.runner._readers(configured))
    assert due == sorted(made.runner._due(r) - NOW for r in made.runner._readers(configured))
    assert all(timedelta(0) < each <= timedelta(seconds=60) for each in due)
    quarters = [sum(each <= timedelta(seconds=15 * n) for each in due) for n in (1, 2, 3, 4)]
    assert 20 < quarters[0] < 80 < quarters[1] < 120 < quarters[2] < 180


def test_a_changed_source_begins_anew_and_an_unchanged_one_goes_on(made: Yard) -> None:
    polled: list[str] = []

    async def script(target: str, now: datetime, cursor: Any) -> Polled:
        polled.append(target)
        return Polled()

    play(script)
    made.use("type: scripted\ninterval: 1s\nnames: [kept]\nmark: kept")
    kept = dict(made.runner._wanted)
    made.name += "-2"
    made.use("type: scripted\ninterval: 1s\nnames: [before]\nmark: before")
    before = dict(made.runner._wanted)
    made.use("type: scripted\ninterval: 1s\nnames: [after]\nmark: after")
    after = dict(made.runner._wanted)

    async def story(live: Live) -> None:
        live.runner.use({**kept, **before})
        await live.until(lambda: {"kept", "before"} <= {*polled})
        own = live.runner._running[next(iter(kept))]
        await asyncio.to_thread(
            live.runner.use, {**kept, **after}
        )  # as the scheduler's thread does
        await live.until(lambda: "after" in polled)
        assert live.runner._running[next(iter(kept))] is own
        assert Scripted.closed == ["before"]
        live.runner.use({})
        await live.until(lambda: live.runner.statuses() == ())

    Live(made).play(story)
    assert sorted(Scripted.closed) == ["after", "before", "kept"]


def test_what_is_far_behind_is_asked_for_at_once(made: Yard) -> None:
    async def script(_: str, now: datetime, cursor: Any) -> Polled:
        done = (cursor or 0) + 1
        return Polled(cursor=done, is_behind=done < 40)

    async def story(live: Live) -> None:
        live.runner.use(made.runner._wanted)
        await live.until(lambda: live.runner.counts["polls"] == 40)

    play(script)
    made.use("type: scripted\ninterval: 2s")
    Live(made).play(story)


def test_the_real_loop_scrapes_a_page(made: Yard) -> None:
    with pages(lambda *_: Answer("# TYPE a gauge\na 1\n")) as held:
        made.use(
            "type: prometheus\ninterval: 1s\ntimeout: 1s\nallow_private: true\n"
            f"targets: ['{held.url}']"
        )

        async def story(live: Live) -> None:
            live.runner.use(made.runner._wanted)
            await live.until(lambda: any(s.points >= 4 for s in live.runner.statuses()))

        Live(made).play(story)
    assert len(held.asked) >= 2
