"""A candidate: every choice that decides how a prompt program behaves, frozen and hashed.

A candidate carries its instructions and demos in full, so that it can be read,
rebuilt and exported years later without the pools it was drawn from.
"""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Sampling(BaseModel):
    """How tokens are drawn.

    Attributes:
        temperature: 0 is greedy.
        top_p: Nucleus mass, in (0, 1]; left at 1 when greedy.
        max_tokens: Most tokens one reply may hold.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    temperature: float = Field(default=0.0, ge=0, le=2)
    top_p: float = Field(default=1.0, gt=0, le=1)
    max_tokens: int = Field(default=256, ge=1)


class PredictorPrompt(BaseModel):
    """What one predictor of the program is told.

    Attributes:
        instruction: The full instruction text.
        instruction_name: Short name of where it comes from, for tables (``own``, ``criteria`` ...).
        demos: Few-shot examples in order, as field name -> JSON value.
        demos_name: Short name of the draw, for tables (``none``, ``balanced-4-s1`` ...).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    instruction: str
    instruction_name: str = "own"
    demos: tuple[dict[str, Any], ...] = ()
    demos_name: str = "none"


class Candidate(BaseModel):
    """One complete choice.

    Attributes:
        model: Name of the model.
        rendering: Name of the rendering.
        technique: Name of the technique.
        predictors: Predictor name (as ``dspy.Module.named_predictors`` gives it) -> its prompt.
        sampling: How tokens are drawn, the same for every predictor.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    rendering: str
    technique: str
    predictors: dict[str, PredictorPrompt]
    sampling: Sampling = Sampling()

    @cached_property
    def id(self) -> str:
        """Content hash: 12 hex digits, the same wherever the content is the same."""
        content = json.dumps(self.model_dump(mode="json"), sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(content.encode()).hexdigest()[:12]

    @property
    def summary(self) -> str:
        """The candidate in a few words, without its model, for tables and charts."""
        instructions = "+".join(dict.fromkeys(p.instruction_name for p in self.predictors.values()))
        demos = "+".join(dict.fromkeys(p.demos_name for p in self.predictors.values()))
        parts = [self.rendering, self.technique, f"instruction {instructions}", f"demos {demos}"]
        if self.sampling.temperature > 0:
            parts.append(f"t={self.sampling.temperature:g} top_p={self.sampling.top_p:g}")
        return ", ".join(parts)
