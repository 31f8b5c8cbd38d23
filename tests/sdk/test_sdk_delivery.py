"""The way of a record from a thread of the application to the server, and what may go wrong."""

from __future__ import annotations

import gzip
import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest
from sdk_build import Listener, Received, Reply, client_of, free_port

from tocsin_sdk import Client, Settings, init
from tocsin_sdk.settings import read_settings
from tocsin_sdk.transport import seconds_of


def in_turn(*replies: Reply) -> Callable[[Received], Reply]:
    """These replies one after another, the last one for ever."""
    left = list(replies)
    return lambda _: left.pop(0) if len(left) > 1 else left[0]


def test_records_arrive_as_gzipped_lines_with_the_token_and_the_service(listener: Listener) -> None:
    with client_of(listener.url, token="t" * 20, project="pilot") as client:
        for number in range(3):
            client.log_call(model="m", input_tokens=number, duration_ms=5.0, colour="red")
        client.score("relevance", 0.5, call_id="0123456789abcdef")
        client.change("deploy", "release 2")
        assert client.flush(10)
        stats = client.stats()
    calls = listener.rows("calls")
    assert [row["input_tokens"] for row in calls] == [0, 1, 2]
    assert all(row["service"] == "shop" for row in calls)
    assert calls[0]["attributes"] == {"colour": "red"}
    assert len({row["span_id"] for row in calls}) == 3
    assert listener.rows("scores")[0]["value"] == 0.5
    assert listener.rows("changes")[0]["title"] == "release 2"
    assert listener.requests[0].headers["authorization"] == "Bearer " + "t" * 20
    assert listener.requests[0].headers["x-project-name"] == "pilot"
    assert (stats.recorded, stats.delivered, stats.waiting) == (5, 5, 0)


def test_a_failed_batch_is_sent_again_byte_for_byte(listener: Listener) -> None:
    listener.reply = in_turn(Reply(503), Reply(500), Reply())
    with client_of(listener.url) as client:
        client.log_call(model="m")
        assert client.flush(20)
        assert client.stats().failed_tries == 2
    assert len(listener.requests) == 3
    assert len({request.raw for request in listener.requests}) == 1


def test_what_comes_while_a_batch_is_tried_again_does_not_change_it(listener: Listener) -> None:
    listener.reply = in_turn(Reply(503), Reply())
    with client_of(listener.url) as client:
        client.log_call(model="first")
        listener.wait_for(1)
        client.log_call(model="second")
        assert client.flush(20)
    assert [row["model"] for row in listener.rows()] == ["first", "first", "second"]


