"""The telemetry tables, once; `tocsin.store.ddl` prints them for one node or for a cluster.

`calls` is one wide row per call. The rollups `calls_1m` and `calls_1h` are both fed from `calls`,
never one from the other, so that either can be rebuilt from raw rows hour by hour. A rollup row is
*marginal*: (sk, sv) = ('', '') is the total, and every declared dimension has rows of its own, so
that cardinality grows by addition. Histograms are kept for totals only and count successful,
untruncated calls: an answer that never came has no latency.

A segment's number begins with who wrote it (`tocsin.store.writers`). Rollup rows keep that writer
apart, so that a process can compute its own share of an hour anew while others go on inserting.
"""

# ruff: noqa: S608 (SQL text is put together from names of this package; values are parameters)

from __future__ import annotations

from dataclasses import dataclass, replace

from tocsin.domain.buckets import INPUT_EXPONENT, LATENCY, OUTPUT_EXPONENT, PACE, Scale
from tocsin.domain.calls import SYSTEM_FAILURES
from tocsin.store.clickhouse import DATABASE, literal
from tocsin.store.kinds import Format, SegmentKind

LC = "LowCardinality(String)"
MICROS = "DateTime64(6, 'UTC')"
DOCUMENTS = "retrieval.documents.count"  # attribute of a retriever call: how many it returned
_TIME_CODEC = "Delta(8), ZSTD(1)"
_ZSTD = "ZSTD(1)"


@dataclass(frozen=True, slots=True)
class Column:
    """A column: name, ClickHouse type, optional codec, optional SQL of its default."""

    name: str
    type: str
    codec: str = ""
    default: str = ""

    @property
    def ddl(self) -> str:
        """The column as it stands in CREATE TABLE."""
        default = f" DEFAULT {self.default}" if self.default else ""
        codec = f" CODEC({self.codec})" if self.codec else ""
        return f"{self.name} {self.type}{default}{codec}"


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the telemetry database.

    time: the DateTime column that expires rows, "" when none do. spread: SQL by whose hash rows are
    spread over shards; by default their trace, or what they are ordered by.
    """

    name: str
    columns: tuple[Column, ...]
    order: tuple[str, ...]
    time: str
    partition: str
    indexes: tuple[str, ...] = ()
    engine: str = "MergeTree"
    settings: str = "ttl_only_drop_parts = 1"
    spread: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns."""
        return tuple(column.name for column in self.columns)

    @property
    def sharding(self) -> str:
        """SQL: the number by which a row's shard is chosen.

        A trace stays on one shard, so that looking one up or comparing its spans stays there too.
        """
        if self.spread:
            return f"cityHash64({self.spread})"
        if any(column.name == "trace_id" for column in self.columns):
            return f"cityHash64(if(trace_id = '', toString({self.time}), trace_id))"
        kept = [name for name in self.order if name != self.time]
        return f"cityHash64({', '.join(kept)})"

    def body(self) -> str:
        """The parenthesised part of CREATE TABLE."""
        return ",\n  ".join([*(column.ddl for column in self.columns), *self.indexes])


@dataclass(frozen=True, slots=True)
class View:
    """A materialized view that adds what is inserted into `source` to `target`."""

    target: str
    source: str
    select: str

    @property
    def name(self) -> str:
        """Its own name, after its target."""
        return f"{self.target}_view"


def _table(
    name: str, order: str, columns: str, time: str = "ts", indexes: tuple[str, ...] = (),
    spread: str = "",
) -> Table:  # fmt: skip
    parts = [line.strip().split(" ", 1) for line in columns.strip().split("\n")]
    typed = tuple(_column(part[0], part[1].strip()) for part in parts)
    partition = f"toYYYYMMDD({time})"
    return Table(name, typed, tuple(order.split(", ")), time, partition, indexes, spread=spread)


def _column(name: str, type_name: str) -> Column:
    spelled = type_name.replace("LC", LC).replace("MICROS", MICROS)
    if type_name == "MICROS":
        return Column(name, spelled, _TIME_CODEC)
    return Column(name, spelled, "" if type_name in {"LC", "UInt8"} else _ZSTD)


