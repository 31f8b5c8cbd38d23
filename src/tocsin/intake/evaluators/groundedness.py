"""`groundedness`: whether an answer says what the retrieved documents say."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar, Literal

from tocsin.domain.evaluation import Answer
from tocsin.intake.evaluator import CannotJudge, OnItsOwn, Opinion, text_of
from tocsin.intake.similarity import best_match, vector_of

_SENTENCE = re.compile(r"[^.!?。！？\n]+(?:[.!?。！？](?=\d)[^.!?。！？\n]+)*")
_WORD = re.compile(r"[^\W\d_]{3,}|\d+(?:[.,]\d+)*")
_STEM = 5  # letters: enough to take inflections of a word for the same one


@dataclass(frozen=True, slots=True)
class GroundednessConfig:
    """by: `words` for the share of its sentences whose words and numbers stand in the documents,
    `vectors` for the cosine of the answer's vector and that of the document most like it. grounded:
    from where on the answer counts as grounded. covered: with `words`, which share of a sentence's
    words must stand in the documents.
    """

    by: Literal["words", "vectors"] = "words"
    grounded: float = 0.7
    covered: float = 0.6

    def __post_init__(self) -> None:
        if not 0.0 < self.grounded <= 1.0 or not 0.0 < self.covered <= 1.0:
            raise ValueError("grounded and covered are shares above 0, at most 1")


class Groundedness(OnItsOwn):
    """Words are compared by their first five letters, whatever the language; a sentence with a
    number that no document has is not covered.

    Assumes that a grounded answer uses the words of its sources. Misleads for answers that put
    things in words of their own (too low), for those that turn the meaning round with the same
    words, "not" being one of them (too high), and for languages without spaces between words. With
    `vectors` it tells answers about something else from answers about this, and not true from
    false. Either way it is a rank, not a rate: have people label some of it.
    """

    Config: ClassVar[type[GroundednessConfig]] = GroundednessConfig

    def __init__(self, config: GroundednessConfig) -> None:
        self.config = config

    async def judge(self, answer: Answer) -> Opinion:
        """grounded or ungrounded; the score is the share, or the similarity (0 to 1)."""
        text, config = text_of(answer), self.config
        if not answer.context:
            raise CannotJudge("nothing was retrieved in the trace of this call")
        why = ""
        if config.by == "vectors":
            found = min(max(best_match(vector_of(answer, "output"), answer.context), 0.0), 1.0)
        else:
            found, why = covered(text, [one.text for one in answer.context], config.covered)
        return Opinion(found, "grounded" if found >= config.grounded else "ungrounded", why)


def covered(text: str, sources: list[str], least: float) -> tuple[float, str]:
    """Share of the sentences of which at least `least` of the words, and all of the numbers, stand
    in the sources; and the first that does not, in words. Raises CannotJudge without any words.

    >>> covered("Paris has 2 airports. It rains.", ["Airports in Paris: 2"], 0.6)[0]
    0.5
    """
    known = {_stem(word) for source in sources for word in _WORD.findall(source)}
    if not known:
        raise CannotJudge("the retrieved documents came without their texts")
    total = held = 0
    first = ""
    for sentence in _SENTENCE.findall(text):
        words = [_stem(word) for word in _WORD.findall(sentence)]
        if not words:
            continue
        total += 1
        found = sum(word in known for word in words) / len(words)
        numbers = all(word in known for word in words if word[0].isdigit())
        if found >= least and numbers:
            held += 1
        elif not first:
            first = f"not in the documents: {' '.join(sentence.split())[:160]}"
    if not total:
        raise CannotJudge("the answer has no words to look up")
    return held / total, first


def _stem(word: str) -> str:
    return word if word[0].isdigit() else word.lower()[:_STEM]
