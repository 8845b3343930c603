"""A study's candidates as choices: dimension -> value, in words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from optimizers.models.sampling import Sampling
from optimizers.records.candidate import Candidate, PredictorPrompt, Serving

WHEN_DRAWN = frozenset({"top_p", "top_k", "min_p"})
"""Parts of sampling that do nothing in greedy decoding."""


def choices_of(candidates: Mapping[str, Candidate]) -> dict[str, dict[str, str]]:
    """What each candidate chose.

    Where instructions are named by their parts, such as ``own+rule``, each part is a choice of its
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
            parts.setdefault(name, set()).update(prompt.instruction_name.split("+"))
    for name in parts:
        if not any("+" in candidate.predictors[name].instruction_name for candidate in every):
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


def _instruction(prompt: PredictorPrompt, parts: Iterable[str]) -> dict[str, str]:
    has = prompt.instruction_name.split("+")
    found = {f"instruction part: {part}": "yes" if part in has else "no" for part in parts}
    return found or {"instruction": prompt.instruction_name}


def _demos(prompt: PredictorPrompt) -> dict[str, str]:
    """How many demos, and how they were found: ``4 per label, draw 2`` are found by ``draw``."""
    name = prompt.demos_name.strip()
    if name in ("", "none"):
        return {"demos": str(len(prompt.demos))}
    counted = re.match(r"(\d+ per [^,]+|\d+)\b[,\s]*", name)
    count = counted[1] if counted else str(len(prompt.demos))
    # A number that is left says which draw it was, which is luck and no way of finding.
    found = re.sub(r"[\s-]*\b\d+$", "", name[counted.end() :] if counted else name).strip(", ")
    return {"demos": count} | ({"demos found by": found} if found else {})
