"""How well and at what price personal data is recognised: precision, recall, microseconds a text.

Every recogniser reads the labelled sample (`benchmarks.personal`) on its own, and all of them
together. A value counts as found when no letter or digit of it is left and the rest of the text is
as it was. A replacement counts as right when it stands where somebody's value stood, of whatever
kind. Intervals are Clopper-Pearson, 95 %.

BENCH_TEXTS names a directory of Parquet files with real texts: what is replaced in them is
counted by recogniser, and the cost is measured on them. BENCH_PEERS names a Python that has
`presidio-analyzer` and `faker` (`benchmarks.peers`): the pattern recognisers of the one read the
same sample, and values that the other invents are read by ours, in a bare sentence and after a
name.
"""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from scipy.stats import beta

from benchmarks.personal import NAMED, POSITIVE, SENTENCES, Labelled, sample
from tocsin.domain.recogniser import Recogniser
from tocsin.domain.recognisers import RECOGNISERS
from tocsin.domain.redaction import clean
from tocsin.store.clickhouse import ClickHouse, literal
from tocsin.store.otlp_kinds import PLANNING
from tocsin.store.redaction import clean_sql

PER_KIND, SEED = 200, 2026
LENGTH = 1200  # letters of a text whose cost is measured
COPIES = 30_000
_PLACEHOLDER = re.compile(r"\[[a-z ]+\]@?")

# Which of Presidio's recognisers looks for what; it has none for the others.
PRESIDIO = {
    "email": "EmailRecognizer", "phone": "PhoneRecognizer", "card": "CreditCardRecognizer",
    "iban": "IbanRecognizer", "ipv4": "IpRecognizer", "ipv6": "IpRecognizer",
    "us_ssn": "UsSsnRecognizer", "uk_nino": "UkNinoRecognizer", "de_tax_id": "DeTaxIdRecognizer",
    "es_dni": "EsNifRecognizer", "it_cf": "ItFiscalCodeRecognizer", "pl_pesel": "PlPeselRecognizer",
    "in_aadhaar": "InAadhaarRecognizer", "se_pnr": "SePersonnummerRecognizer",
}  # fmt: skip


def run() -> dict[str, Any]:
    """Quality by recogniser, together, on real texts, against Presidio, and the cost."""
    labelled = sample(PER_KIND, SEED)
    texts = _real_texts()
    cost = _costs(texts or [one.text for one in labelled])
    by_name = {
        one.name: {**_quality(labelled, one.name, lambda t, r=one: clean(t, [r])), **cost[one.name]}
        for one in RECOGNISERS
    }
    return {
        "what": "recognition of personal data and secrets before storage",
        "sample": {"texts": len(labelled), "values_a_kind": PER_KIND, "seed": SEED},
        "recognisers": by_name,
        "together": {**_quality(labelled, "", clean), **cost["all"]},
        "real_texts": _on_real_texts(texts),
        **_peers(labelled),
    }


# --- quality ------------------------------------------------------------------------------------


def _quality(
    labelled: Sequence[Labelled], kind: str, cleaner: Callable[[str], str]
) -> dict[str, Any]:
    found = missed = right = wrong = 0
    for one in labelled:
        cleaned = cleaner(one.text)
        gone = _gone(one, cleaned)
        if one.kind == kind or (not kind and one.kind):
            found += sum(gone)
            missed += len(gone) - sum(gone)
        replaced = len(_PLACEHOLDER.findall(cleaned))
        hits = min(replaced, sum(value not in cleaned for value in one.values))
        right += hits
        wrong += replaced - hits
    return {"recall": _share(found, found + missed), "precision": _share(right, right + wrong)}


def _gone(one: Labelled, cleaned: str) -> list[bool]:
    """For each value, whether no letter or digit is left of it, and all else is as it was."""
    frame = re.escape(one.text)
    for value in one.values:
        frame = frame.replace(re.escape(value), "(.*)", 1)
    match = re.fullmatch(frame, cleaned, re.DOTALL)
    if match is None:
        return [False] * len(one.values)
    return [not re.search(r"\w", _PLACEHOLDER.sub("", part)) for part in match.groups()]


def _share(part: int, whole: int) -> dict[str, Any]:
    if whole == 0:
        return {"n": 0, "share": None}
    low = beta.ppf(0.025, part, whole - part + 1) if part else 0.0
    high = beta.ppf(0.975, part + 1, whole - part) if part < whole else 1.0
    return {
        "n": whole,
        "share": round(part / whole, 4),
        "low": round(float(low), 4),
        "high": round(float(high), 4),
    }


# --- real texts ---------------------------------------------------------------------------------


def _real_texts() -> list[str]:
    directory = os.environ.get("BENCH_TEXTS")
    if not directory:
        print("redaction: BENCH_TEXTS names no directory; only the sample is read")
        return []
    found: list[str] = []
    for file in sorted(Path(directory).glob("*.parquet")):
        table = pq.read_table(file)
        for name, field in zip(table.column_names, table.schema, strict=True):
            if pa.types.is_string(field.type) or pa.types.is_large_string(field.type):
                column = [text for text in table[name].to_pylist() if text and len(text) > 20]
                found += column if sum(map(len, column)) > 50 * len(column) else []
    return list(dict.fromkeys(found))


