"""A small AWS on loopback that is strict about what it is asked.

CloudWatch, CloudWatch Logs and SageMaker, in the JSON protocol that botocore speaks with them.
Every request must carry a valid Signature Version 4, which is computed anew with botocore's own
signer; parameters must fit botocore's own model of the operation. Answers come in pages, late, and
throttled, as a test wants them.
"""

from __future__ import annotations

import http.server
import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import botocore.session
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.validate import ParamValidator

KEY, SECRET, REGION = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "eu-central-1"
_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request,"
    r" SignedHeaders=([^,]+), Signature=([0-9a-f]{64})"
)
_SERVICES = {
    "Logs_20140328": "logs",
    "SageMaker": "sagemaker",
    "GraniteServiceVersion20100801": "cloudwatch",
}
_SESSION = botocore.session.get_session()


# What Bedrock's model invocation logging writes about one call.
BEDROCK = {
    "schemaType": "ModelInvocationLog", "schemaVersion": "1.0",
    "timestamp": "2026-11-21T04:58:10Z", "accountId": "123456789012", "region": "eu-central-1",
    "requestId": "r-1", "operation": "Converse",
    "modelId": "anthropic.claude-3-5-haiku-20241022-v1:0",
    "input": {"inputContentType": "application/json", "inputTokenCount": 1200,
              "inputBodyJson": {"messages": ["a secret question"]}},
    "output": {"outputContentType": "application/json", "outputTokenCount": 80,
               "outputBodyJson": {"stopReason": "end_turn", "metrics": {"latencyMs": 1840}}},
}  # fmt: skip


@dataclass(frozen=True)
class Value:
    """A value of a metric. seen: the instant from which it is shown; as_if: what it was before."""

    value: float
    seen: datetime = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Event:
    """An event of a log group."""

    id: str
    at: datetime
    message: str
    seen: datetime = datetime(1970, 1, 1, tzinfo=UTC)


class Refused(Exception):
    """An error as AWS answers it."""

    def __init__(self, code: str, status: int = 400) -> None:
        self.code, self.status = code, status
        super().__init__(code)


@dataclass
class Amazon:
    """metrics: (namespace, metric, stat, dimension values...) -> when -> values, last visible one.

    page: how many values or events an answer holds. throttled: how many requests are refused.
    """

    now: datetime
    url: str = ""
    metrics: dict[tuple[str, ...], dict[datetime, list[Value]]] = field(default_factory=dict)
    groups: dict[str, list[Event]] = field(default_factory=dict)
    endpoints: dict[str, dict[str, Any]] = field(default_factory=dict)
    page: int = 1000
    throttled: int = 0
    partial: set[str] = field(default_factory=set)
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    _tokens: dict[str, tuple[str, int]] = field(default_factory=dict)

    def answer(self, operation: str, given: dict[str, Any]) -> dict[str, Any]:
        if self.throttled > 0:
            self.throttled -= 1
            raise Refused("ThrottlingException")
        self.asked.append((operation, given))
        answers = {
            "GetMetricData": self._get_metric_data,
            "FilterLogEvents": self._filter_log_events,
            "DescribeEndpoint": self._describe_endpoint,
        }
        return answers[operation](given)

    def _get_metric_data(self, given: dict[str, Any]) -> dict[str, Any]:
        queries = given["MetricDataQueries"]
        if len(queries) > 500 or given["StartTime"] >= given["EndTime"]:
            raise Refused("InvalidParameterValue")
        if given["EndTime"] > self.now:
            raise Refused("InvalidParameterValue")
        found: list[tuple[str, datetime, float]] = []
        status = {}
        for query in queries:
            stat = query["MetricStat"]
            metric = stat["Metric"]
            if stat["Period"] % 60 or any(c.isupper() for c in query["Id"][:1]):
                raise Refused("InvalidParameterValue")
            of = tuple(d["Value"] for d in metric["Dimensions"])
            key = (metric["Namespace"], metric["MetricName"], stat["Stat"], *of)
            status[query["Id"]] = (
                "PartialData" if metric["MetricName"] in self.partial else "Complete"
            )
            for at, values in sorted(self.metrics.get(key, {}).items()):
                visible = [each.value for each in values if each.seen <= self.now]
                if given["StartTime"] <= at < given["EndTime"] and visible:
                    found.append((query["Id"], at, visible[-1]))
        start = self._start("metrics", given.get("NextToken"), given, "InvalidNextToken")
        shown = found[start : start + self.page]
        results = [
            {"Id": name, "Label": name, "StatusCode": code,
             "Timestamps": [at for n, at, _ in shown if n == name],
             "Values": [value for n, _, value in shown if n == name]}
            for name, code in status.items()
        ]  # fmt: skip
        answer: dict[str, Any] = {"MetricDataResults": results, "Messages": []}
        if start + self.page < len(found):
            answer["NextToken"] = self._token("metrics", start + self.page, given)
        return answer

    def _filter_log_events(self, given: dict[str, Any]) -> dict[str, Any]:
        if given["logGroupName"] not in self.groups:
            raise Refused("ResourceNotFoundException")
        if not 1 <= given.get("limit", 1) <= 10_000 or given["startTime"] > given["endTime"]:
            raise Refused("InvalidParameterException")
        events = [
            e for e in sorted(self.groups[given["logGroupName"]], key=lambda e: (e.at, e.id))
            if given["startTime"] <= _ms(e.at) <= given["endTime"] and e.seen <= self.now
            and given.get("filterPattern", "").strip('"') in e.message
        ]  # fmt: skip
        start = self._start("logs", given.get("nextToken"), given, "InvalidParameterException")
        shown = events[start : start + min(self.page, given.get("limit", 10_000))]
        answer: dict[str, Any] = {
            "events": [
                {"logStreamName": "stream", "timestamp": _ms(e.at), "message": e.message,
                 "ingestionTime": _ms(e.at) + 900, "eventId": e.id}
                for e in shown
            ],
            "searchedLogStreams": [],
        }  # fmt: skip
        if start + len(shown) < len(events):
            answer["nextToken"] = self._token("logs", start + len(shown), given)
        return answer

    def _describe_endpoint(self, given: dict[str, Any]) -> dict[str, Any]:
        if given["EndpointName"] not in self.endpoints:
            raise Refused("ValidationException")
        return {
            "EndpointName": given["EndpointName"], "EndpointConfigName": "c",
            "EndpointArn": f"arn:aws:sagemaker:{REGION}:123456789012:endpoint/e",
            "CreationTime": 1.7e9, "LastModifiedTime": 1.7e9,
            **self.endpoints[given["EndpointName"]],
        }  # fmt: skip

    def _token(self, kind: str, start: int, given: Mapping[str, Any]) -> str:
        token = f"{kind}-{len(self._tokens)}-{start}"
        self._tokens[token] = (_same(given), start)
        return token

    def _start(self, kind: str, token: str | None, given: Mapping[str, Any], code: str) -> int:
        if token is None:
            return 0
        held = self._tokens.get(token)
        if held is None or held[0] != _same(given):
            raise Refused(code)  # a token belongs to the request it continues
        return held[1]


