"""What is asked of an export, in words, as the command line and the API have it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from tocsin.engine.exchange.exporting import COMPRESSIONS, FORMATS
from tocsin.store.exports import KINDS, CannotExport, Wanted


@dataclass(frozen=True, slots=True)
class ExportWish:
    """An export: what, how it is written, and which rows. Times may be left out."""

    what: str
    form: str = "parquet"
    compression: str = ""
    start: datetime | None = None
    stop: datetime | None = None
    as_of: datetime | None = None
    service: str = ""
    model: str = ""
    kind: str = ""
    env: str = ""
    dims: Sequence[str] = ()
    content: bool = False

    def wanted(self, now: datetime) -> Wanted:
        """What is to be read: the day before `stop`, and until `now`, unless times are told.

        CannotExport for what cannot be exported, or not so.
        """
        for name, value, known in (
            ("export", self.what, KINDS),
            ("format", self.form, FORMATS),
            ("compression", self.compression, COMPRESSIONS),
        ):
            if value not in known:
                words = ", ".join(filter(None, known))
                raise CannotExport(f"{name} {value!r} is not known; use {words}")
        if self.form == "parquet" and self.compression:
            raise CannotExport("Parquet is compressed inside; leave compression out")
        pairs = [text.partition("=") for text in self.dims]
        if any(not mark for _, mark, _ in pairs):
            raise CannotExport("a dimension is asked for as name=value, like tier=pro")
        stop = self.stop or now
        return Wanted(
            self.what, self.start or stop - timedelta(days=1), stop, self.as_of or now,
            self.service, self.model, self.kind, self.env,
            {name: value for name, _, value in pairs}, self.content,
        )  # fmt: skip
