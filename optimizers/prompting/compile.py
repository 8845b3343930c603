"""From a candidate to a DSPy program that runs it: the same one in the search and in an export."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import dspy
from dspy.utils.exceptions import AdapterParseError, DSPyError

from optimizers.errors import ParityError
from optimizers.models.lm import language_model
from optimizers.models.model import ACCEPTABLE
from optimizers.prompting.proposals.fit import fit_demos, prompt_room
from optimizers.prompting.proposals.nearest import NearestIndex, nearest, pool_index
from optimizers.prompting.renderings import rendering as make_rendering
from optimizers.prompting.renderings import sibling
from optimizers.prompting.renderings.rendering import Rendering
from optimizers.prompting.techniques import TECHNIQUES
from optimizers.prompting.techniques.technique import Technique, with_bounded_thoughts, with_instruction

if TYPE_CHECKING:
    from optimizers.models.model import Model
    from optimizers.records.candidate import Candidate

SAMPLING_KEYS = frozenset({"temperature", "top_p", "max_tokens", "seed", *ACCEPTABLE})


class PromptedPredict(dspy.Predict):  # type: ignore[misc]
    """A predictor whose candidate decides more than its words: what happens around its call, say.

    To the program, to ``named_predictors``, to saving and to traces it is the predictor it was:
    a trace holds one step with the outcome, however many calls that took.

    Attributes:
        technique: What happens around the call.
        shown: Demos chosen for each input; None to show the predictor's own.
        rendering: Name of its own rendering; None for the program's.
    """

    technique: ClassVar[Technique]
    shown: ClassVar[ShownDemos | None]
    rendering: ClassVar[str | None]

    def forward(self, **kwargs: Any) -> dspy.Prediction:
        """Run the technique on the inputs, under the predictor's rendering and demos."""
        with dspy.context(adapter=adapter_of(self, dspy.settings.adapter)):
            if self.shown is not None:
                kwargs.setdefault("demos", demos_of(self, kwargs, dspy.settings.adapter))
            if self.technique.run is None:
                return super().forward(**kwargs)
            lm, config, signature, demos, inputs = self._forward_preprocess(**kwargs)
            calls = PredictorCalls(super().forward, lm, config, signature, demos)
            with dspy.context(trace=None):
                values = self.technique.run(calls, inputs)
            return self._forward_postprocess([dict(values)], signature, **inputs)

    async def aforward(self, **kwargs: Any) -> dspy.Prediction:
        """As calling, with ``await``: it runs on a thread of its own."""
        return await asyncio.to_thread(PromptedPredict.forward, self, **kwargs)


@dataclass(frozen=True)
class ShownDemos:
    """Which demos an input is shown.

    Attributes:
        index: Where they are looked up.
        count: Demos wanted.
        max_bytes: Longest prompt, by :func:`optimizers.prompting.proposals.fit.prompt_bytes`.
    """

    index: NearestIndex
    count: int
    max_bytes: int


def demos_of(
    predictor: dspy.Predict, inputs: Mapping[str, Any], adapter: dspy.Adapter
) -> list[dict[str, Any]]:
    """The demos a compiled predictor shows for some inputs.

    Args:
        predictor: A predictor of a compiled program.
        inputs: Values of its input fields; others are ignored.
        adapter: The predictor's rendering.
    """
    shown = getattr(predictor, "shown", None)
    if shown is None:
        return [dict(demo) for demo in predictor.demos]
    found = nearest(shown.index, inputs, shown.count)
    known = {name: inputs[name] for name in predictor.signature.input_fields if name in inputs}
    fitting = fit_demos(found, adapter, predictor.signature, known, max_bytes=shown.max_bytes, keep="last")
    return [dict(demo) for demo in fitting]


def adapter_of(predictor: dspy.Predict, adapter: dspy.Adapter) -> dspy.Adapter:
    """The rendering of a compiled predictor: its own, or the program's."""
    own = getattr(predictor, "rendering", None)
    return adapter if own is None else sibling(adapter, own)


