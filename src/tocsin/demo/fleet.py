"""The six services of the demo: who they are, how much they are used, and by whom.

Numbers follow published measurements: token lengths and shares of the largest tenant from ServeGen
and the Azure LLM traces, latency from 806 recorded OpenAI calls (ln ms = a + 0.584 ln out
+ 0.147 ln in, residual sd 0.66), first-token times from llmperf, error bodies from recorded calls.
"""

from __future__ import annotations

from dataclasses import dataclass

from tocsin.demo.spans import Failure


@dataclass(frozen=True, slots=True)
class Tenant:
    """A customer of a service.

    share: of the service's sessions. input_scale: its prompts against the service's median.
    """

    name: str
    share: float
    tier: str = "standard"
    region: str = "eu-west-1"
    input_scale: float = 1.0


@dataclass(frozen=True, slots=True)
class Sessions:
    """How calls cluster, which is what makes arrivals burstier than Poisson.

    turns: mean calls of a session. pause_s: mean silence of its user between two of them.
    fanout: share of sessions in which a program asks `fanout_size` (mean) times with `pause_s`
    divided by 20. dispersion: shape of the gamma that multiplies the rate of each minute; small is
    wild.
    """

    turns: float
    pause_s: float
    fanout: float
    fanout_size: float
    dispersion: float


@dataclass(frozen=True, slots=True)
class Speed:
    """ln ms = intercept + 0.584 ln out + 0.147 ln in; ttft_ms is the median at 500 input tokens.

    timeout_s: when the client gives up.
    """

    intercept: float
    ttft_ms: float
    timeout_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Tokens:
    """Log-normal token counts: medians and standard deviations of the logarithm.

    growth: how much of the first prompt each further turn adds. cached: share of calls whose
    prompt was cached, of those `cached_part`. reasoning: share of output that is thinking.
    """

    input: float
    output: float
    input_sd: float = 0.7
    output_sd: float = 0.7
    growth: float = 0.0
    output_max: int = 4096
    cached: float = 0.0
    cached_part: float = 0.8
    reasoning: float = 0.0


@dataclass(frozen=True, slots=True)
class Service:
    """One service of the fleet.

    calls_per_day: LLM calls at scale 1. swing: ln(peak hour / mean hour) of a day. peak: that hour,
    UTC. weekend: traffic on Saturday and Sunday against other days. gaps_per_day: how often nobody
    calls for a quarter of an hour to an hour, which is nothing unusual here. streams: whether
    answers are streamed; blind: share of calls whose client never learns the token counts.
    truncated: share of streams that normally die half-way. feedback: share of answers with a thumb;
    negative: share of thumbs that point down on a good day. errors: share of calls that fail.
    """

    name: str
    family: str
    model: str
    release: str
    prompt: str
    calls_per_day: float
    swing: float
    peak: float
    weekend: float
    sessions: Sessions
    speed: Speed
    tokens: Tokens
    tenants: tuple[Tenant, ...]
    errors: float
    gaps_per_day: float = 0.0
    streams: bool = False
    blind: float = 0.0
    truncated: float = 0.0
    feedback: float = 0.0
    negative: float = 0.0


def _tenants(names: str, first: float, *, regions: str = "eu-west-1") -> tuple[Tenant, ...]:
    """Tenants in order of size: the first has the share `first`, the others divide the rest.

    The share of the n-th of the others is proportional to 1 / n. Every third tenant is premium.
    """
    every, where = names.split(), regions.split()
    weights = [1.0 / (n + 1) for n in range(len(every) - 1)]
    shares = [first, *((1 - first) * w / sum(weights) for w in weights)]
    return tuple(
        Tenant(name, share, "premium" if n % 3 == 0 else "standard", where[n % len(where)])
        for n, (name, share) in enumerate(zip(every, shares, strict=True))
    )


SMALL_PROMPTS = "harbor-mutual"  # asks claims-triage short questions, except when its batch runs

