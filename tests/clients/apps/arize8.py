"""Everything that version 8 of the Arize SDK can send: spans, judgements, predictions."""

import os
from datetime import UTC, datetime, timedelta

import pandas as pd
from arize import ArizeClient
from arize.ml.types import Environments, ModelTypes, Schema
from arize.spans.types import AnnotateRecordInput, AnnotationInput

SPANS = [f"{n:016x}" for n in range(1, 5)]

client = ArizeClient(
    api_key="any",
    api_host="127.0.0.1", api_port=int(os.environ["HTTP_PORT"]), api_scheme="http",
    flight_host="127.0.0.1", flight_port=int(os.environ["FLIGHT_PORT"]), flight_scheme="grpc",
)  # fmt: skip
where = {"space_id": "U3BhY2U6MQ==", "project_name": os.environ["SERVICE"]}
end = datetime.now(UTC)
spans = pd.DataFrame(
    {
        "name": "ChatCompletion",
        "context.span_id": SPANS,
        "context.trace_id": [f"{n:032x}" for n in range(1, 5)],
        "parent_id": None,
        "start_time": end - timedelta(seconds=2),
        "end_time": end - timedelta(seconds=1),
        "status_code": ["OK", "OK", "OK", "ERROR"],
        "status_message": ["", "", "", "Error code: 429 - slow down"],
        "attributes.openinference.span.kind": "LLM",
        "attributes.llm.model_name": "gpt-4o-mini",
        "attributes.llm.token_count.prompt": [48, 48, 48, None],
        "attributes.llm.token_count.completion": [30, 30, 30, None],
        "attributes.input.value": "Where is my parcel?",
    }
)
evaluations = pd.DataFrame(
    {
        "context.span_id": SPANS[:2],
        "eval.logged.label": ["good", "bad"],
        "eval.logged.score": [1.0, 0.0],
    }
)
client.spans.log(dataframe=spans, evals_dataframe=evaluations, **where)
client.spans.update_evaluations(
    dataframe=evaluations.rename(columns=lambda name: name.replace("logged", "updated")), **where
)
client.spans.update_annotations(
    dataframe=pd.DataFrame(
        {
            "context.span_id": SPANS[:1],
            "annotation.quality.label": ["good"],
            "annotation.quality.updated_by": ["ana"],
        }
    ),
    **where,
)
client.spans.update_metadata(
    dataframe=pd.DataFrame({"context.span_id": SPANS[:1], "attributes.metadata.tier": ["pro"]}),
    **where,
)
client.spans.annotate(
    project=os.environ["SERVICE"],
    space="my space",
    annotations=[
        AnnotateRecordInput(
            record_id=SPANS[1], values=[AnnotationInput(name="tone", label="rude", score=0.2)]
        )
    ],
)
model = {
    "space_id": where["space_id"],
    "model_name": os.environ["SERVICE"] + "-ml",
    "model_version": "1",
}
client.ml.log_stream(
    **model,
    model_type=ModelTypes.SCORE_CATEGORICAL,
    environment=Environments.PRODUCTION,
    prediction_id="ticket-1",
    prediction_label=("refund", 0.8),
    actual_label="refund",
    features={"region": "eu"},
    tags={"latency_ms": 40},
).result()
client.ml.log(
    **model,
    model_type=ModelTypes.SCORE_CATEGORICAL,
    environment=Environments.PRODUCTION,
    dataframe=pd.DataFrame(
        {"id": ["ticket-2", "ticket-3"], "label": ["refund", "delivery"], "score": [0.7, 0.9]}
    ),
    schema=Schema(
        prediction_id_column_name="id",
        prediction_label_column_name="label",
        prediction_score_column_name="score",
    ),
)
client.ml.log(  # the truth, later
    **model,
    model_type=ModelTypes.SCORE_CATEGORICAL,
    environment=Environments.PRODUCTION,
    dataframe=pd.DataFrame({"id": ["ticket-2"], "truth": ["delivery"]}),
    schema=Schema(prediction_id_column_name="id", actual_label_column_name="truth"),
)
