CREATE TABLE IF NOT EXISTS tocsin.calls (
  project LowCardinality(String),
  ts DateTime64(6, 'UTC') CODEC(Delta(8), ZSTD(1)),
  trace_id String CODEC(ZSTD(1)),
  span_id String CODEC(ZSTD(1)),
  parent_id String CODEC(ZSTD(1)),
  service LowCardinality(String),
  env LowCardinality(String),
  kind LowCardinality(String),
  name LowCardinality(String),
  operation LowCardinality(String),
  scope LowCardinality(String),
  provider LowCardinality(String),
  model LowCardinality(String),
  response_model LowCardinality(String),
  response_id String CODEC(ZSTD(1)),
  error_class LowCardinality(String),
  error_type LowCardinality(String),
  status_message String CODEC(ZSTD(1)),
  duration_us UInt64 CODEC(ZSTD(1)),
  ttft_us UInt32 CODEC(ZSTD(1)),
  input_tokens UInt32 CODEC(ZSTD(1)),
  output_tokens UInt32 CODEC(ZSTD(1)),
  cached_tokens UInt32 CODEC(ZSTD(1)),
  reasoning_tokens UInt32 CODEC(ZSTD(1)),
  usage_known UInt8,
  cost_usd Float64 CODEC(ZSTD(1)),
  cost_known UInt8,
  finish_reason LowCardinality(String),
  streamed UInt8,
  truncated UInt8,
  session_id String CODEC(ZSTD(1)),
  user_id String CODEC(ZSTD(1)),
  release LowCardinality(String),
  prompt_version LowCardinality(String),
  dims Map(LowCardinality(String), LowCardinality(String)) CODEC(ZSTD(1)),
  input String CODEC(ZSTD(1)),
  output String CODEC(ZSTD(1)),
  attrs Map(LowCardinality(String), String) CODEC(ZSTD(1)),
  res Map(LowCardinality(String), LowCardinality(String)) CODEC(ZSTD(1)),
  ev_name Array(LowCardinality(String)) CODEC(ZSTD(1)),
  ev_ts Array(DateTime64(6, 'UTC')) CODEC(ZSTD(1)),
  ev_attrs Array(Map(LowCardinality(String), String)) CODEC(ZSTD(1)),
  seg UInt64 CODEC(ZSTD(1)),
  recv DateTime64(6, 'UTC') CODEC(Delta(8), ZSTD(1)),
  INDEX by_trace trace_id TYPE bloom_filter(0.01) GRANULARITY 4,
  INDEX by_response response_id TYPE bloom_filter(0.01) GRANULARITY 4,
  INDEX by_span span_id TYPE bloom_filter(0.01) GRANULARITY 4,
  INDEX by_recv recv TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYYYYMMDD(ts)
ORDER BY (project, service, kind, model, ts)
TTL toDateTime(ts) + INTERVAL 35 DAY
SETTINGS ttl_only_drop_parts = 1;

CREATE TABLE IF NOT EXISTS tocsin.scores (
  ts DateTime64(6, 'UTC') CODEC(Delta(8), ZSTD(1)),
  project LowCardinality(String),
  service LowCardinality(String),
  call_id String CODEC(ZSTD(1)),
  trace_id String CODEC(ZSTD(1)),
  name LowCardinality(String),
  value Float64 CODEC(ZSTD(1)),
  label LowCardinality(String),
  source LowCardinality(String),
  comment String CODEC(ZSTD(1)),
  dims Map(LowCardinality(String), LowCardinality(String)) CODEC(ZSTD(1)),
  recv DateTime64(6, 'UTC') CODEC(Delta(8), ZSTD(1)),
  seg UInt64 CODEC(ZSTD(1)),
  id String CODEC(ZSTD(1)),
  annotator LowCardinality(String),
  span_id String CODEC(ZSTD(1)),
  version UInt64 CODEC(ZSTD(1)),
  line UInt32 CODEC(ZSTD(1)),
  told UInt8,
  placed UInt8,
  key UInt128 DEFAULT reinterpretAsUInt128(sipHash128(multiIf(
    id != '', ['id', project, service, id],
    match(call_id, '^[0-9a-fA-F]{16}$'), ['call', lower(call_id), name, source, annotator],
    call_id != '', ['call', project, service, call_id, name, source, annotator],
    trace_id != '', ['trace', lower(trace_id), name, source, annotator],
    ['', project, service, name, source, annotator, label, toString(value), toString(ts),
     toString(recv), toString(line)]))) CODEC(ZSTD(1)),
  INDEX by_call call_id TYPE bloom_filter(0.01) GRANULARITY 4,
  INDEX by_recv recv TYPE minmax GRANULARITY 1,
  INDEX by_seg seg TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYYYYMMDD(ts)
ORDER BY (project, service, name, ts)
TTL toDateTime(ts) + INTERVAL 35 DAY
SETTINGS ttl_only_drop_parts = 1;

CREATE TABLE IF NOT EXISTS tocsin.score_versions (
  key UInt128 CODEC(ZSTD(1)),
  version UInt64 CODEC(ZSTD(1)),
  recv DateTime64(6, 'UTC') CODEC(Delta(8), ZSTD(1)),
  line UInt32 CODEC(ZSTD(1)),
  placed UInt8,
  ts DateTime64(6, 'UTC') CODEC(Delta(8), ZSTD(1)),
  told UInt8,
  project LowCardinality(String),
  service LowCardinality(String),
  name LowCardinality(String),
  value Float64 CODEC(ZSTD(1)),
  label LowCardinality(String),
  dims Map(LowCardinality(String), LowCardinality(String)) CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(recv)
ORDER BY (key, version, recv, line, placed)
TTL toDateTime(recv) + INTERVAL 35 DAY
SETTINGS ttl_only_drop_parts = 1, index_granularity = 512, min_compress_block_size = 8192;

CREATE TABLE IF NOT EXISTS tocsin.score_repeats (
  key UInt128 CODEC(ZSTD(1)),
  recv DateTime64(6, 'UTC') CODEC(Delta(8), ZSTD(1))
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(recv)
ORDER BY (key)
TTL toDateTime(recv) + INTERVAL 35 DAY
SETTINGS ttl_only_drop_parts = 1;

CREATE TABLE IF NOT EXISTS tocsin.changes (
  ts DateTime64(6, 'UTC') CODEC(Delta(8), ZSTD(1)),
  project LowCardinality(String),
  service LowCardinality(String),
  kind LowCardinality(String),
  title String CODEC(ZSTD(1)),
  labels Map(LowCardinality(String), String) CODEC(ZSTD(1)),
  recv DateTime64(6, 'UTC') CODEC(Delta(8), ZSTD(1)),
  seg UInt64 CODEC(ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toYYYYMMDD(ts)
ORDER BY (ts, service)
TTL toDateTime(ts) + INTERVAL 35 DAY
SETTINGS ttl_only_drop_parts = 1;

CREATE TABLE IF NOT EXISTS tocsin.billing (
  ts DateTime64(6, 'UTC') CODEC(Delta(8), ZSTD(1)),
  end DateTime64(6, 'UTC') CODEC(Delta(8), ZSTD(1)),
  provider LowCardinality(String),
  account LowCardinality(String),
  service LowCardinality(String),
  resource String CODEC(ZSTD(1)),
  sku String CODEC(ZSTD(1)),
  about String CODEC(ZSTD(1)),
  category LowCardinality(String),
  billed Nullable(Float64) CODEC(ZSTD(1)),
  effective Nullable(Float64) CODEC(ZSTD(1)),
  currency LowCardinality(String),
  quantity Nullable(Float64) CODEC(ZSTD(1)),
  unit LowCardinality(String),
  tags Map(LowCardinality(String), String) CODEC(ZSTD(1)),
  export LowCardinality(String),
  recv DateTime64(6, 'UTC') CODEC(Delta(8), ZSTD(1)),
  seg UInt64 CODEC(ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(ts)
ORDER BY (provider, ts)
TTL toDateTime(ts) + INTERVAL 400 DAY
SETTINGS ttl_only_drop_parts = 1;

CREATE TABLE IF NOT EXISTS tocsin.quarantine (
  recv DateTime64(6, 'UTC') CODEC(Delta(8), ZSTD(1)),
  source LowCardinality(String),
  reason String CODEC(ZSTD(1)),
  project LowCardinality(String),
  body String CODEC(ZSTD(1)),
  seg UInt64 CODEC(ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toYYYYMMDD(recv)
ORDER BY (recv, source)
TTL toDateTime(recv) + INTERVAL 35 DAY
SETTINGS ttl_only_drop_parts = 1;

CREATE TABLE IF NOT EXISTS tocsin.calls_1m (
  t DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
  project LowCardinality(String),
  service LowCardinality(String),
  kind LowCardinality(String),
  model LowCardinality(String),
  sk LowCardinality(String),
  sv LowCardinality(String),
  n SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)),
  errors SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)),
  failed SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)),
  truncated SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)),
  duration_us SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)),
  input_tokens SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)),
  output_tokens SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)),
  usage_known SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)),
  cost_usd SimpleAggregateFunction(sum, Float64) CODEC(ZSTD(1)),
  cost_known SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)),
  classes SimpleAggregateFunction(sumMap, Map(String, UInt64)) CODEC(ZSTD(1)),
  h SimpleAggregateFunction(sumMap, Map(UInt16, UInt64)) CODEC(ZSTD(1)),
  p SimpleAggregateFunction(sumMap, Map(UInt16, UInt64)) CODEC(ZSTD(1)),
  writer UInt16 CODEC(ZSTD(1))
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMMDD(t)
ORDER BY (t, project, service, kind, model, sk, sv, writer)
TTL t + INTERVAL 35 DAY
SETTINGS ttl_only_drop_parts = 1;

