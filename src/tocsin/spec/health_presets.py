"""Health scores that many people need, as the components they are made of.

rag: retrieval that finds something, what it finds being to the point, answers that keep to it, and
the service itself. The scores come from evaluators; where one is missing the score says so. Add the
drift of embeddings by `fromDetector`, and take out what nobody judges with `weight: 0`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PRESETS: Mapping[str, tuple[Mapping[str, Any], ...]] = {
    "rag": (
        {"metric": "retrieval_precision", "weight": 0.2},
        {"metric": "chunk_relevance", "weight": 0.15},
        {"metric": "groundedness", "weight": 0.25, "critical": True},
        {"metric": "retrieval_found", "weight": 0.1, "indicator": {"use": "empty_retrieval"}},
        {"metric": "error_rate", "weight": 0.2, "critical": True},
        {"metric": "p95_latency_seconds", "weight": 0.1},
    ),
}
