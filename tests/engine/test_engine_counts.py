"""Counts as other systems write them, and which objectives they are about."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from tocsin.domain.errors import SpecError
from tocsin.domain.series import MinuteBlock
from tocsin.engine.backtest import backtest
from tocsin.engine.counts import CountsFile, bind
from tocsin.engine.files import open_source
from tocsin.engine.rules import compile_desired
from tocsin.spec.desired import Desired, load_text

START = 29_000_000
SERVICE = """
apiVersion: tocsin/v1
kind: Service
metadata: {name: %s}
spec: {team: cx}
"""
SLO = """
apiVersion: openslo/v1
kind: SLO
metadata: {name: %s}
spec:
  service: %s
  indicator: {metadata: {name: i}, spec: {%s}}
  timeWindow: [{duration: 30d, isRolling: true}]
  budgetingMethod: Occurrences
  objectives: [%s]
"""
AVAILABLE = "ratioMetric: {good: {metricSource: {type: Tocsin, spec: {use: availability}}}}"
FAST = "thresholdMetric: {metricSource: {type: Tocsin, spec: {value: latency_ms}}}"


def slo(name: str, service: str = "chat", metric: str = AVAILABLE, more: str = "") -> str:
    return SLO % (name, service, metric, "{target: 0.99" + more + "}")


def fast(name: str, service: str = "chat") -> str:
    return slo(name, service, FAST, ", op: lt, value: 2000")


def desired(*documents: str, services: Sequence[str] = ("chat",)) -> Desired:
    return load_text("---".join([*(SERVICE % name for name in services), *documents]))


def counts(tmp_path: Path, text: str) -> CountsFile:
    path = tmp_path / "counts.csv"
    path.write_text(text)
    source = open_source(path)
    assert isinstance(source, CountsFile)
    return source


def read(what: Desired, source: CountsFile, minutes: int = 2) -> dict[str, tuple[list[int], ...]]:
    """objective -> (bad, total) per minute."""
    bound, source = bind(what, source)
    watched = compile_desired(bound).watched.series
    block: MinuteBlock = source.minutes(watched, (), START, START + minutes)
    row = {series: place for place, series in enumerate(block.series)}
    return {
        monitor.name: (block.bad[at].tolist(), block.total[at].tolist())
        for monitor in bound.monitors
        if monitor.series is not None and (at := row[monitor.series]) >= 0
    }


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("minute,good,bad", "{m},7,3"),
        ("timestamp,good,total", "{s},7,10"),
        ("time,errors,requests", "{s},3,10"),
        ("ts,failed,total", "{s},3,10"),
        ("minute,good,bad,total", "{m},7,3,10"),
        ("timestamp,total,bad", "2025-02-19T21:20:00Z,10,3"),
        ("timestamp,total,bad", "2025-02-19 21:20:59.5,10.0,3.0"),
    ],
)
def test_any_two_of_the_three_counts_under_any_of_their_names(
    tmp_path: Path, header: str, row: str
) -> None:
    source = counts(tmp_path, f"{header}\n{row.format(m=START, s=START * 60)}\n")
    assert read(desired(slo("up")), source) == {"slo/up": ([3, 0], [10, 0])}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("minute,bad,total\n{m},3,2\n", "row 1: bad 3, total 2 cannot be"),
        ("minute,good,bad,total\n{m},3,2,6\n", "good 3, bad 2, total 6 cannot be"),
        ("minute,errors,failed,total\n{m},3,2,6\n", "errors and failed both say bad"),
        ("minute,slo,good,bad\n{m},uq,1,0\n", "no objective 'uq'.*known: up"),
        ("minute,service,good,bad\n{m},chta,1,0\n", "none of its services.*did you mean 'chat'"),
    ],
)
def test_what_cannot_be_is_said_and_nothing_is_guessed(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        read(desired(slo("up")), counts(tmp_path, text.format(m=START)))


def test_objectives_of_one_indicator_read_their_own_rows(tmp_path: Path) -> None:
    source = counts(
        tmp_path,
        f"minute,slo,good,bad\n{START},strict,9,1\n{START},slo/lax,5,0\n{START + 1},strict,4,4\n",
    )
    both = desired(slo("strict"), slo("lax"))
    assert read(both, source) == {
        "slo/lax": ([0, 0], [5, 0]),
        "slo/strict": ([1, 4], [10, 8]),
    }


def test_a_series_is_an_objective_or_a_service(tmp_path: Path) -> None:
    text = f"minute,series,good,bad\n{START},{{}},9,1\n"
    both = desired(slo("up"), slo("other", "voice"), services=("chat", "voice"))
    by_objective = read(both, counts(tmp_path, text.format("other")))
    assert by_objective == {"slo/up": ([0, 0], [0, 0]), "slo/other": ([1, 0], [10, 0])}
    by_service = read(both, counts(tmp_path, text.format("voice")))
    assert by_service == by_objective


def test_the_only_objective_of_a_service_is_meant_whatever_it_counts(tmp_path: Path) -> None:
    source = counts(tmp_path, f"minute,service,good,bad\n{START},chat,9,1\n")
    assert read(desired(fast("fast")), source) == {"slo/fast": ([1, 0], [10, 0])}
    two = read(desired(fast("fast"), slo("up")), source)
    assert two == {"slo/fast": ([0, 0], [0, 0]), "slo/up": ([1, 0], [10, 0])}


def test_rows_that_name_nothing_need_a_single_service(tmp_path: Path) -> None:
    source = counts(tmp_path, f"minute,good,bad\n{START},9,1\n")
    spare = desired(slo("up"), services=("chat", "voice"))
    assert read(spare, source) == {"slo/up": ([1, 0], [10, 0])}
    two = desired(slo("up"), slo("other", "voice"), services=("chat", "voice"))
    with pytest.raises(SpecError, match="which of 2 services"):
        read(two, source)


def test_many_keys_add_up_where_they_repeat(tmp_path: Path) -> None:
    path = tmp_path / "counts.parquet"
    rows = 3000
    table = pa.table({
        "timestamp": [(START + n % 3) * 60 for n in range(rows)],
        "slo": [f"s{n % 10}" for n in range(rows)],
        "total": [2] * rows,
        "errors": [n % 2 for n in range(rows)],
    })  # fmt: skip
    pyarrow.parquet.write_table(table, path)
    source = open_source(path)
    assert isinstance(source, CountsFile)
    found = read(desired(*(slo(f"s{n}") for n in range(10))), source, 3)
    assert found["slo/s4"] == ([0, 0, 0], [200, 200, 200])
    assert found["slo/s5"] == ([100, 100, 100], [200, 200, 200])


COST = "thresholdMetric: {metricSource: {type: Tocsin, spec: {value: cost_usd, aggregate: mean,"
COST += " expected: 0.02}}}"


def test_a_mean_is_read_from_sums_and_a_share_is_not(tmp_path: Path) -> None:
    what = desired(slo("cost", metric=COST, more=", op: lte, value: 0.03"), slo("up"))
    sums = f"minute,slo,sum,total\n{START},cost,0.5,20\n{START + 1},cost,0.2,20\n{START},up,1,9\n"
    found = read(what, counts(tmp_path, sums))
    assert found["slo/cost"] == ([10_000_000, -20_000_000], [20_000_000, 20_000_000])
    assert found["slo/up"] == ([0, 0], [0, 0]), "which calls were bad is not said"
    both = f"minute,slo,bad,total\n{START},cost,1,20\n{START},up,1,9\n"
    found = read(what, counts(tmp_path, both))
    assert found["slo/cost"] == ([0, 0], [0, 0]), "a mean is not said by bad calls"
    assert found["slo/up"] == ([1, 0], [9, 0])
    with pytest.raises(SpecError, match="row 1: sum is not a number"):
        counts(tmp_path, f"minute,slo,sum,total\n{START},cost,nan,20\n")


def test_what_looks_at_an_objective_looks_at_its_rows(tmp_path: Path) -> None:
    """Silence is that of the series that the file gives the objective."""
    policy = """
apiVersion: tocsin/v1
kind: BurnRatePolicy
metadata: {name: loud}
spec: {noData: {alertAfter: 10m}}
"""
    rows = [f"{START + n},up,{5 * (n < 70)},10\n" for n in (*range(80), 140)]
    source = counts(tmp_path, "minute,slo,bad,total\n" + "".join(rows))
    bound, source = bind(desired(slo("up"), policy), source)
    found = {
        (change.alert.labels["monitor"], change.alert.state.value)
        for decided in backtest(compile_desired(bound), source, source.span)
        for change in decided.alert_changes
    }
    assert ("slo/up/no-data", "firing") in found
    assert ("slo/up/no-data", "resolved") not in found
