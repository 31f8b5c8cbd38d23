"""`language`: whether an answer is in the language it should be in."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from tocsin.domain.evaluation import Answer
from tocsin.intake.evaluator import CannotJudge, OnItsOwn, Opinion, text_of

# Words so frequent that a few sentences hold some of them.
_FREQUENT: Mapping[str, frozenset[str]] = {
    code: frozenset(words.split())
    for code, words in {
        "en": "the and of to is in that for it you are with this on as be not have was or can your",
        "de": "der die das und ist nicht ein eine zu den mit von für auf sie ich es wir sind im",
        "fr": "le la les des et est un une pour que dans vous nous ne pas sur avec au ce il qui du",
        "es": "el la los las de que y en un una por con no para se su es del como está puede más",
        "it": "il la di che e un una per non sono con del della è si gli nel alla ha come questo i",
        "pt": "o a os as de que e em um uma para com não por se do da mais como você está são ao",
        "nl": "de het een en van is niet in op dat te voor met zijn die je ik aan er ook kunt u",
        "sv": "och att det som en på är av för den med till inte om ett har jag du kan från var",
        "pl": "nie w na z do się że to jest i jak o po dla co za od przez są tego może oraz który",
        "tr": "bir ve bu için ile da de olarak daha çok var gibi kadar olan ne en sonra değil",
    }.items()
}
_SCRIPTS: tuple[tuple[str, str], ...] = (
    ("ja", "\u3040-\u30ff"), ("ko", "\uac00-\ud7af"), ("zh", "\u4e00-\u9fff"),
    ("ru", "\u0400-\u04ff"), ("el", "\u0370-\u03ff"), ("ar", "\u0600-\u06ff"),
    ("he", "\u0590-\u05ff"), ("hi", "\u0900-\u097f"), ("th", "\u0e00-\u0e7f"),
)  # fmt: skip
LANGUAGES = (*_FREQUENT, *(code for code, _ in _SCRIPTS))
_CODE = re.compile(r"```.*?```|`[^`]*`|https?://\S+", re.S)
_WORD = re.compile(r"[^\W\d_]+")
_LEAST_WORDS, _LEAST_HITS, _LEAST_SHARE = 6, 2, 0.08
_SCRIPT_SHARE = 0.2  # of the letters: names and terms in Latin letters stand in many a text
_MOST_CHARS = 5_000


@dataclass(frozen=True, slots=True)
class LanguageConfig:
    """expect: languages (ISO 639-1) that are right. Without them, that of the question is."""

    expect: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for code in self.expect:
            if code not in LANGUAGES:
                known = ", ".join(LANGUAGES)
                raise ValueError(f"expect: {code!r} cannot be told; there are {known}")


class LanguageCheck(OnItsOwn):
    """By the script where it decides, else by the most frequent words of ten languages.

    Assumes prose of a few sentences; code and addresses are left out. Cannot tell: fewer than six
    words, and languages it does not know, which it may take for a relative (Danish for Swedish,
    Ukrainian for Russian). Says nothing about how good the language is.
    """

    Config: ClassVar[type[LanguageConfig]] = LanguageConfig

    def __init__(self, config: LanguageConfig) -> None:
        self.config = config

    async def judge(self, answer: Answer) -> Opinion:
        """The label is the language of the answer."""
        found = language_of(text_of(answer))
        if not found:
            raise CannotJudge("the language of the answer cannot be told: too short, or not known")
        wanted = self.config.expect or (language_of(answer.input),)
        if wanted == ("",):
            raise CannotJudge("the language of the question cannot be told")
        said = "" if found in wanted else f"{found} instead of {' or '.join(wanted)}"
        return Opinion(float(found in wanted), found, said)


def language_of(text: str) -> str:
    """The language of a text (ISO 639-1), "" when it cannot be told.

    >>> language_of("Wir haben die Bestellung gefunden, sie ist noch nicht verschickt.")
    'de'
    """
    prose = _CODE.sub(" ", text)[:_MOST_CHARS]
    letters = sum(character.isalpha() for character in prose)
    if not letters:
        return ""
    for code, span in _SCRIPTS:
        if len(re.findall(f"[{span}]", prose)) > _SCRIPT_SHARE * letters:
            return code
    words = [word.lower() for word in _WORD.findall(prose)]
    if len(words) < _LEAST_WORDS:
        return ""
    hits = Counter({
        code: sum(word in known for word in words) for code, known in _FREQUENT.items()
    })  # fmt: skip
    (best, most), (_, next_most) = hits.most_common(2)
    is_clear = most >= _LEAST_HITS and most / len(words) >= _LEAST_SHARE and most > next_most
    return best if is_clear else ""
