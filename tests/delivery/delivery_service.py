"""What all strict stand-ins for services share: a clock, a notebook, and how bodies are read."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from starlette.requests import Request

Record = Callable[[str, datetime, Mapping[str, str], str], None]


def is_text(value: Any, longest: int) -> bool:
    return isinstance(value, str) and len(value) <= longest


@dataclass
class Service:
    """The clock and the notebook that all of them share."""

    record: Record
    now: Callable[[], datetime]

    def accept(self, request: Request, body: bytes) -> None:
        headers = {k: v for k, v in request.headers.items() if k != "authorization"}
        self.record(type(self).__name__.lower(), self.now(), headers, body.decode())


def parsed(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