def _same(given: Mapping[str, Any]) -> str:
    rest = {k: v for k, v in given.items() if k not in ("NextToken", "nextToken")}
    return json.dumps(rest, default=str, sort_keys=True)


def _ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)


# --- the wire ----------------------------------------------------------------------------------


def verify(method: str, url: str, headers: Mapping[str, str], body: bytes) -> None:
    """Refused unless the signature is what botocore's signer makes of this request."""
    found = _AUTHORIZATION.fullmatch(headers.get("authorization", ""))
    if found is None:
        raise Refused("MissingAuthenticationTokenException", 403)
    key, day, region, service, names, signature = found.groups()
    if key != KEY or region != REGION:
        raise Refused("UnrecognizedClientException", 403)
    signed = {name: headers[name] for name in names.split(";")}
    if not {"host", "x-amz-date"} <= set(signed) or not signed["x-amz-date"].startswith(day):
        raise Refused("IncompleteSignatureException", 403)
    request = AWSRequest(method=method, url=url, data=body, headers=signed)
    request.context["timestamp"] = signed["x-amz-date"]
    signer = SigV4Auth(Credentials(KEY, SECRET), service, region)
    text = signer.string_to_sign(request, signer.canonical_request(request))
    if signer.signature(text, request) != signature:
        raise Refused("InvalidSignatureException", 403)


def _operation(headers: Mapping[str, str]) -> tuple[str, str]:
    """Service and operation."""
    target, _, operation = headers["x-amz-target"].partition(".")
    return _SERVICES[target], operation


def _read(service: str, operation: str, body: bytes) -> dict[str, Any]:
    given: dict[str, Any] = json.loads(body)
    shape = _SESSION.get_service_model(service).operation_model(operation).input_shape
    if ParamValidator().validate(given, shape).has_errors():
        raise Refused("ValidationException")
    for name in ("StartTime", "EndTime"):
        if name in given:
            given[name] = datetime.fromtimestamp(given[name], UTC)
    return given


@contextmanager
def amazon(now: datetime) -> Iterator[Amazon]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {k.lower(): v for k, v in self.headers.items()}
            service, operation = _operation(headers)
            try:
                verify("POST", held.url + self.path, headers, body)
                status, answer = (
                    200,
                    held.answer(operation, _read(service, operation, body)),
                )
            except Refused as error:
                held.refused.append(error.code)
                status, answer = error.status, {"__type": error.code, "message": "no"}
            raw = json.dumps(answer, default=datetime.timestamp).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client that was killed
    held = Amazon(now, url=f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield held
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
