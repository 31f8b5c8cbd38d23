"""The calls that applications written for Arize make, answered by Tocsin: change the import line.

    from tocsin_sdk import arize
    from tocsin_sdk.arize import Environments, ModelTypes, SLOClient

    client = arize.Client(api_key=..., space_key=...)
    client.log(prediction_id=..., prediction_label=answer, features={...}, tags={...})

`log` and `log_bulk` queue what they get, like everything in this package: they never wait and never
raise. `create_slo` and `create_composite_score` are for pipelines: they wait for the server.

How a prediction is read (names in any of `features`, `tags` and `shap_values`):

    prediction_label, a text        the answer; a number or (label, score) is a score `prediction`
    query, user_query, prompt       what was asked
    latency_ms, total_tokens, ...   what Tocsin has a member for, see `READ_AS`
    other tags that are not numbers dimensions
    other numbers, other features   attributes
    actual_label, actual_score      ground truth under the same prediction_id, whenever it comes
"""

from __future__ import annotations

import getpass
import json
import threading
import time
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any, Callable, NamedTuple

import tocsin_sdk
from tocsin_sdk.client import Client as Recorder
from tocsin_sdk.settings import Row, Settings, read_settings
from tocsin_sdk.transport import Answer, Transport

_ADMIN_TIMEOUT = 30.0
_recorders: dict[Settings, Recorder] = {}
_lock = threading.Lock()


class ModelTypes(Enum):
    """Arize's kinds of model. Tocsin reads what a prediction holds instead."""

    NUMERIC = 1
    SCORE_CATEGORICAL = 2
    RANKING = 3
    BINARY_CLASSIFICATION = 4
    REGRESSION = 5
    OBJECT_DETECTION = 6
    GENERATIVE_LLM = 7
    MULTI_CLASS = 8


class Environments(Enum):
    """Arize's environments; the name in lower case becomes the call's `env`."""

    TRAINING = 1
    VALIDATION = 2
    PRODUCTION = 3
    CORPUS = 4
    TRACING = 5


class Refused(RuntimeError):
    """The server did not do what was asked.

    status: of HTTP, 0 when there was no answer. problem: the server's own words.
    """

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        self.status = status
        self.problem = dict(problem)
        detail = problem.get("detail") or problem.get("title") or "no answer"
        super().__init__(f"HTTP {status}: {detail}" if status else str(detail))


class Response(NamedTuple):
    """What came of a request, as `requests` would put it."""

    status_code: int
    text: str = ""

    @property
    def ok(self) -> bool:
        """Whether it was accepted."""
        return 200 <= self.status_code < 300

    def json(self) -> Any:
        """The body. ValueError when it is not JSON."""
        return json.loads(self.text)

    def result(self, timeout: float | None = None) -> Response:
        """Itself: Arize's client hands out a future here."""
        return self


# A name in features, tags or shap_values -> member of a call, and how its value is read.
_Reader = Callable[[Any], Any]