CALLS = _table(
    "calls",
    "project, service, kind, model, ts",
    """
    project LC
    ts MICROS
    trace_id String
    span_id String
    parent_id String
    service LC
    env LC
    kind LC
    name LC
    operation LC
    scope LC
    provider LC
    model LC
    response_model LC
    response_id String
    error_class LC
    error_type LC
    status_message String
    duration_us UInt64
    ttft_us UInt32
    input_tokens UInt32
    output_tokens UInt32
    cached_tokens UInt32
    reasoning_tokens UInt32
    usage_known UInt8
    cost_usd Float64
    cost_known UInt8
    finish_reason LC
    streamed UInt8
    truncated UInt8
    session_id String
    user_id String
    release LC
    prompt_version LC
    dims Map(LC, LC)
    input String
    output String
    attrs Map(LC, String)
    res Map(LC, LC)
    ev_name Array(LC)
    ev_ts Array(DateTime64(6, 'UTC'))
    ev_attrs Array(Map(LC, String))
    seg UInt64
    recv MICROS
    """,
    indexes=(
        "INDEX by_trace trace_id TYPE bloom_filter(0.01) GRANULARITY 4",
        "INDEX by_response response_id TYPE bloom_filter(0.01) GRANULARITY 4",
        "INDEX by_span span_id TYPE bloom_filter(0.01) GRANULARITY 4",
        "INDEX by_recv recv TYPE minmax GRANULARITY 1",
    ),
)

# What a score is *the* score of. A correction has the same key and replaces what it corrects. Span
# and trace ids name a call by themselves; any other id does so within its project and service. A
# score that names no call is one of its own.
SCORE_KEY = """reinterpretAsUInt128(sipHash128(multiIf(
    id != '', ['id', project, service, id],
    match(call_id, '^[0-9a-fA-F]{16}$'), ['call', lower(call_id), name, source, annotator],
    call_id != '', ['call', project, service, call_id, name, source, annotator],
    trace_id != '', ['trace', lower(trace_id), name, source, annotator],
    ['', project, service, name, source, annotator, label, toString(value), toString(ts),
     toString(recv), toString(line)])))"""
# Which of two versions of a score holds: the later one; of one version, the row that was placed.
SCORE_VERSION = "(version, recv, line, placed)"

SCORES = _table(
    "scores",
    "project, service, name, ts",
    """
    ts MICROS
    project LC
    service LC
    call_id String
    trace_id String
    name LC
    value Float64
    label LC
    source LC
    comment String
    dims Map(LC, LC)
    recv MICROS
    seg UInt64
    id String
    annotator LC
    span_id String
    version UInt64
    line UInt32
    told UInt8
    placed UInt8
    key UInt128
    """,
    indexes=(
        "INDEX by_call call_id TYPE bloom_filter(0.01) GRANULARITY 4",
        "INDEX by_recv recv TYPE minmax GRANULARITY 1",
        "INDEX by_seg seg TYPE minmax GRANULARITY 1",
    ),
)
SCORES = replace(
    SCORES, columns=(*SCORES.columns[:-1], replace(SCORES.columns[-1], default=SCORE_KEY))
)
# The same by key, so that all versions of a score are found without reading history.
SCORE_VERSIONS = replace(
    _table(
        "score_versions",
        "key, version, recv, line, placed",
        """
        key UInt128
        version UInt64
        recv MICROS
        line UInt32
        placed UInt8
        ts MICROS
        told UInt8
        project LC
        service LC
        name LC
        value Float64
        label LC
        dims Map(LC, LC)
        """,
        time="recv",
    ),
    partition="toYYYYMM(recv)",
    engine="ReplacingMergeTree",
    settings="ttl_only_drop_parts = 1, index_granularity = 512, min_compress_block_size = 8192",
)
# Keys that have more than one version: the only ones for which a read looks beyond its window.
SCORE_REPEATS = replace(
    _table("score_repeats", "key", "key UInt128\nrecv MICROS", time="recv"),
    partition="toYYYYMM(recv)",
    engine="ReplacingMergeTree",
)
SCORE_VERSIONS_SELECT = f"SELECT {', '.join(SCORE_VERSIONS.names)} FROM {DATABASE}.scores AS scores"
CHANGES = _table(
    "changes",
    "ts, service",
    """
    ts MICROS
    project LC
    service LC
    kind LC
    title String
    labels Map(LC, String)
    recv MICROS
    seg UInt64
    """,
)
# Lines of bills. A later export replaces an earlier one in the days that it covers.
BILLING = replace(
    _table(
        "billing",
        "provider, ts",
        """
        ts MICROS
        end MICROS
        provider LC
        account LC
        service LC
        resource String
        sku String
        about String
        category LC
        billed Nullable(Float64)
        effective Nullable(Float64)
        currency LC
        quantity Nullable(Float64)
        unit LC
        tags Map(LC, String)
        export LC
        recv MICROS
        seg UInt64
        """,
    ),
    partition="toYYYYMM(ts)",
)
QUARANTINE = _table(
    "quarantine",
    "recv, source",
    """
    recv MICROS
    source LC
    reason String
    project LC
    body String
    seg UInt64
    """,
    time="recv",
    spread="recv",
)
# Single facts about the store: its identity, the version of its tables, who writes to it.
META = Table(
    "meta",
    (Column("name", "String"), Column("value", "String"), Column("at", MICROS, _TIME_CODEC)),
    ("name", "at"),
    time="",
    partition="tuple()",
)


