"""LangChain and the OpenAI client, both instrumented, as `auto_instrument=True` has it."""

import contextlib
import os

from langchain_openai import ChatOpenAI
from phoenix.otel import register

provider = register(
    project_name=os.environ["SERVICE"],
    endpoint=f"{os.environ['HTTP']}/v1/traces",
    batch=bool(os.environ["BATCH"]),
    auto_instrument=True,
    verbose=False,
)
model = ChatOpenAI(model="gpt-4o-mini", max_retries=0)
model.invoke("Where is my parcel?")
with contextlib.suppress(Exception):
    model.invoke("fail 429")
list(model.stream("Where is my parcel?", stream_usage=True))
list(model.stream("Where is my parcel?", stream_usage=False))
provider.shutdown()
