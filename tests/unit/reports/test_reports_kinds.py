"""Every report says which facts it needs: no more is read, and nothing it lays out is missing."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, date, datetime
from typing import Any, get_args

import pytest

from tocsin.reports.facts import Facts, Part, ServiceFacts, Totals
from tocsin.reports.kinds import TEMPLATES, build
from tocsin.reports.report import Manifest
from tocsin.reports.responses import figures

AT = datetime(2026, 11, 16, tzinfo=UTC)
PARTS = frozenset(get_args(Part))
read: set[str] = set()


class _Watched:
    def __getattribute__(self, name: str) -> Any:
        if name in PARTS:
            read.add(name)
        return super().__getattribute__(name)


class WatchedFacts(_Watched, Facts):
    """Facts that know what was looked at."""


class WatchedService(_Watched, ServiceFacts):
    """A service that knows it as well."""


def test_parts_are_fields_of_the_facts() -> None:
    known = {field.name for kind in (Facts, ServiceFacts) for field in fields(kind)}
    assert known >= PARTS


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_report_looks_at_what_it_needs_and_at_nothing_else(name: str) -> None:
    now = Totals(calls=10, failed=1)
    service = WatchedService("chat", "Chat", {}, now, now, "", ((date(2026, 11, 15), now),))
    paging = figures((), AT, AT, "UTC")
    facts = WatchedFacts(AT, AT, AT, "UTC", (service,), (), (), paging)
    template = TEMPLATES[name]
    read.clear()
    about = Manifest(name, AT, AT, AT, "UTC", "1", (), (), {})
    build(template, facts, about, name, template.title, template.by)
    assert read == template.needs
