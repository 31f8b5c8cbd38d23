"""Every type of evaluator that Tocsin runs by itself, by the name it has in configuration.

Other distributions add theirs by the entry point group `tocsin.evaluators`: name -> class.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any

from tocsin.domain.registry import Registry
from tocsin.intake.evaluators.format import FormatCheck
from tocsin.intake.evaluators.groundedness import Groundedness
from tocsin.intake.evaluators.json_schema import JsonSchemaCheck
from tocsin.intake.evaluators.language import LanguageCheck
from tocsin.intake.evaluators.length import LengthCheck
from tocsin.intake.evaluators.llm_judge import LlmJudge
from tocsin.intake.evaluators.refusal import RefusalCheck
from tocsin.intake.evaluators.retrieval_relevance import RetrievalRelevance

# A class with a `Config` whose instances are `tocsin.intake.evaluator.Evaluator`.
EVALUATORS: Registry[type[Any]] = Registry("evaluator type")
EVALUATORS.add("format", FormatCheck)
EVALUATORS.add("groundedness", Groundedness)
EVALUATORS.add("json_schema", JsonSchemaCheck)
EVALUATORS.add("language", LanguageCheck)
EVALUATORS.add("length", LengthCheck)
EVALUATORS.add("llm_judge", LlmJudge)
EVALUATORS.add("refusal", RefusalCheck)
EVALUATORS.add("retrieval_relevance", RetrievalRelevance)
for _found in entry_points(group="tocsin.evaluators"):
    EVALUATORS.add(_found.name, _found.load())
