"""`prometheus`: scrapes metrics pages, as a Prometheus server would: model servers, hosts.

One GET per target and interval, OpenMetrics preferred. The address is resolved, checked and pinned
at every scrape; redirects are not followed. A page that is too large, malformed or late is not read
in part. Whether a target answered is itself a metric, `up`, 1 or 0; what it would have shown is
unknown then and not 0.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ClassVar, Literal

import httpx

from tocsin.domain.secret import Secret, secret
from tocsin.intake import exposition
from tocsin.intake.points import MetricRequest, nanoseconds
from tocsin.intake.source import Origin, Polled, Unreadable
from tocsin.net.guard import Refused, pin_target

Preset = Literal["node", "tgi", "triton", "vllm"]

_PROCESS = ("process_cpu_seconds", "process_resident_memory_bytes")
PRESETS: Mapping[Preset, tuple[str, ...]] = {
    "vllm": (
        "vllm:num_requests_*", "vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc",
        "vllm:cpu_cache_usage_perc", "vllm:prefix_cache_queries", "vllm:prefix_cache_hits",
        "vllm:time_to_first_token_seconds", "vllm:e2e_request_latency_seconds",
        "vllm:time_per_output_token_seconds", "vllm:request_time_per_output_token_seconds",
        "vllm:inter_token_latency_seconds", "vllm:request_queue_time_seconds",
        "vllm:prompt_tokens", "vllm:generation_tokens", "vllm:request_success",
        "vllm:num_preemptions", *_PROCESS,
    ),
    "tgi": (
        "tgi_queue_size", "tgi_batch_current_size", "tgi_batch_current_max_tokens",
        "tgi_request_count", "tgi_request_success", "tgi_request_failure", "tgi_request_duration",
        "tgi_request_queue_duration", "tgi_request_inference_duration",
        "tgi_request_mean_time_per_token_duration", "tgi_request_input_length",
        "tgi_request_generated_tokens", *_PROCESS,
    ),
    "triton": (
        "nv_inference_request_success", "nv_inference_request_failure", "nv_inference_count",
        "nv_inference_pending_request_count", "nv_inference_request_duration_us",
        "nv_inference_queue_duration_us", "nv_inference_first_response_histogram_ms",
        "nv_gpu_utilization", "nv_gpu_memory_*", "nv_cpu_utilization", "nv_cpu_memory_*",
    ),
    "node": (
        "node_cpu_seconds", "node_load1", "node_load5", "node_memory_MemTotal_bytes",
        "node_memory_MemAvailable_bytes", "node_filesystem_avail_bytes",
        "node_filesystem_size_bytes", "node_network_receive_bytes", "node_network_transmit_bytes",
        "node_disk_io_time_seconds", "node_boot_time_seconds", "node_time_seconds",
    ),
}  # fmt: skip

# Without the escaping, prometheus_client turns the colon in the names of vLLM into an underscore.
_ACCEPT = (
    f"{exposition.OPENMETRICS};version=1.0.0;escaping=allow-utf-8,"
    "text/plain;version=0.0.4;q=0.5,text/plain;q=0.3"
)
_SCOPE = "tocsin.prometheus"


@dataclass(frozen=True, slots=True)
class PrometheusConfig:
    """targets: addresses of metrics pages. presets, metrics: what to keep; everything when neither
    is given. metrics are names in which `*` stands for anything.

    token: sent as a bearer token; or username and password. allow_private: targets may lie in your
    own network and be plain http; link-local addresses are refused even then. ca_file, cert_file,
    key_file: paths of PEM files. most_bytes, most_samples: of one page; a larger one is not read.
    """

    targets: tuple[str, ...]
    presets: tuple[Preset, ...] = ()
    metrics: tuple[str, ...] = ()
    timeout: timedelta = timedelta(seconds=10)
    token: Secret | None = None
    username: str = ""
    password: Secret | None = None
    allow_private: bool = False
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    most_bytes: int = 16_000_000
    most_samples: int = 20_000

    def __post_init__(self) -> None:
        if not self.targets:
            raise ValueError("targets: name at least one address")
        for target in self.targets:
            _check(target)
        if len(set(self.targets)) < len(self.targets):
            raise ValueError("targets: one of them is named twice")
        if bool(self.username) != (self.password is not None):
            raise ValueError("username and password: set both or neither")
        if self.username and self.token is not None:
            raise ValueError("token: set either a token or a username")
        if bool(self.cert_file) != bool(self.key_file):
            raise ValueError("cert_file and key_file: set both or neither")
        if self.timeout <= timedelta(0) or self.most_bytes < 1 or self.most_samples < 1:
            raise ValueError("timeout, most_bytes and most_samples must be above 0")
        for name in ("token", "password"):
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, secret(value))

    @property
    def wanted(self) -> tuple[str, ...]:
        """Patterns of the metrics to keep."""
        named = (name for preset in self.presets for name in PRESETS[preset])
        return (*dict.fromkeys(named), *self.metrics)


class Prometheus:
    """Scrapes each target on its own."""

    Config: ClassVar[type[PrometheusConfig]] = PrometheusConfig
    extra: ClassVar[str] = ""
    every: ClassVar[timedelta] = timedelta(seconds=15)

    def __init__(self, config: PrometheusConfig, origin: Origin) -> None:
        self.config = config
        self._origin = origin
        self._client: httpx.AsyncClient | None = None

    @property
    def targets(self) -> Sequence[str]:
        """The addresses."""
        return self.config.targets

    async def poll(self, target: str, now: datetime, cursor: object) -> Polled:
        """One scrape."""
        try:
            async with asyncio.timeout(self.config.timeout.total_seconds()):
                text, kind = await self._page(target)
        except TimeoutError:
            seconds = self.config.timeout.total_seconds()
            raise Unreadable(f"no complete answer within {seconds:g} s") from None
        return await asyncio.to_thread(self._read, target, text, kind, now)

    def unread(self, target: str, now: datetime) -> Sequence[bytes]:
        """`up` is 0."""
        request = self._request(target)
        request.level("up", nanoseconds(now), 0.0, {})
        return [request.body()]

    async def close(self) -> None:
        """Close the connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def _page(self, target: str) -> tuple[str, str]:
        pinned = await pin_target(target, allow_private=self.config.allow_private)
        if isinstance(pinned, Refused):
            raise Unreadable(pinned.reason)
        headers = {"Accept": _ACCEPT, **self._credentials(), **pinned.headers}
        try:
            async with self._http().stream(
                "GET", pinned.url, headers=headers, extensions=pinned.extensions
            ) as response:
                if response.status_code != 200:
                    raise Unreadable(f"HTTP {response.status_code}")
                body = await self._body(response)
                return body.decode(), response.headers.get("content-type", "")
        except httpx.HTTPError as error:
            raise Unreadable(f"no answer ({type(error).__name__})") from None
        except UnicodeDecodeError:
            raise Unreadable("the page is not UTF-8 text") from None

    async def _body(self, response: httpx.Response) -> bytes:
        body = bytearray()
        async for piece in response.aiter_bytes():
            body += piece
            if len(body) > self.config.most_bytes:
                raise Unreadable(f"the page is larger than {self.config.most_bytes} bytes")
        return bytes(body)

    def _read(self, target: str, text: str, kind: str, now: datetime) -> Polled:
        request = self._request(target)
        try:
            page = exposition.write(
                exposition.families(text, kind),
                request,
                nanoseconds(now),
                wanted=self.config.wanted,
                most_samples=self.config.most_samples,
            )
        except ValueError as error:
            raise Unreadable(f"the page cannot be read: {str(error)[:200]}") from None
        request.level("up", nanoseconds(now), 1.0, {})
        return Polled(metrics=[request.body()], points=request.points, notes=page.notes)

    def _request(self, target: str) -> MetricRequest:
        url = httpx.URL(target)
        instance = url.netloc.decode()
        return MetricRequest(self._origin.resource(**{"service.instance.id": instance}), _SCOPE)

    def _credentials(self) -> Mapping[str, str]:
        if self.config.token is not None:
            return {"Authorization": f"Bearer {self.config.token.reveal()}"}
        if self.config.password is not None:
            basic = httpx.BasicAuth(self.config.username, self.config.password.reveal())
            request = next(basic.auth_flow(httpx.Request("GET", "http://unused")))
            return {"Authorization": request.headers["Authorization"]}
        return {}

    def _http(self) -> httpx.AsyncClient:
        if self._client is None:
            self._client = httpx.AsyncClient(
                verify=self._tls(), follow_redirects=False, trust_env=False,
                timeout=httpx.Timeout(self.config.timeout.total_seconds()),
                headers={"User-Agent": "Tocsin/0.1"},
            )  # fmt: skip
        return self._client

    def _tls(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=self.config.ca_file or None)
            if self.config.cert_file:
                context.load_cert_chain(self.config.cert_file, self.config.key_file)
        except (OSError, ssl.SSLError) as error:
            raise Unreadable(f"the PEM files cannot be used: {error.strerror or error}") from None
        return context


def _check(target: str) -> None:
    try:
        url = httpx.URL(target)
    except httpx.InvalidURL:
        url = httpx.URL("")
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError(f"targets: {target!r} is not an address such as http://host:8000/metrics")
    if url.userinfo:
        raise ValueError("targets: write credentials as username and password, not in the address")
