"""Replaying files: every known format, one's own files, and clear words when they do not fit."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tocsin.demo.spans import MINUTE_NS, Chunk
from tocsin.demo.traces import TraceReplay
from tocsin.domain.errors import SpecError
from tocsin.spec.mapping import TraceMapping, built_in, detect, read_mapping

SHARED = Path(__file__).resolve().parents[2] / ".." / "shared" / "data"
END = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
BASE = datetime(2026, 11, 5, 12, 0, tzinfo=UTC)


def shared(name: str) -> Path:
    path = SHARED / f"{name}.parquet"
    if not path.exists():
        pytest.skip(f"the shared trace {name} is not beside this checkout")
    return path


def spans_of(chunks: list[Chunk]) -> list[tuple[dict[str, Any], Any]]:
    found = []
    for chunk in chunks:
        for body in chunk.bodies:
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                about = {a.key: a.value.string_value for a in resource.resource.attributes}
                found += [(about, s) for scope in resource.scope_spans for s in scope.spans]
    return found


def written(span: Any) -> dict[str, Any]:
    return {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in span.attributes}


def csv(tmp_path: Path, text: str, name: str = "calls.csv") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


def mapping(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return path


def told(path: Path, using: Path | None = None) -> str:
    with pytest.raises(SpecError) as caught, TraceReplay(path, using, end=END) as replay:
        list(replay.chunks())
    return str(caught.value)


# ----------------------------------------------------------------------------------- known formats


@pytest.mark.parametrize(
    ("name", "calls", "services"),
    [
        ("azure_llm_2023", 21_476, {"azure-code", "azure-conv"}),
        ("servegen_replay", 434_669, {"servegen-m-large", "servegen-m-mid", "servegen-m-small"}),
        ("mooncake_fast25", 11_844, {"mooncake-conversation", "mooncake-synthetic"}),
        ("llmperf_2023_12", 1_950, {
            f"llmperf-{v}" for v in
            ("anyscale", "bedrock", "fireworks", "lepton", "perplexity", "replicate", "together")
        }),
    ],
)  # fmt: skip
def test_a_known_trace_is_recognised_and_replayed_whole(
    name: str, calls: int, services: set[str]
) -> None:
    with TraceReplay(shared(name), end=END) as replay:
        assert replay.mapping.name == name
        assert replay.calls == calls
        assert set(replay.services) == services
        assert not replay.skipped
        done, last = 0, replay.start_minute
        for chunk in replay.chunks(6):
            assert chunk.start == last
            last = chunk.stop
            done += chunk.calls
            assert (chunk.scores, chunk.changes) == (b"", b"")
        assert done == calls
        assert last == replay.stop_minute == int(END.timestamp()) // 60


def test_azure_has_tokens_and_no_durations() -> None:
    path = shared("azure_llm_2023")
    table = pyarrow.parquet.read_table(path)
    with TraceReplay(path) as replay:
        spans = spans_of(list(replay.chunks(1)))
    read = [written(span) for _, span in spans]
    assert sum(w["gen_ai.usage.input_tokens"] for w in read) == sum(
        table["input_tokens"].to_pylist()
    )
    assert all(w["tocsin.duration.unknown"] is True for w in read)
    first = min(span.start_time_unix_nano for _, span in spans)
    assert first == table["ts"].cast(pa.timestamp("ns")).cast(pa.int64()).to_numpy().min()


def test_llmperf_keeps_latency_failures_and_vendors() -> None:
    path = shared("llmperf_2023_12")
    rows = pyarrow.parquet.read_table(path).to_pylist()
    with TraceReplay(path, start=BASE) as replay:
        spans = spans_of(list(replay.chunks(1)))
    failed = [(about, span) for about, span in spans if span.status.code == 2]
    assert len(failed) == sum(r["error_code"] not in (None, "", "-100") for r in rows)
    limited = [written(span) for _, span in failed if written(span)["error.type"]]
    assert sum(w["error.type"] == "RateLimitError" for w in limited) == sum(
        r["error_code"] == "429" for r in rows
    )
    quick = [
        (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9
        for about, span in spans
        if about["service.name"] == "llmperf-anyscale" and span.status.code != 2
    ]
    true = [r["e2e_s"] for r in rows if r["provider"] == "anyscale" and not r["error_code"]]
    assert np.median(quick) == pytest.approx(np.median(true), rel=1e-6)
    providers = {written(span)["gen_ai.provider.name"] for _, span in spans}
    assert providers == {r["provider"] for r in rows}


# ------------------------------------------------------------------------------------- one's own


CALLS = """\
ts,service,model,provider,tenant,input_tokens,output_tokens,duration_ms,ttft_ms,error_class,status_message
2026-11-05T12:00:00Z,chat,gpt-4o,openai,acme,100,10,1500,200,,
2026-11-05T12:01:00Z,chat,gpt-4o,openai,acme,,,,,,
2026-11-05T14:30:00Z,search,claude,anthropic,beta,300,30,-5,,overloaded,Error code: 529
"""


@pytest.mark.parametrize("kind", ["csv", "jsonl", "ndjson", "parquet"])
def test_ones_own_file_in_tocsins_names_needs_no_mapping(tmp_path: Path, kind: str) -> None:
    path = csv(tmp_path, CALLS)
    table = pyarrow.csv.read_csv(path)
    if kind == "parquet":
        path = tmp_path / "calls.parquet"
        pyarrow.parquet.write_table(table, path)
    elif kind != "csv":
        lines = [json.dumps(row, default=lambda t: t.isoformat()) for row in table.to_pylist()]
        path = csv(tmp_path, "\n".join(lines) + "\n", f"calls.{kind}")
    with TraceReplay(path) as replay:
        assert replay.mapping.name == "calls"
        chunks = list(replay.chunks(1))
        spans = spans_of(chunks)
    assert [c.calls for c in chunks] == [2, 0, 1]
    (about, whole), (_, bare), (_, failed) = spans
    assert about["service.name"] == "chat"
    assert written(whole) == {
        "gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o",
        "gen_ai.provider.name": "openai", "tocsin.segment.tenant": "acme",
        "gen_ai.usage.input_tokens": 100, "gen_ai.usage.output_tokens": 10,
        "gen_ai.response.time_to_first_chunk": pytest.approx(0.2),
    }  # fmt: skip
    assert whole.end_time_unix_nano - whole.start_time_unix_nano == 1_500_000_000
    assert whole.start_time_unix_nano == int(BASE.timestamp()) * 10**9
    assert written(bare)["tocsin.duration.unknown"] is True
    assert not [key for key in written(bare) if "usage" in key]
    assert failed.status.message == "Error code: 529"
    assert written(failed)["error.type"] == "OverloadedError"
    assert written(failed)["tocsin.duration.unknown"] is True, "a negative duration is unknown"


OWN = """\
name: gateway
time: {column: began, as: relative, unit: s}
call:
  service: {constant: chatbot}
  duration: {column: took, unit: s}
  error: {column: http, ok: ["200"], classes: {"429": rate_limit}, otherwise: server}
