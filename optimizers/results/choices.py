"""A study's candidates as choices: dimension -> value, in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from optimizers.models.sampling import Sampling
from optimizers.records.candidate import Candidate, PredictorPrompt, Serving

WHEN_DRAWN = frozenset({"top_p", "top_k", "min_p"})
"""Parts of sampling that do nothing in greedy decoding."""


def choices_of(candidates: Mapping[str, Candidate]) -> dict[str, dict[str, str]]:
    """What each candidate chose.

    Where instructions are composed of parts, such as ``own`` and ``rule``, each part is a choice of its
    own, yes or no. A program of several predictors has its choices by predictor. What does not
    apply to a candidate is left out: ``top_p`` when greedy, how demos were found when there are none.

    Args:
        candidates: Candidate id -> candidate, all of one program.

    Returns:
        Candidate id -> dimension -> value.
    """
    every = candidates.values()
    apart = any(len(candidate.servings) > 1 for candidate in every)
    parts: dict[str, set[str]] = {}
    for candidate in every:
        for name, prompt in candidate.predictors.items():
            parts.setdefault(name, set()).update(_instruction_parts(prompt))
    for name in parts:
        if not any(len(_instruction_parts(candidate.predictors[name])) > 1 for candidate in every):
            parts[name] = set()
    samplings = [serving.sampling for candidate in every for serving in candidate.servings]
    settings = {key for sampling in samplings for key in sampling.model_dump()}
    chosen = {}
    for identity, candidate in candidates.items():
        values = {} if apart else _served(candidate.servings[0], settings)
        for name, prompt in candidate.predictors.items():
            own = _instruction(prompt, parts[name]) | _demos(prompt)
            if apart:
                own |= _served(candidate.serving(name), settings)
            prefix = f"{name}: " if len(candidate.predictors) > 1 else ""
            values |= {prefix + dimension: value for dimension, value in own.items()}
        chosen[identity] = values
    return chosen


def _served(serving: Serving, settings: Iterable[str]) -> dict[str, str]:
    choice = {"model": serving.model, "rendering": serving.rendering, "technique": serving.technique}
    return choice | _sampling(serving.sampling, settings)


def _sampling(sampling: Sampling, settings: Iterable[str]) -> dict[str, str]:
    values = sampling.model_dump()
    applying = [name for name in settings if sampling.temperature > 0 or name not in WHEN_DRAWN]
    return {name: _said(values[name]) if name in values else "off" for name in applying}


def _said(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _instruction_parts(prompt: PredictorPrompt) -> tuple[str, ...]:
    return prompt.origin.instruction_parts if prompt.origin else (prompt.instruction_name,)


def _instruction(prompt: PredictorPrompt, parts: Iterable[str]) -> dict[str, str]:
    has = _instruction_parts(prompt)
    found = {f"instruction part: {part}": "yes" if part in has else "no" for part in parts}
    return found or {"instruction": prompt.instruction_name}


def _demos(prompt: PredictorPrompt) -> dict[str, str]:
    """How many demos, how they were chosen and in which order; not which draw it was, which is luck."""
    origin = prompt.origin
    count = len(prompt.demos) if prompt.nearest is None else prompt.nearest.count
    if origin is None:  # a record of version 0.1
        return {"demos": str(count)} | ({"demos found by": prompt.demos_name} if count else {})
    if origin.demos_method is None:
        return {"demos": str(count)}
    per_label = origin.demos_per_label
    return {
        "demos": str(count) if per_label is None else f"{per_label} per label",
        "demos found by": origin.demos_method,
        "demos order": "alternating labels" if origin.alternate else "as drawn",
    }