def _rollup(name: str, order: str, partition: str) -> Table:
    columns = [Column("t", "DateTime('UTC')", "Delta(4), ZSTD(1)")]
    columns += [Column(key, LC) for key in ("project", "service", "kind", "model", "sk", "sv")]
    columns += [
        Column(name, f"SimpleAggregateFunction(sum, {type_name})", _ZSTD)
        for name, type_name in _SUMS.items()
    ]
    columns += [
        Column("classes", "SimpleAggregateFunction(sumMap, Map(String, UInt64))", _ZSTD),
        Column("h", "SimpleAggregateFunction(sumMap, Map(UInt16, UInt64))", _ZSTD),
        Column("p", "SimpleAggregateFunction(sumMap, Map(UInt16, UInt64))", _ZSTD),
        Column("writer", "UInt16", _ZSTD),
    ]
    return Table(
        name,
        tuple(columns),
        tuple(order.split(", ")),
        "t",
        partition,
        engine="AggregatingMergeTree",
        spread="project, service, kind, model",
    )


_SUMS = {
    "n": "UInt64", "errors": "UInt64", "failed": "UInt64", "truncated": "UInt64",
    "duration_us": "UInt64", "input_tokens": "UInt64", "output_tokens": "UInt64",
    "usage_known": "UInt64", "cost_usd": "Float64", "cost_known": "UInt64",
}  # fmt: skip
_KEYS = "project, service, kind, model, sk, sv"
CALLS_1M = _rollup("calls_1m", f"t, {_KEYS}, writer", "toYYYYMMDD(t)")
CALLS_1H = _rollup("calls_1h", f"{_KEYS}, t, writer", "toYYYYMM(t)")
ROLLUPS = ((CALLS_1M, "toStartOfMinute"), (CALLS_1H, "toStartOfHour"))

FAILED = "(calls.truncated = 1 OR calls.error_class IN ({}))".format(
    ", ".join(literal(name) for name in sorted(SYSTEM_FAILURES))
)
# A call that took no time at all is one whose duration nobody measured.
ANSWERED = "(calls.error_class = '' AND calls.truncated = 0 AND calls.duration_us > 0)"

# A call counts in the minute in which it ended: that is when its client reports it, so a minute is
# complete soon after it is over. Counted where they began, calls that hang for minutes before they
# fail would arrive in minutes that were judged long ago.
ENDED = "(calls.ts + toIntervalMicrosecond(calls.duration_us))"

WRITER = "toUInt16(bitShiftRight(calls.seg, 48))"  # who wrote a row: see tocsin.store.writers


def bucket(value: str, scale: Scale) -> str:
    """SQL: the bucket of `value` on `scale`, as `Scale.bucket` has it."""
    raw = f"ceil(log(greatest({value}, 1)) / log({scale.ratio}))"
    return f"toUInt16(least({raw}, {scale.count - 1}))"


