"""Text of an expression to tokens, each with the place where it stands."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from tocsin.indicators.language.faults import ExpressionError

Kind = Literal["number", "text", "name", "symbol", "end"]

LONGEST = 4000  # characters

# One alternative per kind. A text is in single or double quotes, the quote itself is doubled, and a
# backslash is a backslash, so that patterns are written as they are.
_TOKEN = re.compile(
    r"""
    (?P<space>\s+)
  | (?P<number>(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)(?P<unit>%|[A-Za-z]+)?
  | (?P<text>'(?:[^']|'')*'|"(?:[^"]|"")*")
  | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
  | (?P<symbol><=|>=|!=|==|<>|[-+*/=<>()\[\],])
    """,
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Token:
    """text: of a number its digits, of a text what it stands for. unit: of a number. at: from 0."""

    kind: Kind
    text: str
    at: int
    unit: str = ""


def tokens(text: str) -> list[Token]:
    """The tokens of `text`, and one that ends them. ExpressionError where there is none."""
    if len(text) > LONGEST:
        raise ExpressionError(text[:40], 0, f"longer than {LONGEST} characters", "split it")
    found: list[Token] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise ExpressionError(text, at, *_stray(text[at]))
        if match["number"] is not None:
            found.append(Token("number", match["number"], at, match["unit"] or ""))
        elif match["text"] is not None:
            quote = match["text"][0]
            found.append(Token("text", match["text"][1:-1].replace(quote * 2, quote), at))
        elif match["name"] is not None:
            found.append(Token("name", match["name"], at))
        elif match["symbol"] is not None:
            found.append(Token("symbol", match["symbol"], at))
        at = match.end()
    return [*found, Token("end", "", len(text))]


def _stray(character: str) -> tuple[str, str]:
    if character in "'\"":
        return "a text that does not end", f"close it with {character}"
    hints = {
        "&": "write `and`", "|": "write `or`", "!": "write `not`, or != between two values",
        "~": "write `matches`", "$": "write the number alone: cost_usd < 0.03",
        "`": "names are written without quotes", ";": "an expression ends where its text ends",
    }  # fmt: skip
    return f"{character!r} means nothing here", hints.get(character, "")