def test_retry_after_is_waited_for_even_in_a_hurry(listener: Listener) -> None:
    listener.reply = in_turn(Reply(429, {"Retry-After": "1"}), Reply())
    with client_of(listener.url) as client:
        client.log_call(model="m")
        assert client.flush(20)
    first, second = listener.requests
    assert second.at - first.at >= 1.0
    assert second.raw == first.raw


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 7.0),
        ("Sun, 06 Nov 1994 08:49:20 GMT", 0.0),
        ("soon", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_is_a_number_or_a_date(header: str | None, seconds: float | None) -> None:
    assert seconds_of(header, now=784111770.0) == seconds


def test_one_bad_row_costs_only_itself(
    listener: Listener, caplog: pytest.LogCaptureFixture
) -> None:
    def choosy(request: Received) -> Reply:
        bad = any(row.get("model") == "bad" for row in request.rows)
        return Reply(400, body='{"error": "call 1: ts"}') if bad else Reply()

    listener.reply = choosy
    with client_of(listener.url) as client, caplog.at_level(logging.WARNING, "tocsin_sdk"):
        for number in range(40):
            client.log_call(model="bad" if number == 17 else "good")
        assert client.flush(20)
        stats = client.stats()
    assert (stats.delivered, stats.rejected, stats.dropped) == (39, 1, 0)
    assert "call 1: ts" in stats.last_error
    good = [r for q in listener.requests if choosy(q).status == 200 for r in q.rows]
    assert len(good) == 39
    assert [r for r in caplog.records if "refused" in r.message]


def test_a_body_of_nothing_but_bad_rows_ends(listener: Listener) -> None:
    listener.reply = in_turn(Reply(400))
    with client_of(listener.url) as client:
        for _ in range(500):
            client.log_call(model="bad")
        assert client.flush(30)
        assert client.stats().rejected == 500
    assert len(listener.requests) < 300


def test_what_the_server_sets_aside_is_counted_as_rejected(listener: Listener) -> None:
    listener.reply = in_turn(Reply(200, body='{"accepted": 1, "rejected": 1}'))
    with client_of(listener.url) as client:
        client.log_call(model="a")
        client.log_call(model="b", ts=1)
        assert client.flush(10)
        stats = client.stats()
    assert (stats.delivered, stats.rejected) == (1, 1)


@pytest.mark.parametrize("status", [401, 404, 302])
def test_a_wrong_token_or_address_loses_nothing_once_it_is_mended(
    listener: Listener, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    listener.reply = in_turn(Reply(status), Reply(status), Reply())
    with client_of(listener.url) as client, caplog.at_level(logging.WARNING, "tocsin_sdk"):
        client.log_call(model="m")
        assert client.flush(20)
        assert client.stats().delivered == 1
    warned = [r.message for r in caplog.records if "check the address and the token" in r.message]
    assert len(warned) == 1  # not once a try


def test_a_full_queue_drops_the_oldest_counts_them_and_tells_the_server(
    listener: Listener,
) -> None:
    gate = threading.Event()

    def slow(_: Received) -> Reply:
        assert gate.wait(20)
        return Reply()

    listener.reply = slow
    with client_of(listener.url, queue_rows=10, batch_rows=5, linger=0) as client:
        client.log_call(model="first")
        for _ in range(2000):  # until the first is in hand, which is when the queue is empty
            if client.stats().recorded and not len(client._buffer):
                break
            threading.Event().wait(0.01)
        for number in range(25):
            client.log_call(model=f"{number}")
        assert client.stats().dropped == 15
        gate.set()
        assert client.flush(20)
        stats = client.stats()
    kept = [row["model"] for row in listener.rows()]
    assert kept == ["first", *(f"{number}" for number in range(15, 25))]
    (loss,) = listener.rows("changes")
    assert loss["kind"] == "telemetry_loss"
    assert loss["service"] == "shop"
    assert loss["labels"]["dropped"] == "15"
    assert stats.recorded == stats.delivered + stats.dropped == 26


def test_memory_is_bounded_by_bytes_as_well_as_by_rows() -> None:
    with client_of(f"http://127.0.0.1:{free_port()}", queue_bytes=1_000_000) as client:
        for _ in range(100):
            client.log_call(model="m", output="x" * 50_000)
        stats = client.stats()
    assert 70 <= stats.dropped < 100


def test_the_server_may_come_later(listener: Listener) -> None:
    port = free_port()
    with client_of(f"http://127.0.0.1:{port}") as client:
        client.log_call(model="early")
        for _ in range(2000):
            if client.stats().failed_tries >= 2:
                break
            threading.Event().wait(0.01)
        assert client.stats().failed_tries >= 2
        late = Listener(port)
        try:
            assert client.flush(20)
        finally:
            late.close()
        assert [row["model"] for row in late.rows()] == ["early"]


def test_flush_says_when_it_could_not(caplog: pytest.LogCaptureFixture) -> None:
    with client_of(f"http://127.0.0.1:{free_port()}") as client:
        client.log_call(model="m")
        assert client.flush(0.3) is False
        assert client.stats().waiting == 1
    with caplog.at_level(logging.WARNING, "tocsin_sdk"):
        assert client.log_call(model="after the end") is None


def test_before_send_redacts_and_filters_and_its_failure_sends_nothing(
    listener: Listener, caplog: pytest.LogCaptureFixture
) -> None:
    def hook(kind: str, row: dict[str, Any]) -> dict[str, Any] | None:
        assert kind == "calls"
        if row["model"] == "secret":
            return None
        if row["model"] == "broken":
            raise KeyError("a defect of the hook")
        row["output"] = row["output"].replace("4111", "****")
        return row

    with client_of(listener.url, before_send=hook) as client:
        with caplog.at_level(logging.WARNING, "tocsin_sdk"):
            for model in ("plain", "secret", "broken"):
                client.log_call(model=model, output="card 4111")
            assert client.flush(10)
        stats = client.stats()
    assert [row["output"] for row in listener.rows()] == ["card ****"]
    assert (stats.delivered, stats.filtered, stats.dropped) == (1, 1, 1)
    assert "before_send failed" in caplog.text


def test_content_can_be_kept_at_home_and_is_cut_when_it_is_long(listener: Listener) -> None:
    with client_of(listener.url, content=False) as client:
        client.log_call(model="m", input="secret", output="secret")
        assert client.flush(10)
    with client_of(listener.url, content_chars=10) as client:
        client.log_call(model="m", input=[{"role": "user"}], output="0123456789abc")
        assert client.flush(10)
    none, cut = listener.rows()
    assert "input" not in none
    assert "output" not in none
    assert cut["output"] == "0123456789… (3 more characters were not sent)"
    assert cut["input"].startswith('[{"role": ')


def test_sampling_keeps_or_leaves_whole_traces(listener: Listener) -> None:
    with client_of(listener.url, sample=0.5) as client:
        for number in range(200):
            trace = f"{number * 0x0147AE14:032x}"  # spread over the lower 32 bits
            client.log_call(model="a", trace_id=trace)
            client.log_call(model="b", trace_id=trace)
        assert client.flush(10)
        stats = client.stats()
    models: dict[str, list[str]] = {}
    for row in listener.rows():
        models.setdefault(row["trace_id"], []).append(row["model"])
    assert all(found == ["a", "b"] for found in models.values())
    assert 0 < stats.sampled_out < 400
    assert stats.sampled_out + stats.delivered == 400


def test_odd_values_do_not_cost_their_batch(listener: Listener) -> None:
    loop: dict[str, Any] = {}
    loop["self"] = loop
    with client_of(listener.url) as client:
        client.log_call(model="m", cost_usd=float("nan"), attributes={"o": object(), "l": loop})
        client.log_call(model="m", user_id="\ud800", attributes={"bytes": b"\xff", 3: {1, 2}})
        assert client.flush(10)
        assert client.stats().delivered == 2
    assert [row["model"] for row in listener.rows()] == ["m", "m"]
    assert listener.rows()[0]["cost_usd"] is None


def test_a_wrong_setting_is_said_and_sends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "tocsin_sdk"):
        for given in ({"endpoint": "ftp://x"}, {"sample": 3}, {"colour": "red"}, {"token": "a\nb"}):
            client = init(**given)  # type: ignore[arg-type]
            assert client.log_call(model="m") is None
    assert len(caplog.records) == 4
    assert "ftp://x" in caplog.text


def test_settings_come_from_the_environment_and_arguments_win() -> None:
    env = {"TOCSIN_URL": "http://a:1/", "TOCSIN_TOKEN": "t", "OTEL_SERVICE_NAME": "o",
           "TOCSIN_ENVIRONMENT": "prod", "TOCSIN_CONTENT": "false"}  # fmt: skip
    found = read_settings({"service": None}, env)
    assert (found.url("/x"), found.token, found.service) == ("http://a:1/x", "t", "o")
    assert (found.environment, found.content, found.enabled) == ("prod", False, True)
    assert read_settings({"service": "mine"}, {**env, "TOCSIN_SERVICE": "s"}).service == "mine"
    assert read_settings({}, {**env, "TOCSIN_SERVICE": "s"}).service == "s"
    assert not read_settings({}, {"TOCSIN_DISABLED": "1"}).enabled


def test_many_threads_lose_nothing(listener: Listener) -> None:
    with client_of(listener.url) as client:

        def work(name: int) -> None:
            for number in range(200):
                client.log_call(model="m", user_id=f"{name}/{number}")

        threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert client.flush(20)
    users = [row["user_id"] for row in listener.rows()]
    assert len(users) == len(set(users)) == 1600


def test_equal_rows_are_equal_bytes_whenever_they_are_packed() -> None:
    from tocsin_sdk.batch import Batch

    rows = [{"model": "m", "n": 1}]
    assert Batch.of("calls", rows).body == Batch.of("calls", rows).body
    assert gzip.decompress(Batch.of("calls", rows).body) == b'{"model": "m", "n": 1}\n'


def test_a_client_can_be_shut_down_twice_and_before_it_was_used() -> None:
    client = Client(Settings())
    assert client.shutdown(1)
    assert client.shutdown(1)
