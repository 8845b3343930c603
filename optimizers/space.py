"""The search space: every legal candidate of a task, as conditional categorical choices.

Each choice is named ``MODEL.part``, so that what is learnt about one model is not
taken for another: the best demos of a 0.1 B base model say little about a chat model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any, Protocol

from optimizers.candidate import Candidate, PredictorPrompt, Sampling
from optimizers.models.lm import language_model
from optimizers.proposals.demos import demo_sizes, labelled_demos
from optimizers.proposals.instructions import Instruction, compose_instructions
from optimizers.renderings import renderings_for
from optimizers.renderings.rendering import abilities
from optimizers.techniques import TECHNIQUES

if TYPE_CHECKING:
    import dspy

    from optimizers.models.model import Model
    from optimizers.task import LoadedTask

DRAWS = 6
"""Random draws per demo-set size: which examples are shown matters as much as how many."""

TEMPERATURES = (0.0, 0.3, 0.7)
SAMPLED_TEMPERATURES = (0.7, 1.0)
"""For techniques that need replies to differ; Wang et al. 2023 use 0.5 to 0.7."""

TOP_PS = (1.0, 0.9)

DESIGN = 8
"""Drawn starts per model, before the sampler learns from what was measured."""

PLAIN_SHARE = 0.7
"""Share of drawn starts that answer directly, and of those that are greedy, whatever else they draw."""

ELABORATE, SEVERAL_CALLS = "elaborate", "several calls"
"""Choices that stand for a further choice: of all techniques but direct, and among those of all
that make several calls.

A sampler tries every choice before it knows better. Side by side, each technique would take
trials that cost as much as many direct ones; so all together get the share of one.
"""

FORMAT_TOKENS = {"json_object": 24, "dspy_chat": 48}
"""Tokens a rendering's own format adds to the reply, per output field."""

DEFAULT_RENDERING = {"base": "completion", "instruct": "dspy_chat", "chat": "dspy_chat"}
"""How a model is called by someone who does nothing special: plain DSPy, or plain text for a base model."""


class Chooser(Protocol):
    """Whoever makes the choices: an Optuna trial, or a fixed assignment."""

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """Pick one of the choices for the parameter called ``name``."""


@dataclass(frozen=True)
class FixedChoices:
    """A chooser that takes what it is given, and the first choice where nothing is given."""

    values: Mapping[str, Any]

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """The given value, or the first choice."""
        value = self.values.get(name, choices[0])
        if value not in choices:
            raise ValueError(f"{name} has no choice {value!r}; it has {list(choices)}")
        return value


class _Drawn:
    """A chooser that draws at random, plain choices more often than dear ones, and remembers."""

    def __init__(self, random: Random, model: str) -> None:
        self.random, self.values = random, {"model": model}

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        plain = name.endswith((".technique", ".temperature")) and self.random.random() < PLAIN_SHARE
        # Techniques with several calls come in the order of what they cost.
        rarer = [1 / place if name.endswith(".calls") else 1 for place in range(1, len(choices) + 1)]
        value = choices[0] if plain else self.random.choices(list(choices), rarer)[0]
        return self.values.setdefault(name, value)


