"""Lengths of time as OpenSLO writes them: 5m, 1h, 28d, 2w, 1M (a month), 1Q, 1Y."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, cast

from pydantic import BeforeValidator, PlainValidator, WithJsonSchema

from tocsin.assess.period import Length, Unit

_LENGTH = r"([1-9][0-9]*)([mhdwMQY])"


def _read_length(text: object) -> Length:
    found = re.fullmatch(_LENGTH, text) if isinstance(text, str) else None
    if found is None:
        raise ValueError(f"must be a duration such as 1h, 7d or 1M, not {text!r}")
    return Length(int(found[1]), cast(Unit, found[2]))


def _read_minutes(text: object) -> int:
    length = _read_length(text)
    if length.unit in "MQY":
        raise ValueError(f"{text!r} is a length of the calendar; write days (30d)")
    return length.minutes


def _read_start(text: str) -> datetime:
    try:
        start = datetime.strptime(text, "%Y-%m-%d %H:%M:%S")  # noqa: DTZ007 (in its own zone)
    except ValueError:
        raise ValueError(
            f"must be a local time such as 2026-01-01 00:00:00, not {text!r}"
        ) from None
    return start.replace(second=0)


_DURATION_SCHEMA = {"type": "string", "pattern": f"^{_LENGTH}$"}
Window = Annotated[
    int, BeforeValidator(_read_minutes), WithJsonSchema({**_DURATION_SCHEMA, "examples": ["28d"]})
]
WindowLength = Annotated[
    Length,
    PlainValidator(_read_length),
    WithJsonSchema({**_DURATION_SCHEMA, "examples": ["28d", "1M"]}),
]
LocalTime = Annotated[
    datetime,
    PlainValidator(_read_start),
    WithJsonSchema({"type": "string", "examples": ["2026-01-01 00:00:00"]}),
]
