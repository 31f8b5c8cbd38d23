"""Silent model change: the same model name, asked the same, answers differently."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from tocsin.assess.drift.comparison import Feature
from tocsin.assess.drift.looking import Looking, LookingConfig, breach, drifted, unknown
from tocsin.assess.drift.sampled import MIN_MATCHED, compared, matched, only
from tocsin.assess.monitor import Monitor
from tocsin.domain.findings import Verdict
from tocsin.domain.samples import Look, Sample, Wish

# What an answer is. A provider's load changes none of these.
CONTENT = ("output_tokens", "output_chars", "output_format", "refusal", "finish_reason",
           "response_model")  # fmt: skip
# How it comes: told beside, never alone. Every rush hour moves these.
TIMING = ("ms_per_output_token", "first_token_share")
_MATCHED_BY = ("model", "prompt_version", "input_tokens")
_MOST_MODELS = 3


@dataclass(frozen=True, slots=True)
class ModelChangeConfig(LookingConfig):
    """Settings of silent model change.

    window_hours, reference_days (or since and until), every_minutes, most, min_calls (of a model,
    asked the same), level, min_share.
    """

    kind: ClassVar[str] = "model_change"
    signal: ClassVar[str] = "model_change"

    def sampled(self) -> tuple[tuple[str, ...], str]:
        """The features to read, and the kind of call they are of."""
        return (*_MATCHED_BY, *CONTENT, *TIMING), "llm"


class ModelChange(Looking):
    """Rings when a model that is called as before does not answer as before.

    What: for each of the three models with most calls, answers of the window and of the reference
    are compared: tokens, characters, format (JSON, code, list, heading, prose), refusals, reasons
    to finish, and the model that the provider says it was. Before that, both samples are given the
    same mix of prompt versions and lengths of prompts, so that being asked differently is not
    mistaken for answering differently. Time per token and the share of the first token are told
    beside what moved, but never ring alone. p-values are corrected for all features of all models.

    Assumes: prompts of one version and of similar length ask for similar answers; sessions are
    independent of one another. Format and refusals are seen only where answers are kept.

    Misleads: when the application changes what it asks for without a new prompt version, when a
    tool or a retriever behind the prompt changes, at a new max_tokens. Compare it with the changes
    told beside it. A change that keeps length, format and refusals is not seen: that is what
    scheduled probes and evaluators are for.

    Parameters: see `ModelChangeConfig`.

    >>> from tocsin.assess.monitor import Monitor
    >>> from tocsin.assess.window import Window
    >>> settings = ModelChangeConfig()
    >>> monitor = Monitor("detector/model", "Model", "support", "model_change", "ticket", None,
    ...                   None, settings)
    >>> def answers(typical):
    ...     tokens = tuple(typical + 10.0 * (n % 20) for n in range(300))
    ...     return Sample({"model": ("m",) * 300, "output_tokens": tokens}, (("", ""),) * 300)
    >>> window, wish = Window([monitor]), settings.wish("support")
    >>> window.looks[wish] = Look(wish.boundary(30_000_000), answers(100), answers(160))
    >>> [v.reason for v in ModelChange([monitor]).judge(window, 30_000_000)]
    ['m answers differently, asked the same: output_tokens: median 195 -> 255']

    Paper: Chen, Zaharia and Zou, "How is ChatGPT's behavior changing over time?", Harvard Data
    Science Review 6 (2024); Gao, Liang and Guestrin, "Model equality testing: which model is this
    API serving?", ICLR 2025.
    """

    config = ModelChangeConfig

    def compare(
        self, monitor: Monitor, settings: ModelChangeConfig, wish: Wish, look: Look,
        rng: np.random.Generator,
    ) -> Verdict | None:  # fmt: skip
        """What a look with enough calls says."""
        pairs, reasons = _pairs(look, settings, rng)
        if not pairs:
            reason = "; ".join(reasons) or "calls name no model"
            return unknown(monitor, look.boundary - 1, wish, look.boundary, reason)
        found: list[Feature] = []
        windows: dict[str, Sample] = {}
        for model, (before, after) in pairs.items():
            windows[model] = after
            seen = compared((*CONTENT, *TIMING), before, after, rng, with_missing=False)
            found += [replace(f, name=f"{model}: {f.name}") for f in seen if not f.unknown]
        # Corrected within each model; every further model is a further chance.
        found = [
            replace(f, adjusted=min(1.0, f.adjusted * len(pairs)))
            for f in found if f.adjusted is not None
        ]  # fmt: skip
        moved = drifted(found, settings)
        for model, after in windows.items():
            mine = [f for f in moved if f.name.startswith(f"{model}: ")]
            if any(f.name.removeprefix(f"{model}: ") in CONTENT for f in mine):
                features = [f for f in found if f.name.startswith(f"{model}: ")]
                return breach(
                    monitor, wish, look, _reason(model, mine), _content_first(mine), features, after
                )
        return None


def _pairs(
    look: Look, settings: ModelChangeConfig, rng: np.random.Generator
) -> tuple[dict[str, tuple[Sample, Sample]], list[str]]:
    """Matched samples of every model with enough calls, and why others have none."""
    models = [sample.columns.get("model", ()) for sample in (look.reference, look.window)]
    counts = Counter(model for model in models[1] if model)
    pairs, reasons = {}, []
    for model, _ in counts.most_common(_MOST_MODELS):
        before, after = (
            only(sample, [row for row, name in enumerate(named) if name == model])
            for sample, named in zip((look.reference, look.window), models, strict=True)
        )
        if min(len(before), len(after)) < settings.min_calls:
            reasons.append(f"{model}: too few sessions ({len(before):,} and {len(after):,})")
            continue
        before, after, share = matched(before, after, rng)
        if share < MIN_MATCHED:
            reasons.append(f"{model}: prompts changed too much to compare answers")
            continue
        pairs[model] = before, after
    return pairs, reasons


def _content_first(features: Sequence[Feature]) -> list[Feature]:
    return sorted(features, key=lambda f: f.name.rpartition(": ")[2] not in CONTENT)


def _reason(model: str, moved: Sequence[Feature]) -> str:
    told = [
        f"{feature.name.removeprefix(f'{model}: ')}: {feature.moved[0]}"
        for feature in _content_first(moved)
        if feature.moved
    ]
    return f"{model} answers differently, asked the same: {'; '.join(told[:3])}"
