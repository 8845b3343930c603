"""The search space: legal candidates only, the plain default among them, alike for alike seeds."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from random import Random
from typing import Any

import pytest
from fakes import LARGE, SMALL, FakeEngine
from hypothesis import given
from hypothesis import strategies as st

from optimizers.models.model import Model
from optimizers.prompting.renderings import RENDERINGS
from optimizers.prompting.techniques import TECHNIQUES
from optimizers.records.candidate import Candidate
from optimizers.records.parameters import Parameter
from optimizers.search.space.initial_design import FixedChoices, default_candidate, drawn, starts
from optimizers.search.space.parts import MODEL
from optimizers.search.space.search_space import ELABORATE, SEVERAL_CALLS, SearchSpace, search_space
from optimizers.task.task import LoadedTask


class Dice:
    def __init__(self, seed: int) -> None:
        self.random = Random(seed)

    def choose(self, parameter: Parameter, choices: Any) -> Any:
        return self.random.choice(list(choices))


@pytest.fixture
def space(task: LoadedTask) -> SearchSpace:
    return search_space(task)


def test_every_draw_is_legal_and_round_trips(space: SearchSpace) -> None:
    kinds = {model.name: model.kind for model in space.models}
    seen = set()
    for seed in range(300):
        candidate = space.choose(Dice(seed))
        assert kinds[candidate.model] in RENDERINGS[candidate.rendering].kinds
        assert candidate.sampling.temperature > 0 or candidate.sampling.top_p == 1.0
        technique = TECHNIQUES[candidate.technique]
        assert technique.applies(space.predictors["predict"].signature)
        assert technique.fits(candidate.rendering, space.abilities[candidate.model])
        assert technique.sampling != "needed" or candidate.sampling.temperature > 0
        assert technique.sampling != "unused" or candidate.sampling.temperature == 0
        again = Candidate.model_validate_json(candidate.model_dump_json())
        assert (again, again.id) == (candidate, candidate.id)
        seen.add((candidate.rendering, candidate.technique))
    assert len(seen) >= 6


def test_the_space_is_as_rich_as_promised(space: SearchSpace) -> None:
    predictor = space.predictors["predict"]
    assert set(predictor.parts) == {"role", "audience", "labels", "steps", "principles", "rule"}
    assert predictor.sizes[SMALL.name][0] == 0
    assert len(predictor.sizes[SMALL.name]) >= 4
    prompts = [space.choose(Dice(seed)).predictors["predict"] for seed in range(300)]
    assert len({prompt.instruction for prompt in prompts}) > 100
    assert {prompt.demos_name.split(", ")[-1].rstrip(" 012345") for prompt in prompts} >= {
        "none",
        "balanced",
        "diverse",
        "random",
        "2 nearest",
        "labels in turn",
    }
    assert (
        default_candidate(space, SMALL).predictors["predict"].instruction == predictor.signature.instructions
    )


def test_the_plain_default_is_what_plain_dspy_does(space: SearchSpace) -> None:
    default = default_candidate(space, LARGE)
    prompt = default.predictors["predict"]
    assert (default.rendering, default.technique, prompt.demos) == ("dspy_chat", "direct", ())
    assert default.sampling.temperature == 0
    assert default_candidate(space, SMALL).rendering == "completion"


def test_starts_hold_every_default_and_are_the_same_for_the_same_seed(space: SearchSpace) -> None:
    found = starts(space, 3)
    assert found == starts(space, 3)
    assert found != starts(space, 4)
    chosen = {space.choose(FixedChoices(start)).id for start in found}
    assert {default_candidate(space, model).id for model in space.models} <= chosen


def test_drawn_starts_mostly_answer_directly_and_seldom_make_several_calls(space: SearchSpace) -> None:
    random = Random(0)
    techniques = [TECHNIQUES[drawn(space, LARGE, random).technique] for _ in range(400)]
    signature = space.predictors["predict"].signature
    several = [technique.calls(signature) for technique in techniques if technique.run is not None]
    assert sum(technique.name == "direct" for technique in techniques) > 0.75 * len(techniques)
    assert 0.01 < len(several) / len(techniques) < 0.08
    assert sum(count > 5 for count in several) < 0.02 * len(techniques)


@pytest.mark.parametrize("name", TECHNIQUES)
def test_every_technique_is_within_reach(space: SearchSpace, name: str) -> None:
    parameter = partial(Parameter, "small", "predict")
    values = {MODEL: SMALL.name, parameter("technique"): "direct" if name == "direct" else ELABORATE}
    several = TECHNIQUES[name].calls(space.predictors["predict"].signature) > 1
    values[parameter("elaborate")] = SEVERAL_CALLS if several else name
    values |= {parameter("calls", ("completion",)): name} if several else {}
    assert name in space.techniques(SMALL, "completion")
    assert space.choose(FixedChoices(values)).technique == name


def test_choices_keep_their_meaning_whatever_else_is_chosen(space: SearchSpace) -> None:
    # Optuna refuses a parameter whose choices change from trial to trial.
    class Recording(Dice):
        def choose(self, parameter: Parameter, choices: Any) -> Any:
            assert seen.setdefault(parameter, list(choices)) == list(choices)
            return super().choose(parameter, choices)

    seen: dict[Parameter, list[Any]] = {}
    for seed in range(200):
        space.choose(Recording(seed))
    assert Parameter("large", "predict", "calls", ("compact",)) in seen


def test_labels_are_scored_only_where_the_engine_gives_log_probabilities(
    task: LoadedTask, engines: dict[str, FakeEngine]
) -> None:
    assert "label_scoring" not in search_space(task).techniques(SMALL, "completion")
    able = replace(search_space(task), abilities={SMALL.name: frozenset({"raw", "grammar", "logprobs"})})
    assert "label_scoring" in able.techniques(SMALL, "completion")
    assert "label_scoring" not in able.techniques(SMALL, "json_object")


def test_chat_endpoints_are_never_sent_raw_text(task: LoadedTask) -> None:
    remote = Model(name="openai/x", kind="chat", price=LARGE.price)
    space = search_space(replace(task, models=(remote,)))
    assert {space.choose(Dice(seed)).rendering for seed in range(60)} == {
        "compact",
        "turns",
        "json_object",
        "dspy_chat",
    }


def test_claude_is_never_drawn_a_top_p(task: LoadedTask) -> None:
    for name, cuts in (("anthropic/claude-haiku-4-5", {1.0}), ("openai/x", {0.9, 1.0})):
        remote = Model(name=name, kind="chat", price=LARGE.price)
        space = search_space(replace(task, models=(remote,)))
        drawn = [space.choose(Dice(seed)).sampling for seed in range(100)]
        assert {sampling.top_p for sampling in drawn if sampling.temperature > 0} == cuts


def test_demos_are_train_examples_balanced_over_labels(space: SearchSpace, task: LoadedTask) -> None:
    parameter = partial(Parameter, "small", "predict")
    values = {MODEL: "local/small", parameter("demos"): 4, parameter("draw", ("balanced",)): 2}
    demos = space.choose(FixedChoices(values)).predictors["predict"].demos
    assert len(demos) == 8
    assert sorted(demo["sentiment"] for demo in demos) == ["negative"] * 4 + ["positive"] * 4
    assert {demo["review"] for demo in demos} <= {example.review for example in task.dataset.train}


@given(st.text(max_size=40), st.floats(0, 2), st.integers(1, 4000))
def test_the_id_follows_the_content(instruction: str, temperature: float, tokens: int) -> None:
    content = {
        "model": "m",
        "rendering": "compact",
        "technique": "direct",
        "predictors": {"p": {"instruction": instruction, "demos": [{"a": 1, "b": "x"}]}},
        "sampling": {"temperature": temperature, "max_tokens": tokens},
    }
    one, other = Candidate.model_validate(content), Candidate.model_validate(content)
    assert one.id == other.id
    assert len(one.id) == 12
    content["model"] = "n"
    assert Candidate.model_validate(content).id != one.id


def test_two_models_of_one_short_name_keep_their_choices_apart(task: LoadedTask) -> None:
    twin = LARGE.model_copy(update={"name": f"local//elsewhere/{SMALL.label}"})
    assert twin.label == SMALL.label
    space = search_space(replace(task, models=(SMALL, twin)))
    found = {one for start in starts(space, 0) for one in start if one.part == "demos"}
    assert found == {Parameter(model.name, "predict", "demos") for model in (SMALL, twin)}
