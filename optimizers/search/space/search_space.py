"""The search space: every legal candidate of a task, as conditional categorical choices.

A parameter is for one model and one predictor, so that what is learned about one model is not applied to
another: the best demos of a 0.1 B base model say little about a chat model. What is learned about a model at
one predictor holds wherever it serves that predictor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from optimizers.models.lm import language_model
from optimizers.models.sampling import Sampling
from optimizers.prompting.proposals.fit import fit_demos, prompt_room
from optimizers.prompting.proposals.pools import Pool, Pools
from optimizers.prompting.proposals.strategies import STRATEGIES, alternate_labels
from optimizers.prompting.renderings import rendering as make_rendering
from optimizers.prompting.renderings import renderings_for
from optimizers.prompting.renderings.rendering import abilities
from optimizers.prompting.techniques import TECHNIQUES
from optimizers.prompting.techniques.technique import with_instruction
from optimizers.records.candidate import Candidate, Nearest, PredictorPrompt, PromptOrigin, Serving
from optimizers.records.parameters import Parameter
from optimizers.search.space.parts import MODEL, model_of
from optimizers.search.space.predictor_space import WAYS, PredictorSpace, predictor_space

if TYPE_CHECKING:
    from optimizers.models.model import Model
    from optimizers.prompting.proposals.demos import Demo
    from optimizers.task.task import LoadedTask

MIXED = "mixed"
"""The choice of a model for every predictor apart."""

NEAREST = "nearest"
"""The choice of demos anew for every input."""

MOST_NEAREST = 8
"""Demos chosen for one input at most: no cache holds them, so every call reads them anew."""

DRAWS = 6
"""Random draws per way to choose demos: which examples are shown matters as much as how many."""

TEMPERATURES = (0.0, 0.3, 0.7)
SAMPLED_TEMPERATURES = (0.7, 1.0)
"""For techniques that need replies to differ; Wang et al. 2023 use 0.5 to 0.7."""

TRUNCATIONS: Mapping[str, Mapping[str, Any]] = {
    "none": {},
    "top_p 0.9": {"top_p": 0.9},
    "min_p 0.1": {"min_p": 0.1},
    "top_k 40": {"top_k": 40},
}
"""Ways to leave unlikely tokens out; only some engines know min_p (Nguyen et al., ICLR 2025) and top_k."""

PENALTIES = (None, 1.1, 1.3)
"""Repetition penalties (Keskar et al., "CTRL", 2019, use 1.2), for replies of free text."""

ELABORATE, SEVERAL_CALLS = "elaborate", "several calls"
"""Choices that stand for a further choice: of all techniques but direct, and among those of all
that make several calls.

A sampler tries every choice before it knows better. Side by side, each technique would take
trials that cost as much as many direct ones; so all together get the share of one.
"""

FORMAT_TOKENS = {"json_object": 24, "dspy_chat": 48}
"""Tokens a rendering's own format adds to the reply, per output field."""


class Chooser(Protocol):
    """Makes the choices: at random, or as given."""

    def choose(self, parameter: Parameter, choices: Sequence[Any]) -> Any:
        """One of the choices for a parameter."""


@dataclass(frozen=True)
class PredictorChoices:
    """What was chosen for one predictor.

    Attributes:
        model: What serves it.
        serving: The same, with rendering, technique and sampling.
        way: How its task is said.
        parts: What is added to that: part -> its form.
        per_label: Demos per label.
        source: Where they come from; None without demos.
        draw: Seed of the strategy that draws them.
        alternate: Whether their labels alternate.
    """

    model: Model
    serving: Serving
    way: str
    parts: Mapping[str, str]
    per_label: int = 0
    source: str | None = None
    draw: int = 0
    alternate: bool = False


