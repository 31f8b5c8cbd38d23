"""CloudWatch, its logs and SageMaker through the real boto3, against a strict AWS on loopback."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from datetime import datetime, timedelta

import numpy as np
import pytest
from source_build import NOW, Yard, yard

pytest.importorskip("boto3", reason="boto3 is not installed")
from aws_fake import BEDROCK, KEY, REGION, SECRET, Amazon, Event, Value, amazon

MINUTE = timedelta(minutes=1)
SECRETS = {"AWS_KEY": KEY, "AWS_SECRET": SECRET}


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    with yard(tmp_path_factory.mktemp("aws")) as opened:
        yield opened


@pytest.fixture
def made(stores: Yard, request: pytest.FixtureRequest) -> Yard:
    return stores.another(re.sub("[^a-z0-9]+", "-", request.node.name.lower()).strip("-"))


@pytest.fixture
def cloud() -> Iterator[Amazon]:
    with amazon(NOW) as held:
        yield held


def use(made: Yard, cloud: Amazon, kind: str, more: str, **secrets: str) -> None:
    made.use(
        f"type: {kind}\nregion: {REGION}\nendpoint: {cloud.url}\nallow_private: true\n"
        f"access_key: {{secret: AWS_KEY}}\nsecret_key: {{secret: AWS_SECRET}}\n{more}",
        {**SECRETS, **secrets},
    )


def poll(made: Yard, cloud: Amazon, times: int = 1, every: timedelta = MINUTE):  # type: ignore[no-untyped-def]
    instants = [made.clock.now() + every * n for n in range(times)]

    def tell(number: int) -> None:
        cloud.now = instants[number]

    return made.poll_at(instants, tell)


def minute(number: int) -> datetime:
    """The begin of a minute, counted from NOW's."""
    return NOW.replace(second=0) + number * MINUTE


INVOCATIONS = """metrics:
- {namespace: AWS/Bedrock, metric: Invocations, stat: Sum, dimensions: {ModelId: m}}
- {namespace: AWS/Bedrock, metric: InvocationLatency, stat: p95, dimensions: {ModelId: m}}
- {namespace: Own/Team, metric: Queue, stat: Maximum}
"""


def test_metrics_come_late_in_pages_and_corrected_and_each_period_counts_once(
    made: Yard, cloud: Amazon
) -> None:
    rng = random.Random(7)
    final = {}
    invocations: dict[datetime, list[Value]] = {}
    for n in range(-30, 30):
        at = minute(n)
        seen = at + MINUTE + timedelta(seconds=rng.choice([0, 70, 400, 700]))
        first, last = float(rng.randrange(0, 90)), float(rng.randrange(90, 200))
        # Told in part at first, in whole a little later.
        invocations[at] = [Value(first, seen), Value(last, seen + timedelta(seconds=90))]
        final[n] = last
    cloud.metrics["AWS/Bedrock", "Invocations", "Sum", "m"] = invocations
    cloud.metrics["AWS/Bedrock", "InvocationLatency", "p95", "m"] = {
        minute(n): [Value(1000.0 + n)] for n in range(-30, 30)
    }
    cloud.metrics["Own/Team", "Queue", "Maximum"] = {
        minute(n): [Value(float(n % 7))] for n in range(-30, 30)
    }
    cloud.page = 11
    use(made, cloud, "cloudwatch", INVOCATIONS + "first: 30m")
    status = poll(made, cloud, 44)
    assert (status.state, status.failures, status.notes) == ("up", 0, ())
    assert cloud.refused == []
    (counted,) = made.metric("aws.bedrock.Invocations", 75)
    assert counted.labels == {"ModelId": "m", "stat": "Sum"}
    first = int((counted.start - minute(0)) / MINUTE)
    assert {first + n: v for n, v in enumerate(counted.count.tolist()) if v == v} == final
    (latency,) = made.metric("aws.bedrock.InvocationLatency", 75)
    assert latency.reading == "level"
    assert sorted(latency.last[~np.isnan(latency.last)]) == [1000.0 + n for n in range(-30, 30)]
    (queue,) = made.metric("aws.own.team.Queue", 75)
    assert np.nanmax(queue.highest) == 6
    stored = len(made.points("aws.bedrock.InvocationLatency"))
    assert stored == 60, "what was told already is not stored again"


