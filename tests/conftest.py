"""What holds for every test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture(autouse=True)
def _logs_as_before() -> Iterator[None]:
    """A command run in this process configures logs, to a stream that ends with its test."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)
