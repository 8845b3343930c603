"""From a candidate to a DSPy program that runs it: the same one in the search and in an export."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dspy

from optimizers.models.lm import language_model
from optimizers.renderings import rendering as make_rendering
from optimizers.techniques import TECHNIQUES

if TYPE_CHECKING:
    from optimizers.candidate import Candidate
    from optimizers.models.model import Model

SAMPLING_KEYS = frozenset({"temperature", "top_p", "max_tokens", "seed"})


@dataclass(frozen=True)
class CompiledProgram:
    """A candidate ready to run.

    Attributes:
        candidate: What was compiled.
        module: The user's module with the candidate's prompts and language model set in it.
    """

    candidate: Candidate
    module: dspy.Module

    def adapter(self, seed: int | None = None) -> dspy.Adapter:
        """The DSPy adapter that renders this candidate.

        Args:
            seed: Seed of the calls, so that repeats at a temperature differ reproducibly.
        """
        return make_rendering(self.candidate.rendering, seed=seed)

    def __call__(self, inputs: Mapping[str, Any], *, seed: int | None = None) -> Any:
        """Run the program once.

        Args:
            inputs: Input fields.
            seed: Seed of the calls.
        """
        with dspy.context(adapter=self.adapter(seed)):
            return self.module(**inputs)


def compile_candidate(
    program: dspy.Module, candidate: Candidate, models: Sequence[Model], *, measured: bool = True
) -> CompiledProgram:
    """Set a candidate's choices in a copy of the user's program.

    Args:
        program: The user's module, left as it is.
        candidate: What to set.
        models: The task's models, the candidate's among them.
        measured: See :func:`optimizers.models.lm.language_model`.
    """
    model = next(model for model in models if model.name == candidate.model)
    lm = language_model(model, candidate.sampling, measured=measured)
    module = program.deepcopy()
    technique = TECHNIQUES[candidate.technique]
    for name, predictor in module.named_predictors():
        prompt = candidate.predictors[name]
        signature = predictor.signature
        if technique.applies(signature):
            signature = technique.transform(signature)
        # DSPy replaces an empty instruction by words of its own; a blank one it keeps.
        predictor.signature = signature.with_instructions(prompt.instruction or " ")
        predictor.demos = [dict(demo) for demo in prompt.demos]
        predictor.config = {key: value for key, value in predictor.config.items() if key not in SAMPLING_KEYS}
        predictor.lm = lm
    return CompiledProgram(candidate=candidate, module=module)