"""


def test_a_mapping_of_ones_own(tmp_path: Path) -> None:
    path = csv(tmp_path, "began,took,http\n60,1.5,200\n0,0.5,429\n7200,2,502\n")
    with TraceReplay(path, mapping(tmp_path, OWN), start=BASE) as replay:
        chunks = list(replay.chunks(1))
        spans = spans_of(chunks)
    assert [(c.start, c.calls) for c in chunks] == [
        (int(BASE.timestamp()) // 60 + 60 * n, count) for n, count in enumerate([2, 0, 1])
    ]
    assert [written(s).get("error.type") for _, s in spans] == [
        "RateLimitError", None, "InternalServerError",
    ]  # fmt: skip
    assert {about["service.name"] for about, _ in spans} == {"chatbot"}


def test_a_sequence_runs_at_the_stated_rate(tmp_path: Path) -> None:
    own = OWN.replace("as: relative, unit: s", "as: sequence, rate_per_s: 0.5")
    path = csv(tmp_path, "began,took,http\n" + "".join(f"{n},1,200\n" for n in range(10)))
    with TraceReplay(path, mapping(tmp_path, own), start=BASE) as replay:
        starts = sorted(s.start_time_unix_nano for _, s in spans_of(list(replay.chunks())))
    assert np.diff(starts).tolist() == [2_000_000_000] * 9


def test_rows_without_a_time_are_left_out_and_counted(tmp_path: Path) -> None:
    path = csv(tmp_path, "began,took,http\n1,1,200\n,1,200\n3,1,200\n")
    with TraceReplay(path, mapping(tmp_path, OWN)) as replay:
        assert replay.calls == 2
        assert dict(replay.skipped) == {"no readable time": 1}


def test_a_trace_ends_where_it_is_told_to(tmp_path: Path) -> None:
    path = csv(tmp_path, CALLS)
    with TraceReplay(path, end=END) as replay:
        ends = [s.end_time_unix_nano for _, s in spans_of(list(replay.chunks()))]
    assert END - timedelta(minutes=1) <= datetime.fromtimestamp(max(ends) / 1e9, UTC) < END


def test_chunks_can_be_made_twice_and_of_any_size(tmp_path: Path) -> None:
    rows = "".join(f"{(n * 7919) % 20_000},1,200\n" for n in range(5_000))
    with TraceReplay(
        csv(tmp_path, "began,took,http\n" + rows), mapping(tmp_path, OWN), start=BASE
    ) as replay:
        first = sorted(s.span_id for _, s in spans_of(list(replay.chunks(6))))
        again = sorted(s.span_id for _, s in spans_of(list(replay.chunks(0.5))))
        for chunk in replay.chunks(0.5):
            for _, span in spans_of([chunk]):
                assert chunk.start <= span.end_time_unix_nano // MINUTE_NS < chunk.stop
    assert first == again
    assert len(set(first)) == 5_000


def test_temporary_files_go_away(tmp_path: Path) -> None:
    replay = TraceReplay(csv(tmp_path, CALLS))
    folder = replay._hour_file(0).parent
    assert folder.exists()
    replay.close()
    assert not folder.exists()


# ----------------------------------------------------------------------------------------- faults


def test_a_file_nothing_fits_names_what_the_nearest_mapping_lacks(tmp_path: Path) -> None:
    text = told(csv(tmp_path, "service,when\na,1\n"))
    assert "calls.csv" in text
    assert "service, when" in text
    assert "calls, also needs ts" in text
    assert "--mapping" in text


def test_a_missing_column_is_named_with_file_and_fix(tmp_path: Path) -> None:
    text = told(csv(tmp_path, "began,http\n1,200\n"), mapping(tmp_path, OWN))
    assert "calls.csv: column took: is missing" in text
    assert "mine.yaml reads it" in text
    assert "the file has began, http" in text


def test_a_column_of_words_where_numbers_belong(tmp_path: Path) -> None:
    text = told(csv(tmp_path, "began,took,http\n1,fast,200\n"), mapping(tmp_path, OWN))
    assert "column took: cannot be read as numbers" in text
    assert "fast" in text


def test_a_time_that_is_none(tmp_path: Path) -> None:
    text = told(csv(tmp_path, "ts,service\nyesterday,chat\n"))
    assert "column ts: cannot be read as a time" in text
    assert "RFC 3339" in text


def test_a_wrong_unit_shows_as_an_impossible_length(tmp_path: Path) -> None:
    text = told(
        csv(tmp_path, "began,took,http\n0,1,200\n1209600000,1,200\n"), mapping(tmp_path, OWN)
    )
    assert "column began: its times span 38 years" in text
    assert "time.unit" in text


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("calls.xlsx", "x", "not a trace"),
        ("calls.parquet", "x", "no readable parquet file"),
        ("calls.csv", "", "no readable csv file"),
        ("calls.jsonl", "{", "no readable jsonl file"),
        ("calls.csv", "ts,service\n", "holds no call"),
    ],
)
def test_a_file_that_is_no_trace(tmp_path: Path, name: str, content: str, says: str) -> None:
    text = told(csv(tmp_path, content, name))
    assert name in text
    assert says in text


def test_no_file(tmp_path: Path) -> None:
    assert "no such file" in told(tmp_path / "none.csv")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("unit: s}\ncall", "unit: h}\ncall", "mine.yaml:2: time.unit: is 'h' (use one of ns, us"),
        ("as: relative", "as: backwards", "mine.yaml:2: time.as: is 'backwards'"),
        (", unit: s}\ncall", "}\ncall", "mine.yaml:2: time.unit: is missing"),
        ("as: relative", "as: sequence", "mine.yaml:2: time.rate_per_s: must be above 0"),
        ("column: began, ", "", "mine.yaml:2: time.column: is missing"),
        ("  service: {constant: chatbot}\n", "", "call.service: is missing"),
        ("service: {constant: chatbot}", "service: {}", "either a column or a constant"),
        ("took, unit: s", "took", "mine.yaml:5: call.duration: has no unit"),
        ("rate_limit}", "slow}", "'slow' is no error class"),
        ("duration:", "latency:", "mine.yaml:5: call.latency: is not known here"),
        ("name: gateway", "name: gateway\nextra: 1", "mine.yaml:2: extra: is not known here"),
    ],
)
def test_a_fault_in_a_mapping_names_line_place_and_fix(
    tmp_path: Path, old: str, new: str, says: str
) -> None:
    assert old in OWN
    with pytest.raises(SpecError) as caught:
        read_mapping(mapping(tmp_path, OWN.replace(old, new)))
    assert says in str(caught.value)


def test_all_faults_of_a_mapping_are_told_at_once(tmp_path: Path) -> None:
    text = OWN.replace("as: relative", "as: x").replace("rate_limit}", "y}")
    with pytest.raises(SpecError) as caught:
        read_mapping(mapping(tmp_path, text))
    assert len(caught.value.problems) == 2


def test_built_in_mappings_say_what_is_absent() -> None:
    by_name = {m.name: m for m in built_in()}
    assert set(by_name) == {
        "azure_llm_2023", "calls", "llmperf_2023_12", "mooncake_fast25", "servegen_replay",
    }  # fmt: skip
    assert "latency" in by_name["azure_llm_2023"].unknown["duration"]
    assert "duration" not in by_name["servegen_replay"].unknown


def test_the_mapping_that_explains_more_of_a_file_wins() -> None:
    known = built_in()
    azure = ["service", "ts", "input_tokens", "output_tokens"]
    assert detect(Path("a"), azure, known).name == "azure_llm_2023"
    assert detect(Path("a"), [*azure, "duration_ms"], known).name == "calls"


def test_two_mappings_that_fit_alike_are_a_question_and_not_a_guess() -> None:
    (calls,) = (m for m in built_in() if m.name == "calls")
    twin = TraceMapping("twin", "twin.yaml", "", calls.time, calls.fields, {})
    with pytest.raises(SpecError, match="calls and twin alike"):
        detect(Path("a.csv"), ["ts", "service"], [calls, twin])
