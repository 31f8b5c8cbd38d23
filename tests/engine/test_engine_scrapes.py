"""Scraping real exporters and recorded serving metrics; and all that can be wrong with a target."""

from __future__ import annotations

import base64
import gzip
import re
import shutil
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import httpx
import numpy as np
import pytest
from source_build import Answer, Yard, pages, yard

from tocsin.domain.clock import SystemClock
from tocsin.engine.sources import TargetStatus
from tocsin.indicators.distributions import Explicit
from tocsin.web import serving

RECORDED = (
    Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "vllm_overload_server.parquet"
)
NODE_EXPORTER = shutil.which("prometheus-node-exporter")
MINUTE = timedelta(minutes=1)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    with yard(tmp_path_factory.mktemp("scrapes")) as opened:
        yield opened


@pytest.fixture
def made(stores: Yard, request: pytest.FixtureRequest) -> Yard:
    name = re.sub("[^a-z0-9]+", "-", request.node.name.lower()).strip("-")
    return stores.another(name)


def scrape(made: Yard, url: str, more: str = "", secrets: dict[str, str] | None = None) -> None:
    text = f"type: prometheus\ntargets: ['{url}']\nallow_private: true\n{more}"
    made.use(text, secrets)


# --- real exporters ----------------------------------------------------------------------------

EXPORTER = """
    import sys
    from prometheus_client import Counter, Gauge, Histogram, Summary, start_http_server

    requests = Counter("requests", "Requests", ["model"])
    waiting = Gauge("vllm:num_requests_waiting", "Waiting")
    latency = Histogram("vllm:latency_seconds", "Latency", buckets=[0.1, 0.5, 1, 5])
    size = Summary("size", "Size")
    server, _ = start_http_server(int(sys.argv[1]), addr="127.0.0.1")
    print(server.server_port, flush=True)
    for line in sys.stdin:
        calls, level = line.split()
        for _ in range(int(calls)):
            requests.labels("gpt-4o").inc()
            latency.observe(0.3)
            size.observe(2)
        waiting.set(float(level))
        print("done", flush=True)
"""