def messages_of(
    predictor: dspy.Predict, inputs: Mapping[str, Any], adapter: dspy.Adapter
) -> list[dict[str, Any]]:
    """The messages of a compiled predictor's first call.

    Args:
        predictor: A predictor of a compiled program.
        inputs: Values of its input fields.
        adapter: The program's rendering.
    """
    own = adapter_of(predictor, adapter)
    messages: list[dict[str, Any]] = own.format(
        predictor.signature, demos_of(predictor, inputs, own), dict(inputs)
    )
    return messages


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
        """See :meth:`optimizers.prompting.techniques.technique.Calls.ask`."""
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

    def adapter(self, seed: int | None = None) -> Rendering:
        """The DSPy adapter that renders this candidate.

        Args:
            seed: Seed of the calls, so that repeats at a temperature differ reproducibly.
        """
        return make_rendering(self.candidate.rendering, seed=seed)

    def __call__(self, inputs: Mapping[str, Any], *, seed: int | None = None) -> Any:
        """Run the program once.

        A program may catch what a call raises. If it then breaks, or returns nothing, what the
        call raised is raised. A trace gets an entry without outputs for a reply that could not be
        read, if the run ends for that.

        Args:
            inputs: Input fields.
            seed: Seed of the calls.
        """
        adapter = self.adapter(seed)
        with running(self.module, adapter):
            answer, problem = None, None
            try:
                answer = self.module(**inputs)
            except Exception as error:
                problem = error
            lost = adapter.lost[-1] if adapter.lost else None
            if lost and answer is None and not isinstance(problem, (DSPyError, ParityError)):
                problem = lost.error
            if lost and problem is lost.error and isinstance(problem, AdapterParseError) and lost.predictor:
                dspy.settings.trace.append((lost.predictor, lost.inputs, {}))
        if problem is not None:
            raise problem
        return answer


class ServedApart(dspy.Module):  # type: ignore[misc]
    """A module inside ``dspy.BestOfN`` or ``dspy.Refine``, each predictor of which has its own settings.

    Both ask for the one language model that all predictors share, and set a copy of it that draws
    anew. Here every predictor gets such a copy of its own.
    """

    def get_lm(self) -> dspy.BaseLM:
        """That of the last predictor."""
        return self.predictors()[-1].lm

    def set_lm(self, lm: dspy.BaseLM) -> None:
        """Have every predictor draw as ``lm`` does."""
        drawn = {name: lm.kwargs.get(name) for name in ("temperature", "rollout_id")}
        for predictor in self.predictors():
            predictor.lm = predictor.lm.copy(**drawn)


def serve_apart(program: dspy.Module) -> None:
    """Let ``dspy.BestOfN`` and ``dspy.Refine`` hold modules of several predictors."""
    for _, holder in list(program.named_sub_modules()):
        if isinstance(holder, (dspy.BestOfN, dspy.Refine)) and len(holder.module.predictors()) > 1:
            own = type(holder.module)
            holder.module.__class__ = type(own.__name__, (ServedApart, own), {})


@contextmanager
def running(program: dspy.Module, adapter: dspy.Adapter) -> Iterator[None]:
    """What a compiled program runs in.

    Predictors that it makes as it runs are served as its last one is. ``dspy.BestOfN`` and
    ``dspy.Refine`` need a trace.
    """
    trace = [] if dspy.settings.trace is None else dspy.settings.trace
    with dspy.context(adapter=adapter, lm=program.predictors()[-1].lm, trace=trace):
        yield


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
    by_name = {model.name: model for model in models}
    module = program.deepcopy()
    for name, predictor in module.named_predictors():
        model = by_name[candidate.serving(name).model]
        set_choices(predictor, candidate, name, model)
        predictor.demos = [dict(demo) for demo in candidate.predictors[name].demos]
        predictor.config = {key: value for key, value in predictor.config.items() if key not in SAMPLING_KEYS}
        predictor.lm = language_model(model, candidate.serving(name).sampling, measured=measured)
    serve_apart(module)
    return CompiledProgram(candidate=candidate, module=module)


def set_choices(predictor: dspy.Predict, candidate: Candidate, name: str, model: Model) -> None:
    """Have a predictor behave as a candidate says from now on, its demos and language model aside.

    The predictor stays the object it is: a program may hold it in several places. A technique
    that does not apply to its signature is left out.

    Args:
        predictor: Has the user's signature.
        candidate: The choices.
        name: The predictor's name.
        model: What serves it.
    """
    prompt, serving = candidate.predictors[name], candidate.serving(name)
    signature = with_bounded_thoughts(predictor.signature)
    inputs = tuple(signature.input_fields)
    technique = TECHNIQUES[serving.technique]
    if not technique.applies(signature):
        technique = TECHNIQUES["direct"]
    predictor.signature = with_instruction(
        technique.transform(signature), prompt.instruction, technique.words
    )
    shown = None
    if prompt.nearest is not None:
        shown = ShownDemos(
            index=pool_index(inputs, prompt.nearest.pool),
            count=prompt.nearest.count,
            max_bytes=prompt_room(model.context, serving.sampling.max_tokens + model.reasoning_room),
        )
    rendering = None if serving.rendering == candidate.rendering else serving.rendering
    if technique.run is not None or shown is not None or rendering is not None:
        choices = {"technique": technique, "shown": shown, "rendering": rendering}
        own: Any = type(predictor)
        predictor.__class__ = type(own.__name__, (PromptedPredict, own), choices)