def test_a_restart_neither_loses_nor_doubles(made: Yard, cloud: Amazon) -> None:
    cloud.metrics["AWS/Bedrock", "Invocations", "Sum", "m"] = {
        minute(n): [Value(1.0, minute(n + 2))] for n in range(-60, 200)
    }
    use(made, cloud, "cloudwatch", INVOCATIONS)
    poll(made, cloud, 5)
    before = made.runner._wanted
    again = made.another(made.name)
    again.clock.set(made.clock.now() + 3 * 60 * MINUTE)  # three hours away
    again.runner.use(before)
    for _ in range(3):
        poll(again, cloud)
    (counted,) = again.metric("aws.bedrock.Invocations", 260)
    values = counted.count[~np.isnan(counted.count)]
    assert set(values) == {1.0}
    first = NOW - timedelta(hours=1)
    expected = [
        n
        for n in range(-60, 200)
        if minute(n) >= first.replace(second=0) and minute(n + 2) <= again.clock.now()
    ]
    assert len(values) == len(expected)


def test_what_is_partial_is_asked_for_again_and_said(made: Yard, cloud: Amazon) -> None:
    cloud.metrics["AWS/Bedrock", "Invocations", "Sum", "m"] = {
        minute(n): [Value(2.0)] for n in range(-60, 60)
    }
    cloud.partial = {"Invocations"}
    use(made, cloud, "cloudwatch", INVOCATIONS + "overlap: 1m\nfirst: 10m")
    status = poll(made, cloud, 3)
    assert status.notes == ("aws.bedrock.Invocations: PartialData",)
    starts = {given["StartTime"] for _, given in cloud.asked}
    assert starts == {minute(-10)} | {minute(-9), minute(-8)} & starts
    cloud.partial = set()
    assert poll(made, cloud).notes == ()
    (counted,) = made.metric("aws.bedrock.Invocations", 30)
    assert set(counted.count[~np.isnan(counted.count)]) == {2.0}


def test_throttling_is_waited_out(made: Yard, cloud: Amazon) -> None:
    cloud.throttled = 3  # the client itself tries twice
    use(made, cloud, "cloudwatch", INVOCATIONS)
    status = poll(made, cloud)
    assert (status.state, status.reason) == (
        "unknown",
        "AWS asks for patience (ThrottlingException)",
    )
    reader = next(iter(made.runner._running.values()))[1][0]
    assert reader.not_before == made.clock.now() + timedelta(seconds=30)
    assert poll(made, cloud).state == "up"
    assert reader.not_before is None


def test_a_wrong_key_is_refused_and_never_shown(made: Yard, cloud: Amazon) -> None:
    use(
        made,
        cloud,
        "cloudwatch",
        INVOCATIONS,
        AWS_SECRET="a-wrong-secret-key-of-forty-characters-x",
    )
    status = poll(made, cloud)
    assert status.state == "unknown"
    assert status.reason == "AWS refuses get_metric_data (InvalidSignatureException)"
    assert "wrong-secret" not in repr(made.runner.statuses()) + repr(made.runner._wanted)


def test_no_network_is_unknown(made: Yard, cloud: Amazon) -> None:
    cloud.url = "http://127.0.0.1:9"
    use(made, cloud, "cloudwatch", INVOCATIONS)
    assert poll(made, cloud).reason == "no answer from AWS (EndpointConnectionError)"


def test_an_endpoint_of_sagemaker_shows_its_state_and_its_metrics(
    made: Yard, cloud: Amazon
) -> None:
    variant = {"VariantName": "blue", "CurrentInstanceCount": 2, "DesiredInstanceCount": 3,
               "CurrentWeight": 1.0}  # fmt: skip
    cloud.endpoints["llama"] = {"EndpointStatus": "Updating", "ProductionVariants": [variant]}
    of = ("llama", "blue")
    cloud.metrics["AWS/SageMaker", "Invocations", "Sum", *of] = {
        minute(n): [Value(40.0)] for n in range(-9, 9)
    }
    cloud.metrics["/aws/sagemaker/Endpoints", "CPUUtilization", "Average", *of] = {
        minute(-1): [Value(150.0)]
    }
    use(made, cloud, "sagemaker", "endpoints: [llama, gone]")
    poll(made, cloud, 4)
    gone, status = made.runner.statuses()
    assert (gone.state, gone.reason) == (
        "unknown",
        "AWS refuses describe_endpoint (ValidationException)",
    )
    assert (status.state, status.notes) == ("up", ("the endpoint is Updating",))
    (invocations,) = made.metric("aws.sagemaker.Invocations")
    assert invocations.labels == {"EndpointName": "llama", "VariantName": "blue", "stat": "Sum"}
    assert set(invocations.count[~np.isnan(invocations.count)]) == {40.0}
    (cpu,) = made.metric("aws.sagemaker.endpoints.CPUUtilization")
    assert np.nanmax(cpu.highest) == 150.0
    (count,) = made.metric("aws.sagemaker.CurrentInstanceCount")
    (service,) = made.metric("aws.sagemaker.InService")
    assert (count.last[-1], service.last[-1]) == (2, 0)