class Exporter:
    """One life of a real process that uses prometheus_client's own server."""

    def __init__(self, port: int = 0) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(EXPORTER), str(port)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/metrics"

    def work(self, calls: int, waiting: float) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{calls} {waiting}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n"

    def end(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()


def test_a_real_exporter_is_read_across_its_restart(made: Yard) -> None:
    first = Exporter()
    scrape(made, first.url)
    first.work(5, 3)
    # It says when its counters were created, by the clock of this machine.
    made.clock.set(SystemClock().now())
    made.poll()
    made.clock.advance(MINUTE)
    first.work(7, 9)
    made.poll()
    first.end()
    made.clock.advance(MINUTE)
    assert made.poll().state == "unknown"
    made.clock.advance(MINUTE)
    second = Exporter(first.port)
    second.work(4, 1)
    assert made.poll().state == "up"
    second.end()

    (requests,) = made.metric("requests_total")
    assert requests.labels == {"model": "gpt-4o"}
    assert requests.resource["service.instance.id"] == f"127.0.0.1:{first.port}"
    assert np.nansum(requests.count) == 5 + 7 + 4
    (latency,) = made.metric("vllm:latency_seconds")
    assert np.nansum(latency.count) == 16
    last = latency.distributions[-1]
    assert isinstance(last, Explicit)
    assert (last.bounds, last.counts.tolist()) == ((0.1, 0.5, 1.0, 5.0), [0, 4, 0, 0, 0])
    (size,) = made.metric("size")
    assert (np.nansum(size.count), np.nansum(size.total)) == (16, 32)
    (waiting,) = made.metric("vllm:num_requests_waiting")
    assert waiting.last[-4:].tolist()[:2] == [3, 9]
    assert np.isnan(waiting.last[-2]), "a minute that could not be read is not 0"
    assert waiting.last[-1] == 1
    (up,) = made.metric("up")
    assert up.last[-4:].tolist() == [1, 1, 0, 1]


@pytest.mark.skipif(NODE_EXPORTER is None, reason="prometheus-node-exporter is not installed")
def test_a_real_node_exporter_is_read(made: Yard) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [str(NODE_EXPORTER), f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"],
        stderr=subprocess.DEVNULL,
    )
    try:
        url = f"http://127.0.0.1:{port}/metrics"
        wait_for(url)
        scrape(made, url, "presets: [node]")
        for _ in range(2):
            status = made.poll()
            made.clock.advance(MINUTE)
        assert (status.state, status.notes) == ("up", ())
        assert {"node_load1", "node_memory_MemTotal_bytes", "node_cpu_seconds_total"} <= {
            *made.names()
        }
        assert not [name for name in made.names() if name.startswith("go_")]
        (total,) = made.metric("node_memory_MemTotal_bytes")
        memory = Path("/proc/meminfo").read_text().split()[1]
        assert np.nanmax(total.last) == int(memory) * 1024
        cpu = made.metric("node_cpu_seconds_total")
        # Counted since the machine started: the first scrape is a base and no spike.
        assert 0 <= sum(np.nansum(s.count) for s in cpu) < 600
    finally:
        process.terminate()
        process.wait(10)


def wait_for(url: str) -> None:
    for _ in range(2000):
        try:
            if httpx.get(url).status_code == 200:
                return
        except httpx.ConnectError:
            continue
    raise AssertionError(f"{url} does not answer")


# --- recorded serving metrics ------------------------------------------------------------------


@pytest.mark.skipif(not RECORDED.is_file(), reason="needs ../shared/data")
def test_recorded_vllm_metrics_under_overload_are_stored_as_they_were(made: Yard) -> None:
    """Samples of a real vLLM at twice its load, every half second, replayed by an exporter."""
    import pyarrow.parquet as pq

    table = pq.read_table(RECORDED).to_pydict()
    rows = [i for i, scale in enumerate(table["scale"]) if scale == 2000]
    assert len(rows) == 238
    at = np.array([table["timestamp"][i] for i in rows])
    running, pending = (
        np.array([table[name][i] for i in rows], float) for name in ("num_running", "num_pending")
    )
    cache = np.array([table["gpu_kvcache_usage"][i] for i in rows]) / 100
    per_s = np.array([table["generation_throughput"][i] for i in rows])
    generated = np.rint(np.cumsum(per_s * np.diff(at, prepend=at[0])))
    place = 0

    def turn_to(number: int) -> None:
        nonlocal place
        place = number

    def page(*_: object) -> Answer:
        label = '{engine="0",model_name="llama-2-7b"}'
        return Answer(
            f"# TYPE vllm:num_requests_running gauge\n"
            f"vllm:num_requests_running{label} {running[place]}\n"
            f"# TYPE vllm:num_requests_waiting gauge\n"
            f"vllm:num_requests_waiting{label} {pending[place]}\n"
            f"# TYPE vllm:gpu_cache_usage_perc gauge\n"
            f"vllm:gpu_cache_usage_perc{label} {float(cache[place])!r}\n"
            f"# TYPE vllm:generation_tokens_total counter\n"
            f"vllm:generation_tokens_total{label} {generated[place]}\n"
            f"# TYPE python_gc_objects_collected_total counter\n"
            f'python_gc_objects_collected_total{{generation="0"}} 7\n'
        )

    begin = made.clock.now()
    with pages(page) as held:
        scrape(made, held.url, "presets: [vllm]")
        instants = [begin + timedelta(seconds=float(each)) for each in at]
        status = made.poll_at(instants, turn_to)
    assert (status.state, status.failures) == ("up", 0)
    assert status.points == 5 * len(rows)

    assert made.points("vllm:num_requests_running") == running.tolist()
    assert made.points("vllm:num_requests_waiting") == pending.tolist()
    assert made.points("vllm:gpu_cache_usage_perc") == cache.tolist()
    assert made.points("vllm:generation_tokens_total") == generated.tolist()
    assert not [name for name in made.names() if name.startswith("python")]

    minute = ((at + begin.second) // 60).astype(int)
    count = minute[-1] + 1
    expected_high = [pending[minute == m].max() for m in range(count)]
    (waiting,) = made.metric("vllm:num_requests_waiting", count)
    assert waiting.highest.tolist() == expected_high
    assert max(expected_high) > 250, "this is an overload"
    (tokens,) = made.metric("vllm:generation_tokens_total", count)
    assert np.nansum(tokens.count) == generated[-1] - generated[0]

    first = int(begin.timestamp()) // 60
    drawn = serving.charts(made.store.metrics, "Chat", made.name, first, first + count, 1)
    charts = {chart.title: chart.series.values for chart in drawn}
    assert charts["requests waiting"].tolist() == expected_high
    assert charts["KV cache in use"].tolist() == pytest.approx(
        [cache[minute == m].max() for m in range(count)]
    )
    assert charts["generated tokens"][1] == pytest.approx(60 * tokens.rate_per_s[1])


# --- what can be wrong -------------------------------------------------------------------------

GOOD = "# TYPE waiting gauge\nwaiting 4\n"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        pytest.param(Answer("no", 503), "HTTP 503", id="unavailable"),
        pytest.param(Answer(GOOD, 302, {"Location": "http://127.0.0.1:1/"}), "HTTP 302",
                     id="redirect"),
        pytest.param(Answer("a b c {{{\n"), "the page cannot be read", id="not metrics"),
        pytest.param(Answer(b"\xff\xfe\x00"), "not UTF-8", id="binary"),
        pytest.param(Answer(GOOD + "x 1\n" * 60), "more than 50 samples", id="many samples"),
        pytest.param(Answer("# " + "x" * 3000), "larger than 2000 bytes", id="large"),
        pytest.param(
            Answer(gzip.compress(b"# " + b"x" * 3_000_000), headers={"Content-Encoding": "gzip"}),
            "larger than 2000 bytes", id="bomb",
        ),
        pytest.param(
            Answer(GOOD, headers={"Content-Type": "application/openmetrics-text; version=1.0.0"}),
            "the page cannot be read", id="openmetrics without its end",
        ),
    ],
)  # fmt: skip
def test_a_page_that_cannot_be_read_is_unknown_with_the_reason(
    made: Yard, answer: Answer, reason: str
) -> None:
    now = answer
    with pages(lambda *_: now) as held:
        scrape(made, held.url, "most_bytes: 2000\nmost_samples: 50")
        status = made.poll()
        assert (status.state, status.points, status.read) == ("unknown", 0, None)
        assert reason in status.reason
        now = Answer(GOOD)
        made.clock.advance(MINUTE)
        recovered = made.poll()
    assert (recovered.state, recovered.reason, recovered.failures) == ("up", "", 1)
    (waiting,) = made.metric("waiting")
    assert np.nansum(np.isfinite(waiting.last)) == 1
    (up,) = made.metric("up")
    assert up.last[-2:].tolist() == [0, 1]
    assert made.runner.counts["unreadable"] == 1


