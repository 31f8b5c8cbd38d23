"""From OTLP spans of any dialect to rows of `calls`: the one place where a span is interpreted.

The SELECT runs inside ClickHouse over parsed envelopes (`tocsin.store.otlp`). It is written in
layers, each a subquery of the next, so that every expression is named once and read once:

    resources   one row per resource: project, service, environment, release
    spans       one row per span: attribute keys as codes, values as text
    picked      one text per field of `tocsin.store.attributes.FIELDS`
    parsed      the few JSON texts that have to be opened, and only where they have to
    judged      kind, end, failure, usage, first token
    calls       the columns of the table, in its order

Rules worth knowing, each backed by a recorded request of a real client:

- Input tokens include those read from a cache and those written to one. Where a span reports more
  of these than input tokens, its provider counts them apart and they are added. Output tokens
  include reasoning.
- Usage counts on calls only (LLM, embedding, reranker); on the chains and agents around them it
  would count twice, so there it stays in the attributes. It is known when input and, of an LLM,
  output were reported as counts, one of them above zero: a stream without usage is unknown, not
  zero, and so is one that told half of it. What was told then stays in the attributes.
- Cost is the span's own, else usage times the price book, else unknown.
- `truncated` is a stream that a client read to its end without being told why it ended. The Python
  OpenInference instrumentations, and a row of `POST /api/v1/calls` that says `abandoned`, leave the
  status unset when the reader walked away, which is no fault of the service: such a call has the
  attribute `tocsin.abandoned`. The OpenAI instrumentation
  of OpenTelemetry never reports a finish reason for streams, so nothing can be said there, and
  OpenAI reports usage after the finish reason, so a stream with usage is whole.
- A span that ends before it starts keeps its place with duration 0 and says so in the attribute
  `tocsin.repaired`. Counts and costs that are no number, negative or absurd are unknown. Times
  years away never get here.
"""

from __future__ import annotations

from collections.abc import Mapping

from tocsin.store import meaning
from tocsin.store.attributes import SEGMENT_CODE, SEGMENT_PREFIX, Codebook
from tocsin.store.prices import bare_model, cost_of, maker_of, rates_of
from tocsin.store.schema import DOCUMENTS
from tocsin.store.sqltext import array, first_known, layer, one_of, quoted, same

_RESOURCE = ("recv_ns", "project", "service", "env", "release")
# Scopes whose streams end without a finish reason as a matter of course, so that its absence says
# nothing: an instrumentation that never records it, and traces that do not hold it.
NEVER_TELL_A_FINISH = ("opentelemetry.instrumentation.openai_v2", "tocsin.replay")

MOST_USD = 1_000_000.0  # what one call may say it cost; more is taken for a mistake and is unknown

_CONTEXT = (*_RESOURCE, "res", "scope")
_PARTS = {
    "trace": "item.trace_id",
    "span": "item.span_id",
    "parent": "item.parent_span_id",
    "trace_state": "item.trace_state",
    "title": "item.name",
    "t0": "item.t0",
    "t1": "item.t1",
    "status": "item.status.code",
    "status_text": "item.status.message",
    "events": "item.events.name",
    "event_times": "item.events.t",
    "links": "item.links",
    "names": "item.attributes.key",
}
SPAN = (*_CONTEXT, *_PARTS, "event_attrs", "link_attrs", "codes", "texts")
_LEAVES = ("llm", "embedding", "reranker")
_PARAMETERS = "Tuple(model String, model_name String, stream Bool)"
_ANSWER = (
    "Tuple(id String, status String, stop_reason String,"
    " choices Array(Tuple(finish_reason String)))"
)
_TEXTS = "Map(String, String)"
_LINKS = f"Array(Tuple(trace_id String, span_id String, attributes {_TEXTS}))"
_MAP = "Map(LowCardinality(String), String)"
_TAG_MAP = "Map(LowCardinality(String), LowCardinality(String))"


def values_text(attributes: str) -> str:
    """SQL: the values of the attribute array `attributes` as an array of texts.

    Numbers as digits, truth as true/false, arrays as JSON.
    """
    value = f"{attributes}.value"
    parts = ", ".join(f"{value}.{part}" for part in ("v", "s", "i", "d", "b", "a.values"))
    return f"arrayMap((v, s, i, d, b, a) -> {_VALUE_TEXT}, {parts})"


def value_text(value: str) -> str:
    """SQL: one value as text."""
    parts = ", ".join(f"[{value}.{part}]" for part in ("v", "s", "i", "d", "b", "a.values"))
    return f"arrayMap((v, s, i, d, b, a) -> {_VALUE_TEXT}, {parts})[1]"


