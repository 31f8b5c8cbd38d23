"""Serving metrics: what model servers say about themselves, under one name whoever says it.

Queue, cache, first token, tokens a minute and the like are measured by vLLM, TGI, Triton, SageMaker
and OpenTelemetry's GenAI conventions under names of their own. A serving metric names the first of
them that a service reports, and how its series are read and put together. They tell about the
server; calls, and every objective and alert about calls, are counted from spans alone.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

Taken = Literal["total", "highest", "rate", "p95"]
Measured = Literal["count", "ratio", "s", "per_min"]


@dataclass(frozen=True, slots=True)
class ServingMetric:
    """One thing that model servers measure.

    taken: what a chart shows of the series: their levels added, the highest of their levels, their
    increase a minute added, or the 95th percentile of their histograms taken together. The highest
    level within a step stands for the step. factor: from the unit of the metric to `unit`.
    """

    name: str
    title: str
    unit: Measured
    taken: Taken
    metrics: tuple[str, ...]
    factor: float = 1.0

    def source(self, reported: Collection[str]) -> str:
        """The metric to read, "" when none of `reported` is one."""
        return next((name for name in self.metrics if name in reported), "")


SERVING: tuple[ServingMetric, ...] = (
    ServingMetric(
        "requests", "requests, from metrics", "per_min", "rate",
        ("vllm:request_success_total", "tgi_request_count_total",
         "nv_inference_request_success_total",
         "gen_ai.server.request.duration", "gen_ai.client.operation.duration",
         "aws.sagemaker.Invocations"), 60.0,
    ),
    ServingMetric(
        "running", "requests running", "count", "total",
        ("vllm:num_requests_running", "tgi_batch_current_size",
         "aws.sagemaker.ConcurrentRequestsPerModel"),
    ),
    ServingMetric(
        "waiting", "requests waiting", "count", "total",
        ("vllm:num_requests_waiting", "tgi_queue_size", "nv_inference_pending_request_count",
         "aws.sagemaker.ApproximateBacklogSize"),
    ),
    ServingMetric(
        "cache", "KV cache in use", "ratio", "highest",
        ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"),
    ),
    ServingMetric(
        "first_token", "p95 time to first token, from metrics", "s", "p95",
        ("vllm:time_to_first_token_seconds", "gen_ai.server.time_to_first_token",
         "llm.openai.chat_completions.streaming_time_to_first_token"),
    ),
    ServingMetric(
        "latency", "p95 latency, from metrics", "s", "p95",
        ("vllm:e2e_request_latency_seconds", "tgi_request_duration",
         "gen_ai.server.request.duration", "gen_ai.client.operation.duration"),
    ),
    ServingMetric(
        "per_token", "p95 time per output token, from metrics", "s", "p95",
        ("vllm:request_time_per_output_token_seconds", "vllm:time_per_output_token_seconds",
         "vllm:inter_token_latency_seconds", "gen_ai.server.time_per_output_token",
         "tgi_request_mean_time_per_token_duration"),
    ),
    ServingMetric(
        "prompt_tokens", "prompt tokens", "per_min", "rate", ("vllm:prompt_tokens_total",), 60.0
    ),
    ServingMetric(
        "generated_tokens", "generated tokens", "per_min", "rate",
        ("vllm:generation_tokens_total",), 60.0,
    ),
    ServingMetric(
        "preemptions", "preemptions", "per_min", "rate", ("vllm:num_preemptions_total",), 60.0
    ),
    ServingMetric("cpu", "CPU in use", "ratio", "rate", ("process_cpu_seconds_total",)),
    ServingMetric("cpu_share", "CPU in use", "ratio", "highest",
                  ("aws.sagemaker.endpoints.CPUUtilization",), 0.01),
    ServingMetric(
        "memory", "resident memory in bytes", "count", "total", ("process_resident_memory_bytes",)
    ),
)  # fmt: skip
