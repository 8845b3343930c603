"""New candidates to think about: legal, new, and many of them like what leads."""

from __future__ import annotations

from random import Random

from fakes import LARGE, SMALL

from optimizers.search.model.proposed import proposals
from optimizers.search.space.initial_design import FixedChoices, few_shot_starts
from optimizers.search.space.parts import MODEL
from optimizers.search.space.search_space import search_space
from optimizers.task.task import LoadedTask


def test_all_are_legal_and_none_comes_twice_or_was_tried(task: LoadedTask) -> None:
    space = search_space(task)
    leader = few_shot_starts(space, 4)[0]
    found = proposals(space, [leader], {frozenset(leader.items())}, Random(0))
    for choices in found:
        chooser = FixedChoices(choices)
        space.decided(chooser)
        assert chooser.made == choices
    keys = [frozenset(choices.items()) for choices in found]
    assert len(set(keys)) == len(keys) > 30
    assert frozenset(leader.items()) not in keys


def test_a_leader_is_changed_a_little_and_carried_to_the_other_model(task: LoadedTask) -> None:
    space = search_space(task)
    leader = next(choices for choices in few_shot_starts(space, 4) if choices[MODEL] == SMALL.name)
    found = proposals(space, [leader], set(), Random(0))
    small = [choices for choices in found if choices[MODEL] == SMALL.name]
    differ = [sum(leader.get(name) != value for name, value in choices.items()) for choices in small]
    assert min(differ) == 1
    carried = {
        one if one == MODEL else one.for_model(LARGE.label): LARGE.name if one == MODEL else value
        for one, value in leader.items()
    }
    large = [choices for choices in found if choices[MODEL] == LARGE.name]
    kept = [sum(carried.get(name) == value for name, value in choices.items()) for choices in large]
    assert max(kept) >= len(carried) - 3


def test_the_same_chance_gives_the_same(task: LoadedTask) -> None:
    space = search_space(task)
    leader = few_shot_starts(space, 1)[0]
    assert proposals(space, [leader], set(), Random(3)) == proposals(space, [leader], set(), Random(3))
