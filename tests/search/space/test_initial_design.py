"""Starts: every choice of a start is offered and taken, and what must be among them is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from fakes import LARGE, SMALL, FakeEngine, Notes

from optimizers.prompting.proposals.pools import Pool
from optimizers.records.parameters import Choices, Parameter
from optimizers.search.space.initial_design import (
    DESIGN,
    FixedChoices,
    completed,
    default_candidate,
    starts,
)
from optimizers.search.space.parts import MODEL, model_of
from optimizers.search.space.search_space import MIXED, SearchSpace, search_space
from optimizers.task.task import LoadedTask

FOUND = {
    "take": Pool(demos={"written": tuple({"review": f"r{n}", "note": f"n{n}"} for n in range(6))}),
    "judge": Pool(instructions={"written 1": "Weigh the note."}),
}


@pytest.fixture(params=["one predictor", "two predictors", "models apart", "after bootstrap"])
def space(request: pytest.FixtureRequest, task: LoadedTask, engines: dict[str, FakeEngine]) -> SearchSpace:
    if request.param == "one predictor":
        return search_space(task)
    two = replace(task, program=Notes(), models_per_predictor=request.param == "models apart")
    return search_space(two, FOUND if request.param == "after bootstrap" else None)


class Strict:
    """Takes what a start says; a choice that it does not say or that is not offered fails."""

    def __init__(self, start: Choices) -> None:
        self.start, self.asked = start, set[Parameter]()

    def choose(self, parameter: Parameter, choices: Sequence[Any]) -> Any:
        assert self.start[parameter] in choices
        self.asked.add(parameter)
        return self.start[parameter]


def test_a_start_says_every_choice_and_no_other(space: SearchSpace) -> None:
    for start in starts(space, 0):
        chooser = Strict(start)
        space.choose(chooser)
        assert chooser.asked == start.keys()


def test_what_a_start_says_is_what_the_candidate_is(space: SearchSpace) -> None:
    for start in starts(space, 0):
        candidate = space.choose(FixedChoices(start))
        for predictor, prompt in candidate.predictors.items():
            serving = candidate.serving(predictor)
            model = start[model_of(predictor)] if start[MODEL] == MIXED else start[MODEL]
            label = model.rpartition("/")[2]
            assert serving.model == model
            assert serving.rendering == start.get(Parameter(label, None, "rendering"), "completion")
            if start[Parameter(label, predictor, "technique")] == "direct":
                assert serving.technique == "direct"
            told = start[Parameter(label, predictor, "instruction")]
            assert told in prompt.instruction_name.split("+") or told == "task"
            shown = bool(start.get(Parameter(label, predictor, "demos")))
            assert bool(prompt.demos or prompt.nearest) == shown


def test_every_models_plain_default_is_a_start(space: SearchSpace) -> None:
    found = [space.choose(FixedChoices(start)).id for start in starts(space, 5)]
    for model in space.models:
        default = default_candidate(space, model)
        assert default.id in found
        assert default.models == (model.name,)
        assert all(not prompt.demos for prompt in default.predictors.values())
        assert {prompt.instruction_name for prompt in default.predictors.values()} == {"own"}


def test_the_design_gives_every_model_its_turn(space: SearchSpace) -> None:
    design = starts(space, 0)[-DESIGN * len(space.models) :]
    assert Counter(start[MODEL] for start in design) == {SMALL.name: DESIGN, LARGE.name: DESIGN}


def test_few_shot_starts_come_first_and_show_labelled_demos(space: SearchSpace) -> None:
    last = list(space.predictors)[-1]
    first = [space.choose(FixedChoices(start)) for start in starts(space, 0)[:4]]
    assert [candidate.model for candidate in first] == [SMALL.name] * 2 + [LARGE.name] * 2
    if space.predictors[last].labelled:
        assert [len(candidate.predictors[last].demos) for candidate in first] == [2, 8, 2, 8]


def test_mixed_starts_share_the_predictors_out(task: LoadedTask, engines: dict[str, FakeEngine]) -> None:
    space = search_space(replace(task, program=Notes(), models_per_predictor=True))
    mixed = [space.choose(FixedChoices(start)) for start in starts(space, 0) if start[MODEL] == MIXED]
    shared = [[candidate.serving(name).model for name in space.predictors] for candidate in mixed]
    assert shared == [[SMALL.name, LARGE.name], [LARGE.name, SMALL.name]]
    assert {candidate.models for candidate in mixed} == {(LARGE.name, SMALL.name)}
    assert {candidate.label for candidate in mixed} == {"large + small"}


def test_models_are_never_mixed_unless_the_task_says_so(
    task: LoadedTask, engines: dict[str, FakeEngine]
) -> None:
    assert not search_space(replace(task, program=Notes())).mixed
    assert not search_space(replace(task, models_per_predictor=True)).mixed
    alone = replace(task, program=Notes(), models=(LARGE,), models_per_predictor=True)
    assert not search_space(alone).mixed
    assert all(MODEL not in start for start in starts(search_space(alone), 0))


def test_fixed_choices_refuse_what_is_not_offered_and_say_so(space: SearchSpace) -> None:
    with pytest.raises(ValueError, match=r"large.rendering has no choice 'prose'"):
        completed(space, {MODEL: LARGE.name, Parameter("large", None, "rendering"): "prose"})