def _on_real_texts(texts: Sequence[str]) -> dict[str, Any]:
    """What is replaced in real texts, by recogniser; the values themselves are printed only."""
    counts: Counter[str] = Counter()
    touched = 0
    for text in texts:
        touched += clean(text) != text
        for one in RECOGNISERS:
            count = clean(text, [one]).count(one.replacement) - text.count(one.replacement)
            counts[one.name] += count
            if count and os.environ.get("BENCH_SHOW"):
                print(one.name, count, repr(_context(text, one)))
    return {"texts": len(texts), "letters": sum(map(len, texts)), "touched": touched,
            "replacements": {name: n for name, n in counts.items() if n}}  # fmt: skip


def _context(text: str, one: Recogniser) -> str:
    cleaned = clean(text, [one])
    pairs = enumerate(zip(text, cleaned, strict=False))
    at = next((i for i, (a, b) in pairs if a != b), len(text))
    return text[max(0, at - 40) : at + 40]


# --- cost ---------------------------------------------------------------------------------------


def _costs(texts: Sequence[str]) -> dict[str, dict[str, float]]:
    """Microseconds of processor time a text of `LENGTH` letters, in the engine and in Python."""
    joined = "\n".join(texts)
    pieces = [joined[i : i + LENGTH] for i in range(0, len(joined) - LENGTH, LENGTH)][:2000]
    copies = -(-COPIES // len(pieces))
    planned = ", ".join(f"{name} = {literal(value)}" for name, value in PLANNING.items())
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "texts.parquet"
        pq.write_table(pa.table({"t": pieces * copies}), file)
        engine = ClickHouse.embedded(Path(directory) / "clickhouse", memory_bytes=2 << 30)
        engine.execute("CREATE TABLE texts (t String) ENGINE = Memory")
        engine.execute(f"INSERT INTO texts SELECT t FROM file({literal(str(file))}, Parquet)")

        def in_engine(expression: str) -> float:
            sql = f"SELECT sum(length({expression})) FROM texts SETTINGS max_threads = 1, {planned}"
            return min(_cpu_s(lambda: engine.rows(sql)) for _ in range(3)) / len(pieces) / copies

        idle = in_engine("t")
        found = {}
        for name, chosen in [("all", RECOGNISERS), *((r.name, (r,)) for r in RECOGNISERS)]:
            engine_us = (in_engine(clean_sql("t", chosen)) - idle) * 1e6
            python_us = _cpu_s(lambda c=chosen: [clean(p, c) for p in pieces]) / len(pieces) * 1e6
            found[name] = {"sql_us": round(engine_us, 2), "python_us": round(python_us, 2)}
        engine.close()
    return found


def _cpu_s(work: Callable[[], Any]) -> float:
    before = resource.getrusage(resource.RUSAGE_SELF)
    work()
    after = resource.getrusage(resource.RUSAGE_SELF)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


# --- others --------------------------------------------------------------------------------------


def _peers(labelled: Sequence[Labelled], least: float = 0.4) -> dict[str, Any]:
    """Faker's values as we read them, and our sample as Presidio's recognisers read it.

    One by one, no language model; what Presidio scores `least` or more counts.
    """
    python = os.environ.get("BENCH_PEERS")
    if not python:
        skipped = {"skipped": "BENCH_PEERS names no Python with presidio-analyzer and faker"}
        return {"faker": skipped, "presidio": skipped}
    texts = [one.text for one in labelled]
    task = {
        "invent": {"count": PER_KIND, "seed": SEED},
        "read": {"recognizers": PRESIDIO, "texts": texts, "least": least},
    }
    script = Path(__file__).with_name("peers.py")
    done = subprocess.run(
        [python, str(script)], input=json.dumps(task), capture_output=True, text=True, check=True
    )
    answer = json.loads(done.stdout)
    presidio = {
        kind: {**_spans_quality(labelled, kind, spans), "python_us": round(cost, 1)}
        for kind, (spans, cost) in answer["read"].items()
    }
    invented = {
        kind: {
            "bare": _invented(kind, values, SENTENCES[0]),
            "named": _invented(kind, values, NAMED.get(kind, SENTENCES)[0]),
        }
        for kind, values in answer["invented"].items()
    }
    return {"faker": invented, "presidio": {"least_score": least, **presidio}}


def _invented(kind: str, values: Sequence[str], frame: str) -> dict[str, Any]:
    texts = [Labelled(frame.format(v=value, w=""), kind, (value,)) for value in values]
    return _share(sum(_gone(one, clean(one.text))[0] for one in texts), len(texts))


def _spans_quality(
    labelled: Sequence[Labelled], kind: str, spans: Iterable[list[list[int]]]
) -> dict[str, Any]:
    found = missed = right = wrong = 0
    for one, hits in zip(labelled, spans, strict=True):
        places = [(one.text.find(v), one.text.find(v) + len(v)) for v in one.values]
        if one.kind == kind:
            covered = [any(a <= start and b >= stop for a, b in hits) for start, stop in places]
            found += sum(covered)
            missed += len(covered) - sum(covered)
        good = sum(any(a < stop and b > start for start, stop in places) for a, b in hits)
        right += good
        wrong += len(hits) - good
    return {"recall": _share(found, found + missed), "precision": _share(right, right + wrong)}


assert set(POSITIVE) == {one.name for one in RECOGNISERS}, "a recogniser without a sample"
