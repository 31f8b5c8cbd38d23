"""The SDK against a real Tocsin: away at the start, killed in the middle, slow; what is stored."""

from __future__ import annotations

import threading
from collections import Counter

from sdk_build import PAUSE, Tocsin, client_of, stored

import tocsin_sdk


def test_nothing_is_lost_and_nothing_is_twice_while_the_server_comes_goes_and_returns(
    tocsin: Tocsin,
) -> None:
    with client_of(tocsin.url, batch_rows=20) as client:
        for number in range(50):
            client.log_call(model="m", user_id=f"{number}", duration_ms=10)
        client.change("deploy", "release 2")
        tocsin.start()  # it was away at the start
        client.score("relevance", 0.5, call_id="0123456789abcdef")
        for number in range(50, 400):
            client.log_call(model="m", user_id=f"{number}", duration_ms=10)
            PAUSE.wait(0.002)
            if number == 200:
                killer = threading.Thread(target=tocsin.kill)  # while batches are on their way
                killer.start()
        killer.join()
        tocsin.start()
        assert client.flush(60)
        stats = client.stats()
    assert (stats.recorded, stats.delivered, stats.dropped) == (402, 402, 0)
    assert stats.failed_tries > 0
    tocsin.calls(400)
    tocsin.stop()
    users = Counter(row["user_id"] for row in stored(tocsin.data, "SELECT * FROM tocsin.calls"))
    assert users == Counter(f"{number}" for number in range(400))
    (score,) = stored(tocsin.data, "SELECT * FROM tocsin.scores")
    assert (score["name"], score["value"], score["call_id"]) == (
        "relevance", 0.5, "0123456789abcdef",
    )  # fmt: skip
    (change,) = stored(tocsin.data, "SELECT * FROM tocsin.changes")
    assert change["title"] == "release 2"


def test_what_is_told_is_what_is_stored(tocsin: Tocsin) -> None:
    tocsin.start()
    tocsin_sdk.init(tocsin.url, service="shop", environment="prod", release="1.4", linger=0.02)
    with (
        tocsin_sdk.call("ask", kind="chain"),
        tocsin_sdk.call("answer", model="gpt-4o-mini", provider="openai") as good,
    ):
        good.tokens = {"input": 1000, "output": 100}
        good.input, good.output = "Hi", "Hello"
        good.dims["tier"] = "gold"
        good.temperature = 0.2

    @tocsin_sdk.observe(model="m")
    def stream(chunks: int) -> object:
        for number in range(chunks):
            yield f"{number}"

    assert len(list(stream(3))) == 3  # type: ignore[call-overload]
    left = stream(3)
    next(left)  # type: ignore[call-overload]
    left.close()  # type: ignore[attr-defined]
    try:
        with tocsin_sdk.call("broken"):
            raise TimeoutError("the provider took too long")
    except TimeoutError:
        pass
    with tocsin_sdk.call("cancelled") as cancelled:
        cancelled.fail(KeyboardInterrupt())
    assert tocsin_sdk.flush(20)
    assert tocsin_sdk.stats().delivered == 6
    tocsin.calls(6)
    tocsin.stop()
    rows = {
        (row["name"], row["truncated"], "tocsin.abandoned" in row["attrs"]): row
        for row in stored(tocsin.data, "SELECT * FROM tocsin.calls")
    }
    answer = rows["answer", 0, False]
    expected = {
        "service": "shop", "env": "prod", "release": "1.4", "kind": "llm", "provider": "openai",
        "model": "gpt-4o-mini", "input_tokens": 1000, "output_tokens": 100, "usage_known": 1,
        "cost_known": 1, "input": "Hi", "output": "Hello", "error_class": "", "streamed": 0,
    }  # fmt: skip
    assert {name: answer[name] for name in expected} == expected
    assert round(answer["cost_usd"], 6) == 0.00021
    assert answer["dims"]["tier"] == "gold"
    assert answer["attrs"]["temperature"] == "0.2"
    assert answer["span_id"] == good.id
    assert answer["parent_id"] == rows["ask", 0, False]["span_id"]

    whole, left_early = rows["stream", 0, False], rows["stream", 0, True]
    assert (whole["streamed"], whole["finish_reason"]) == (1, "stop")
    assert whole["ttft_us"] >= 0
    assert (left_early["error_class"], left_early["finish_reason"]) == ("", "")
    assert rows["broken", 0, False]["error_class"] == "timeout"
    assert rows["broken", 0, False]["error_type"] == "TimeoutError"
    assert rows["cancelled", 0, False]["error_class"] == "bad_request"


def test_the_wrong_token_is_refused_and_the_right_one_taken(tocsin: Tocsin) -> None:
    token = "correct-horse-battery"
    guarded = Tocsin(tocsin.data, TOCSIN_TOKEN=token)
    try:
        guarded.start()
        with client_of(guarded.url, token="wrong") as client:
            client.log_call(model="m")
            assert not client.flush(1)
            assert "401" in client.stats().last_error
        with client_of(guarded.url, token=token) as client:
            client.log_call(model="m")
            assert client.flush(20)
            assert client.stats().delivered == 1
    finally:
        guarded.kill()