@dataclass(frozen=True)
class SearchSpace:
    """Every legal candidate of a task.

    Attributes:
        models: The models, in the order declared.
        predictors: Predictor name -> what may vary for it.
        abilities: Model name -> what its engine takes in addition to a conversation.
        mixed: Whether predictors of one candidate may have different models.
        allowed: Names of the techniques to choose from, where they are legal, direct always; None for all.
        strategies: The ways to choose labelled demos, ``nearest`` among them.
        parts: Whether instructions are composed of parts, in addition to the wordings of the task.
        sampling: Whether anything but greedy decoding is tried where a technique does not need it.
    """

    models: tuple[Model, ...]
    predictors: Mapping[str, PredictorSpace]
    abilities: Mapping[str, frozenset[str]]
    mixed: bool = False
    allowed: tuple[str, ...] | None = None
    strategies: tuple[str, ...] = (*STRATEGIES, NEAREST)
    parts: bool = True
    sampling: bool = True
    # What was found out about techniques: to transform a signature again is slow.
    _legal: dict[tuple[str, str, str], tuple[str, ...]] = field(default_factory=dict, init=False, repr=False)
    _limits: dict[tuple[str, str, str], tuple[int, ...]] = field(default_factory=dict, init=False, repr=False)
    _elaborate: dict[tuple[str, str], tuple[str, ...]] = field(default_factory=dict, init=False, repr=False)

    def choose(self, chooser: Chooser) -> Candidate:
        """One candidate, every part chosen by ``chooser``."""
        return self.built(self.decided(chooser))

    def decided(self, chooser: Chooser) -> dict[str, PredictorChoices]:
        """Every choice that makes a candidate, by predictor; no prompt is written yet."""
        by_name = {model.name: model for model in self.models}
        name = _pick(chooser, MODEL, [*by_name, *([MIXED] if self.mixed else [])])
        found = {}
        for predictor in self.predictors:
            served = _pick(chooser, model_of(predictor), list(by_name)) if name == MIXED else name
            found[predictor] = self._decided(chooser, by_name[served], predictor)
        return found

    def built(self, decided: Mapping[str, PredictorChoices]) -> Candidate:
        """The candidate that choices make."""
        prompts = {predictor: self._prompt(predictor, chosen) for predictor, chosen in decided.items()}
        return joined(prompts, self.models)

    def label(self, model: Model) -> str:
        """What a model's parameters name it by: its short name, or its whole one if two models share that."""
        twins = sum(other.label == model.label for other in self.models)
        return model.label if twins == 1 else model.name

    def parameter(self, model: Model, predictor: str | None, part: str, *given: str) -> Parameter:
        """A parameter of a model, at one predictor or all."""
        return Parameter(self.label(model), predictor, part, given)

    def renderings(self, model: Model) -> tuple[str, ...]:
        """The model's legal renderings; chat endpoints over HTTP take no text without a template."""
        return renderings_for(model.kind, raw=model.engine == "llama" or model.kind == "base")

    def techniques(self, model: Model, rendering: str) -> tuple[str, ...]:
        """The techniques that are legal for at least one predictor."""
        found = [name for predictor in self.predictors for name in self.legal(model, rendering, predictor)]
        return tuple(dict.fromkeys(found))

    def legal(self, model: Model, rendering: str, predictor: str) -> tuple[str, ...]:
        """The legal techniques, direct first, those of several calls last and by their number.

        Each applies to the predictor and works on the model's engine in this rendering.
        """
        key = (model.name, rendering, predictor)
        if key not in self._legal:
            self._legal[key] = self._find_legal(model, rendering, predictor)
        return self._legal[key]

    def _find_legal(self, model: Model, rendering: str, predictor: str) -> tuple[str, ...]:
        able, signature = self.abilities[model.name], self.predictors[predictor].signature
        known = dict.fromkeys(("direct", *(TECHNIQUES if self.allowed is None else self.allowed)))
        legal = [
            name
            for name in known
            if TECHNIQUES[name].applies(signature) and TECHNIQUES[name].fits(rendering, able)
        ]
        return tuple(sorted(legal, key=lambda name: (name != "direct", self._calls(name, predictor))))

    def _calls(self, technique: str, predictor: str) -> int:
        return TECHNIQUES[technique].calls(self.predictors[predictor].signature)

    def reply_limits(self, rendering: str, technique: str, predictor: str) -> tuple[int, ...]:
        """Choices of ``max_tokens``: long enough for the predictor's reply in this format."""
        key = (rendering, technique, predictor)
        if key not in self._limits:
            self._limits[key] = self._find_limits(rendering, technique, predictor)
        return self._limits[key]

    def _find_limits(self, rendering: str, technique: str, predictor: str) -> tuple[int, ...]:
        chosen, space = TECHNIQUES[technique], self.predictors[predictor]
        signature = chosen.longest_signature(chosen.transform(space.signature))
        extra = FORMAT_TOKENS.get(rendering, 0) * len(signature.output_fields)
        return tuple(sorted({tokens + extra for tokens in chosen.reply_tokens(space.signature)}))

    def _serving(self, chooser: Chooser, model: Model, predictor: str) -> Serving:
        rendering = _pick(chooser, self.parameter(model, None, "rendering"), self.renderings(model))
        technique = self._technique(chooser, model, rendering, predictor)
        sampling = self._sampling(chooser, model, predictor, rendering, technique)
        return Serving(model=model.name, rendering=rendering, technique=technique, sampling=sampling)

    def _technique(self, chooser: Chooser, model: Model, rendering: str, predictor: str) -> str:
        """Direct or elaborate; then a technique of one call, or several calls; then one of those.

        Optuna wants the same choices under the same name: they are those of all renderings, and
        one that is not legal under this rendering stands for direct.
        """
        parameter, legal = partial(self.parameter, model, predictor), self.legal(model, rendering, predictor)
        further = self._further(model, predictor)
        chosen: str = _pick(chooser, parameter("technique"), ["direct", *([ELABORATE] if further else [])])
        if chosen == ELABORATE:
            chosen = _pick(chooser, parameter("elaborate"), further)
        if chosen == SEVERAL_CALLS:
            several = [name for name in legal if self._calls(name, predictor) > 1]
            chosen = _pick(chooser, parameter("calls", rendering), several) if several else chosen
        return chosen if chosen in legal else "direct"

    def _further(self, model: Model, predictor: str) -> tuple[str, ...]:
        """What there is apart from direct under any rendering: techniques of one call, and several calls."""
        key = (model.name, predictor)
        if key not in self._elaborate:
            every = [name for known in self.renderings(model) for name in self.legal(model, known, predictor)]
            self._elaborate[key] = tuple(
                dict.fromkeys(
                    SEVERAL_CALLS if self._calls(name, predictor) > 1 else name
                    for name in every
                    if name != "direct"
                )
            )
        return self._elaborate[key]

    def _sampling(
        self, chooser: Chooser, model: Model, predictor: str, rendering: str, technique: str
    ) -> Sampling:
        parameter, chosen = partial(self.parameter, model, predictor), TECHNIQUES[technique]
        limits = self.reply_limits(rendering, technique, predictor)
        settings: dict[str, Any] = {
            "max_tokens": _pick(chooser, parameter("max_tokens", rendering, technique), limits)
        }
        if model.reasoning_efforts:
            settings["reasoning_effort"] = _pick(
                chooser, parameter("reasoning_effort"), model.reasoning_efforts
            )
        if chosen.sampling == "unused":
            return Sampling(**settings)
        if chosen.sampling == "needed":
            settings["temperature"] = _pick(
                chooser, parameter("temperature", "sampled"), SAMPLED_TEMPERATURES
            )
        elif self.sampling and model.takes_temperature:
            settings["temperature"] = _pick(chooser, parameter("temperature"), TEMPERATURES)
        if self.sampling and settings.get("temperature", 0) > 0:
            taken = model.accepts | ({"top_p"} if model.takes_top_p else set())
            known = [name for name, cut in TRUNCATIONS.items() if cut.keys() <= taken]
            settings |= TRUNCATIONS[_pick(chooser, parameter("truncation"), known)]
        if (
            self.sampling
            and "repetition_penalty" in model.accepts
            and _is_free(self.predictors[predictor], technique)
        ):
            settings["repetition_penalty"] = _pick(chooser, parameter("repetition_penalty"), PENALTIES)
        return Sampling(**settings)

    def _decided(self, chooser: Chooser, model: Model, predictor: str) -> PredictorChoices:
        parameter, space = partial(self.parameter, model, predictor), self.predictors[predictor]
        serving = self._serving(chooser, model, predictor)
        ways = WAYS if self.parts else WAYS[:1]
        way = _pick(chooser, parameter("instruction"), [*ways, *space.pool.instructions])
        parts = {}
        if self.parts and way not in space.pool.instructions:
            parts = {
                name: _pick(chooser, parameter(f"part.{name}"), choices)
                for name, choices in space.parts.items()
            }
        per_label = _pick(chooser, parameter("demos"), space.sizes[model.name])
        if per_label == 0:
            return PredictorChoices(model, serving, way, parts)
        labelled = self.strategies if space.labelled else ()
        source = _pick(chooser, parameter("demos.from"), [*labelled, *space.pool.demos])
        if source == NEAREST:
            return PredictorChoices(model, serving, way, parts, per_label, source)
        draw = _pick(chooser, parameter("draw", source), range(DRAWS)) if source in STRATEGIES else 0
        alternate = space.ordered and _pick(chooser, parameter("demos.alternate"), (False, True))
        return PredictorChoices(model, serving, way, parts, per_label, source, draw, alternate)

    def _prompt(self, predictor: str, decided: PredictorChoices) -> PredictorPrompt:
        space, per_label, source = self.predictors[predictor], decided.per_label, decided.source
        instruction = space.instruction(decided.way, decided.parts)
        origin = PromptOrigin(instruction_parts=instruction.parts)
        prompt = PredictorPrompt(
            instruction=instruction.text,
            instruction_name=instruction.name,
            serving=decided.serving,
            origin=origin,
        )
        if source is None:
            return prompt
        if source == NEAREST:
            count = min(per_label * space.labels, MOST_NEAREST)
            nearest = Nearest(count=count, pool=space.nearest_pool)
            origin = origin.model_copy(update={"demos_method": NEAREST})
            changed = {"nearest": nearest, "demos_name": f"{count} nearest", "origin": origin}
            return prompt.model_copy(update=changed)
        demos = space.demos(source, per_label=per_label, draw=decided.draw)
        method, drawn = space.method(source), source in STRATEGIES
        name = f"{per_label} per label, {source} {decided.draw}" if drawn else f"{len(demos)} {source}"
        if decided.alternate:
            demos, name = alternate_labels(demos, space.signature), f"{name}, labels in turn"
        found = {"demos_method": method, "demos_per_label": per_label if drawn else None}
        fitting = self._fitting(demos, decided.model, predictor, decided.serving, instruction.text)
        origin = origin.model_copy(update={**found, "alternate": decided.alternate})
        return prompt.model_copy(update={"demos": fitting, "demos_name": name, "origin": origin})

    def _fitting(
        self, demos: tuple[Demo, ...], model: Model, predictor: str, serving: Serving, instruction: str
    ) -> tuple[Demo, ...]:
        """The demos that leave room for the longest inputs there are, so that no prompt overflows."""
        space, technique = self.predictors[predictor], TECHNIQUES[serving.technique]
        signature = with_instruction(technique.transform(space.signature), instruction, technique.words)
        room = prompt_room(model.context, serving.sampling.max_tokens + model.reasoning_room)
        rendering = make_rendering(serving.rendering)
        return fit_demos(demos, rendering, signature, space.longest, max_bytes=room)


