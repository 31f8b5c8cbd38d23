"""Arize's SDK of version 7: single records and tables over HTTP, evaluations over Flight."""

import os
from datetime import UTC, datetime, timedelta

import pandas as pd
from arize.api import Client
from arize.pandas.logger import Client as TableClient
from arize.pandas.logger import Schema
from arize.utils.types import Environments, ModelTypes

uri, service = f"{os.environ['HTTP']}/v1", os.environ["SERVICE"]
kind = {"model_type": ModelTypes.SCORE_CATEGORICAL, "environment": Environments.PRODUCTION}
client = Client(api_key="any", space_id="any", uri=uri)
sent = [
    client.log(
        model_id=service,
        **kind,
        prediction_id="conversation-17",
        prediction_label="Your parcel arrives tomorrow.",
        features={"user_query": "Where is my parcel?", "session_id": "s-1", "model": "gpt-4o-mini"},
        tags={"latency_ms": 1250, "prompt_tokens": 48, "completion_tokens": 30, "region": "eu"},
    ),
    # The truth comes later, under the same id.
    client.log(model_id=service, **kind, prediction_id="conversation-17", actual_label="resolved"),
]
assert [answer.result().status_code for answer in sent] == [200, 200]

tables = TableClient(
    api_key="any", space_id="any", uri=uri,
    host="127.0.0.1", port=int(os.environ["FLIGHT_PORT"]), scheme="grpc",
)  # fmt: skip
answer = tables.log(
    pd.DataFrame(
        {"id": ["ticket-2", "ticket-3"], "label": ["refund", "delivery"], "score": [0.7, 0.9]}
    ),
    schema=Schema(
        prediction_id_column_name="id",
        prediction_label_column_name="label",
        prediction_score_column_name="score",
    ),
    model_id=f"{service}-table",
    model_version="1",
    **kind,
)
assert answer.status_code == 200
end = datetime.now(UTC)
span = {
    "name": ["ChatCompletion"],
    "context.span_id": ["00000000000000a7"],
    "context.trace_id": ["000000000000000000000000000000a7"],
    "parent_id": [None],
    "start_time": [end - timedelta(seconds=2)],
    "end_time": [end],
    "status_code": ["OK"],
    "attributes.openinference.span.kind": ["LLM"],
    "attributes.llm.model_name": ["gpt-4o-mini"],
}
assert tables.log_spans(pd.DataFrame(span), project_name=f"{service}-spans").status_code == 200
tables.log_evaluations_sync(
    pd.DataFrame(
        {
            "context.span_id": ["00000000000000a7"],
            "eval.late.label": ["good"],
            "eval.late.score": [0.75],
        }
    ),
    project_name=f"{service}-spans",
)
