"""`retrieval_relevance`: whether what was retrieved is about what was asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from tocsin.domain.evaluation import Answer
from tocsin.intake.evaluator import CannotJudge, OnItsOwn, Opinion
from tocsin.intake.similarity import best_match, vector_of


@dataclass(frozen=True, slots=True)
class RetrievalRelevanceConfig:
    """by: `vectors` for the cosine of the question's vector and that of the document most like it,
    `scores` for the best score that the retriever itself told. relevant: from where on it counts as
    relevant; what is usual depends on the embedding model, so look at your own distribution first.
    """

    by: Literal["vectors", "scores"] = "vectors"
    relevant: float = 0.5

    def __post_init__(self) -> None:
        if not -1.0 <= self.relevant <= 1.0:
            raise ValueError("relevant is a similarity, from -1 to 1")


class RetrievalRelevance(OnItsOwn):
    """Vectors are those that the application computed and its instrumentation sent along.

    Assumes that the embedding model places questions near the texts that answer them. Misleads for
    questions of one word and for documents of mixed content, and when the model is exchanged: then
    its similarities have another scale, which only vectors of another length give away. A document
    may be relevant and wrong.
    """

    Config: ClassVar[type[RetrievalRelevanceConfig]] = RetrievalRelevanceConfig

    def __init__(self, config: RetrievalRelevanceConfig) -> None:
        self.config = config

    async def judge(self, answer: Answer) -> Opinion:
        """relevant or irrelevant; the score is the similarity, at least 0 and at most 1."""
        if not answer.context:
            raise CannotJudge("nothing was retrieved in the trace of this call")
        if self.config.by == "vectors":
            found = best_match(vector_of(answer, "input"), answer.context)
        else:
            told = [one.score for one in answer.context if one.score is not None]
            if not told:
                raise CannotJudge("the retriever told no scores")
            found = max(told)
        label = "relevant" if found >= self.config.relevant else "irrelevant"
        return Opinion(min(max(found, 0.0), 1.0), label, f"best of {len(answer.context)} documents")