CREATE TABLE IF NOT EXISTS tocsin.calls_1h (
  t DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
  project LowCardinality(String),
  service LowCardinality(String),
  kind LowCardinality(String),
  model LowCardinality(String),
  sk LowCardinality(String),
  sv LowCardinality(String),
  n SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)),
  errors SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)),
  failed SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)),
  truncated SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)),
  duration_us SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)),
  input_tokens SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)),
  output_tokens SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)),
  usage_known SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)),
  cost_usd SimpleAggregateFunction(sum, Float64) CODEC(ZSTD(1)),
  cost_known SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)),
  classes SimpleAggregateFunction(sumMap, Map(String, UInt64)) CODEC(ZSTD(1)),
  h SimpleAggregateFunction(sumMap, Map(UInt16, UInt64)) CODEC(ZSTD(1)),
  p SimpleAggregateFunction(sumMap, Map(UInt16, UInt64)) CODEC(ZSTD(1)),
  writer UInt16 CODEC(ZSTD(1))
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(t)
ORDER BY (project, service, kind, model, sk, sv, t, writer)
TTL t + INTERVAL 400 DAY
SETTINGS ttl_only_drop_parts = 1;

CREATE TABLE IF NOT EXISTS tocsin.meta (
  name String,
  value String,
  at DateTime64(6, 'UTC') CODEC(Delta(8), ZSTD(1))
)
ENGINE = MergeTree
ORDER BY (name, at)
SETTINGS ttl_only_drop_parts = 1;

