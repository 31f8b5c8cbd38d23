"""Phoenix's client: spans, annotations one by one and by table."""

import os
from datetime import UTC, datetime, timedelta

import pandas as pd
from phoenix.client import Client

client = Client(base_url=os.environ["HTTP"])
end = datetime.now(UTC)
span = {
    "name": "ChatCompletion",
    "context": {"trace_id": "000000000000000000000000000000f1", "span_id": "00000000000000f1"},
    "span_kind": "LLM",
    "start_time": (end - timedelta(seconds=2)).isoformat(),
    "end_time": end.isoformat(),
    "status_code": "OK",
    "attributes": {
        "llm.model_name": "gpt-4o-mini",
        "llm.token_count.prompt": 48,
        "llm.token_count.completion": 30,
    },
}
client.spans.log_spans(project_identifier=os.environ["SERVICE"], spans=[span])
client.spans.add_span_annotation(
    span_id="00000000000000f1",
    annotation_name="user_feedback",
    annotator_kind="HUMAN",
    label="thumbs_up",
    score=1,
)
client.spans.log_span_annotations_dataframe(
    dataframe=pd.DataFrame(
        {
            "span_id": ["00000000000000f1"],
            "name": ["phoenix-relevance"],
            "label": ["relevant"],
            "score": [0.5],
            "explanation": ["it is about the parcel"],
        }
    ),
    annotator_kind="LLM",
)