@dataclass(frozen=True)
class PredictorSpace:
    """What may vary for one predictor.

    Attributes:
        signature: The user's signature.
        instructions: The instruction pool, the user's own first.
        sizes: Model name -> demos per label that fit its context, 0 first.
    """

    signature: type[dspy.Signature]
    instructions: tuple[Instruction, ...]
    sizes: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class SearchSpace:
    """Every legal candidate of a task.

    Attributes:
        models: The models, in the order declared.
        predictors: Predictor name -> what may vary for it.
        train: Examples that demos are drawn from.
        abilities: Model name -> what its engine takes beside a conversation.
    """

    models: tuple[Model, ...]
    predictors: Mapping[str, PredictorSpace]
    train: tuple[dspy.Example, ...]
    abilities: Mapping[str, frozenset[str]]

    def choose(self, chooser: Chooser) -> Candidate:
        """One candidate, every part chosen by ``chooser``."""
        name = chooser.suggest_categorical("model", [model.name for model in self.models])
        model = next(model for model in self.models if model.name == name)
        label = self.prefix(model)
        rendering = chooser.suggest_categorical(f"{label}.rendering", _renderings(model))
        technique = self._technique(chooser, model, rendering)
        prompts = {
            predictor: self._prompt(chooser, model, predictor, space)
            for predictor, space in self.predictors.items()
        }
        return Candidate(
            model=name,
            rendering=rendering,
            technique=technique,
            predictors=prompts,
            sampling=self._sampling(chooser, label, rendering, technique),
        )

    def prefix(self, model: Model) -> str:
        """What a model's choices are named by: its short name, or its whole one where two share that."""
        twins = sum(other.label == model.label for other in self.models)
        return model.label if twins == 1 else model.name

    def techniques(self, model: Model, rendering: str) -> tuple[str, ...]:
        """The legal techniques, direct first, those of several calls last and by their number.

        Each applies to at least one predictor and works on the model's engine in this rendering.
        """
        able = self.abilities[model.name]
        calls: dict[str, int] = {}
        for name, technique in TECHNIQUES.items():
            applied = [s.signature for s in self.predictors.values() if technique.applies(s.signature)]
            if applied and technique.fits(rendering, able):
                calls[name] = max(map(technique.calls, applied)) if technique.run else 0
        return tuple(sorted(calls, key=lambda name: (name != "direct", calls[name])))

    def reply_limits(self, rendering: str, technique: str) -> tuple[int, ...]:
        """Choices of ``max_tokens``: long enough for every predictor's reply in this format."""
        limits: set[int] = set()
        floor = 0
        for space in self.predictors.values():
            applied = TECHNIQUES[technique]
            chosen = applied if applied.applies(space.signature) else TECHNIQUES["direct"]
            signature = chosen.asked(chosen.transform(space.signature))
            extra = FORMAT_TOKENS.get(rendering, 0) * len(signature.output_fields)
            choices = [tokens + extra for tokens in chosen.reply_tokens(space.signature)]
            floor = max(floor, min(choices))
            limits.update(choices)
        return tuple(sorted(limit for limit in limits if limit >= floor))

    def starts(self, seed: int) -> list[dict[str, Any]]:
        """Assignments every study begins with.

        Good few-shot starts first, so that racing has rivals; then each model's plain default;
        then a design that gives every model its turn and tries dear choices, such as reasoning
        and sampling at a temperature, less often than cheap ones.

        Args:
            seed: Seed of the design.
        """
        random = Random(seed)
        known = [start for model in self.models for start in self._few_shot(model)]
        known += [self.default_choices(model) for model in self.models]
        return known + [self._draw(model, random)[0] for _ in range(DESIGN) for model in self.models]

    def drawn(self, model: Model, random: Random) -> Candidate:
        """A candidate of a model, drawn at random as the starts are."""
        return self._draw(model, random)[1]

    def _draw(self, model: Model, random: Random) -> tuple[dict[str, Any], Candidate]:
        drawn = _Drawn(random, model.name)
        candidate = self.choose(drawn)
        return drawn.values, candidate

    def default_choices(self, model: Model) -> dict[str, Any]:
        """The plain default: the user's own instruction, no demos, greedy, nothing special."""
        label = self.prefix(model)
        rendering = DEFAULT_RENDERING[model.kind]
        choices: dict[str, Any] = {
            "model": model.name,
            f"{label}.rendering": rendering,
            f"{label}.technique": "direct",
        }
        for predictor, space in self.predictors.items():
            choices[f"{label}.{predictor}.instruction"] = space.instructions[0].name
            choices[f"{label}.{predictor}.demos"] = 0
        choices[f"{label}.{rendering}.direct.max_tokens"] = self.reply_limits(rendering, "direct")[-1]
        choices[f"{label}.temperature"] = 0.0
        return choices

    def _few_shot(self, model: Model) -> list[dict[str, Any]]:
        """Plain text with the user's instruction and a few balanced demos: what small models read best."""
        label, rendering = self.prefix(model), _renderings(model)[0]
        starts = []
        for per_label in (1, 4):
            choices = {**self.default_choices(model), f"{label}.rendering": rendering}
            choices[f"{label}.{rendering}.direct.max_tokens"] = self.reply_limits(rendering, "direct")[0]
            for predictor, space in self.predictors.items():
                sizes = space.sizes[model.name]
                choices[f"{label}.{predictor}.demos"] = max(size for size in sizes if size <= per_label)
                choices[f"{label}.{predictor}.draw"] = 0
            starts.append(choices)
        return starts

    def _technique(self, chooser: Chooser, model: Model, rendering: str) -> str:
        """Direct or elaborate; then a technique of one call, or several calls; then one of those."""
        label, legal = self.prefix(model), self.techniques(model, rendering)
        several = [name for name in legal if TECHNIQUES[name].run is not None]
        longer = [name for name in legal if name != "direct" and name not in several]
        chosen: str = chooser.suggest_categorical(f"{label}.technique", ["direct", ELABORATE])
        if chosen == ELABORATE:
            chosen = chooser.suggest_categorical(f"{label}.elaborate", [*longer, SEVERAL_CALLS])
        if chosen == SEVERAL_CALLS:
            chosen = chooser.suggest_categorical(f"{label}.{rendering}.calls", several)
        return chosen

    def _prompt(
        self, chooser: Chooser, model: Model, predictor: str, space: PredictorSpace
    ) -> PredictorPrompt:
        prefix = f"{self.prefix(model)}.{predictor}"
        by_name = {instruction.name: instruction for instruction in space.instructions}
        instruction = by_name[chooser.suggest_categorical(f"{prefix}.instruction", list(by_name))]
        per_label = chooser.suggest_categorical(f"{prefix}.demos", space.sizes[model.name])
        if per_label == 0:
            return PredictorPrompt(instruction=instruction.text, instruction_name=instruction.name)
        draw = chooser.suggest_categorical(f"{prefix}.draw", list(range(DRAWS)))
        return PredictorPrompt(
            instruction=instruction.text,
            instruction_name=instruction.name,
            demos=labelled_demos(self.train, space.signature, per_label=per_label, seed=draw),
            demos_name=f"{per_label} per label, draw {draw}",
        )

    def _sampling(self, chooser: Chooser, label: str, rendering: str, technique: str) -> Sampling:
        limits = self.reply_limits(rendering, technique)
        max_tokens = chooser.suggest_categorical(f"{label}.{rendering}.{technique}.max_tokens", limits)
        sampling = TECHNIQUES[technique].sampling
        if sampling == "unused":
            return Sampling(max_tokens=max_tokens)
        if sampling == "needed":
            temperature = chooser.suggest_categorical(f"{label}.sampled.temperature", SAMPLED_TEMPERATURES)
        else:
            temperature = chooser.suggest_categorical(f"{label}.temperature", TEMPERATURES)
        top_p = chooser.suggest_categorical(f"{label}.top_p", TOP_PS) if temperature > 0 else 1.0
        return Sampling(temperature=temperature, top_p=top_p, max_tokens=max_tokens)


def _renderings(model: Model) -> tuple[str, ...]:
    """The model's legal renderings; chat endpoints over HTTP take no text without a template."""
    return renderings_for(model.kind, raw=model.engine == "llama" or model.kind == "base")


def _abilities(model: Model) -> frozenset[str]:
    """What the engine of a model in this process takes; of servers, nothing is assumed."""
    return abilities(language_model(model)) if model.engine == "llama" else frozenset()


def search_space(task: LoadedTask) -> SearchSpace:
    """The search space of a task, its pools composed from the program and the train split."""
    predictors = {}
    for name, predictor in task.program.named_predictors():
        signature = predictor.signature
        sizes = {
            model.name: demo_sizes(task.dataset.train, signature, max_tokens=model.context)
            for model in task.models
        }
        predictors[name] = PredictorSpace(signature, compose_instructions(signature), sizes)
    return SearchSpace(
        models=task.models,
        predictors=predictors,
        train=task.dataset.train,
        abilities={model.name: _abilities(model) for model in task.models},
    )


def default_candidate(space: SearchSpace, model: Model) -> Candidate:
    """A model's plain default as a candidate."""
    return space.choose(FixedChoices(space.default_choices(model)))