_ELEMENT_TEXT = (
    "multiIf(ev = 's', toJSONString(es), ev = 'i', toString(ei),"
    " ev = 'd', if(isFinite(ed), toString(ed), 'null'), ev = 'b', if(eb = 1, 'true', 'false'),"
    " 'null')"
)
_ARRAY_TEXT = (
    f"concat('[', arrayStringConcat(arrayMap((ev, es, ei, ed, eb) -> {_ELEMENT_TEXT},"
    " a.v, a.s, a.i, a.d, a.b), ','), ']')"
)
_VALUE_TEXT = (
    "multiIf(v = 's', s, v = 'i', toString(i), v = 'd', toString(d),"
    f" v = 'b', if(b = 1, 'true', 'false'), v = 'a', {_ARRAY_TEXT}, '')"
)


def text_map(attributes: str, kind: str = _MAP) -> str:
    """SQL: an attribute array as a map of texts."""
    return f"CAST(mapFromArrays({attributes}.key, {values_text(attributes)}), '{kind}')"


def instant(nanoseconds: str) -> str:
    """SQL: nanoseconds since the epoch as DateTime64(6)."""
    return f"fromUnixTimestamp64Micro(toInt64(intDiv({nanoseconds}, 1000)))"


def resources(source: str) -> str:
    """One row per resource of the segment, with what a resource says of all that is under it."""
    resource = layer(
        {
            "recv_ns": "recv",
            "header_project": "project",
            "res": text_map("r.resource.attributes", _TAG_MAP),
            "scopes": "r.scopes",
        },
        f"{source} ARRAY JOIN request.resources AS r",
    )
    unnamed = "startsWith(res['service.name'], 'unknown_service')"
    service = f"if({unnamed}, '', toString(res['service.name']))"
    project = first_known(
        "header_project",
        "toString(res['openinference.project.name'])",
        "toString(res['arize.project.name'])",
        service,
        "toString(res['model_id'])",
        "'default'",
    )
    env = first_known("res['deployment.environment.name']", "res['deployment.environment']")
    named = layer({**same("recv_ns", "res", "scopes"), "project_name": project}, resource)
    return layer(
        {
            **same("recv_ns", "res", "scopes"),
            "project": "toLowCardinality(project_name)",
            "service": f"toLowCardinality({first_known(service, 'project_name')})",
            "env": f"toLowCardinality(toString({env}))",
            "release": "toLowCardinality(toString(res['service.version']))",
        },
        named,
    )


def members(name: str, source: str) -> str:
    """One row per member (`name`: spans, records, metrics) of every scope, as `item`.

    Version and attributes of the scope are kept among those of the resource.
    """
    version = (
        f"if(scoped.scope.version = '', CAST(map(), '{_TAG_MAP}'),"
        f" CAST(map('otel.scope.version', scoped.scope.version), '{_TAG_MAP}'))"
    )
    extra = text_map("scoped.scope.attributes", _TAG_MAP)
    scopes = layer(
        {
            **same(*_RESOURCE),
            "res": f"mapConcat(res, {version}, {extra})",
            "scope": "toLowCardinality(scoped.scope.name)",
            "members": f"scoped.{name}",
        },
        f"(\n{resources(source)}\n) ARRAY JOIN scopes AS scoped",
    )
    return layer(
        same(*_RESOURCE, "res", "scope", "item"), f"(\n{scopes}\n) ARRAY JOIN members AS item"
    )


def spans(book: Codebook, source: str) -> str:
    """One row per span, taken apart: attribute names as codes, values as texts."""
    code = (
        f"transform(k, {array(book.names)}, {list(book.numbers)},"
        f" if(startsWith(k, {quoted(SEGMENT_PREFIX)}), {SEGMENT_CODE}, 0))"
    )
    return layer(
        {
            **same(*_CONTEXT),
            **_PARTS,
            "event_attrs": f"arrayMap(e -> {text_map('e')}, item.events.attributes)",
            "link_attrs": f"arrayMap(e -> {text_map('e', _TEXTS)}, item.links.attributes)",
            "codes": f"arrayMap(k -> toUInt8({code}), item.attributes.key)",
            "texts": values_text("item.attributes"),
        },
        members("spans", source),
    )


