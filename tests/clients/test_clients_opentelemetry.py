"""OpenTelemetry's own exporters, every signal over every transport."""

from __future__ import annotations

import pytest
from client_run import Tocsin

WAYS = [
    ("python", "otel_signals.py", "grpc", "none"),
    ("python", "otel_signals.py", "grpc", "gzip"),
    ("python", "otel_signals.py", "http", "none"),
    ("python", "otel_signals.py", "http", "gzip"),
    ("js", "otel_signals.mjs", "json", "none"),
    ("js", "otel_signals.mjs", "json", "gzip"),
]


@pytest.mark.parametrize(("environment", "app", "protocol", "compression"), WAYS)
def test_traces_metrics_and_logs_arrive(
    tocsin: Tocsin, environment: str, app: str, protocol: str, compression: str
) -> None:
    service = f"signals-{environment}-{protocol}-{compression}"
    tocsin.run(environment, app, service, PROTOCOL=protocol, COMPRESSION=compression)
    [call] = tocsin.calls(service)
    assert (call["input_tokens"], call["output_tokens"]) == (48, 30)
    [record] = tocsin.query(f"SELECT * FROM tocsin.logs WHERE service = '{service}'")
    assert (record["body"], record["severity"]) == ("asked about a parcel", "WARN")
    assert (record["trace_id"], record["span_id"]) == (call["trace_id"], call["span_id"])
    points = tocsin.query(
        "SELECT metric, type, value, count, attrs['region'] AS region FROM tocsin.metric_points"
        f" WHERE service = '{service}' AND metric IN"
        " ('orders', 'gen_ai.client.operation.duration') ORDER BY metric DESC"
    )
    told = {(p["metric"], p["type"], p["value"], p["count"], p["region"]) for p in points}
    assert told == {
        ("orders", "sum", 3.0, 0, "eu"),
        ("gen_ai.client.operation.duration", "histogram", 0.25, 1, ""),
    }
