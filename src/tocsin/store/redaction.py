"""Redaction inside the SELECT that loads a segment: nothing unredacted reaches a table.

`redacted` puts layers of named expressions (`tocsin.store.sqltext.derived`) around a SELECT:

    policy    which policy holds for the row
    suspect   one Hyperscan pass over all texts of the row together; most rows end here
    treated   all texts of a suspect row: each is asked which recognisers have to read it closely,
              and goes through those, or is treated as a rule for its field says

Short-circuit evaluation is off where this runs (see `tocsin.store.otlp_kinds`), so that "only
where needed" is always an array that is empty otherwise, or a text that is ''. The engine plans
for 0.1 ms a function, segment by segment, so that what recognisers have in common is written once.
The work is a function of the row alone, and a row stays one row whatever is found in it.
"""

# ruff: noqa: S608 (SQL text is put together from names of this package and escaped literals)

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tocsin.domain.recogniser import Recogniser
from tocsin.domain.recognisers import CANDIDATE, CANDIDATE_PAIRS, chosen
from tocsin.domain.redaction import (
    HASH_DIGITS,
    HASH_MARK,
    MASK,
    Action,
    FieldRule,
    Policy,
    Redactions,
)
from tocsin.store.attributes import FIELDS
from tocsin.store.checks import DIGITS, TEXT, check_sql, digits_sql
from tocsin.store.schema import Table
from tocsin.store.sqltext import array, derived, quoted

_ACTIONS: tuple[Action, ...] = ("clean", "keep", "drop", "mask", "hash")
_CLEAN, _KEEP, _DROP, _MASK, _HASH = range(5)
_CONTENT = ("a_input", "a_output", "a_user", "a_session", "a_metadata", "a_parameters")