def judged(book: Codebook) -> dict[str, str]:
    """What is known of a call: field texts, what JSON tells, how it went and how it ended."""
    nested_id = r'"id": ?"((?:chatcmpl-|resp_|msg_)[^"]+)"'
    return {
        **{field: f"texts[{_place(book, field)}]" for field in book.codes},
        "first_token_event": meaning.first_token_event(),
        "declared": "lower(a_oi_kind)",
        "by_operation": meaning.operation_kind(),
        "own_kind": meaning.kind(),
        "said_provider": meaning.provider(),
        "first_token_us": meaning.first_token_us(),
        "parameters": _opened("a_parameters", _PARAMETERS, "own_kind IN ('llm', 'embedding')"),
        "answer": _opened(
            "a_output", _ANSWER, "own_kind = 'llm' AND (a_response_id = '' OR a_finish = '')"
        ),
        "exception": "event_attrs[if(status = 2, indexOf(events, 'exception'), 0)]",
        "generations": f"extract(if(startsWith(a_output, '{{\"generations\"'), a_output, ''),"
        f" {quoted(nested_id)})",
        "finish_reason": meaning.finish_reason(),
        "request_model": first_known(
            "a_request_model", "parameters.model", "parameters.model_name", "a_model"
        ),
        "served_model": first_known("a_response_model", "a_model"),
        "call_id": first_known("a_response_id", "answer.id", "generations"),
        "is_streamed": "parameters.stream OR first_token_us > 0"
        " OR lower(a_streaming) IN ('true', '1') OR endsWith(a_ai_operation, '.doStream')",
        "is_error": meaning.failed(),
        # Arrays that are empty where nothing failed, so that patterns are tried on failures only.
        "failure_texts": f"if(is_error, [{meaning.failure_text()}], CAST([], 'Array(String)'))",
        "error_class": meaning.failure_class("failure_texts"),
        "error_type": "if(empty(a_error_type),"
        " extract(exception['exception.type'], '[A-Za-z_0-9]+$'), a_error_type)",
        "unfinished": "is_streamed AND own_kind = 'llm' AND NOT is_error AND finish_reason = ''"
        f" AND scope NOT IN ({', '.join(map(quoted, NEVER_TELL_A_FINISH))})",
        "abandoned": "unfinished AND status = 0"
        " AND (startsWith(scope, 'openinference.instrumentation.') OR scope = 'tocsin.api')",
    }


def _opened(text: str, shape: str, where: str) -> str:
    """SQL: the JSON object in `text` as a tuple of type `shape`; empty unless `where`."""
    return f"JSONExtract(if({where} AND startsWith({text}, '{{'), {text}, ''), '{shape}')"


def _place(book: Codebook, field: str) -> str:
    """SQL: where on the span the field is, 0 when it is not."""
    places = [f"indexOf(codes, {code})" for code in book.codes[field]]
    if len(places) == 1:
        return places[0]
    tests = ", ".join(f"{place} > 0, {place}" for place in places[:-1])
    return f"multiIf({tests}, {places[-1]})"


def calls(
    book: Codebook, dimensions: Mapping[str, str], *, kind: str = "own_kind", note: str = "''"
) -> dict[str, str]:
    """The columns of `calls`, given `judged`.

    dimensions: name -> SQL text of its value. kind, note: SQL by which a caller demotes wrappers;
    `note` becomes the attribute `tocsin.wrapper` where it is not empty.
    """
    kept = (
        f"(c = 0 OR c > if(usage_told, {book.last_usage}, {book.last_moved}))"
        f" AND c < {SEGMENT_CODE}"
    )
    return {
        **_usage(),
        **_dims(dimensions),
        "kind": kind,
        "ts": instant("t0"),
        "trace_id": "lower(hex(trace))",
        "span_id": "lower(hex(span))",
        "parent_id": "lower(hex(parent))",
        "name": "title",
        "operation": first_known("a_operation", "a_ai_operation", "a_request_type"),
        "provider": "if(empty(maker), said_provider, maker)",
        "model": "request_model",
        "response_model": "served_model",
        "response_id": "call_id",
        "status_message": "substringUTF8("
        + first_known("status_text", "exception['exception.message']")
        + ", 1, 4000)",
        "duration_us": "if(t1 > t0, intDiv(t1 - t0, 1000), 0)",
        "ttft_us": "first_token_us",
        "streamed": "toUInt8(is_streamed)",
        "truncated": "toUInt8(unfinished AND NOT abandoned"
        " AND NOT (usage_told AND said_provider = 'openai'))",
        "session_id": "a_session",
        "user_id": "a_user",
        "prompt_version": first_known(
            "a_prompt_version",
            "JSONExtractString(if(startsWith(a_metadata, '{'), a_metadata, ''), 'prompt_version')",
        ),
        "input": "a_input",
        "output": "a_output",
        "extra": _extra(note),
        "attrs": "CAST(mapFromArrays("
        f"arrayConcat(arrayFilter((k, c) -> {kept}, names, codes), extra.1),"
        f" arrayConcat(arrayFilter((t, c) -> {kept}, texts, codes), extra.2)), '{_MAP}')",
        "ev_name": "CAST(events, 'Array(LowCardinality(String))')",
        "ev_ts": f"arrayMap(t -> {instant('t')}, event_times)",
        "ev_attrs": "event_attrs",
        "seg": "toUInt64({seg})",
        "recv": instant("recv_ns"),
    }