def test_bedrocks_invocation_log_becomes_calls_without_what_was_said(
    made: Yard, cloud: Amazon
) -> None:
    failed = {**BEDROCK, "requestId": "r-2", "errorCode": "ThrottlingException", "output": {}}
    cloud.groups["/bedrock"] = [
        Event("1", NOW - 2 * MINUTE, json.dumps(BEDROCK)),
        Event("2", NOW - 2 * MINUTE, json.dumps(failed)),
        Event("3", NOW - MINUTE, "no JSON at all"),
    ]
    use(made, cloud, "cloudwatch_logs", "groups: [/bedrock]\nformat: bedrock")
    status = poll(made, cloud, 3)
    assert status.entries == 3
    rows = made.rows(
        f"SELECT * FROM tocsin.calls WHERE service = '{made.name}' ORDER BY response_id"
    )
    first, second = rows
    assert (first["provider"], first["input_tokens"], first["output_tokens"]) == (
        "aws.bedrock",
        1200,
        80,
    )
    assert (first["duration_us"], first["finish_reason"]) == (1_840_000, "stop")
    assert first["cost_usd"] == pytest.approx(1200 * 0.8e-6 + 80 * 4e-6)
    assert "question" not in repr(rows)
    assert (second["error_class"], second["duration_us"], second["usage_known"]) == (
        "rate_limit",
        0,
        0,  # it told its input alone: half of a usage is unknown
    )
    logs = made.rows(f"SELECT body, attrs FROM tocsin.logs WHERE service = '{made.name}'")
    assert [row["body"] for row in logs] == ["no JSON at all"]
    assert logs[0]["attrs"]["aws.log.group.names"] == "/bedrock"


ACCESS = """groups: [/gateway]
calls:
  ts: requestTimeEpoch
  duration_ms: responseLatency
  http_status: status
  response_id: requestId
  model: ctx.model
  provider: =openai
"""


def test_an_access_log_becomes_calls_by_its_map_of_fields(made: Yard, cloud: Amazon) -> None:
    at = NOW - MINUTE
    line = {
        "requestTimeEpoch": int(at.timestamp() * 1000), "responseLatency": "812",
        "status": "200", "requestId": "q", "ctx": {"model": "gpt-4o-mini"},
    }  # fmt: skip
    cloud.groups["/gateway"] = [
        Event("1", at, json.dumps(line)),
        Event("2", at, json.dumps({**line, "status": "503", "requestId": "w"})),
    ]
    use(made, cloud, "cloudwatch_logs", ACCESS)
    poll(made, cloud)
    ok, bad = made.rows(
        f"SELECT * FROM tocsin.calls WHERE service = '{made.name}' ORDER BY response_id"
    )
    assert (ok["model"], ok["provider"], ok["duration_us"]) == ("gpt-4o-mini", "openai", 812_000)
    assert (ok["error_class"], ok["usage_known"], ok["cost_known"]) == ("", 0, 0)
    assert bad["error_class"] in {"overloaded", "server"}


def test_late_events_in_pages_are_each_taken_once(made: Yard, cloud: Amazon) -> None:
    rng = random.Random(3)
    events = []
    for n in range(400):
        at = NOW - 10 * MINUTE + timedelta(seconds=3 * n)
        late = timedelta(seconds=rng.choice([1, 30, 200]))
        events.append(Event(f"e{n}", at, f"line {n}", at + late))
    cloud.groups["/app"] = events
    cloud.page = 7
    use(made, cloud, "cloudwatch_logs", "groups: [/app]\noverlap: 4m\nfirst: 15m")
    poll(made, cloud, 60, timedelta(seconds=20))
    poll(made, cloud, 20, timedelta(seconds=1))
    rows = made.rows(f"SELECT body FROM tocsin.logs WHERE service = '{made.name}'")
    assert sorted(row["body"] for row in rows) == sorted(e.message for e in events)
    assert cloud.refused == []


def test_a_token_that_is_no_longer_known_begins_its_window_anew(made: Yard, cloud: Amazon) -> None:
    cloud.groups["/app"] = [Event(f"e{n}", NOW - MINUTE, f"line {n}") for n in range(40)]
    cloud.page = 5
    use(made, cloud, "cloudwatch_logs", "groups: [/app]")
    poll(made, cloud)  # five pages of eight
    cloud._tokens.clear()
    assert poll(made, cloud).state == "up"
    poll(made, cloud, 3)
    rows = made.rows(f"SELECT body FROM tocsin.logs WHERE service = '{made.name}'")
    assert sorted(row["body"] for row in rows) == sorted(f"line {n}" for n in range(40))
    assert cloud.refused == ["InvalidParameterException"]
