"""What an evaluator is: something that looks at one answer and says how good it is.

An evaluator is a class and its frozen configuration in one file under `evaluators/`. It sees one
answer at a time and keeps no state; which answers it sees, how often it is asked again, what it may
cost and where its verdicts go is the business of its runner (`tocsin.engine.evaluating`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar, Protocol, runtime_checkable

from tocsin.domain.errors import TocsinError
from tocsin.domain.evaluation import Answer


@dataclass(frozen=True, slots=True)
class Opinion:
    """A verdict. score: from 0 (bad) to 1 (good), None when there is only a label.

    model: that answered, "" for an evaluator that asks nobody. cost_usd: None when it is unknown.
    """

    score: float | None
    label: str
    explanation: str = ""
    model: str = ""
    cost_usd: float | None = 0.0


class NoOpinion(TocsinError):
    """Why there is no verdict. cost_usd: of having asked all the same; None when it is unknown."""

    def __init__(self, reason: str, *, cost_usd: float | None = 0.0) -> None:
        self.cost_usd = cost_usd
        super().__init__(reason)


class CannotJudge(NoOpinion):
    """Of this answer, however often it is asked: no text, no vector, a judge that declines."""


class AskAgain(NoOpinion):
    """Of this answer, this time. after: how long whoever was asked wants to be left alone."""

    def __init__(
        self, reason: str, *, after: timedelta | None = None, cost_usd: float | None = 0.0
    ) -> None:
        self.after = after
        super().__init__(reason, cost_usd=cost_usd)


class Refuses(NoOpinion):
    """Of any answer, until somebody mends something: a wrong key, a model that does not exist."""


@runtime_checkable
class Evaluator(Protocol):
    """Judges answers, several at once.

    Config: the frozen dataclass it is built from. carriage: the fields of it that say how the judge
    is reached and not how it judges; a change of any other one is another judge, and so is one of
    `edition`, which counts how often this code changed what it says. asks: whether it asks somebody
    else, which takes time and may cost money. `spec` gives a class that has it `priced(config,
    find)` a way to look up prices.
    """

    Config: ClassVar[type[Any]]
    edition: ClassVar[int]
    carriage: ClassVar[frozenset[str]]
    asks: ClassVar[bool]

    def __init__(self, config: Any) -> None: ...

    def most_usd(self, answer: Answer) -> float | None:
        """What judging it costs at most in US dollars; None when nobody knows the price."""
        ...

    async def judge(self, answer: Answer) -> Opinion:
        """A verdict. Raises NoOpinion; any other exception is a defect of the evaluator."""
        ...

    async def close(self) -> None:
        """Give connections back."""
        ...


class OnItsOwn:
    """What evaluators have in common that ask nobody: they cost nothing and keep nothing open."""

    edition: ClassVar[int] = 1
    carriage: ClassVar[frozenset[str]] = frozenset()
    asks: ClassVar[bool] = False

    def most_usd(self, answer: Answer) -> float | None:
        """Nothing."""
        del answer
        return 0.0

    async def close(self) -> None:
        """Nothing is open."""


def text_of(answer: Answer) -> str:
    """The text of the answer. Raises CannotJudge when there is none."""
    if not answer.output.strip():
        raise CannotJudge("the call has no answer text: none was sent, or redaction took it away")
    return answer.output
