"""What somebody who misspelt a word may have meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def alike(word: str, known: Iterable[str]) -> str:
    """ "did you mean 'x'?" if something known is spelt alike, else the list of what is known."""
    names = sorted(known)
    close = difflib.get_close_matches(word.lower(), names, n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(names)}"
