"""From a candidate to a DSPy program that runs it: the same one in the search and in an export."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

import dspy

from optimizers.models.lm import language_model
from optimizers.renderings import rendering as make_rendering
from optimizers.techniques import TECHNIQUES
from optimizers.techniques.technique import Technique, told

if TYPE_CHECKING:
    from optimizers.candidate import Candidate
    from optimizers.models.model import Model

SAMPLING_KEYS = frozenset({"temperature", "top_p", "max_tokens", "seed"})


class TechniquePredict(dspy.Predict):  # type: ignore[misc]
    """A predictor whose technique decides what happens around its call.

    To the program, to ``named_predictors``, to saving and to traces it is the predictor it was:
    a trace holds one step with the outcome, however many calls that took.
    """

    technique: ClassVar[Technique]

    def forward(self, **kwargs: Any) -> dspy.Prediction:
        """Run the technique on the inputs."""
        lm, config, signature, demos, inputs = self._forward_preprocess(**kwargs)
        calls = PredictorCalls(super().forward, lm, config, signature, demos)
        assert self.technique.run is not None
        with dspy.context(trace=None):
            values = self.technique.run(calls, inputs)
        return self._forward_postprocess([dict(values)], signature, **inputs)

    async def aforward(self, **kwargs: Any) -> dspy.Prediction:
        """As calling, with ``await``: the technique runs on a thread of its own."""
        return await asyncio.to_thread(TechniquePredict.forward, self, **kwargs)


@dataclass(frozen=True)
class PredictorCalls:
    """What a technique may do with the predictor it surrounds.

    Attributes:
        forward: The predictor without its technique.
        lm: Serves the model.
        config: Generation settings of every call.
        signature: What the predictor answers.
        demos: Its examples.
    """

    forward: Callable[..., dspy.Prediction]
    lm: dspy.BaseLM
    config: Mapping[str, Any]
    signature: type[dspy.Signature]
    demos: Sequence[Mapping[str, Any]]

    @property
    def adapter(self) -> dspy.Adapter:
        """The rendering that the program runs under."""
        return dspy.settings.adapter

    def ask(
        self,
        inputs: Mapping[str, Any],
        *,
        signature: type[dspy.Signature] | None = None,
        demos: Sequence[Mapping[str, Any]] | None = None,
        **settings: Any,
    ) -> dict[str, Any]:
        """See :meth:`optimizers.techniques.technique.Calls.ask`."""
        prediction = self.forward(
            lm=self.lm,
            config={**self.config, **settings},
            signature=signature or self.signature,
            demos=[dict(demo) for demo in (self.demos if demos is None else demos)],
            **inputs,
        )
        return dict(prediction.items())


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
    for name, predictor in module.named_predictors():
        prompt = candidate.predictors[name]
        set_technique(predictor, candidate.technique, prompt.instruction)
        predictor.demos = [dict(demo) for demo in prompt.demos]
        predictor.config = {key: value for key, value in predictor.config.items() if key not in SAMPLING_KEYS}
        predictor.lm = lm
    return CompiledProgram(candidate=candidate, module=module)


def set_technique(predictor: dspy.Predict, name: str, instruction: str) -> None:
    """Have a predictor use a technique from now on, or answer directly where that does not apply.

    The predictor stays the object it is: a program may hold it in several places.

    Args:
        predictor: Has the user's signature.
        name: One of :data:`~optimizers.techniques.TECHNIQUES`.
        instruction: What it is told, beside the technique's own words.
    """
    technique = TECHNIQUES[name]
    if not technique.applies(predictor.signature):
        technique = TECHNIQUES["direct"]
    predictor.signature = told(technique.transform(predictor.signature), instruction, technique.words)
    if technique.run is not None:
        own: Any = type(predictor)
        predictor.__class__ = _around(own, technique)


@cache
def _around(own: Any, technique: Technique) -> Any:
    """A subclass of a predictor's own class, whose forward then makes the single calls."""
    return type(own.__name__, (TechniquePredict, own), {"technique": technique})
