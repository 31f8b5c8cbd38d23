"""What a file of history held, and how much of it a configuration is about: said, never assumed.

Silence of a backtest must mean that nothing happened, not that nothing was looked at.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from tocsin.domain.clock import from_minute
from tocsin.domain.findings import Judgement, Verdict
from tocsin.engine.counts import CountsFile
from tocsin.engine.files import CallsFile
from tocsin.spec.desired import Desired

_MOST = 8  # names that are listed of each kind


def found_in(source: CountsFile | CallsFile, desired: Desired) -> list[str]:
    """Lines about the file: what it holds, what of it nobody watches, how failures were read."""
    start, stop = source.span
    span = f"{from_minute(start):%Y-%m-%d %H:%M} to {from_minute(stop):%Y-%m-%d %H:%M} UTC"
    if isinstance(source, CountsFile):
        rows = Counter(dict.fromkeys((service for service, _ in source.keys), 0))
        lines = [f"{len(source.minute):,} rows of counts, {span}"]
    else:
        rows = Counter(source.service.tolist())
        errors = int(source.error.sum())
        lines = [
            f"{len(source.minute):,} calls of {len(rows)} services, {errors:,} failed"
            f" ({int(source.failed.sum()):,} the service's own failures or cut off), {span}"
        ]
        if source.read:
            words = [f"{word} as {class_}" for word, class_ in source.read.items()]
            lines.append(f"failures were read: {_some(words)}")
    unknown = [(name, count) for name, count in rows.most_common() if name not in desired.services]
    if unknown:
        told = [
            f"{name or '(no name)'}{f' ({count:,} calls)' if count else ''}"
            for name, count in unknown
        ]
        lines.append(f"not judged, for no Service document has the name: {_some(told)}")
    absent = [name for name in desired.services if name not in rows]
    if absent:
        lines.append(f"not in the file: {_some(absent)}")
    return lines


@dataclass
class Unjudged:
    """Which monitors never could say anything, and why not the last time they were asked."""

    reasons: dict[tuple[str, str], str] = field(default_factory=dict)
    known: set[tuple[str, str]] = field(default_factory=set)

    def hear(self, verdicts: Sequence[Verdict]) -> None:
        """Listen to the verdicts of a minute."""
        for verdict in verdicts:
            key = (verdict.monitor, verdict.service)
            if verdict.judgement is not Judgement.UNKNOWN:
                self.known.add(key)
            elif key not in self.known:
                self.reasons[key] = verdict.reason

    def lines(self) -> list[str]:
        """One line for each reason, with the monitors it is true of."""
        by_reason: dict[str, list[str]] = {}
        for key, reason in self.reasons.items():
            if key not in self.known:
                by_reason.setdefault(reason, []).append(key[0])
        found = sorted(by_reason.items(), key=lambda item: -len(item[1]))
        lines = [
            f"judged nothing in all the time: {_some(names)}: {reason or 'no reason given'}"
            for reason, names in found[:_MOST]
        ]
        rest = sum(len(names) for _, names in found[_MOST:])
        return lines + ([f"judged nothing in all the time: {rest} more monitors"] if rest else [])


def _some(names: Sequence[str]) -> str:
    more = f", and {len(names) - _MOST} more" if len(names) > _MOST else ""
    return ", ".join(names[:_MOST]) + more
