"""State databases that several workers share, of each kind there is."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


def _backends() -> list[Any]:
    skip = pytest.mark.skipif(
        "TOCSIN_TEST_POSTGRES" not in os.environ, reason="TOCSIN_TEST_POSTGRES names no database"
    )
    return ["sqlite", pytest.param("postgres", marks=[pytest.mark.postgres, skip])]


@pytest.fixture(params=_backends())
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of an empty one."""
    if request.param == "sqlite":
        yield str(tmp_path / "state.db")
        return
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "store"))
    from state_build import postgres_schema

    with postgres_schema() as url:
        yield url