def _number(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _count(value: Any) -> int | None:
    number = _number(value)
    return int(number) if number is not None and number >= 0 else None


def _seconds(value: Any) -> float | None:
    number = _number(value)
    return None if number is None else number * 1000.0


def _text(value: Any) -> str | None:
    return None if value in (None, "") else str(value)


READ_AS: Mapping[str, tuple[str, _Reader]] = {
    "latency_ms": ("duration_ms", _number),
    "llm_latency_ms": ("duration_ms", _number),
    "duration_ms": ("duration_ms", _number),
    "inference_latency": ("duration_ms", _seconds),
    "latency_seconds": ("duration_ms", _seconds),
    "ttft_ms": ("ttft_ms", _number),
    "total_tokens": ("total_tokens", _count),
    "token_usage": ("total_tokens", _count),
    "input_tokens": ("input_tokens", _count),
    "prompt_tokens": ("input_tokens", _count),
    "prompt_token_count": ("input_tokens", _count),
    "output_tokens": ("output_tokens", _count),
    "completion_tokens": ("output_tokens", _count),
    "response_token_count": ("output_tokens", _count),
    "cost": ("cost_usd", _number),
    "cost_usd": ("cost_usd", _number),
    "llm_cost_usd": ("cost_usd", _number),
    "http_status_code": ("http_status", _count),
    "status_code": ("http_status", _count),
    "error_code": ("error_type", _text),
    "error_type": ("error_type", _text),
    "user_query": ("input", _text),
    "query": ("input", _text),
    "prompt": ("input", _text),
    "session_id": ("session_id", _text),
    "user_id": ("user_id", _text),
    "model": ("model", _text),
    "model_name": ("model", _text),
    "provider": ("provider", _text),
    "prompt_version": ("prompt_version", _text),
    "service_name": ("service", _text),
    "environment": ("env", _text),
}
_KEPT_AS_DIMENSION = frozenset({"model_version", "prompt_version", "environment"})
_TOTAL = "gen_ai.usage.total_tokens"
# Business outcomes that are what a user said, under the name by which feedback is judged.
_FEEDBACK = frozenset({"user_thumbs_up", "thumbs_up", "user_feedback", "feedback"})


class Client:
    """`arize.Client`, recording into Tocsin.

    The server is TOCSIN_URL, or what `tocsin_sdk.init` said; `api_key` is the access token where
    neither of them names one. `space_key` is accepted and not used.
    """

    def __init__(
        self,
        api_key: str | None = None,
        space_key: str | None = None,
        uri: str = "",
        **_: Any,
    ) -> None:
        self._settings = _settings(api_key, uri)
        self._recorder = _recorder(self._settings)

    def log(
        self,
        model_id: str | None = None,
        model_type: Any = None,
        environment: Environments | str | None = None,
        model_version: str | None = None,
        prediction_id: str | None = None,
        prediction_timestamp: Any = None,
        prediction_label: Any = None,
        actual_label: Any = None,
        features: Mapping[str, Any] | None = None,
        tags: Mapping[str, Any] | None = None,
        shap_values: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> Response:
        """Record one prediction, its ground truth, or both. 202: queued; 503: nothing is sent."""
        prediction = _Prediction(
            id=str(prediction_id or tocsin_sdk.trace.new_span_id()),
            model_id=model_id or "",
            model_version=model_version or "",
            env=_environment(environment),
            at=prediction_timestamp,
            label=prediction_label,
            actual=actual_label if actual_label is not None else more.get("actual_score"),
            features=features or {},
            tags=tags or {},
            metrics={**_messages(more), **(shap_values or {})},
        )
        queued = self._recorder.quietly(self._record, prediction)
        return Response(202 if queued else 503, json.dumps({"prediction_id": prediction.id}))

    def log_bulk(self, records: Any, **common: Any) -> Response:
        """Record many: mappings with the arguments of `log`, or a data frame of such rows.

        common: arguments that all of them share. 202 when every one was queued.
        """
        as_rows = getattr(records, "to_dict", None)
        rows: Iterable[Mapping[str, Any]] = as_rows("records") if as_rows else records
        answers = [self.log(**{**common, **row}) for row in rows]
        queued = sum(answer.ok for answer in answers)
        status = 202 if queued == len(answers) else 503
        return Response(status, json.dumps({"queued": queued, "records": len(answers)}))

    def create_composite_score(self, config: Mapping[str, Any]) -> Response:
        """Define a health score. The answer carries what the server said, refusals included."""
        answer = _ask(self._settings, "POST", "/api/v1/composite-scores", config)
        return Response(answer.status, answer.text)

    def flush(self, timeout: float = 5.0) -> bool:
        """Send what waits; True when all of it is settled."""
        return self._recorder.flush(timeout)

    def stats(self) -> tocsin_sdk.Stats:
        """What became of everything so far."""
        return self._recorder.stats()

    def _record(self, prediction: _Prediction) -> bool:
        done = []
        if prediction.is_call:
            done.append(self._recorder.log_call(**prediction.call()) is not None)
        for name, value in prediction.truths():
            done.append(self._score(prediction, name, value))
        return bool(done) and all(done)

    def _score(self, prediction: _Prediction, name: str, value: Any) -> bool:
        where = {"service": prediction.service or None, "call_id": prediction.id}
        if name in _FEEDBACK:
            return self._recorder.feedback(_as_number(value), **where)
        if name == "prediction":
            return self._recorder.score(name, _as_number(value), source="model", **where)
        return self._recorder.score(name, _as_number(value), source="ground_truth", **where)


class SLOClient:
    """`arize.api.SLOClient`, defining objectives in Tocsin. Waits for the server, and raises."""

    def __init__(
        self,
        api_key: str | None = None,
        space_key: str | None = None,
        uri: str = "",
        **_: Any,
    ) -> None:
        self._settings = _settings(api_key, uri)

    def create_slo(self, slo_definition: Mapping[str, Any]) -> dict[str, Any]:
        """Define an objective, or update the one of this name; its `id` and what became of it.

        Raises Refused with the server's words when it cannot be judged as it is written.
        """
        return _granted(_ask(self._settings, "POST", "/api/v1/slos", slo_definition))

    def get_slo(self, slo_id: str) -> dict[str, Any]:
        """One objective. Raises Refused (404) when there is none."""
        return _granted(_ask(self._settings, "GET", f"/api/v1/slos/{slo_id}"))

    def delete_slo(self, slo_id: str) -> None:
        """Withdraw an objective that was defined this way. Raises Refused."""
        _granted(_ask(self._settings, "DELETE", f"/api/v1/slos/{slo_id}"))


class _Prediction(NamedTuple):
    """One prediction as it was given."""

    id: str
    model_id: str
    model_version: str
    env: str
    at: Any
    label: Any
    actual: Any
    features: Mapping[str, Any]
    tags: Mapping[str, Any]
    metrics: Mapping[str, Any]

    @property
    def is_call(self) -> bool:
        """Whether there is a prediction, and not only what turned out to be true of one."""
        return self.label is not None or self.actual is None

    @property
    def service(self) -> str:
        """What the call belongs to: the tag service_name, else the model id."""
        return str(self.tags.get("service_name") or self.model_id)

    def call(self) -> Row:
        """The prediction as a row of calls."""
        row: Row = {"name": self.model_id or "prediction", "response_id": self.id}
        dims: dict[str, str] = {}
        attributes: dict[str, Any] = {}
        for name, value in {**self.features, **self.metrics, **self.tags}.items():
            member, read = READ_AS.get(name, ("", _text))
            found = read(value) if member else None
            if found is not None:
                row.setdefault(member, found)
            is_plain_tag = name in self.tags and (not member or name in _KEPT_AS_DIMENSION)
            if is_plain_tag and isinstance(value, (str, bool)):
                dims[name] = str(value)
            elif found is None and value is not None:
                attributes[name] = value
        if self.model_version:
            dims.setdefault("model_version", self.model_version)
        if self.at is not None:
            row["ts"] = self.at
        self._complete(row, attributes, dims)
        return {**row, "dims": dims, "attributes": attributes}

    def _complete(self, row: Row, attributes: Row, dims: Mapping[str, str]) -> None:
        """What follows from several names together."""
        if isinstance(self.label, str):
            row["output"] = self.label
        row["service"] = self.service or None
        row.setdefault("env", self.env or None)
        row.setdefault("model", dims.get("model_version") or None)
        total = row.pop("total_tokens", None)
        if total is not None:
            attributes[_TOTAL] = total
            known = [name for name in ("input_tokens", "output_tokens") if name in row]
            if len(known) == 1 and total >= row[known[0]]:
                other = {"input_tokens": "output_tokens", "output_tokens": "input_tokens"}
                row[other[known[0]]] = total - row[known[0]]
        error = self.tags.get("error")
        if error and "error_type" not in row:
            row["error_type"] = error if isinstance(error, str) else "error"
            row["status_message"] = self.tags.get("error_message")

    def truths(self) -> list[tuple[str, Any]]:
        """Scores under the prediction's id: what it said in numbers, and what turned out true."""
        found: list[tuple[str, Any]] = []
        if self.label is not None and not isinstance(self.label, str):
            found.append(("prediction", self.label))
        if isinstance(self.actual, Mapping):
            found += [(str(name), value) for name, value in self.actual.items()]
        elif self.actual is not None:
            found.append(("ground_truth", self.actual))
        return found


def _as_number(value: Any) -> Any:
    """A label or a number; of a (label, score) pair the score."""
    if isinstance(value, (tuple, list)) and len(value) == 2:
        value = value[1] if value[1] is not None else value[0]
    return float(value) if isinstance(value, bool) else value


def _environment(value: Environments | str | None) -> str:
    name = getattr(value, "name", value)
    return str(name).lower() if name else ""


def _messages(more: Mapping[str, Any]) -> dict[str, Any]:
    """`prompt`, `response` and the like, which some versions of the client take as arguments."""
    return {name: value for name, value in more.items() if name in READ_AS}


def _recorder(settings: Settings) -> Recorder:
    """The client of this process where it goes to the same place, else one per place."""
    current = tocsin_sdk.get_client()
    if current.settings == settings:
        return current
    with _lock:
        return _recorders.setdefault(settings, Recorder(settings))


def _settings(api_key: str | None, uri: str) -> Settings:
    """The address and the token: those of `init`, else the environment's, else the arguments'."""
    current = tocsin_sdk.get_client().settings
    if current.enabled and not uri:
        given = {name: getattr(current, name) for name in current.__dataclass_fields__}
    else:
        given = {"endpoint": uri or None}
    given["token"] = given.get("token") or read_settings({}, None).token or api_key or ""
    return read_settings(given)


def _ask(
    settings: Settings, method: str, path: str, body: Mapping[str, Any] | None = None
) -> Answer:
    """One request that is waited for; tried once more when nothing answered."""
    transport = Transport(settings.headers, _ADMIN_TIMEOUT)
    headers = {"Content-Type": "application/json", "X-Tocsin-Actor": f"sdk:{_user()}"}
    data = None if body is None else json.dumps(body, default=str).encode()
    answer = transport.send(settings.url(path), data, headers, method)
    if answer.status == 0:
        time.sleep(0.5)
        answer = transport.send(settings.url(path), data, headers, method)
    return answer


def _granted(answer: Answer) -> dict[str, Any]:
    try:
        found = json.loads(answer.text) if answer.text else {}
    except ValueError:
        found = {"detail": answer.text[:500]}
    if not answer.is_accepted:
        raise Refused(answer.status, found if isinstance(found, dict) else {"detail": str(found)})
    return found if isinstance(found, dict) else {"items": found}


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
