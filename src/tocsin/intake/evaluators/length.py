"""`length`: whether an answer has as many words or characters as it should."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tocsin.domain.evaluation import Answer
from tocsin.intake.evaluator import OnItsOwn, Opinion, text_of


@dataclass(frozen=True, slots=True)
class LengthConfig:
    """Limits, both ends included; 0 is none."""

    min_words: int = 0
    max_words: int = 0
    min_chars: int = 0
    max_chars: int = 0

    def __post_init__(self) -> None:
        limits = (self.min_words, self.max_words, self.min_chars, self.max_chars)
        if min(limits) < 0 or not any(limits):
            raise ValueError("give at least one limit above 0, such as max_words: 200")
        if 0 < self.max_words < self.min_words or 0 < self.max_chars < self.min_chars:
            raise ValueError("the lower limit is above the upper one")


class LengthCheck(OnItsOwn):
    """Words are what stands between spaces.

    Assumes a length that suits every question. Misleads in languages that put no spaces between
    words (limit characters there), and where a short answer is the right one.
    """

    Config: ClassVar[type[LengthConfig]] = LengthConfig

    def __init__(self, config: LengthConfig) -> None:
        self.config = config

    async def judge(self, answer: Answer) -> Opinion:
        """fits, too short, or too long."""
        text = text_of(answer).strip()
        words, chars, config = len(text.split()), len(text), self.config
        said = f"{words} words, {chars} characters"
        if words < config.min_words or chars < config.min_chars:
            return Opinion(0.0, "too short", said)
        if 0 < config.max_words < words or 0 < config.max_chars < chars:
            return Opinion(0.0, "too long", said)
        return Opinion(1.0, "fits", said)
