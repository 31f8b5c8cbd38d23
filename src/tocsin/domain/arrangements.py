"""What people arrange for a while, beside the configuration: silences, maintenance, stand-ins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

ArrangementKind = Literal["silence", "maintenance", "override"]


@dataclass(frozen=True, slots=True)
class Arrangement:
    """Something that holds in [start, stop) because a person said so.

    silence, maintenance: nobody is told about alerts matching `when`. override: `user` is on call
    in `schedule`. Ending one early moves its stop; it is never forgotten.
    """

    id: str
    kind: ArrangementKind
    start: datetime
    stop: datetime
    made_by: str
    made_at: datetime
    comment: str = ""
    when: Mapping[str, Any] = field(default_factory=dict)
    schedule: str = ""
    user: str = ""
