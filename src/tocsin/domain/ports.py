"""The edges as the engine sees them; stores and channels implement these, tests may too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, Protocol

from tocsin.domain.dependencies import DependencyStatus
from tocsin.domain.evidence import EvidenceDay, Review
from tocsin.domain.findings import Alert, Incident, LedgerEvent, NewEffect
from tocsin.domain.health import HealthSample
from tocsin.domain.samples import Sample, Wish
from tocsin.domain.series import Change, HourBlock, MinuteBlock, Ratio, SeriesId


class MinuteSource(Protocol):
    """Where counts per minute come from: ClickHouse, or a file under backtest."""

    def minutes(
        self, monitored: Mapping[SeriesId, Ratio], services: Sequence[str], start: int, stop: int
    ) -> MinuteBlock:
        """Counts of every series and histograms of every service, epoch minutes [start, stop).

        One batch of queries whatever the number of series. Rows of the block follow the order of
        `monitored` and `services`; a minute without calls is a column of zeros. In place of series
        with the segment's value EACH the block ends with a row for every value that occurred, and
        has its histogram in `cells` where the ratio asks for one.
        """
        ...

    def changes(self, start: int, stop: int) -> Sequence[Change]:
        """Deploys and other changes in [start, stop), oldest first."""
        ...

    def sample(self, wish: Wish, start: int, stop: int) -> Sample | None:
        """At most `wish.most` calls that ended in epoch minutes [start, stop), the same ones each
        time; None from a source that has no single calls."""
        ...


class History(MinuteSource, Protocol):
    """A source of minutes that also knows what was long ago, by the hour."""

    def hours(self, monitored: Mapping[SeriesId, Ratio], start: int, stop: int) -> HourBlock:
        """Counts of every series in epoch hours [start, stop): the sums of their minutes."""
        ...


class StateTransaction(Protocol):
    """One atomic write: state, ledger and effects appear together or not at all."""

    def put_alert(self, alert: Alert) -> None:
        """Insert or replace by fingerprint."""
        ...

    def put_alerts(self, alerts: Sequence[Alert]) -> None:
        """As `put_alert`, many at once."""
        ...

    def put_incident(
        self, incident: Incident, *, expect_version: int | None, before: Incident | None = None
    ) -> None:
        """Insert (None) or compare-and-set from `expect_version`; raises Conflict. before: that
        version, where it is known."""
        ...

    def add_effect(self, effect: NewEffect) -> bool:
        """Insert unless an effect with this key exists; says whether it was new."""
        ...

    def cancel_effects(self, incident_id: str, *, reason: str, kinds: Sequence[str] = ()) -> int:
        """Cancel ready effects of an incident (all kinds by default); returns how many."""
        ...

    def append(self, event: LedgerEvent) -> str:
        """Add to the hash chain; returns the entry's hash."""
        ...

    def append_all(self, events: Sequence[LedgerEvent]) -> Any:
        """As `append`, many in their order."""
        ...

    def add_digest_item(self, digest: str, at: datetime, fingerprint: str, text: str) -> None:
        """A line for the next issue of a digest."""
        ...

    def note_evidence(self, days: Sequence[EvidenceDay]) -> None:
        """Join days of evidence to what is known of them; again makes no difference."""
        ...

    def forget_evidence(self, before: int) -> None:
        """Drop days before this one, counted since 1970."""
        ...

    def put_health(self, samples: Sequence[HealthSample]) -> None:
        """Insert or replace, by name and minute."""
        ...

    def put_formula(self, digest: str, name: str, since: int, body: Mapping[str, Any]) -> None:
        """Keep what a score is computed by from epoch minute `since` on, if it is new."""
        ...

    def forget_health(self, before: int) -> None:
        """Drop samples before this epoch minute."""
        ...

    def get_meta(self, name: str) -> Any:
        """A small durable value (JSON) as this transaction sees it, or None."""
        ...

    def set_meta(self, name: str, value: Any) -> None:
        """Store a small durable value."""
        ...


class State(Protocol):
    """Durable state of the engine."""

    def transaction(self) -> AbstractContextManager[StateTransaction]:
        """Commits on normal exit, rolls back on an exception."""
        ...

    def alerts(self) -> Mapping[str, Alert]:
        """Every alert that is not resolved, by fingerprint."""
        ...

    def incidents(self, *, live_only: bool = True) -> Mapping[str, Incident]:
        """Latest episode per group key, by group key; with `live_only`, not yet closed ones."""
        ...

    def dependencies(self) -> Sequence[DependencyStatus]:
        """What sources say of dependencies, the latest word of each."""
        ...

    def messages_about(self, incident_id: str) -> Sequence[tuple[str, str]]:
        """(receiver, action) of messages that were sent, may have arrived, or are under way; an end
        only when it was sent."""
        ...

    def evidence(
        self, first: int, stop: int, monitors: Sequence[str] | None = None
    ) -> Sequence[EvidenceDay]:
        """What detectors found in days [first, stop) since 1970: some of them, or all."""
        ...

    def reviews(self, since: datetime, until: datetime) -> Sequence[Review]:
        """Incidents that were open in [since, until), oldest first, with the last verdict that was
        given before `until`."""
        ...

    def health_samples(self, name: str, start: int, stop: int) -> Sequence[HealthSample]:
        """Of one health score in epoch minutes [start, stop), oldest first."""
        ...

    def newest_health(self) -> Mapping[str, HealthSample]:
        """The last sample of every health score, by name."""
        ...

    def health_formulas(self, digests: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
        """What health scores were computed by, by digest."""
        ...

    def get_meta(self, name: str) -> Any:
        """A small durable value (JSON), or None."""
        ...

    def set_meta(self, name: str, value: Any) -> None:
        """Store a small durable value."""
        ...