# Never read for personal data: ids, numbers and names that Tocsin interprets, addresses of servers,
# and what a resource says about the software it runs (a version looks like an address).
KEPT: tuple[FieldRule, ...] = (
    *(
        FieldRule(f"attributes.{name}", "keep")
        for field_name, names in FIELDS.items()
        if field_name not in _CONTENT
        for rank in names.ranks
        for name in rank
    ),
    *(
        FieldRule(prefix, "keep", is_prefix=True)
        for prefix in (
            "attributes.server.", "attributes.net.", "attributes.network.", "attributes.otel.",
            "attributes.tocsin.", "resource.telemetry.", "resource.service.", "resource.otel.",
            "resource.os.", "resource.host.", "resource.k8s.", "resource.cloud.",
            "resource.container.", "resource.process.runtime.",
        )
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Texts:
    """Where a table keeps text: column -> name or prefix of the field as rules call it.

    texts: columns of text. maps: columns that are a map to text. nested: columns that are an array
    of such maps.
    """

    texts: Mapping[str, str] = field(default_factory=dict)
    maps: Mapping[str, str] = field(default_factory=dict)
    nested: Mapping[str, str] = field(default_factory=dict)

    @property
    def columns(self) -> tuple[str, ...]:
        """All of them."""
        return (*self.texts, *self.maps, *self.nested)


CALL_TEXTS = Texts(
    texts={
        name: name
        for name in (
            "name", "error_type", "status_message", "session_id", "user_id", "input", "output",
        )
    },
    maps={"attrs": "attributes.", "dims": "dims.", "res": "resource."},
    nested={"ev_attrs": "attributes."},
)  # fmt: skip
BUILT_IN = Redactions(otherwise=Policy("default", rules=KEPT))


def redacted(select: str, table: Table, where: Texts, redactions: Redactions) -> str:
    """SQL: the rows of `select`, which are rows of `table`, with the texts of `where` redacted.

    Policies are chosen by the columns `project` and `service`; where there is none, by "".
    """
    columns = table.names
    policies = [*dict.fromkeys(p for _, p in redactions.claims), redactions.otherwise]
    if all(policy.mode == "off" for policy in policies):
        return select
    raw = [f"{name} AS raw_{name}" if name in where.columns else name for name in columns]
    source = f"SELECT {', '.join(raw)} FROM (\n{select}\n)"
    given = [f"raw_{name}" if name in where.columns else name for name in columns]
    owner = [f"toString({c})" if c in columns else "''" for c in ("project", "service")]
    recognisers = _used(policies)
    triggers = array([r.trigger for r in recognisers])
    looks = _by_policy("policy", [str(int(bool(_indices(p, recognisers)))) for p in policies])
    ruled = _by_policy("policy", [str(int(_is_ruled(policy))) for policy in policies])
    types = {column.name: column.type for column in table.columns}
    named = {
        "policy": _policy_number(redactions, policies, *owner),
        "suspect": f"({looks}) AND multiMatchAny({_haystack(where)}, {triggers}) OR ({ruled})",
        "treated": _treated(where, policies, recognisers),
        **_columns(where, types, may_drop=any(_drops(policy) for policy in policies)),
    }
    return derived(source, given, named, columns)


# --- one text -----------------------------------------------------------------------------------


def clean_sql(text: str, recognisers: Sequence[Recogniser]) -> str:
    """SQL: `text` (an expression) with everything replaced that one of `recognisers` recognises.

    For one text at a time; `redacted` does the same for a row.
    """
    triggers = array([r.trigger for r in recognisers])
    marks = f"arrayMap(t -> multiMatchAllIndices(concat(' ', t), {triggers}), [{text}])"
    return f"({_cleaned(f'[{text}]', marks, recognisers)})[1]"


def _cleaned(texts: str, marks: str, recognisers: Sequence[Recogniser]) -> str:
    """SQL: the texts of array `texts`, cleaned by the recognisers that `marks` lists for each."""
    passed = f"arrayMap(t -> concat(' ', t), {texts})"
    for index, recogniser in enumerate(recognisers, start=1):
        if not recogniser.is_checked:
            groups = "".join(f"\\{2 * n + 1}" for n in range(len(recogniser.forms)))
            found = (
                f"replaceRegexpAll(if(has(m, {index}), t, ''), {quoted(recogniser.pairs)},"
                f" {quoted(groups + recogniser.replacement)})"
            )
            passed = f"arrayMap((t, m) -> if(has(m, {index}), {found}, t), {passed}, {marks})"
    checked = [i for i, one in enumerate(recognisers, start=1) if one.is_checked]
    if checked:
        called = f"hasAny(m, CAST({checked}, 'Array(UInt64)'))"
        one = (
            f"arrayMap(y -> {_judged('y', recognisers)},"
            f" if({called}, [t], CAST([], 'Array(String)')))[1]"
        )
        passed = f"arrayMap((t, m) -> if({called}, {one}, t), {passed}, {marks})"
    return f"arrayMap(t -> substring(t, 2), {passed})"


def _judged(text: str, recognisers: Sequence[Recogniser]) -> str:
    """SQL: `text` with every candidate replaced that a recogniser with a mark in `m` accepts.

    The text is taken apart at the candidates and put together again. Lambdas over arrays of one
    are how a name is given to what is used more than once: l the lead, v the value, x both, c the
    compact value, ds its digits.
    """
    verdicts = ", ".join(
        f"{_verdict(one, index)}, {quoted(one.replacement)}"
        for index, one in enumerate(recognisers, start=1)
        if one.is_checked
    )
    kept = f"multiIf(v = '', '', {verdicts}, v)"
    kept = f"arrayMap({DIGITS} -> {kept}, [{digits_sql(TEXT)}])[1]"
    compact = "upper(replaceRegexpAll(v, '[^0-9A-Za-z]', ''))"
    kept = f"arrayMap((x, {TEXT}) -> {kept}, [concat(l, v)], [{compact}])[1]"
    lead, value = (
        f"arrayStringConcat(arrayFilter((q, i) -> i % 2 = {odd}, p, arrayEnumerate(p)))"
        for odd in (1, 0)
    )
    kept = f"arrayMap((l, v) -> concat(g, l, {kept}), [{lead}], [{value}])[1]"
    gaps = f"splitByRegexp({quoted(f'(?:{CANDIDATE})')}, {text})"
    pairs = f"extractAllGroupsVertical({text}, {quoted(CANDIDATE_PAIRS)})"
    pairs = f"arrayPushBack({pairs}, CAST([], 'Array(String)'))"
    return f"arrayStringConcat(arrayMap((g, p) -> {kept}, {gaps}, {pairs}))"


def _verdict(recogniser: Recogniser, index: int) -> str:
    tests = [f"has(m, {index})", f"match(x, {quoted(f'^(?:{recogniser.own})$')})"]
    if recogniser.shape:
        compact = "v" if recogniser.raw else TEXT
        tests.append(f"match({compact}, {quoted(f'^(?:{recogniser.shape})$')})")
    if recogniser.check is not None:
        tests.append(check_sql(recogniser.check))
    return " AND ".join(tests)


def _marks(policies: Sequence[Policy], recognisers: Sequence[Recogniser]) -> str:
    """SQL: the indices of recognisers that text `t` calls for and the row's policy allows."""
    triggers = array([r.trigger for r in recognisers])
    marks = f"multiMatchAllIndices(concat(' ', t), {triggers})"
    allowed = [_indices(policy, recognisers) for policy in policies]
    if len({tuple(one) for one in allowed}) == 1:
        return marks
    choice = _by_policy("policy", [f"CAST({one}, 'Array(UInt64)')" for one in allowed])
    return f"arrayIntersect({marks}, {choice})"


# --- one row ------------------------------------------------------------------------------------


def _used(policies: Iterable[Policy]) -> list[Recogniser]:
    """Every recogniser that some policy uses, in working order."""
    wanted = {one.name for p in policies if p.mode != "off" for one in p.recognisers}
    return list(chosen(wanted))


def _indices(policy: Policy, recognisers: Sequence[Recogniser]) -> list[int]:
    if policy.mode == "off":
        return []
    names = {one.name for one in policy.recognisers}
    return [i for i, one in enumerate(recognisers, start=1) if one.name in names]


def _is_ruled(policy: Policy) -> bool:
    """Whether some field is treated otherwise than by recognising what is in it."""
    return policy.mode != "off" and any(r.action not in ("keep", "clean") for r in policy.rules)


def _policy_number(
    redactions: Redactions, policies: Sequence[Policy], project: str, service: str
) -> str:
    """SQL: which of `policies` holds for the row."""
    tests = []
    for owner, policy in redactions.claims:
        wanted = ((project, owner.project), (service, owner.service))
        test = " AND ".join(f"{sql} = {quoted(name)}" for sql, name in wanted if name) or "1"
        tests += [test, str(policies.index(policy))]
    last = str(len(policies) - 1)
    return f"toUInt8(multiIf({', '.join(tests)}, {last}))" if tests else f"toUInt8({last})"


def _by_policy(number: str, choices: Sequence[str]) -> str:
    """SQL: the choice of the row's policy; no question is asked where all choose alike."""
    if len(set(choices)) == 1:
        return choices[0]
    tests = ", ".join(f"{number} = {i}, {sql}" for i, sql in enumerate(choices[:-1]))
    return f"multiIf({tests}, {choices[-1]})"


def _action_sql(policy: Policy, name: str) -> str:
    """SQL: the number of the action for the field whose name is `name`."""
    if policy.mode == "off":
        return str(_KEEP)
    exact: dict[str, Action] = {}
    for rule in policy.rules:
        if not rule.is_prefix:
            exact.setdefault(rule.field, rule.action)
    tests = [
        f"startsWith({name}, {quoted(rule.field)}), {_ACTIONS.index(rule.action)}"
        for rule in policy.rules
        if rule.is_prefix
    ]
    otherwise = f"multiIf({', '.join(tests)}, {_CLEAN})" if tests else str(_CLEAN)
    if not exact:
        return otherwise
    actions = [_ACTIONS.index(action) for action in exact.values()]
    return f"transform({name}, {array(tuple(exact))}, {actions}, {otherwise})"


def _haystack(where: Texts) -> str:
    """SQL: all texts of the row as one, for a first look."""
    parts = [f"raw_{name}" for name in where.texts]
    parts += [f"arrayStringConcat(mapValues(raw_{name}), '\\n')" for name in where.maps]
    parts += [
        f"arrayStringConcat(arrayFlatten(arrayMap(e -> mapValues(e), raw_{name})), '\\n')"
        for name in where.nested
    ]
    spaced = ", '\\n', ".join(parts)
    return f"concat(' ', {spaced})"


def _all_texts(where: Texts) -> str:
    parts = [f"[{', '.join(f'toString(raw_{name})' for name in where.texts)}]"] * bool(where.texts)
    parts += [f"CAST(mapValues(raw_{name}), 'Array(String)')" for name in where.maps]
    parts += [f"arrayFlatten(arrayMap(e -> mapValues(e), raw_{name}))" for name in where.nested]
    return f"arrayConcat({', '.join(parts)})"


def _all_names(where: Texts) -> str:
    parts = [array(tuple(where.texts.values()))] * bool(where.texts)
    parts += [
        f"arrayMap(k -> concat({quoted(prefix)}, k), CAST(mapKeys(raw_{name}), 'Array(String)'))"
        for name, prefix in where.maps.items()
    ]
    parts += [
        f"arrayMap(k -> concat({quoted(prefix)}, k),"
        f" arrayFlatten(arrayMap(e -> CAST(mapKeys(e), 'Array(String)'), raw_{name})))"
        for name, prefix in where.nested.items()
    ]
    return f"arrayConcat({', '.join(parts)})"


def _treated(where: Texts, policies: Sequence[Policy], recognisers: Sequence[Recogniser]) -> str:
    """SQL: every text of a suspect row as it may be kept, with its action, as pairs.

    t a text, n the name of its field, a the action for it, m its marks where it has to be cleaned.
    """
    acts = _by_policy("policy", [_action_sql(policy, "n") for policy in policies])
    hashes = _by_policy("policy", [_hash_sql("t", policy.key) for policy in policies])
    masked = quoted(MASK)
    called = "notEmpty(m)"
    cleaned = (
        f"arrayMap((tt, mm) -> {_cleaned('tt', 'mm', recognisers)}[1],"
        f" [if({called}, [t], CAST([], 'Array(String)'))],"
        f" [if({called}, [m], CAST([], 'Array(Array(UInt64))'))])[1]"
    )
    result = (
        f"multiIf({called}, {cleaned}, a <= {_KEEP}, t, a = {_DROP} OR t = '', '',"
        f" a = {_MASK}, {masked}, {hashes})"
    )
    marks = f"if(a = {_CLEAN}, {_marks(policies, recognisers)}, CAST([], 'Array(UInt64)'))"
    result = f"arrayMap((a, m) -> ({result}, a), [a], [{marks}])[1]"
    result = f"arrayMap(a -> {result}, [toUInt8({acts})])[1]"
    texts = f"if(suspect, {_all_texts(where)}, CAST([], 'Array(String)'))"
    names = f"if(suspect, {_all_names(where)}, CAST([], 'Array(String)'))"
    return f"arrayMap((t, n) -> {result}, {texts}, {names})"


def _drops(policy: Policy) -> bool:
    return policy.mode != "off" and any(rule.action == "drop" for rule in policy.rules)


def _hash_sql(text: str, key: bytes) -> str:
    """SQL: HMAC-SHA256 (RFC 2104) of a text, as `domain.redaction.hashed` has it."""
    if not key:
        return quoted(MASK)
    block = key.ljust(64, b"\0")
    inner = bytes(byte ^ 0x36 for byte in block).hex()
    outer = bytes(byte ^ 0x5C for byte in block).hex()
    digest = f"SHA256(concat(unhex('{outer}'), SHA256(concat(unhex('{inner}'), {text}))))"
    mark = quoted(HASH_MARK)
    done = f"startsWith({text}, {mark}) AND length({text}) = {len(HASH_MARK) + HASH_DIGITS}"
    return f"if({done}, {text}, concat({mark}, substring(lower(hex({digest})), 1, {HASH_DIGITS})))"


def _columns(where: Texts, types: Mapping[str, str], *, may_drop: bool) -> dict[str, str]:
    """The columns, taken from `treated` where the row is suspect."""
    found = {
        name: f"if(suspect, treated[{place}].1, raw_{name})"
        for place, name in enumerate(where.texts, start=1)
    }
    start = str(len(where.texts))
    for name in where.maps:
        raw, kind = f"raw_{name}", types[name]
        size = f"length({raw})"
        found[name] = f"if(suspect, {_map(raw, start, size, kind, may_drop)}, {raw})"
        start += f" + {size}"
    for name in where.nested:
        raw, kind = f"raw_{name}", types[name]
        inner = kind.removeprefix("Array(")[:-1]
        ends = f"arrayCumSum(arrayMap(e -> length(e), {raw}))"
        one = _map("e", f"{start} + last - length(e)", "length(e)", inner, may_drop)
        found[name] = f"if(suspect, arrayMap((e, last) -> {one}, {raw}, {ends}), {raw})"
        start += f" + arraySum(arrayMap(e -> length(e), {raw}))"
    return found


def _map(raw: str, start: str, size: str, kind: str, may_drop: bool) -> str:
    """SQL: the map `raw` with the treated texts from `start`, without what is dropped."""
    pairs = f"arraySlice(treated, {start} + 1, {size})"
    # Rows that are clean have nothing in `treated`, and the engine computes this for them as well.
    keys = f"arraySlice(mapKeys({raw}), 1, length({pairs}))"
    texts = f"{pairs}.1"
    if may_drop:
        keys = f"arrayFilter((k, p) -> p.2 != {_DROP}, {keys}, {pairs})"
        texts = f"arrayFilter(p -> p.2 != {_DROP}, {pairs}).1"
    return f"CAST(mapFromArrays({keys}, {texts}), '{kind}')"