CREATE TABLE IF NOT EXISTS tocsin.logs (
  project LowCardinality(String),
  service LowCardinality(String),
  ts DateTime64(6, 'UTC') CODEC(Delta(8), ZSTD(1)),
  scope LowCardinality(String),
  event LowCardinality(String),
  severity LowCardinality(String),
  trace_id String CODEC(ZSTD(1)),
  span_id String CODEC(ZSTD(1)),
  body String CODEC(ZSTD(1)),
  attrs Map(LowCardinality(String), String) CODEC(ZSTD(1)),
  res Map(LowCardinality(String), LowCardinality(String)) CODEC(ZSTD(1)),
  seg UInt64 CODEC(ZSTD(1)),
  recv DateTime64(6, 'UTC') CODEC(Delta(8), ZSTD(1)),
  INDEX by_trace trace_id TYPE bloom_filter(0.01) GRANULARITY 4
)
ENGINE = MergeTree
PARTITION BY toYYYYMMDD(ts)
ORDER BY (project, service, ts)
TTL toDateTime(ts) + INTERVAL 35 DAY
SETTINGS ttl_only_drop_parts = 1;

CREATE TABLE IF NOT EXISTS tocsin.metric_points (
  project LowCardinality(String),
  service LowCardinality(String),
  ts DateTime64(6, 'UTC') CODEC(Delta(8), ZSTD(1)),
  scope LowCardinality(String),
  metric LowCardinality(String),
  unit LowCardinality(String),
  type LowCardinality(String),
  temporality UInt8,
  monotonic UInt8,
  start DateTime64(6, 'UTC') CODEC(Delta(8), ZSTD(1)),
  value Float64 CODEC(ZSTD(1)),
  count UInt64 CODEC(ZSTD(1)),
  bounds Array(Float64) CODEC(ZSTD(1)),
  counts Array(UInt64) CODEC(ZSTD(1)),
  scale Int32 CODEC(ZSTD(1)),
  zeros UInt64 CODEC(ZSTD(1)),
  offset Int32 CODEC(ZSTD(1)),
  negative_offset Int32 CODEC(ZSTD(1)),
  negatives Array(UInt64) CODEC(ZSTD(1)),
  quantiles Array(Float64) CODEC(ZSTD(1)),
  quantile_values Array(Float64) CODEC(ZSTD(1)),
  attrs Map(LowCardinality(String), String) CODEC(ZSTD(1)),
  res Map(LowCardinality(String), LowCardinality(String)) CODEC(ZSTD(1)),
  seg UInt64 CODEC(ZSTD(1)),
  recv DateTime64(6, 'UTC') CODEC(Delta(8), ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toYYYYMMDD(ts)
ORDER BY (project, service, metric, ts)
TTL toDateTime(ts) + INTERVAL 35 DAY
SETTINGS ttl_only_drop_parts = 1;

CREATE MATERIALIZED VIEW IF NOT EXISTS tocsin.calls_1m_view TO tocsin.calls_1m AS
SELECT
  toStartOfMinute(toDateTime((calls.ts + toIntervalMicrosecond(calls.duration_us)), 'UTC')) AS t, project, service, kind, model,
  segment.1 AS sk, segment.2 AS sv,
  count() AS n,
  countIf(calls.error_class != '') AS errors,
  countIf((calls.truncated = 1 OR calls.error_class IN ('auth', 'connection', 'other', 'overloaded', 'rate_limit', 'server', 'timeout'))) AS failed,
  sum(calls.truncated) AS truncated,
  sum(calls.duration_us) AS duration_us,
  sum(calls.input_tokens) AS input_tokens,
  sum(calls.output_tokens) AS output_tokens,
  sum(calls.usage_known) AS usage_known,
  sum(calls.cost_usd * calls.cost_known) AS cost_usd,
  sum(calls.cost_known) AS cost_known,
  sumMapIf(map(toString(calls.error_class), toUInt64(1)), calls.error_class != '') AS classes,
  sumMapIf(map(toUInt16(least(ceil(log(greatest(calls.duration_us, 1)) / log(1.04)), 575)), toUInt64(1)), sk = '' AND (calls.error_class = '' AND calls.truncated = 0 AND calls.duration_us > 0)) AS h,
  sumMapIf(map(toUInt16(least(ceil(log(greatest(calls.duration_us / (pow(greatest(calls.output_tokens, 1), 0.584) * pow(greatest(calls.input_tokens, 1), 0.147)), 1)) / log(1.1)), 235)), toUInt64(1)), sk = '' AND kind = 'llm' AND calls.usage_known = 1 AND (calls.error_class = '' AND calls.truncated = 0 AND calls.duration_us > 0)) AS p,
  toUInt16(bitShiftRight(calls.seg, 48)) AS writer
FROM tocsin.calls AS calls
ARRAY JOIN arrayConcat([('', '')], CAST(dims, 'Array(Tuple(String, String))')) AS segment

GROUP BY t, project, service, kind, model, sk, sv, writer;

CREATE MATERIALIZED VIEW IF NOT EXISTS tocsin.calls_1h_view TO tocsin.calls_1h AS
SELECT
  toStartOfHour(toDateTime((calls.ts + toIntervalMicrosecond(calls.duration_us)), 'UTC')) AS t, project, service, kind, model,
  segment.1 AS sk, segment.2 AS sv,
  count() AS n,
  countIf(calls.error_class != '') AS errors,
  countIf((calls.truncated = 1 OR calls.error_class IN ('auth', 'connection', 'other', 'overloaded', 'rate_limit', 'server', 'timeout'))) AS failed,
  sum(calls.truncated) AS truncated,
  sum(calls.duration_us) AS duration_us,
  sum(calls.input_tokens) AS input_tokens,
  sum(calls.output_tokens) AS output_tokens,
  sum(calls.usage_known) AS usage_known,
  sum(calls.cost_usd * calls.cost_known) AS cost_usd,
  sum(calls.cost_known) AS cost_known,
  sumMapIf(map(toString(calls.error_class), toUInt64(1)), calls.error_class != '') AS classes,
  sumMapIf(map(toUInt16(least(ceil(log(greatest(calls.duration_us, 1)) / log(1.04)), 575)), toUInt64(1)), sk = '' AND (calls.error_class = '' AND calls.truncated = 0 AND calls.duration_us > 0)) AS h,
  sumMapIf(map(toUInt16(least(ceil(log(greatest(calls.duration_us / (pow(greatest(calls.output_tokens, 1), 0.584) * pow(greatest(calls.input_tokens, 1), 0.147)), 1)) / log(1.1)), 235)), toUInt64(1)), sk = '' AND kind = 'llm' AND calls.usage_known = 1 AND (calls.error_class = '' AND calls.truncated = 0 AND calls.duration_us > 0)) AS p,
  toUInt16(bitShiftRight(calls.seg, 48)) AS writer
FROM tocsin.calls AS calls
ARRAY JOIN arrayConcat([('', '')], CAST(dims, 'Array(Tuple(String, String))')) AS segment

GROUP BY t, project, service, kind, model, sk, sv, writer;

CREATE MATERIALIZED VIEW IF NOT EXISTS tocsin.score_versions_view TO tocsin.score_versions AS
SELECT key, version, recv, line, placed, ts, told, project, service, name, value, label, dims FROM tocsin.scores AS scores;
