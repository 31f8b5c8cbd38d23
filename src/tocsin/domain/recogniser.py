r"""What a recogniser is: how a kind of personal data or secret is found, and what replaces it.

A recogniser has *forms*: `lead` is context that stays (a character that is no part of the value, or
a word such as "SSN:"), `value` is what goes. A match counts when its compact text (capitals and
digits) has the `shape` and its check digits hold. `trigger` is a cheaper pattern that finds
something in every text in which a form could match; nothing else is ever read closely.

The patterns keep to what RE2, Hyperscan and Python understand alike: no look-around, no `\s`, no
case folding, no anchors. A text is therefore read with one space put before it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

from tocsin.domain.checksums import Check


@dataclass(frozen=True, slots=True)
class Form:
    """One way to write a value. An empty `value` marks what must not be taken for one."""

    lead: str
    value: str = ""


@dataclass(frozen=True)
class Recogniser:
    """One kind of value that is replaced before it is stored.

    group: `contact`, `payment`, `network`, `secret` or `national_id`. replacement: what stands in
    its place. shape: what the compact text must be as a whole ("" for anything); with `raw`, what
    the value itself must be. hints, digits: every text with a value holds one of these words and as
    many digits, which Python finds out sooner than whether a pattern matches.
    """

    name: str
    group: str
    about: str
    trigger: str
    forms: tuple[Form, ...]
    replacement: str
    shape: str = ""
    check: Check | None = None
    raw: bool = False
    hints: tuple[str, ...] = ()
    digits: int = 0

    @property
    def is_checked(self) -> bool:
        """Whether a match alone is not enough."""
        return bool(self.shape) or self.check is not None or any(not f.value for f in self.forms)

    @cached_property
    def pairs(self) -> str:
        """Everything that may be a value: per form a group for the lead and one for the value."""
        return "|".join(f"({form.lead})({form.value})" for form in self.forms)

    @cached_property
    def plain(self) -> str:
        """As `pairs`, without groups."""
        return "|".join(f"{form.lead}{form.value}" for form in self.forms)

    @cached_property
    def own(self) -> str:
        """As `plain`, without what must not be taken for a value."""
        return "|".join(f"{form.lead}{form.value}" for form in self.forms if form.value)

    def occurs(self, text: str, digits: int) -> bool:
        """Whether `text`, which starts with a space and has so many digits, needs a close look."""
        if digits < self.digits or (self.hints and not any(map(text.__contains__, self.hints))):
            return False
        return self._trigger.search(text) is not None

    def replaced(self, text: str) -> str:
        """`text`, which starts with a space, with every match replaced, checked or not."""
        return self._pairs.sub(lambda match: split(match)[0] + self.replacement, text)

    def accepts(self, lead: str, value: str) -> bool:
        """Whether `value` after `lead` is one."""
        if self._own.fullmatch(lead + value) is None:
            return False
        compact = value if self.raw else compacted(value)
        if self.shape and re.fullmatch(self.shape, compact) is None:
            return False
        return self.check is None or self.check.holds(compact)

    @cached_property
    def _trigger(self) -> re.Pattern[str]:
        return re.compile(self.trigger, re.ASCII | re.DOTALL)

    @cached_property
    def _pairs(self) -> re.Pattern[str]:
        return re.compile(self.pairs, re.ASCII)

    @cached_property
    def _own(self) -> re.Pattern[str]:
        return re.compile(self.own, re.ASCII)


def split(match: re.Match[str]) -> tuple[str, str]:
    """Lead and value of a match of `pairs`."""
    groups = match.groups(default="")
    return "".join(groups[::2]), "".join(groups[1::2])


def compacted(value: str) -> str:
    """Letters (as capitals) and digits of a value, nothing else."""
    return re.sub(r"[^0-9A-Za-z]", "", value).upper()


def word(*words: str) -> str:
    """A pattern for words in small letters, with a capital, and in capitals."""
    spelled = [s for one in words for s in (one, one.capitalize(), one.title(), one.upper())]
    return f"(?:{'|'.join(dict.fromkeys(spelled))})"


def named(*words: str) -> str:
    """A lead: one of `words`, and what may stand between a name and its value."""
    gap = r"(?:[ _\-]?[Nn](?:umber|ummer|um|o|r))?(?: is)?[^0-9A-Za-z+(\[\]\n]{1,6}"
    return rf"[^A-Za-z]{word(*words)}{gap}"


def noticed(digits: int, *words: str) -> str:
    """A trigger for `named(*words)` before as many digits."""
    return rf"{word(*words)}[^0-9]{{1,20}}[0-9]{{{digits}}}"


# A JSON escape such as \n ends in a letter and is no part of what follows it.
ESCAPE = r"\\[nrtbf]"
# Before a number: nothing that makes it part of something longer.
LEAD = rf"(?:{ESCAPE}|[^0-9A-Za-z_.\-])"
# The same in triggers. Hyperscan's negated classes of more than one range match too much.
BEFORE = r"(?:\\[nrtbf]|[\x00-,/:-@\[-^`{-\x7f]|[^\x00-\x7f])"
# What is glued to a number. Taken into the value, it makes the check fail, because a number within
# an identifier is no card.
TRAIL = r"(?:-?[0-9A-Za-z_]|\.[0-9])*"
