"""What is wrong with an expression, and where."""

from __future__ import annotations

from tocsin.domain.errors import TocsinError


class ExpressionError(TocsinError):
    """Text that is no expression. column counts from 1; hint: what to write instead, or ""."""

    def __init__(self, text: str, at: int, message: str, hint: str = "") -> None:
        self.text = text
        self.column = at + 1
        self.message = message
        self.hint = hint
        where = f"column {self.column}: {message}"
        super().__init__(f"{where} ({hint})" if hint else where)

    def shown(self) -> str:
        """The text with a mark under the fault, for a terminal."""
        before = self.text[: self.column - 1]
        start = before.rfind("\n") + 1
        line = self.text[start:].split("\n", 1)[0]
        return f"{line}\n{' ' * (len(before) - start)}^ {self}"