def rollup_select(step: str, where: str = "", *, source: str = f"{DATABASE}.calls") -> str:
    """SQL: rollup rows from raw ones. step: toStartOfMinute or toStartOfHour."""
    pace = (
        f"calls.duration_us / (pow(greatest(calls.output_tokens, 1), {OUTPUT_EXPONENT})"
        f" * pow(greatest(calls.input_tokens, 1), {INPUT_EXPONENT}))"
    )
    paced = f"sk = '' AND kind = 'llm' AND calls.usage_known = 1 AND {ANSWERED}"
    return f"""SELECT
  {step}(toDateTime({ENDED}, 'UTC')) AS t, project, service, kind, model,
  segment.1 AS sk, segment.2 AS sv,
  count() AS n,
  countIf(calls.error_class != '') AS errors,
  countIf({FAILED}) AS failed,
  sum(calls.truncated) AS truncated,
  sum(calls.duration_us) AS duration_us,
  sum(calls.input_tokens) AS input_tokens,
  sum(calls.output_tokens) AS output_tokens,
  sum(calls.usage_known) AS usage_known,
  sum(calls.cost_usd * calls.cost_known) AS cost_usd,
  sum(calls.cost_known) AS cost_known,
  sumMapIf(map(toString(calls.error_class), toUInt64(1)), calls.error_class != '') AS classes,
  sumMapIf(map({bucket("calls.duration_us", LATENCY)}, toUInt64(1)), sk = '' AND {ANSWERED}) AS h,
  sumMapIf(map({bucket(pace, PACE)}, toUInt64(1)), {paced}) AS p,
  {WRITER} AS writer
FROM {source} AS calls
ARRAY JOIN arrayConcat([('', '')], CAST(dims, 'Array(Tuple(String, String))')) AS segment
{where}
GROUP BY t, project, service, kind, model, sk, sv, writer"""


VIEWS = (
    *(View(table.name, "calls", rollup_select(step)) for table, step in ROLLUPS),
    View(SCORE_VERSIONS.name, SCORES.name, SCORE_VERSIONS_SELECT),
)
TABLES = (
    CALLS,
    SCORES,
    SCORE_VERSIONS,
    SCORE_REPEATS,
    CHANGES,
    BILLING,
    QUARANTINE,
    CALLS_1M,
    CALLS_1H,
    META,
)


# What people wrote and models answered, which may have to go earlier than the call itself.
CONTENT = {"calls": ("input", "output", "attrs", "ev_attrs"), "logs": ("body", "attrs")}


@dataclass(frozen=True, slots=True)
class Retention:
    """How many days rows are kept; 0 keeps them for ever, None as long as raw rows.

    raw_days: calls. content_days: what `CONTENT` names of calls and logs; the rows stay, emptied.

    The engine counts from its own wall clock, and drops rows that are older already when they come.
    Minutes must reach back as far as the longest objective, or a restart would forget part of it.
    """

    raw_days: int = 35
    minutes_days: int = 35
    hours_days: int = 400
    content_days: int | None = None
    logs_days: int | None = None
    metrics_days: int | None = None
    scores_days: int | None = None
    changes_days: int | None = None
    quarantine_days: int | None = None

    def days(self, table: Table) -> int:
        """The days of one table."""
        own = {
            CALLS_1M.name: self.minutes_days,
            CALLS_1H.name: self.hours_days,
            BILLING.name: self.hours_days,
            SCORES.name: self.scores_days,
            SCORE_VERSIONS.name: self.scores_days,
            SCORE_REPEATS.name: self.scores_days,
            CHANGES.name: self.changes_days,
            QUARANTINE.name: self.quarantine_days,
            "logs": self.logs_days,
            "metric_points": self.metrics_days,
        }.get(table.name)
        if not table.time:
            return 0
        return self.raw_days if own is None else own

    def content(self, table: Table) -> int:
        """The days of a table's content columns; 0 when they stay as long as their rows."""
        days = self.content_days or 0
        longest = self.days(table)
        if table.name not in CONTENT or (longest and days >= longest):
            return 0
        return days


def rows_kind(table: Table, name: str, form: Format = "ArrowStream") -> SegmentKind:
    """A kind of segment whose records are rows of `table` as they are, without `seg`."""
    columns = [column for column in table.columns if column.name != "seg"]
    names = ", ".join("toUInt64({seg}) AS seg" if n == "seg" else n for n in table.names)
    return SegmentKind(
        name=name,
        table=table.name,
        time=table.time,
        format=form,
        structure=", ".join(f"{column.name} {column.type}" for column in columns),
        select=f"SELECT {names} FROM {{source}}",
        columns=table.names,
        settings={"date_time_input_format": "best_effort"},
    )