def test_nobody_listening_is_unknown_and_nothing_else_suffers(made: Yard) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pages(lambda *_: Answer(GOOD)) as held:
        targets = [f"http://127.0.0.1:{port}/", f"{held.url}/"]
        text = f"type: prometheus\nallow_private: true\ntargets: {targets}"
        made.use(text)
        made.poll()
    states = {status.target: (status.state, status.reason) for status in made.runner.statuses()}
    assert states[f"http://127.0.0.1:{port}/"] == ("unknown", "no answer (ConnectError)")
    assert states[f"{held.url}/"] == ("up", "")


def test_a_target_that_hangs_is_given_up(made: Yard) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        scrape(made, url, "timeout: 200ms")
        assert made.poll().reason in {
            "no complete answer within 0.2 s", "no answer (ReadTimeout)"
        }  # fmt: skip


@pytest.mark.parametrize(
    ("more", "secrets", "expected"),
    [
        ("token: {secret: TOKEN}", {"TOKEN": "s3cret-token"}, "Bearer s3cret-token"),
        ("username: ana\npassword: {secret: PASSWORD}", {"PASSWORD": "s3cret-word"},
         "Basic " + base64.b64encode(b"ana:s3cret-word").decode()),
    ],
)  # fmt: skip
def test_credentials_are_sent_and_never_shown(
    made: Yard, more: str, secrets: dict[str, str], expected: str
) -> None:
    def page(_: str, headers: object) -> Answer:
        given = dict(headers).get("authorization")  # type: ignore[call-overload]
        return Answer(GOOD) if given == expected else Answer(f"no: {given}", 401)

    with pages(page) as held:
        scrape(made, held.url, more, secrets)
        status = made.poll()
        assert status.state == "up"
        scrape(made, held.url, more, dict.fromkeys(secrets, "wrong-one"))
        status = made.poll()
    assert status.reason == "HTTP 401"
    assert "wrong-one" not in repr(made.runner.statuses())


def test_an_address_of_our_own_needs_to_be_allowed(made: Yard) -> None:
    with pages(lambda *_: Answer(GOOD)) as held:
        made.use(f"type: prometheus\ntargets: ['{held.url}']")
        assert "allow_private" in made.poll().reason
        assert held.asked == []
    made.use("type: prometheus\nallow_private: true\ntargets: ['http://169.254.169.254/']")
    assert "never allowed" in made.poll().reason


def test_labels_and_the_service_are_on_every_point(made: Yard) -> None:
    with pages(lambda *_: Answer(GOOD)) as held:
        scrape(made, held.url, "labels: {region: eu, service.name: other}")
        made.poll()
    (waiting,) = made.metric("waiting")
    assert waiting.resource["region"] == "eu"
    assert waiting.resource["tocsin.source"] == made.name


def test_one_bad_series_does_not_cost_the_page(made: Yard) -> None:
    text = GOOD + (
        "# TYPE broken histogram\n"
        'broken_bucket{le="1"} 5\nbroken_bucket{le="+Inf"} 3\nbroken_count 3\nbroken_sum 1\n'
        "# TYPE calls_total counter\ncalls_total -3\n"
    )
    with pages(lambda *_: Answer(text)) as held:
        scrape(made, held.url)
        status: TargetStatus = made.poll()
    assert status.state == "up"
    assert len(status.notes) == 2
    assert {"up", "waiting"} == {*made.names()}


def test_only_the_metrics_that_were_named_are_kept(made: Yard) -> None:
    text = "".join(f"# TYPE {n} counter\n{n}_total 1\n" for n in ("a_one", "a_two", "b"))
    with pages(lambda *_: Answer(text)) as held:
        scrape(made, held.url, "metrics: ['a_*', 'b_total']\nmost_samples: 3")
        made.poll()
        assert made.names() == ["a_one_total", "a_two_total", "b_total", "up"]
        made.clock.advance(timedelta(hours=2))
        scrape(made, held.url, "metrics: [a_two_total]")
        made.poll()
        assert made.names() == ["a_two_total", "up"]
        scrape(made, held.url, "presets: [vllm]")
        assert made.poll().notes == ("nothing on the page is one of the named metrics",)
