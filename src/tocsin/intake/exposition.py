"""A page in Prometheus' text format or OpenMetrics as OTLP metric points.

Counters keep the name with `_total`. They are cumulative since `_created` where the page says so;
elsewhere the start is unknown, and a fall means that the process began anew. The start of the
process is not taken for it: many counters, those of a host above all, are older than the process
that shows them, and its restart would count all their past once more.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from prometheus_client import parser
from prometheus_client.openmetrics import parser as openmetrics

from tocsin.intake.points import UNKNOWN_START, MetricRequest

OPENMETRICS = "application/openmetrics-text"
_LONGEST_LINE = 1 << 16  # the parsers take the square of its labels
_TOTAL, _CREATED = "_total", "_created"
_LEVELS = {"gauge", "unknown", "untyped", "info", "stateset"}

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Page:
    """What became of a page: samples seen, points written, and what was left out, in words."""

    samples: int
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class _Group:
    """The samples of one histogram or summary with the same labels."""

    buckets: list[tuple[float, float]] = field(default_factory=list)
    count: float = math.nan
    total: float = math.nan
    at_s: float | None = None


def families(text: str, content_type: str) -> Iterable[Any]:
    """The metric families of a page. ValueError for what is neither format."""
    if any(len(line) > _LONGEST_LINE for line in text.split("\n")):
        raise ValueError(f"a line is longer than {_LONGEST_LINE} characters")
    read = openmetrics if content_type.startswith(OPENMETRICS) else parser
    try:
        yield from read.text_string_to_metric_families(text)
    except (LookupError, TypeError, AttributeError, ArithmeticError) as error:
        # What a parser of other people's pages raises for a malformed line is not of one kind.
        raise ValueError(str(error)) from None


def write(
    found: Iterable[Any], request: MetricRequest, now_ns: int, *, wanted: Sequence[str] = (),
    most_samples: int,
) -> Page:  # fmt: skip
    """Add every family whose name is wanted to `request`; all of them when nothing is named.

    wanted: names with `*`; that of a counter may be written with `_total` or without. ValueError
    when there are more than `most_samples`, before all of them are read.
    """
    chosen = []
    samples = 0
    for family in found:
        if _is_wanted(family, wanted):
            samples += len(family.samples)
            if samples > most_samples:
                raise ValueError(f"it shows more than {most_samples} samples; name the metrics")
            chosen.append(family)
    starts = _starts(chosen)
    notes = ["nothing on the page is one of the named metrics"] if wanted and not samples else []
    for family in chosen:
        try:
            _write_family(family, request, now_ns, starts)
        except (ValueError, OverflowError) as error:
            notes.append(f"{family.name}: {error}")
    return Page(samples, tuple(notes))


# --- private -----------------------------------------------------------------------------------


def _is_wanted(family: Any, wanted: Sequence[str]) -> bool:
    base = family.name.removesuffix(_CREATED)
    return not wanted or any(
        fnmatchcase(name, pattern)
        for pattern in wanted
        for name in (family.name, base, base + _TOTAL)
    )


def _starts(found: Iterable[Any]) -> Mapping[tuple[str, Labels], int]:
    """(name, labels) -> since when, from the samples that say so."""
    return {
        (sample.name.removesuffix(_CREATED), _labels(sample.labels)): int(sample.value * 1e9)
        for family in found
        for sample in family.samples
        if sample.name.endswith(_CREATED) and 0 < sample.value < 1e10
    }


def _write_family(
    family: Any, request: MetricRequest, now_ns: int, starts: Mapping[tuple[str, Labels], int]
) -> None:
    writer = _WRITERS.get(family.type)
    if writer is not None:
        writer(family, request, now_ns, starts)
    elif family.type not in _LEVELS:
        raise ValueError(f"a {family.type} is not read")
    elif not (family.name.endswith(_CREATED) and _is_start(family, starts)):
        for sample in family.samples:
            at_ns = _moment(sample.timestamp, now_ns)
            request.level(sample.name, at_ns, float(sample.value), sample.labels, unit=family.unit)


def _is_start(family: Any, starts: Mapping[tuple[str, Labels], int]) -> bool:
    """Whether the text format shows the starts of another family as one of its own."""
    base = family.name.removesuffix(_CREATED)
    return any((base, _labels(sample.labels)) in starts for sample in family.samples)


def _counter(
    family: Any, request: MetricRequest, now_ns: int, starts: Mapping[tuple[str, Labels], int]
) -> None:
    for sample in family.samples:
        if not sample.name.endswith(_CREATED):
            start = starts.get((family.name, _labels(sample.labels)), UNKNOWN_START)
            at_ns = _moment(sample.timestamp, now_ns)
            request.counter(
                sample.name, start, at_ns, float(sample.value), sample.labels, unit=family.unit
            )


def _histogram(
    family: Any, request: MetricRequest, now_ns: int, starts: Mapping[tuple[str, Labels], int]
) -> None:
    for labels, group in _grouped(family, "le").items():
        buckets = sorted(group.buckets)
        top = buckets[-1][1] if buckets else math.nan
        count = top if math.isnan(group.count) else group.count
        start = starts.get((family.name, labels), UNKNOWN_START)
        at_ns = _moment(group.at_s, now_ns)
        request.histogram(
            family.name, start, at_ns, buckets, count, group.total, dict(labels), unit=family.unit
        )


def _summary(
    family: Any, request: MetricRequest, now_ns: int, starts: Mapping[tuple[str, Labels], int]
) -> None:
    for labels, group in _grouped(family, "quantile").items():
        start = starts.get((family.name, labels), UNKNOWN_START)
        at_ns = _moment(group.at_s, now_ns)
        request.summary(
            family.name, start, at_ns, dict(group.buckets), group.count, group.total,
            dict(labels), unit=family.unit,
        )  # fmt: skip


_Writer = Callable[[Any, MetricRequest, int, Mapping[tuple[str, Labels], int]], None]
_WRITERS: Mapping[str, _Writer] = {
    "counter": _counter,
    "histogram": _histogram,
    "summary": _summary,
}


def _grouped(family: Any, key: str) -> Mapping[Labels, _Group]:
    """Samples by their labels without `key`, whose value is the bound or the quantile."""
    found: dict[Labels, _Group] = defaultdict(_Group)
    for sample in family.samples:
        rest = {name: value for name, value in sample.labels.items() if name != key}
        if sample.name.endswith(_CREATED):
            continue
        group = found[_labels(rest)]
        group.at_s = sample.timestamp
        if sample.name.endswith("_count"):
            group.count = float(sample.value)
        elif sample.name.endswith("_sum"):
            group.total = float(sample.value)
        elif key in sample.labels:
            group.buckets.append((float(sample.labels[key]), float(sample.value)))
    return found


def _labels(labels: Mapping[str, str]) -> Labels:
    return tuple(sorted(labels.items()))


def _moment(seconds: Any, now_ns: int) -> int:
    return now_ns if seconds is None else int(float(seconds) * 1e9)