def joined(prompts: Mapping[str, PredictorPrompt], models: Sequence[Model]) -> Candidate:
    """A candidate of prompts that each say what serves them: what most of them share is said once.

    The candidate's own serving is that of the last predictor the dearest model serves.
    """
    dearness = {model.name: (model.price.output, model.size or 0.0) for model in models}
    servings = {name: prompt.serving for name, prompt in prompts.items() if prompt.serving is not None}
    main = max(reversed(servings.values()), key=lambda serving: dearness[serving.model])
    return Candidate(
        model=main.model,
        rendering=main.rendering,
        technique=main.technique,
        sampling=main.sampling,
        predictors={
            name: prompt.model_copy(update={"serving": None}) if prompt.serving == main else prompt
            for name, prompt in prompts.items()
        },
    )


def _pick(chooser: Chooser, parameter: Parameter, choices: Sequence[Any]) -> Any:
    """A choice, where there is one to make."""
    return chooser.choose(parameter, tuple(choices)) if len(choices) > 1 else choices[0]


def _is_free(space: PredictorSpace, technique: str) -> bool:
    """Whether a reply holds free text, which a model may repeat itself in."""
    return TECHNIQUES[technique].reasons or not space.closed


def search_space(task: LoadedTask, pools: Pools | None = None) -> SearchSpace:
    """The search space of a task.

    Args:
        task: The task.
        pools: What was found in addition to what the program and the train split give.
    """
    predictors = {
        name: predictor_space(
            predictor.signature, task.dataset.train, task.models, (pools or {}).get(name, Pool())
        )
        for name, predictor in task.program.named_predictors()
    }
    return SearchSpace(
        models=task.models,
        predictors=predictors,
        abilities={model.name: _abilities(model) for model in task.models},
        mixed=task.models_per_predictor and len(predictors) > 1 and len(task.models) > 1,
    )


def _abilities(model: Model) -> frozenset[str]:
    """What the engine of a model in this process takes; of servers, nothing is assumed."""
    return abilities(language_model(model)) if model.engine == "llama" else frozenset()
