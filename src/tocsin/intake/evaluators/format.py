"""`format`: whether an answer has the outer form it was asked for."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import ClassVar, Literal

import pyarrow as pa
import pyarrow.compute as pc

from tocsin.domain.evaluation import Answer
from tocsin.intake.evaluator import OnItsOwn, Opinion, text_of

Form = Literal["json", "code", "list", "heading", "prose"]
_LIST = re.compile(r"^\s*([-*]|\d+\.)\s", re.M)
_HEADING = re.compile(r"^#+ ", re.M)


@dataclass(frozen=True, slots=True)
class FormatConfig:
    """expect: what it must be: json (the whole of it), code (fenced), list, heading (with one),
    prose (none of these). matches: an RE2 expression that must be found in it; forbids: one that
    must not be.
    """

    expect: Form | None = None
    matches: str = ""
    forbids: str = ""

    def __post_init__(self) -> None:
        if not (self.expect or self.matches or self.forbids):
            raise ValueError("say what is expected: expect, matches, or forbids")
        for name in ("matches", "forbids"):
            try:
                _found(getattr(self, name), "")
            except pa.ArrowInvalid:
                raise ValueError(f"{name}: not a regular expression (RE2 syntax)") from None


class FormatCheck(OnItsOwn):
    """The first form that fits is the one it has, in the order of the list above.

    Assumes that one form suits every answer of the service. Misleads where prose quotes JSON, and
    says nothing about what stands in the form.
    """

    Config: ClassVar[type[FormatConfig]] = FormatConfig

    def __init__(self, config: FormatConfig) -> None:
        self.config = config

    async def judge(self, answer: Answer) -> Opinion:
        """The label is the form that was found."""
        text, config = text_of(answer), self.config
        form = form_of(text)
        if config.expect and form != config.expect:
            return Opinion(0.0, form, f"{form} instead of {config.expect}")
        if config.matches and not _found(config.matches, text):
            return Opinion(0.0, form, f"does not match {config.matches}")
        if config.forbids and _found(config.forbids, text):
            return Opinion(0.0, form, f"matches {config.forbids}")
        return Opinion(1.0, form)


def form_of(text: str) -> Form:
    """The outer form of a text.

    >>> form_of('{"a": 1}'), form_of("- one\\n- two"), form_of("Hello.")
    ('json', 'list', 'prose')
    """
    if text.lstrip()[:1] in ("{", "["):
        try:
            json.loads(text)
        except (ValueError, RecursionError):
            pass
        else:
            return "json"
    if "```" in text:
        return "code"
    if _LIST.search(text):
        return "list"
    return "heading" if _HEADING.search(text) else "prose"


def _found(pattern: str, text: str) -> bool:
    """RE2 takes time in proportion to the text, whatever the pattern."""
    return bool(pc.match_substring_regex(pa.array([text]), pattern)[0].as_py())
