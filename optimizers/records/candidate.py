"""A candidate: every choice that decides how a prompt program behaves, frozen and hashed.

A candidate carries its instructions and demos in full, so that it can be read,
rebuilt and exported years later without the pools it was drawn from.
"""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from optimizers.models.sampling import Sampling


class Nearest(BaseModel):
    """Demos chosen anew for every input: the examples most like it.

    Attributes:
        count: Demos shown for each input, where so many fit.
        pool: The examples they are chosen from, as field name -> JSON value.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    count: int = Field(ge=1)
    pool: tuple[dict[str, Any], ...]


class Serving(BaseModel):
    """What serves a predictor, and how.

    Attributes:
        model: Name of the model.
        rendering: Name of the rendering.
        technique: Name of the technique.
        sampling: How tokens are drawn.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    rendering: str
    technique: str
    sampling: Sampling = Sampling()


class PromptOrigin(BaseModel):
    """Where a prompt comes from, as data: what its short names say to people.

    It is no part of a candidate's content: two that send the same are the same, wherever they come from.

    Attributes:
        instruction_parts: The parts an instruction is composed of; the name of one that was found whole.
        demos_method: How demos were chosen; None without demos.
        demos_per_label: Demos per label where a strategy drew them; None where they are a given number.
        alternate: Whether their labels alternate.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    instruction_parts: tuple[str, ...]
    demos_method: str | None = None
    demos_per_label: int | None = None
    alternate: bool = False


class PredictorPrompt(BaseModel):
    """What one predictor of the program is told.

    Attributes:
        instruction: The full instruction text.
        instruction_name: Short name of where it comes from, for tables (``own``, ``role+rule`` ...).
        demos: Few-shot examples in order, as field name -> JSON value.
        demos_name: Short name of the draw, for tables (``none``, ``4 per label, diverse 2`` ...).
        nearest: Demos chosen for each input in place of ``demos``.
        serving: What serves this predictor, where that is not what serves the candidate.
        origin: Where instruction and demos come from; None in records of version 0.1.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    instruction: str
    instruction_name: str = "own"
    demos: tuple[dict[str, Any], ...] = ()
    demos_name: str = "none"
    nearest: Nearest | None = None
    serving: Serving | None = None
    origin: PromptOrigin | None = None

    @property
    def demos_label(self) -> str:
        """How the demos were chosen, for people; the short name where a record does not say more."""
        origin = self.origin
        if origin is None or origin.demos_method is None:
            return self.demos_name
        many = f"{len(self.demos) if self.nearest is None else self.nearest.count}"
        count = many if origin.demos_per_label is None else f"{origin.demos_per_label} per label"
        return f"{count} {origin.demos_method}" + (", labels alternating" if origin.alternate else "")

    @model_serializer(mode="wrap")
    def _without_none(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # What is not used does not show: ids stay what they were before the field was there.
        content: dict[str, Any] = plain(self)
        return {
            k: v for k, v in content.items() if v is not None or k not in ("nearest", "serving", "origin")
        }


class Candidate(BaseModel):
    """One complete choice.

    Attributes:
        model: Name of the model; of several, the dearest.
        rendering: Name of the rendering.
        technique: Name of the technique.
        predictors: Predictor name (as ``dspy.Module.named_predictors`` gives it) -> its prompt.
        sampling: How tokens are drawn, the same for every predictor without a serving of its own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    rendering: str
    technique: str
    predictors: dict[str, PredictorPrompt]
    sampling: Sampling = Sampling()

    def serving(self, predictor: str) -> Serving:
        """What serves a predictor, and how."""
        own = self.predictors[predictor].serving
        return own or Serving(
            model=self.model, rendering=self.rendering, technique=self.technique, sampling=self.sampling
        )

    @property
    def servings(self) -> tuple[Serving, ...]:
        """What serves the predictors, each different one once."""
        return tuple(dict.fromkeys(self.serving(name) for name in self.predictors))

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the models that serve it, the dearest first."""
        return tuple(dict.fromkeys([self.model, *(serving.model for serving in self.servings)]))

    @property
    def label(self) -> str:
        """Its models' short names, for tables and charts."""
        return " + ".join(name.rsplit("/", 1)[-1] for name in self.models)

    @cached_property
    def id(self) -> str:
        """Content hash: 12 hex digits, the same wherever the content is the same."""
        dumped = self.model_dump(mode="json", exclude={"predictors": {"__all__": {"origin"}}})
        content = json.dumps(dumped, sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(content.encode()).hexdigest()[:12]

    @classmethod
    def from_record(cls, identity: str, content: str) -> Candidate:
        """A candidate from its JSON and its id: of thousands, to compute them again takes seconds."""
        found = cls.model_validate_json(content)
        found.__dict__["id"] = identity
        return found

    @property
    def summary(self) -> str:
        """The candidate in a few words, without its model; a clause per predictor where there are several."""
        parts = [self.rendering, self.technique]
        if self.sampling.summary:
            parts.append(self.sampling.summary)
        prompts = [
            f"instruction {p.instruction_name}, demos {p.demos_label}" for p in self.predictors.values()
        ]
        if len(prompts) == 1:
            return ", ".join([*parts[:2], *prompts, *parts[2:]])
        clauses = [f"{name}: {said}" for name, said in zip(self.predictors, prompts, strict=True)]
        return "; ".join([", ".join(parts), *clauses])