def _usage() -> dict[str, str]:
    """Tokens and cost of calls; on anything around a call they would count twice."""
    return {
        "is_leaf": one_of("kind", _LEAVES),
        "told_input": _told("a_input_tokens"),
        "told_output": _told("a_output_tokens"),
        "told_cached": _told("a_cached_tokens"),
        "told_written": _told("a_written_tokens"),
        "told_reasoning": _told("a_reasoning_tokens"),
        "usage_told": "isNotNull(told_input) AND (isNotNull(told_output) OR kind != 'llm')"
        " AND told_input + ifNull(told_output, 0) > 0",
        "spent_input": _spent("told_input"),
        "output_tokens": _spent("told_output"),
        "cached_tokens": _spent("told_cached"),
        "reasoning_tokens": _spent("told_reasoning"),
        "written_tokens": _spent("told_written"),
        "read_input": "spent_input + if(cached_tokens > spent_input, cached_tokens, 0)",
        "input_tokens": "read_input"
        " + if(cached_tokens + written_tokens > read_input, written_tokens, 0)",
        "usage_known": "toUInt8(usage_told)",
        "said_cost": "if(is_leaf AND a_cost != '', toFloat64OrDefault(a_cost, -1.), -1.)",
        "cost_told": f"said_cost >= 0 AND said_cost < {MOST_USD:.0f}",
        "day": "toDate(intDiv(t0, 1000000000))",
        "priced_model": "toLowCardinality(if(usage_told AND NOT cost_told,"
        " if(empty(served_model), request_model, served_model), ''))",
        "exact_rates": rates_of("said_provider", "lower(priced_model)", "day"),
        "maker_rates": rates_of("''", bare_model("priced_model"), "day"),
        "rates": "if(exact_rates[1] = 1, exact_rates, maker_rates)",
        "maker": f"if({one_of('said_provider', meaning.FRAMEWORK_PROVIDERS)}, "
        + maker_of(bare_model("toLowCardinality(if(is_leaf, request_model, ''))"), "day")
        + ", '')",
        "cost_usd": "if(cost_told, said_cost, "
        + cost_of("rates", "input_tokens", "cached_tokens", "written_tokens", "output_tokens")
        + ")",
        "cost_known": "toUInt8(cost_told OR rates[1] = 1)",
    }


def _told(field: str) -> str:
    return f"if(is_leaf, {meaning.count_from(field)}, NULL)"


def _spent(told: str) -> str:
    return f"if(usage_told, ifNull({told}, toUInt32(0)), toUInt32(0))"


def _dims(dimensions: Mapping[str, str]) -> dict[str, str]:
    known = {"region": first_known("a_region", "toString(res['cloud.region'])"), **dimensions}
    pairs = ", ".join(f"({quoted(name)}, {text})" for name, text in known.items())
    return {
        "segment_names": f"arrayMap(k -> substring(k, {len(SEGMENT_PREFIX) + 1}),"
        f" arrayFilter((k, c) -> c = {SEGMENT_CODE}, names, codes))",
        "known_dims": f"arrayFilter(d -> d.2 != '' AND NOT has(segment_names, d.1), [{pairs}])",
        "dims": "CAST(mapFromArrays(arrayConcat(segment_names, known_dims.1),"
        f" arrayConcat(arrayFilter((t, c) -> c = {SEGMENT_CODE}, texts, codes), known_dims.2)),"
        f" '{_TAG_MAP}')",
    }


def _extra(note: str) -> str:
    """SQL: attributes that Tocsin adds, as pairs of name and text."""
    texts = {
        "tocsin.wrapper": note,
        "tocsin.repaired": "if(t1 < t0, 'ends before it starts: duration set to 0', '')",
        "tocsin.abandoned": "if(abandoned, 'true', '')",
        DOCUMENTS: meaning.documents_found(),
        "otel.trace_state": "trace_state",
        "otel.links": "if(empty(links), '', toJSONString(CAST(arrayMap((l, a) ->"
        f" (lower(hex(l.trace_id)), lower(hex(l.span_id)), a), links, link_attrs), '{_LINKS}')))",
    }
    pairs = ", ".join(f"({quoted(name)}, {sql})" for name, sql in texts.items())
    return f"arrayFilter(e -> e.2 != '', [{pairs}])"
