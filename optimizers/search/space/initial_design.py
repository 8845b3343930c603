"""Where a search begins: known good prompts, the plain defaults, and a random design."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from random import Random
from typing import TYPE_CHECKING, Any

from optimizers.records.parameters import Choices, Parameter
from optimizers.search.space.parts import MODEL, model_of, part_of
from optimizers.search.space.search_space import ELABORATE, MIXED, NEAREST

if TYPE_CHECKING:
    from optimizers.models.model import Model
    from optimizers.records.candidate import Candidate
    from optimizers.search.space.search_space import SearchSpace

DESIGN = 2
"""Drawn starts per model; what is tried after them is chosen by what was measured."""

PLAIN_SHARE = 0.7
"""Share of random starts that take the first choice of a part where that is the plain one."""

FEW_DEMOS = 1
"""Demos per label of a start that does more than answer directly."""

MOST_MIXED = 4
"""Ways to share the predictors out among models that a study begins with."""

DEFAULT_RENDERING = {"base": "completion", "instruct": "dspy_chat", "chat": "dspy_chat"}
"""How a model is called by someone who does nothing special: plain DSPy, or plain text for a base model."""


@dataclass(frozen=True)
class FixedChoices:
    """A chooser that takes what it is given, and the first choice where nothing is given.

    Attributes:
        values: Parameter -> value.
        made: Every choice that was made.
        offered: Parameter -> the choices there were.
    """

    values: Mapping[Parameter, Any]
    made: Choices = field(default_factory=dict)
    offered: dict[Parameter, tuple[Any, ...]] = field(default_factory=dict)

    def choose(self, parameter: Parameter, choices: Sequence[Any]) -> Any:
        """The given value, or the first choice."""
        value = self.values.get(parameter, choices[0])
        if value not in choices:
            raise ValueError(f"{parameter} has no choice {value!r}; it has {list(choices)}")
        self.made[parameter], self.offered[parameter] = value, tuple(choices)
        return value


class RandomChooser:
    """A chooser that draws at random, plain choices more often than dear ones, and remembers.

    No start is dear in two ways: one with a technique shows few demos, the same for every input.
    """

    def __init__(
        self, random: Random, values: Mapping[Parameter, Any], kept: Mapping[Parameter, Any]
    ) -> None:
        self.random, self.values, self.kept = random, dict(values), kept

    def choose(self, parameter: Parameter, choices: Sequence[Any]) -> Any:
        """The kept value, or one drawn at random."""
        if parameter in self.kept and self.kept[parameter] in choices:
            return self.values.setdefault(parameter, self.kept[parameter])
        part = part_of(parameter)
        plain = part.plain_first and self.random.random() < PLAIN_SHARE
        allowed = [choice for choice in choices if not self._is_expensive(parameter, choice)]
        weights = [1 / place if part.by_cost else 1 for place in range(1, len(allowed) + 1)]
        value = choices[0] if plain else self.random.choices(allowed, weights)[0]
        return self.values.setdefault(parameter, value)

    def _is_expensive(self, parameter: Parameter, choice: Any) -> bool:
        if ELABORATE not in self.values.values():
            return False
        return choice == NEAREST or (parameter.part == "demos" and choice > FEW_DEMOS)


def starts(space: SearchSpace, seed: int) -> list[Choices]:
    """The choices a study begins with: what is known to be good, then a random design."""
    return [*known_starts(space), *design(space, seed)]


def known_starts(space: SearchSpace) -> list[Choices]:
    """Good few-shot starts first, then each model's plain default.

    Where each predictor may have a model of its own, ways to share them out come in between.
    """
    known = [_few_shot(space, model, per_label) for model in space.models for per_label in (1, 4)]
    known += list(_shared_out(space)) if space.mixed else []
    return known + [default_choices(space, model) for model in space.models]


def design(space: SearchSpace, seed: int) -> list[Choices]:
    """Drawn choices that give every model its turn, and try dear ones less often than cheap ones."""
    random = Random(seed)
    return [drawn_choices(space, model.name, random) for _ in range(DESIGN) for model in space.models]


def drawn(space: SearchSpace, model: Model, random: Random) -> Candidate:
    """A candidate of a model, drawn at random as the starts are."""
    return space.choose(FixedChoices(drawn_choices(space, model.name, random)))


def default_choices(space: SearchSpace, model: Model) -> Choices:
    """The plain default: the user's own instruction, no demos, greedy, nothing special."""
    rendering = DEFAULT_RENDERING[model.kind]
    return completed(space, _model(space, model) | _plain(space, model, rendering, demos=0, longest=True))


def default_candidate(space: SearchSpace, model: Model) -> Candidate:
    """A model's plain default as a candidate."""
    return space.choose(FixedChoices(default_choices(space, model)))


def drawn_choices(
    space: SearchSpace, model: str, random: Random, kept: Mapping[Parameter, Any] | None = None
) -> Choices:
    """Choices for a model, drawn at random but for what is kept of others.

    Args:
        space: What may be chosen.
        model: The model's name, or ``MIXED``.
        random: Where chance comes from.
        kept: Choices to take wherever they can be made.
    """
    several = len(space.models) > 1 or space.mixed
    chooser = RandomChooser(random, {MODEL: model} if several else {}, kept or {})
    space.decided(chooser)
    return chooser.values


def few_shot_starts(space: SearchSpace, per_label: int) -> list[Choices]:
    """Every model's plain text with the user's instruction and a few balanced demos."""
    return [_few_shot(space, model, per_label) for model in space.models]


def _few_shot(space: SearchSpace, model: Model, per_label: int) -> Choices:
    """What small models read best."""
    rendering = space.renderings(model)[0]
    values = _plain(space, model, rendering, demos=per_label, longest=False)
    return completed(space, _model(space, model) | values)


def _shared_out(space: SearchSpace) -> Iterator[Choices]:
    """Every predictor with the cheapest or the dearest model, the cheap one first at early predictors."""
    ordered = sorted(space.models, key=lambda model: (model.price.output, model.size or 0.0))
    pair = (ordered[0], ordered[-1])
    ways = [way for way in product(pair, repeat=len(space.predictors)) if len({m.name for m in way}) == 2]
    for way in ways[:MOST_MIXED]:
        values: Choices = {MODEL: MIXED}
        for predictor, model in zip(space.predictors, way, strict=True):
            values[model_of(predictor)] = model.name
            values |= _plain(space, model, space.renderings(model)[0], demos=4, longest=False)
        yield completed(space, values)


def _model(space: SearchSpace, model: Model) -> Choices:
    return {MODEL: model.name} if len(space.models) > 1 or space.mixed else {}


def _plain(space: SearchSpace, model: Model, rendering: str, *, demos: int, longest: bool) -> Choices:
    """A model's direct and greedy choices at every predictor, with at most so many demos per label."""
    values: Choices = {space.parameter(model, None, "rendering"): rendering}
    for predictor, part in space.predictors.items():
        limits = space.reply_limits(rendering, "direct", predictor)
        parameter = partial(space.parameter, model, predictor)
        values[parameter("max_tokens", rendering, "direct")] = limits[-1 if longest else 0]
        values[parameter("demos")] = max(n for n in part.sizes[model.name] if n <= demos)
    return values


def completed(space: SearchSpace, values: Mapping[Parameter, Any]) -> Choices:
    """The choices a candidate is made of, all of them and no others."""
    chooser = FixedChoices(values)
    space.decided(chooser)
    return chooser.made
