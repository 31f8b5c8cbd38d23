"""Percentages never look better than they are."""

from __future__ import annotations

import pytest

from tocsin.domain.figures import percent


@pytest.mark.parametrize(
    ("share", "digits", "text"),
    [
        (0.0, 2, "0 %"),
        (0.00412, 2, "0.41 %"),
        (0.1549, 2, "15 %"),
        (0.1549, 4, "15.49 %"),
        (0.9949, 2, "99.5 %"),
        (0.995, 4, "99.5 %"),
        (0.99987, 4, "99.99 %"),
        (0.99999, 4, "99.999 %"),
        (0.999999, 2, "99.9999 %"),
        (1.0, 2, "100 %"),
        (1.2345, 2, "123 %"),
        (12.5, 2, "1250 %"),
        (-0.25, 3, "-25 %"),
        (1.6e-7, 2, "0.000016 %"),
    ],
)
def test_a_percentage_keeps_its_digits_and_what_is_missing(
    share: float, digits: int, text: str
) -> None:
    assert percent(share, digits) == text
