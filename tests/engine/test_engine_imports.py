"""Files of calls, scores, changes and bills become rows, once, whatever happens on the way."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest
from exchange_build import SHARED, Desk, desk, rejected, write

from tocsin.domain.errors import SpecError
from tocsin.engine.columns import micros_of, read_table
from tocsin.engine.exchange import importing
from tocsin.engine.files import CallsFile
from tocsin.reports.costs import CostLine


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Desk]:
    with desk(tmp_path / "data") as made:
        yield made


def shared(name: str) -> Path:
    path = SHARED / f"{name}.parquet"
    if not path.exists():
        pytest.skip(f"the shared data {name} is not beside this checkout")
    return path


CALLS = """ts,service,model,provider,input_tokens,output_tokens,latency_ms,error_class,tier,note
2026-11-21T04:00:00Z,shop,gpt-4o-mini,openai,412,120,1480,,pro,first
2026-11-21T04:00:05.250000+00:00,shop,gpt-4o-mini,openai,388,,,overloaded,,
1795233610,desk,gpt-4o-mini,openai,NaN,null,12.5,,free,third
"""


def test_a_csv_of_calls_in_the_usual_names(house: Desk, tmp_path: Path) -> None:
    done = house.take(write(tmp_path / "calls.csv", CALLS))
    assert (done.kind, done.rows, done.accepted, done.rejected) == ("calls", 3, 3, 0)
    first, second, third = house.calls()
    assert (first["model"], first["input_tokens"], first["duration_us"]) == (
        "gpt-4o-mini", 412, 1_480_000,
    )  # fmt: skip
    assert first["cost_usd"] == pytest.approx(412 * 0.15e-6 + 120 * 0.6e-6)
    assert (first["dims"], first["attrs"]["note"]) == ({"tier": "pro"}, "first")
    assert (second["error_class"], second["duration_us"]) == ("overloaded", 0)
    assert second["ts"].isoformat().startswith("2026-11-21T04:00:05.250000")
    assert (third["service"], third["usage_known"], third["duration_us"]) == ("desk", 0, 12_500)
    assert third["ts"].isoformat().startswith("2026-11-21T04:00:10")


@pytest.mark.parametrize("form", ["jsonl", "ndjson", "jsonl.gz", "csv.gz", "parquet"])
def test_every_form_of_a_file_gives_the_same_calls(house: Desk, tmp_path: Path, form: str) -> None:
    rows = [
        {"ts": f"2026-11-21T04:0{n}:00Z", "service": "shop", "model": "m", "input_tokens": 10 + n,
         "output_tokens": 2, "prompt": "a,\n\"b\" ü", "span_id": f"{n + 1:016x}"}
        for n in range(4)
    ]  # fmt: skip
    path = tmp_path / f"calls.{form}"
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    table = "ts,service,model,input_tokens,output_tokens,prompt,span_id\r\n" + "".join(
        f'{r["ts"]},shop,m,{r["input_tokens"]},2,"a,\n""b"" ü",{r["span_id"]}\r\n' for r in rows
    )
    if form == "parquet":
        times = [datetime.fromisoformat(str(row["ts"])) for row in rows]
        pa.parquet.write_table(
            pa.table({**{k: [r[k] for r in rows] for k in rows[0]}, "ts": times}), path
        )
    else:
        text = (table if form.startswith("csv") else lines).encode()
        path.write_bytes(gzip.compress(text) if form.endswith("gz") else text)
    assert house.take(path).accepted == 4
    read = [(r["ts"].minute, r["input_tokens"], r["input"], r["span_id"]) for r in house.calls()]
    assert read == [(n, 10 + n, 'a,\n"b" ü', f"{n + 1:016x}") for n in range(4)]


def test_bad_rows_are_set_aside_with_line_and_reason_and_the_others_count(
    house: Desk, tmp_path: Path
) -> None:
    text = CALLS + (
        "yesterday,shop,m,openai,1,1,1,,,\n"
        "2026-11-21T04:10:00Z,,m,openai,1,1,1,,,\n"
        "2026-11-21T04:10:00Z,shop,m,openai,many,1,1,,,\n"
        "2026-11-21T04:10:00Z,shop,m\n"
        "2023-11-21T04:10:00Z,shop,m,openai,1,1,1,,,\n"
        "2027-11-21T04:10:00Z,shop,m,openai,1,1,1,,,\n"
        "2026-11-21T04:10:00Z,shop,m,openai,1,1,1,,,last\n"
    )
    path = write(tmp_path / "calls.csv", text)
    done = house.take(path)
    assert (done.rows, done.accepted, done.rejected) == (10, 4, 6)
    assert house.count() == 4
    aside = rejected(path)
    assert [item["where"] for item in aside] == [f"line {n}" for n in range(5, 11)]
    for item, words in zip(
        aside,
        ("is not a time", "service is missing", "'many' is not a number", "3 fields under 10",
         "more than 400 days ago", "10 minutes ahead"),
        strict=True,
    ):  # fmt: skip
        assert words in item["reason"]
    assert aside[0]["content"]["ts"] == "yesterday"
    assert done.rejected_file.endswith("calls.csv.rejected.jsonl")


def test_a_file_that_is_imported_again_adds_nothing(house: Desk, tmp_path: Path) -> None:
    path = write(tmp_path / "calls.csv", CALLS + "never,shop,m,o,1,1,1,,,\n")
    house.take(path)
    house.clock.advance(timedelta(days=3))
    again = house.take(write(tmp_path / "renamed.csv", path.read_bytes()))
    assert (again.accepted, again.known, again.rejected) == (0, 4, 0)
    assert house.count() == 3


ODD = """timestamp;service_name;model_name;latency_s;ttft_ms;error;error_type;http_status{finish}
2026-11-21T04:00:00+01:00;shop;gpt-4o;0.8;120;;;200{stop}
1795233601000;shop;gpt-4o;0.8;120;server_error;;{none}
2026-11-21 04:00:02;shop;gpt-4o;0.8;;;RateLimitError;429{none}
2026-11-21T04:00:03Z;shop;gpt-4o;0.8;;true;None;{none}
2026-11-21T04:00:04Z;shop;claude;0.8;120;0;null;503{none}
2026-11-21T04:00:05Z;shop;claude;0.8;120;False;;{none}
2026-11-21T04:00:06Z;shop;claude;0.8;120;;;{filtered}
"""


@pytest.mark.parametrize("tells", [True, False])
def test_a_backtest_reads_calls_as_an_import_does(house: Desk, tmp_path: Path, tells: bool) -> None:
    words = {"finish": ";finish_reason", "stop": ";stop", "none": ";", "filtered": ";SAFETY"}
    text = ODD.format(**(words if tells else dict.fromkeys(words, "")))
    path = write(tmp_path / "odd.csv", text)
    assert house.take(path).accepted == 7
    stored = [(r["ts"].timestamp(), r["error_class"], bool(r["truncated"])) for r in house.calls()]
    read = CallsFile.of(read_table(path), path)
    times = micros_of(read.table["ts"], "ts", path) / 1e6
    classes = read.table["error_class"].to_pylist()
    assert sorted(zip(times, classes, read.truncated, strict=True)) == sorted(stored)
    assert sorted(filter(None, classes)) == sorted(
        ["server", "rate_limit", "other", "overloaded", *(["content_filter"] if tells else [])]
    )
    assert read.truncated.sum() == tells, (
        "a file without the column says of no stream that it broke"
    )
    assert read.numbers["duration_ms"].tolist() == [800.0] * 7
    assert read.read["server_error"] == "server"


def many(path: Path, rows: int) -> Path:
    line = "2026-11-21T04:00:00Z,shop,m,1,1,{}\n"
    return write(
        path, "ts,service,model,input_tokens,output_tokens,n\n"
        + "".join(line.format(n) for n in range(rows)),
    )  # fmt: skip


def test_an_import_that_was_interrupted_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "BATCH_ROWS", 100)
    path = many(tmp_path / "calls.csv", 1050)

    class Stop(Exception):
        pass

    def stop_after_four(so_far: importing.Imported, *_: int) -> None:
        if so_far.accepted >= 400:
            raise Stop

    with desk(tmp_path / "data") as first:
        wishes = importing.Wishes(first.clock.now())
        with pytest.raises(Stop):
            importing.import_file(path, first.target, wishes, watch=stop_after_four)
    with desk(tmp_path / "data") as second:
        done = second.take(path)
        assert (done.known, done.accepted) == (400, 650)
        (row,) = second.ask("SELECT count() AS n, uniqExact(attrs['n']) AS u FROM tocsin.calls")
        assert row == {"n": 1050, "u": 1050}


def test_another_way_of_reading_a_file_is_another_import(house: Desk, tmp_path: Path) -> None:
    path = write(tmp_path / "calls.csv", "ts,model,input_tokens\n2026-11-21T04:00:00Z,m,3\n")
    with pytest.raises(SpecError, match="--service"):
        house.take(path)
    house.take(path, defaults={"service": "a"})
    house.take(path, defaults={"service": "b"})
    assert [row["service"] for row in house.calls("service")] == ["a", "b"]


def test_a_year_of_days_in_one_file_is_taken(house: Desk, tmp_path: Path) -> None:
    start = house.clock.now() - timedelta(days=390)
    rows = "".join(f"{(start + timedelta(days=n)).isoformat()},shop,m\n" for n in range(390))
    done = house.take(write(tmp_path / "year.csv", "ts,service,model\n" + rows))
    assert done.accepted == house.count() == 390
    assert 350 < done.faded < 360


# ----------------------------------------------------------------------------------- scores


def test_scores_of_a_file_are_dated_and_correct_each_other(house: Desk, tmp_path: Path) -> None:
    text = (
        "call_id,name,value,service,ts,annotator\n"
        "00000000000000a1,feedback,0,shop,2026-11-20T04:00:00Z,ann\n"
        "00000000000000a1,feedback,1,shop,2026-11-20T05:00:00Z,ann\n"
        "00000000000000a2,relevance,0.25,shop,2026-11-20T05:00:00Z,\n"
    )
    done = house.take(write(tmp_path / "scores.csv", text))
    assert (done.kind, done.accepted) == ("scores", 3)
    rows = house.ask(f"SELECT name, value FROM ({current()}) ORDER BY name")
    assert rows == [{"name": "feedback", "value": 1.0}, {"name": "relevance", "value": 0.25}]


def current() -> str:
    from tocsin.store import scores

    return scores.current("1")


def test_labels_without_a_time_are_no_news_of_today_unless_somebody_says_so(
    house: Desk, tmp_path: Path
) -> None:
    path = write(
        tmp_path / "labels.csv", "prediction_id,user_thumbs_up,ticket_resolved\np1,0,true\n"
    )
    done = house.take(path)
    assert (done.kind, done.accepted, done.rejected) == ("scores", 0, 1)
    assert "--undated" in rejected(path)[0]["reason"]
    assert house.take(path, undated=True, defaults={"service": "shop"}).accepted == 1
    rows = house.ask("SELECT name, value, call_id, service FROM tocsin.scores ORDER BY name")
    assert [tuple(row.values()) for row in rows] == [
        ("feedback", 0.0, "p1", "shop"), ("ticket_resolved", 1.0, "p1", "shop"),
    ]  # fmt: skip


def test_human_labels_of_a_public_set_become_scores_by_a_mapping(
    house: Desk, tmp_path: Path
) -> None:
    path = shared("halueval_general")
    mapping = write(
        tmp_path / "halueval.yaml",
        "name: halueval\nscore:\n  call_id: {column: id, prefix: halueval-}\n"
        "  name: {constant: hallucination}\n  value: {column: hallucinated}\n"
        "  service: {constant: chatgpt}\n  source: {constant: human}\n",
    )
    done = importing.import_file(
        path, house.target,
        importing.Wishes(house.clock.now(), mapping=mapping, undated=True),
        rejects=tmp_path / "aside.jsonl",
    )  # fmt: skip
    assert (done.kind, done.accepted, done.rejected) == ("scores", 3005, 0)
    truth = pa.parquet.read_table(path, columns=["hallucinated"]).column(0).to_pylist()
    (row,) = house.ask("SELECT count() AS n, sum(value) AS bad FROM tocsin.scores")
    assert row == {"n": 3005, "bad": float(sum(truth))}


# ----------------------------------------------------------------------------------- real traces


def test_a_public_trace_is_recognised_and_counts_as_it_is(tmp_path: Path) -> None:
    path = shared("azure_llm_2023")
    with desk(tmp_path / "data", datetime(2023, 11, 20, tzinfo=UTC)) as then:
        done = importing.import_file(
            path, then.target, importing.Wishes(then.clock.now()), rejects=tmp_path / "aside.jsonl"
        )
        assert (done.kind, done.accepted, done.rejected) == ("calls", 21_476, 0)
        rows = then.ask(
            "SELECT toString(service) AS s, count() AS n, sum(input_tokens) AS i,"
            " sum(output_tokens) AS o, sum(duration_us) AS d FROM tocsin.calls GROUP BY s"
        )
        table = pa.parquet.read_table(path).group_by("service").aggregate(
            [("ts", "count"), ("input_tokens", "sum"), ("output_tokens", "sum")]
        )  # fmt: skip
        want = {
            f"azure-{row['service']}": (row["ts_count"], row["input_tokens_sum"],
                                        row["output_tokens_sum"], 0)
            for row in table.to_pylist()
        }  # fmt: skip
        assert {r["s"]: (r["n"], r["i"], r["o"], r["d"]) for r in rows} == want
        rolled = then.ask("SELECT sum(n) AS n FROM tocsin.calls_1h WHERE sk = ''")
        assert rolled == [{"n": 21_476}]


def test_a_trace_that_is_years_old_is_set_aside_row_by_row(house: Desk, tmp_path: Path) -> None:
    path = shared("azure_llm_2023")
    done = importing.import_file(
        path, house.target, importing.Wishes(house.clock.now()), rejects=tmp_path / "aside.jsonl"
    )
    assert (done.accepted, done.rejected) == (0, 21_476)
    assert list(done.reasons) == ["it starts more than 400 days ago; check the sender's clock"]
    assert len((tmp_path / "aside.jsonl").read_text().splitlines()) == 21_476


def test_recorded_provider_calls_are_read_by_a_mapping(tmp_path: Path) -> None:
    path = shared("provider_calls")
    mapping = write(
        tmp_path / "cassettes.yaml",
        "name: cassettes\ntime: {column: date}\ncall:\n  service: {constant: suites}\n"
        "  provider: {column: provider}\n  model: {column: request_model}\n"
        "  response_model: {column: response_model}\n  input_tokens: {column: input_tokens}\n"
        "  output_tokens: {column: output_tokens}\n  cached_tokens: {column: cached_tokens}\n"
        "  duration: {column: server_ms, unit: ms}\n  http_status: {column: http_status}\n"
        "  finish_reason: {column: finish_reason}\ndims: {repo: repo}\n",
    )
    with desk(tmp_path / "data", datetime(2025, 3, 1, tzinfo=UTC)) as then:
        done = importing.import_file(
            path, then.target, importing.Wishes(then.clock.now(), mapping=mapping),
            rejects=tmp_path / "aside.jsonl",
        )  # fmt: skip
        table = pa.parquet.read_table(path).to_pylist()
        low, high = then.clock.now() - timedelta(days=400), then.clock.now()
        fitting = [row for row in table if row["date"] and low < row["date"] < high]
        assert done.accepted == len(fitting) > 100
        assert done.rejected == len(table) - len(fitting)
        assert any("a time is needed" in reason for reason in done.reasons)
        (row,) = then.ask(
            "SELECT count() AS n, countIf(error_class != '') AS failed,"
            " uniqExact(dims['repo']) AS repos FROM tocsin.calls"
        )
        assert row["n"] == len(fitting)
        assert row["repos"] == len({call["repo"] for call in fitting})
        assert row["failed"] >= sum(call["http_status"] >= 400 for call in fitting)


def test_a_trace_without_a_clock_needs_a_start(house: Desk, tmp_path: Path) -> None:
    path = shared("llmperf_2023_12")
    with pytest.raises(SpecError, match="--start"):
        house.take(path)
    done = importing.import_file(
        path, house.target,
        importing.Wishes(house.clock.now(), start=house.clock.now() - timedelta(days=9)),
        rejects=tmp_path / "aside.jsonl",
    )  # fmt: skip
    assert (done.accepted, done.rejected) == (1950, 0)


# ----------------------------------------------------------------------------------- what it is


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ("ts,service,model,name,value", "calls or scores|scores or calls"),
        ("ts,service,kind,title,model", "changes or calls"),
        ("colour,size", "nothing known is made of them"),
        ("ts,service,latency_ms,ts", "appears more than once"),
        ("", "is empty"),
        (",,", "no column names"),
    ],
)
def test_what_cannot_be_told_is_a_question_and_not_a_guess(
    house: Desk, tmp_path: Path, header: str, says: str
) -> None:
    with pytest.raises(SpecError, match=says):
        house.take(write(tmp_path / "some.csv", header + "\n" if header else ""))


def test_a_kind_that_is_named_is_believed(house: Desk, tmp_path: Path) -> None:
    text = "ts,service,model,name,value\n2026-11-21T04:00:00Z,shop,m,feedback,1\n"
    done = house.take(write(tmp_path / "some.csv", text), kind="scores")
    assert (done.kind, done.accepted) == ("scores", 1)


def test_changes_of_a_file_keep_what_else_it_says(house: Desk, tmp_path: Path) -> None:
    text = "timestamp,service,kind,title,sha\n2026-11-21T04:00:00Z,shop,deploy,v7,abc\n"
    assert house.take(write(tmp_path / "deploys.csv", text)).kind == "changes"
    (row,) = house.ask("SELECT title, labels, ts FROM tocsin.changes")
    assert (row["title"], row["labels"]) == ("v7", {"sha": "abc"})


def test_latency_without_a_unit_is_not_guessed(house: Desk, tmp_path: Path) -> None:
    path = write(
        tmp_path / "calls.csv", "ts,service,model,latency\n2026-11-21T04:00:00Z,shop,m,2\n"
    )
    assert house.take(path).rejected == 1
    assert "latency_ms or latency_s" in rejected(path)[0]["reason"]


# ----------------------------------------------------------------------------------- bills

# ruff: noqa: E501 (a bill has long lines)
FOCUS = """\
BilledCost,EffectiveCost,BillingCurrency,BillingAccountId,ChargePeriodStart,ChargePeriodEnd,ChargeCategory,ChargeDescription,ProviderName,ServiceName,ResourceId,SkuId,ConsumedQuantity,ConsumedUnit,Tags
0.5,0.4,USD,acc,2026-11-20T00:00:00Z,2026-11-21T00:00:00Z,Usage,"gpt-4o-mini-2024-07-18, input",OpenAI,API,,sku-1,1000,Tokens,"{""team"": ""cx""}"
0.25,,USD,acc,2026-11-20T00:00:00Z,2026-11-21T00:00:00Z,Usage,"gpt-4o-mini-2024-07-18, output",OpenAI,API,,sku-2,100,Tokens,
9.0,9.0,USD,acc,2026-11-20T00:00:00Z,2026-11-21T00:00:00Z,Usage,Object storage,OpenAI,Storage,,sku-3,1,GB,
much,,USD,acc,2026-11-20T00:00:00Z,2026-11-21T00:00:00Z,Usage,typo,OpenAI,API,,sku-4,1,Tokens,
,,USD,acc,2026-11-20T00:00:00Z,2026-11-21T00:00:00Z,Usage,empty,OpenAI,API,,sku-5,1,Tokens,
"""


def test_a_bill_is_reconciled_with_the_price_book_and_a_later_one_replaces_it(
    house: Desk, tmp_path: Path
) -> None:
    text = "ts,service,provider,model,input_tokens,output_tokens\n" + (
        "2026-11-20T10:00:00Z,shop,openai,gpt-4o-mini,1000000,500000\n" * 2
    )
    house.take(write(tmp_path / "calls.csv", text))
    done = house.take(write(tmp_path / "focus.csv", FOCUS))
    assert (done.kind, done.accepted, done.rejected) == ("billing", 3, 2)
    day = house.clock.now().date() - timedelta(days=1)

    def lines() -> dict[str | None, CostLine]:
        house.target.telemetry.flush()
        costs = house.target.telemetry.costs
        return {line.model: line for line in costs.lines(day, day + timedelta(days=1))}

    found = lines()
    mini = found["gpt-4o-mini"]
    assert mini.book_usd == pytest.approx(2 * (0.15 + 0.30))
    assert (mini.billed, mini.effective, mini.calls) == (0.75, None, 2)
    assert mini.difference_usd == pytest.approx(0.75 - 0.90)
    assert (found[None].billed, found[None].difference_usd) == (9.0, None)
    assert house.take(tmp_path / "focus.csv").known == 5

    house.clock.advance(timedelta(days=1))
    corrected = FOCUS.splitlines(keepends=True)
    final = write(tmp_path / "final.csv", corrected[0] + corrected[1].replace("0.5,0.4", "0.9,0.9"))
    assert house.take(final).accepted == 1
    found = lines()
    assert (found["gpt-4o-mini"].billed, None in found) == (0.9, False)
    assert found["gpt-4o-mini"].difference_usd == pytest.approx(0.0)
