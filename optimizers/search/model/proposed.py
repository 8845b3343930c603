"""New candidates to think about: drawn at random, and changed from those that lead."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from random import Random
from typing import TYPE_CHECKING, Any

from optimizers.records.parameters import Choices, Parameter
from optimizers.search.space.initial_design import drawn_choices
from optimizers.search.space.parts import MODEL
from optimizers.search.space.search_space import MIXED, SearchSpace

if TYPE_CHECKING:
    from optimizers.models.model import Model

DRAWN, CHANGED = 32, 64
"""Candidates drawn at random, and candidates changed from leaders."""

GO_ON = 0.4
"""Chance of one more change to a leader."""

CARRIED = 0.25
"""Share of the changed ones that are a leader's prompt on another model."""


def proposals(
    space: SearchSpace,
    leaders: Sequence[Mapping[Parameter, Any]],
    tried: Set[frozenset[tuple[Parameter, Any]]],
    random: Random,
) -> list[Choices]:
    """Choices of candidates that were not tried yet, none of them twice.

    Args:
        space: What may be chosen.
        leaders: Choices of the candidates that lead.
        tried: Choices that were tried, each as its items.
        random: Where chance comes from.
    """
    seen: set[frozenset[tuple[Parameter, Any]]] = set()
    found = []
    for choices in (*_drawn(space, random), *_changed(space, leaders, random)):
        if (key := frozenset(choices.items())) not in seen and key not in tried:
            seen.add(key)
            found.append(choices)
    return found


def _drawn(space: SearchSpace, random: Random) -> Iterator[Choices]:
    names = [*(model.name for model in space.models), *([MIXED] if space.mixed else [])]
    for number in range(DRAWN):
        yield drawn_choices(space, names[number % len(names)], random)


def _changed(
    space: SearchSpace, leaders: Sequence[Mapping[Parameter, Any]], random: Random
) -> Iterator[Choices]:
    by_name = {model.name: model for model in space.models}
    for _ in range(CHANGED if leaders else 0):
        leader = random.choice(leaders)
        model = leader.get(MODEL, space.models[0].name)
        others = [other for other in by_name if other != model]
        if model in by_name and others and random.random() < CARRIED:
            other = random.choice(others)
            yield drawn_choices(space, other, random, _carried(space, leader, by_name[model], by_name[other]))
            continue
        kept = dict(leader)
        changeable = sorted(kept.keys() - {MODEL}, key=str)
        while changeable and (len(changeable) == len(kept) - (MODEL in kept) or random.random() < GO_ON):
            kept.pop(parameter := random.choice(changeable))
            changeable.remove(parameter)
        yield drawn_choices(space, model, random, kept)


def _carried(space: SearchSpace, choices: Mapping[Parameter, Any], model: Model, other: Model) -> Choices:
    """A model's choices as those of another model."""
    old, new = space.label(model), space.label(other)
    return {one.for_model(new): value for one, value in choices.items() if one.model == old}
