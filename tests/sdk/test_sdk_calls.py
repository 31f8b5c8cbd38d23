"""What is recorded of a function, a block, a stream: times, failures, answers, places in traces."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import AsyncIterator, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from sdk_build import Listener

import tocsin_sdk
from tocsin_sdk.usage import StreamReader, read_answer, read_failure


@pytest.fixture
def rows(listener: Listener) -> Iterator[Any]:
    """Everything of a kind that was recorded so far."""
    tocsin_sdk.init(listener.url, service="shop", linger=0.02)

    def found(kind: str = "calls") -> list[dict[str, Any]]:
        assert tocsin_sdk.flush(10)
        assert tocsin_sdk.stats().errors == 0
        return listener.rows(kind)

    return iter([found])


@pytest.fixture
def recorded(rows: Any) -> Any:
    return next(rows)


CHAT = {
    "id": "chatcmpl-1", "model": "gpt-4o-mini-2024",
    "usage": {"prompt_tokens": 31, "completion_tokens": 7,
              "prompt_tokens_details": {"cached_tokens": 5},
              "completion_tokens_details": {"reasoning_tokens": 2}},
    "choices": [{"finish_reason": "stop", "message": {"content": "Hello"}}],
}  # fmt: skip


def as_object(value: Any) -> Any:
    if isinstance(value, dict):
        return SimpleNamespace(**{name: as_object(member) for name, member in value.items()})
    return [as_object(item) for item in value] if isinstance(value, list) else value


# --- blocks ---


def test_a_block_is_a_call_with_what_was_said_about_it(recorded: Any) -> None:
    with tocsin_sdk.call("answer", model="gpt-4o-mini", provider="openai") as c:
        c.tokens = (31, 7)
        c.input, c.output = "Hi", "Hello"
        c.dims["tier"] = "gold"
        c.temperature = 0.2
        assert c.model == "gpt-4o-mini"
        assert c.tokens == (31, 7)
        assert c.cost_usd is None
        assert tocsin_sdk.current_call() is c
    assert tocsin_sdk.current_call() is None
    (row,) = recorded()
    assert row["span_id"] == c.id
    assert len(row["trace_id"]) == 32
    expected = {
        "name": "answer", "kind": "llm", "service": "shop", "model": "gpt-4o-mini",
        "provider": "openai", "input_tokens": 31, "output_tokens": 7, "input": "Hi",
        "output": "Hello", "dims": {"tier": "gold"}, "attributes": {"temperature": 0.2},
    }  # fmt: skip
    assert {name: row[name] for name in expected} == expected
    assert row["duration_ms"] >= 0
    assert "error_type" not in row


def test_tokens_may_be_a_mapping_or_one_total(recorded: Any) -> None:
    with tocsin_sdk.call() as c:
        c.tokens = {"input": 3, "output_tokens": 4, "reasoning": 1}
    with tocsin_sdk.call() as c:
        c.tokens = 450
    first, second = recorded()
    assert (first["input_tokens"], first["output_tokens"], first["reasoning_tokens"]) == (3, 4, 1)
    assert "input_tokens" not in second
    assert second["attributes"] == {"gen_ai.usage.total_tokens": 450}


class RateLimited(Exception):
    status_code = 429


def test_an_exception_is_recorded_and_goes_on_as_it_was(recorded: Any) -> None:
    error = RateLimited("slow down")
    with pytest.raises(RateLimited) as caught, tocsin_sdk.call("answer"):
        raise error
    assert caught.value is error
    assert error.__cause__ is None
    assert error.__context__ is None
    (row,) = recorded()
    assert (row["error_type"], row["status_message"]) == ("RateLimited", "slow down")
    assert row["http_status"] == 429


def test_misuse_never_reaches_the_application(listener: Listener) -> None:
    client = tocsin_sdk.init(listener.url)
    with tocsin_sdk.call("answer") as c:
        c.tokens = "many"
        c.dims = 7
        c.response = object()
    tocsin_sdk.score("x", call_id="y", nonsense=object(), ts=object())
    tocsin_sdk.log_call(duration_ms="long")
    assert client.flush(10)
    assert client.stats().errors == 3


def test_without_a_server_named_nothing_is_sent_and_no_thread_runs() -> None:
    import threading

    before = threading.active_count()
    with tocsin_sdk.call("answer") as c:
        c.model = "m"
    assert tocsin_sdk.log_call(model="m") is None
    assert tocsin_sdk.feedback(True, call_id="x") is False
    assert tocsin_sdk.stats().recorded == 0
    assert threading.active_count() == before


# --- functions ---


def test_a_function_keeps_its_name_its_result_and_its_traceback(recorded: Any) -> None:
    @tocsin_sdk.observe
    def ask(question: str) -> str:
        """Ask."""
        if question == "broken":
            raise ValueError("no such question")
        return "fine"

    assert ask("x") == "fine"
    assert (ask.__name__, ask.__doc__) == ("ask", "Ask.")
    with pytest.raises(ValueError, match="no such question") as caught:
        ask("broken")
    innermost = traceback.extract_tb(caught.value.__traceback__)[-1]
    assert (innermost.name, innermost.line) == ("ask", 'raise ValueError("no such question")')
    good, bad = recorded()
    assert (good["name"], bad["error_type"]) == ("ask", "ValueError")
    assert "output" not in good  # content is sent only where somebody asked for it
    assert "input" not in good


def test_content_is_sent_when_asked_for(recorded: Any) -> None:
    @tocsin_sdk.observe(name="answer", content=True, model="m", kind="chain")
    def ask(question: str, *, secret: object) -> str:
        return question.upper()

    ask("hi", secret=object())
    (row,) = recorded()
    assert (row["input"], row["output"], row["kind"], row["model"]) == ("hi", "HI", "chain", "m")


@pytest.mark.parametrize("make", [dict, as_object])
def test_an_answer_of_a_provider_tells_its_usage(recorded: Any, make: Any) -> None:
    @tocsin_sdk.observe
    def ask() -> Any:
        return make(CHAT)

    ask()
    (row,) = recorded()
    expected = {
        "model": "gpt-4o-mini-2024", "response_id": "chatcmpl-1", "input_tokens": 31,
        "output_tokens": 7, "cached_tokens": 5, "reasoning_tokens": 2, "finish_reason": "stop",
    }  # fmt: skip
    assert {name: row[name] for name in expected} == expected
    assert "output" not in row


def test_a_coroutine_is_measured_to_its_end_and_its_inner_calls_are_inside(recorded: Any) -> None:
    @tocsin_sdk.observe(kind="tool")
    async def look_up() -> int:
        await asyncio.sleep(0)
        return 1

    @tocsin_sdk.observe(kind="chain")
    async def ask() -> int:
        found = await asyncio.gather(look_up(), look_up())
        return sum(found)

    async def main() -> None:
        assert await asyncio.gather(ask(), ask()) == [2, 2]

    asyncio.run(main())
    found = recorded()
    chains = {row["span_id"]: row for row in found if row["kind"] == "chain"}
    tools = [row for row in found if row["kind"] == "tool"]
    assert len(chains) == 2
    assert len(tools) == 4
    for tool in tools:
        assert chains[tool["parent_id"]]["trace_id"] == tool["trace_id"]
    assert all("parent_id" not in row for row in chains.values())


def test_a_cancelled_call_spends_no_budget_and_stays_cancelled(recorded: Any) -> None:
    started = asyncio.Event()

    @tocsin_sdk.observe
    async def ask() -> None:
        started.set()
        await asyncio.sleep(3600)

    async def main() -> None:
        task = asyncio.create_task(ask())
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()
        assert await tocsin_sdk.aflush(10)

    asyncio.run(main())
    (row,) = recorded()
    assert row["error_class"] == "bad_request"
    assert row["attributes"] == {"tocsin.cancelled": "true"}


# --- streams ---


def test_a_generator_is_timed_to_its_first_chunk_and_passes_everything_on(recorded: Any) -> None:
    @tocsin_sdk.observe(content=True)
    def ask(question: str) -> Any:
        heard = yield "one "
        yield heard
        return 42

    stream = ask("count")
    assert next(stream) == "one "
    assert stream.send("two") == "two"
    with pytest.raises(StopIteration) as stop:
        next(stream)
    assert stop.value.value == 42
    (row,) = recorded()
    assert (row["streamed"], row["finish_reason"], row["output"]) == (True, "completed", "one two")
    assert 0 <= row["ttft_ms"] <= row["duration_ms"]


def test_a_generator_that_is_closed_early_is_abandoned_and_not_failed(recorded: Any) -> None:
    closed = []

    @tocsin_sdk.observe
    def ask() -> Iterator[str]:
        try:
            yield "a"
            yield "b"
        finally:
            closed.append(True)

    for _ in ask():
        break
    stream = ask()
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    never = ask()
    del never
    first, second = recorded()
    assert closed == [True, True]
    for row in (first, second):
        assert row["abandoned"] is True
        assert "finish_reason" not in row
        assert "error_type" not in row


def test_a_generator_may_catch_what_is_thrown_into_it(recorded: Any) -> None:
    @tocsin_sdk.observe
    def ask() -> Iterator[str]:
        try:
            yield "a"
        except KeyError:
            yield "caught"

    stream = ask()
    next(stream)
    assert stream.throw(KeyError("k")) == "caught"  # type: ignore[attr-defined]
    assert list(stream) == []
    assert "error_type" not in recorded()[0]


def test_a_stream_that_breaks_is_a_failure(recorded: Any) -> None:
    @tocsin_sdk.observe
    def ask() -> Iterator[str]:
        yield "a"
        raise ConnectionError("the peer is gone")

    with pytest.raises(ConnectionError):
        list(ask())
    (row,) = recorded()
    assert row["error_type"] == "ConnectionError"
    assert row["ttft_ms"] >= 0


def test_an_asynchronous_generator_too(recorded: Any) -> None:
    @tocsin_sdk.observe(content=True)
    async def ask() -> AsyncIterator[str]:
        with tocsin_sdk.call("inside", kind="tool"):
            yield "a"
        yield "b"

    @tocsin_sdk.observe
    async def broken() -> AsyncIterator[str]:
        yield "a"
        raise TimeoutError("late")

    async def main() -> None:
        assert [chunk async for chunk in ask()] == ["a", "b"]
        stream = ask()
        async for _ in stream:
            break
        await stream.aclose()  # type: ignore[attr-defined]
        with pytest.raises(TimeoutError):
            async for _ in broken():
                pass

    asyncio.run(main())
    found = [row for row in recorded() if row["kind"] == "llm"]
    whole, left, failed = found
    assert (whole["output"], whole["finish_reason"]) == ("ab", "completed")
    assert left["abandoned"] is True
    assert failed["error_type"] == "TimeoutError"
    inside = [row for row in recorded() if row["kind"] == "tool"]
    assert {row["parent_id"] for row in inside} == {whole["span_id"], left["span_id"]}


def chunk(delta: dict[str, Any], finish: str | None = None) -> Any:
    choice = {"delta": delta, "finish_reason": finish}
    return as_object({"id": "c-1", "model": "m", "usage": None, "choices": [choice]})


def openai_chunks(finish: str | None) -> Iterator[Any]:
    for text in ("Hel", "lo"):
        yield chunk({"content": text})
    if finish:
        yield chunk({"content": None}, finish)
        usage = {"prompt_tokens": 3, "completion_tokens": 2}
        yield as_object({"id": "c-1", "model": "m", "choices": [], "usage": usage})


def test_a_provider_s_stream_that_was_cut_off_has_no_finish_reason(recorded: Any) -> None:
    with tocsin_sdk.call("whole") as c:
        assert len(list(c.chunks(openai_chunks("stop")))) == 4
    with tocsin_sdk.call("cut") as c:
        assert len(list(c.chunks(openai_chunks(None)))) == 2
    whole, cut = recorded()
    assert (whole["finish_reason"], whole["input_tokens"], whole["output"]) == ("stop", 3, "Hello")
    assert "finish_reason" not in cut
    assert cut["streamed"] is True


# --- what answers tell ---


def test_anthropic_s_cached_tokens_are_part_of_the_input() -> None:
    answer = {
        "id": "msg_1", "model": "claude", "stop_reason": "end_turn",
        "content": [{"type": "text", "text": "Hi"}, {"type": "tool_use"}],
        "usage": {"input_tokens": 10, "output_tokens": 4, "cache_read_input_tokens": 90,
                  "cache_creation_input_tokens": 20},
    }  # fmt: skip
    found = read_answer(as_object(answer))
    assert found == {
        "input_tokens": 120, "output_tokens": 4, "cached_tokens": 90, "response_model": "claude",
        "response_id": "msg_1", "finish_reason": "end_turn", "output": "Hi",
    }  # fmt: skip


def test_anthropic_s_events_are_put_together() -> None:
    reader = StreamReader(keep_text=True)
    for event in (
        {"type": "message_start", "message": {"id": "msg_1", "model": "claude", "usage":
            {"input_tokens": 10, "output_tokens": 1, "cache_read_input_tokens": 5}}},
        {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "Hi"}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"},
         "usage": {"output_tokens": 9, "input_tokens": 10}},
        {"type": "message_stop"},
    ):  # fmt: skip
        reader.read(as_object(event))
    assert reader.is_provider
    assert reader.fields == {
        "input_tokens": 15, "cached_tokens": 5, "output_tokens": 9, "response_model": "claude",
        "response_id": "msg_1", "finish_reason": "end_turn", "output": "Hi",
    }  # fmt: skip


def test_openai_s_responses_are_read_whole_and_streamed() -> None:
    answer = {"id": "resp_1", "model": "gpt", "status": "incomplete", "output_text": "Hi",
              "incomplete_details": {"reason": "max_output_tokens"},
              "usage": {"input_tokens": 3, "output_tokens": 2,
                        "input_tokens_details": {"cached_tokens": 1}}}  # fmt: skip
    expected = {
        "input_tokens": 3, "output_tokens": 2, "cached_tokens": 1, "response_model": "gpt",
        "response_id": "resp_1", "finish_reason": "max_output_tokens", "output": "Hi",
    }  # fmt: skip
    assert read_answer(answer) == expected
    reader = StreamReader(keep_text=True)
    reader.read({"type": "response.output_text.delta", "delta": "H"})
    reader.read({"type": "response.incomplete", "response": answer})
    assert reader.fields == expected


@pytest.mark.parametrize(
    "nothing",
    [None, 7, "text", [1], {"usage": "much"}, {"usage": {"prompt_tokens": -1}}, object(), {}],
)
def test_what_is_no_answer_tells_nothing(nothing: Any) -> None:
    assert read_answer(nothing) == {}


def test_objects_that_have_every_attribute_or_break_tell_nothing() -> None:
    from unittest.mock import MagicMock

    class Broken:
        @property
        def usage(self) -> None:
            raise RuntimeError("not now")

    assert read_answer(MagicMock()) == {}
    assert read_answer(Broken()) == {}


def test_a_failure_tells_the_status_of_the_response_behind_it() -> None:
    class WithoutText(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    error = WithoutText()
    error.response = SimpleNamespace(status_code=503)  # type: ignore[attr-defined]
    assert read_failure(error) == {
        "error_type": "WithoutText",
        "status_message": "(the exception has no text)",
        "http_status": 503,
    }


# --- scores and traces ---


def test_scores_find_the_current_call_or_the_one_they_name(recorded: Any) -> None:
    with tocsin_sdk.call("answer", service="other") as c:
        tocsin_sdk.score("relevance", 0.5)
        tocsin_sdk.score("tone", "friendly")
    tocsin_sdk.feedback(False, call_id=c.id, comment="wrong")
    tocsin_sdk.ground_truth(True, call_id=c.id, name="ticket_resolved")
    scores = recorded("scores")
    assert {row["call_id"] for row in scores} == {c.id}
    assert scores[0]["service"] == "other"
    assert (scores[1]["label"], "value" in scores[1]) == ("friendly", False)
    assert (scores[2]["name"], scores[2]["value"], scores[2]["source"]) == ("feedback", 0.0, "user")
    assert (scores[3]["name"], scores[3]["value"]) == ("ticket_resolved", 1.0)


def test_a_call_stands_under_opentelemetry_s_active_span(recorded: Any) -> None:
    from opentelemetry.sdk.trace import TracerProvider

    tracer = TracerProvider().get_tracer("app")
    with tracer.start_as_current_span("request") as span, tocsin_sdk.call("answer"):
        pass
    context = span.get_span_context()
    (row,) = recorded()
    assert row["trace_id"] == f"{context.trace_id:032x}"
    assert row["parent_id"] == f"{context.span_id:016x}"


def test_a_call_logged_inside_of_another_is_inside_of_it(recorded: Any) -> None:
    with tocsin_sdk.call("answer", kind="chain") as c:
        tocsin_sdk.log_call(model="m", duration_ms=3)
    inner, outer = recorded()
    assert inner["parent_id"] == outer["span_id"] == c.id
    assert inner["trace_id"] == outer["trace_id"]