FLEET: tuple[Service, ...] = (
    Service(
        "support-assistant", "chat", "gpt-4o-mini", "5.12.0", "v42",
        calls_per_day=17_500, swing=0.24, peak=14.0, weekend=0.85, errors=0.004,
        sessions=Sessions(turns=2.6, pause_s=35.0, fanout=0.03, fanout_size=6.0, dispersion=2.5),
        speed=Speed(4.48, 420.0),
        tokens=Tokens(620, 140, growth=0.45, output_max=1024, cached=0.35),
        tenants=_tenants(
            "northwind lumen-retail acme-travel kestrel-air orbit-telecom bluefjord papyrus-books"
            " granite-bank solstice mosaic-home vela-energy tidepool",
            0.34, regions="eu-west-1 us-east-1",
        ),
        streams=True, blind=0.15, truncated=0.001, feedback=0.040, negative=0.20,
    ),
    Service(
        "voice-agent", "voice", "gpt-4o", "3.7.2", "v12",
        calls_per_day=9_000, swing=0.26, peak=11.0, weekend=0.9, errors=0.003,
        sessions=Sessions(turns=4.0, pause_s=16.0, fanout=0.0, fanout_size=1.0, dispersion=5.0),
        speed=Speed(3.65, 210.0, timeout_s=8.0),
        tokens=Tokens(420, 38, 0.5, 0.6, growth=0.10, output_max=256, cached=0.2),
        tenants=_tenants(
            "orbit-telecom kestrel-air medica-plus northwind granite-bank vela-energy civic-line",
            0.42, regions="eu-west-1 us-east-1",
        ),
        streams=True, truncated=0.002, feedback=0.040, negative=0.16,
    ),
    Service(
        "claims-triage", "old", "llama-3.1-70b-instruct", "2.4.1", "v8",
        calls_per_day=7_500, swing=0.32, peak=10.0, weekend=0.75, errors=0.005, gaps_per_day=0.5,
        sessions=Sessions(turns=1.5, pause_s=8.0, fanout=0.05, fanout_size=5.0, dispersion=3.0),
        speed=Speed(4.20, 380.0, timeout_s=30.0),
        tokens=Tokens(900, 90, 0.8, 0.6, output_max=512),
        tenants=(
            Tenant(SMALL_PROMPTS, 0.36, "premium", "eu-west-1", 104 / 900),
            *(Tenant(t.name, t.share, t.tier) for t in _tenants(
                "- alder-insurance crestline union-re meridian-health fairway-motor keystone"
                " sable-life", 0.36)[1:]),
        ),
    ),
    Service(
        "contract-search", "rag", "claude-sonnet-4-20250514", "1.9.3", "v21",
        calls_per_day=4_200, swing=0.26, peak=13.0, weekend=0.7, errors=0.006,
        sessions=Sessions(turns=2.0, pause_s=45.0, fanout=0.04, fanout_size=5.0, dispersion=2.5),
        speed=Speed(4.45, 900.0),
        tokens=Tokens(3_800, 420, 0.5, 0.6, growth=0.1, output_max=4096, cached=0.4),
        tenants=_tenants(
            "harcourt-llp granite-bank meridian-legal atlas-procure union-re northwind", 0.48
        ),
        feedback=0.02, negative=0.18,
    ),
    Service(
        "email-drafts", "plain", "gpt-4o-mini", "4.0.6", "v17",
        calls_per_day=3_400, swing=0.22, peak=9.0, weekend=0.6, errors=0.004,
        sessions=Sessions(turns=1.4, pause_s=60.0, fanout=0.05, fanout_size=6.0, dispersion=2.0),
        speed=Speed(4.48, 450.0),
        tokens=Tokens(350, 210, 0.6, 0.6, output_max=1024),
        tenants=_tenants("sales success people-ops finance legal marketing", 0.28,
                         regions="eu-west-1 us-east-1"),
    ),
    Service(
        "code-review", "agent", "claude-opus-4-20250514", "0.23.0", "v5",
        calls_per_day=2_600, swing=0.17, peak=15.0, weekend=0.55, errors=0.006, gaps_per_day=0.6,
        sessions=Sessions(turns=5.0, pause_s=0.8, fanout=0.0, fanout_size=1.0, dispersion=1.8),
        speed=Speed(4.70, 1_800.0, timeout_s=180.0),
        tokens=Tokens(9_000, 600, 0.7, 0.7, growth=0.25, output_max=8192, cached=0.6,
                      reasoning=0.35),
        tenants=_tenants("platform payments mobile search data-eng infra growth", 0.24),
    ),
)  # fmt: skip

PROVIDERS = {
    "gpt-4o-mini": "openai",
    "gpt-4o": "openai",
    "gpt-4o-2024-11-20": "openai",
    "text-embedding-3-small": "openai",
    "claude-sonnet-4-20250514": "anthropic",
    "claude-opus-4-20250514": "anthropic",
    "llama-3.1-70b-instruct": "vllm",
}

EMBEDDING_MODEL = "text-embedding-3-small"

# Which failures a provider has on an ordinary day, and how often each.
FAILURE_MIX = {
    "openai": {
        "rate_limit": 0.42, "server": 0.20, "timeout": 0.14, "overloaded": 0.06,
        "connection": 0.06, "bad_request": 0.12,
    },
    "anthropic": {
        "overloaded": 0.38, "rate_limit": 0.26, "server": 0.14, "timeout": 0.10,
        "connection": 0.05, "bad_request": 0.07,
    },
    "vllm": {
        "timeout": 0.34, "overloaded": 0.30, "connection": 0.12, "server": 0.10,
        "bad_request": 0.14,
    },
}  # fmt: skip

# Median and spread (sd of the logarithm) of how long a failure takes, milliseconds. A timeout takes
# what the client's patience is. Client libraries retry twice before they give up on 5xx.
FAILURE_MS = {
    "rate_limit": (260.0, 0.5), "overloaded": (1_600.0, 0.6), "server": (2_900.0, 0.8),
    "connection": (4_000.0, 0.6), "bad_request": (190.0, 0.4), "content_filter": (420.0, 0.4),
}  # fmt: skip

FAILURES: dict[str, dict[str, Failure]] = {
    "openai": {
        "rate_limit": Failure(
            "rate_limit", "RateLimitError",
            "Error code: 429 - {'error': {'message': 'Rate limit reached for {model} in"
            " organization org-demo on tokens per min (TPM): Limit 2000000, Used 1998113, Requested"
            " 3921. Please try again in 61ms.', 'type': 'tokens', 'param': None, 'code':"
            " 'rate_limit_exceeded'}}", "openai"),
        "overloaded": Failure(
            "overloaded", "InternalServerError",
            "Error code: 503 - {'error': {'message': 'The engine is currently overloaded, please"
            " try again later', 'type': 'service_unavailable', 'param': None, 'code': None}}",
            "openai"),
        "server": Failure(
            "server", "InternalServerError",
            "Error code: 500 - {'error': {'message': 'The server had an error while processing"
            " your request (request ID req_{id})', 'type': 'server_error', 'param': None, 'code':"
            " None}}", "openai"),
        "timeout": Failure("timeout", "APITimeoutError", "Request timed out.", "openai"),
        "connection": Failure("connection", "APIConnectionError", "Connection error.", "openai"),
        "bad_request": Failure(
            "bad_request", "BadRequestError",
            "Error code: 400 - {'error': {'message': \"This model's maximum context length is"
            " 128000 tokens. Please reduce the length of the messages.\", 'type':"
            " 'invalid_request_error', 'param': 'messages', 'code': 'context_length_exceeded'}}",
            "openai"),
    },
    "anthropic": {
        "overloaded": Failure(
            "overloaded", "OverloadedError",
            "Error code: 529 - {'type': 'error', 'error': {'type': 'overloaded_error', 'message':"
            " 'Overloaded'}, 'request_id': 'req_{id}'}", "anthropic"),
        "rate_limit": Failure(
            "rate_limit", "RateLimitError",
            "Error code: 429 - {'type': 'error', 'error': {'type': 'rate_limit_error', 'message':"
            " 'This request would exceed the rate limit for your organization of 400,000 input"
            " tokens per minute.'}, 'request_id': 'req_{id}'}", "anthropic"),
        "server": Failure(
            "server", "InternalServerError",
            "Error code: 500 - {'type': 'error', 'error': {'type': 'api_error', 'message':"
            " 'Internal server error'}, 'request_id': 'req_{id}'}", "anthropic"),
        "timeout": Failure(
            "timeout", "APITimeoutError",
            "Request timed out or interrupted. This could be due to a network timeout, dropped"
            " connection, or request cancellation.", "anthropic"),
        "connection": Failure(
            "connection", "APIConnectionError", "Connection error.", "anthropic"),
        "bad_request": Failure(
            "bad_request", "BadRequestError",
            "Error code: 400 - {'type': 'error', 'error': {'type': 'invalid_request_error',"
            " 'message': 'prompt is too long: 203411 tokens > 200000 maximum'}, 'request_id':"
            " 'req_{id}'}", "anthropic"),
    },
    "vllm": {
        "overloaded": Failure(
            "overloaded", "InternalServerError",
            "Error code: 503 - {'object': 'error', 'message': 'The request queue is full, service"
            " unavailable', 'type': 'ServiceUnavailableError', 'param': None, 'code': 503}",
            "openai"),
        "timeout": Failure("timeout", "APITimeoutError", "Request timed out.", "openai"),
        "connection": Failure("connection", "APIConnectionError", "Connection error.", "openai"),
        "server": Failure(
            "server", "InternalServerError",
            "Error code: 500 - {'object': 'error', 'message': 'EngineCore encountered an issue."
            " See stack trace for the root cause.', 'type': 'InternalServerError', 'param': None,"
            " 'code': 500}", "openai"),
        "bad_request": Failure(
            "bad_request", "BadRequestError",
            "Error code: 400 - {'object': 'error', 'message': \"This model's maximum context length"
            " is 8192 tokens. However, your request has 8391 input tokens.\", 'type':"
            " 'BadRequestError', 'param': None, 'code': 400}", "openai"),
    },
    "vector-db": {
        "timeout": Failure(
            "timeout", "ResponseHandlingException",
            "The read operation timed out", "qdrant_client.http.exceptions"),
        "server": Failure(
            "server", "UnexpectedResponse",
            "Unexpected Response: 500 (Internal Server Error) Raw response content: b'{\"status\":"
            "{\"error\":\"Service internal error: shard 2 is not available\"}}'",
            "qdrant_client.http.exceptions"),
    },
    "tool": {
        "other": Failure("other", "ToolException", "the tool found nothing under this id"),
    },
}  # fmt: skip
