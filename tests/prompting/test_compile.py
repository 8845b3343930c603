"""Compiled programs: a technique's calls stay one predictor, metered, seeded and saved as any."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import dspy
import pytest
from fakes import LARGE, SMALL, Classify, ClassifySentiment, FakeEngine

from optimizers.models.lm import metered
from optimizers.models.sampling import Sampling
from optimizers.prompting.compile import CompiledProgram, PromptedPredict, compile_candidate
from optimizers.records.candidate import Candidate, PredictorPrompt

DEMOS = (
    {"review": "It is good.", "sentiment": "positive"},
    {"review": "It is poor.", "sentiment": "negative"},
)


def compiled(
    technique: str, *, program: dspy.Module | None = None, temperature: float = 0.7, instruction: str = "Say."
) -> CompiledProgram:
    module = program or Classify()
    prompt = PredictorPrompt(instruction=instruction, demos=DEMOS)
    candidate = Candidate(
        model=SMALL.name,
        rendering="completion",
        technique=technique,
        predictors={name: prompt for name, _ in module.named_predictors()},
        sampling=Sampling(temperature=temperature, max_tokens=12),
    )
    return compile_candidate(module, candidate, (SMALL, LARGE))


@pytest.fixture
def small(engines: dict[str, FakeEngine]) -> FakeEngine:
    return engines[SMALL.name]


def seeds(engine: FakeEngine) -> list[int | None]:
    return [request.config.seed for request in engine.requests]


def test_every_call_of_a_technique_is_metered(small: FakeEngine) -> None:
    with metered() as meter:
        answer = compiled("self_consistency_5")({"review": "the lamp is good"}, seed=11)
    assert len(meter.calls) == len(small.requests) == 5
    assert answer.sentiment in ("positive", "negative")


def test_the_calls_of_one_rollout_differ_and_a_repeat_is_the_same(small: FakeEngine) -> None:
    program = compiled("self_consistency_3")
    for seed in (11, 11, 40):
        program({"review": "the lamp is good"}, seed=seed)
    assert seeds(small) == [11, 12, 13, 11, 12, 13, 40, 41, 42]


def test_without_a_seed_the_calls_still_differ_so_that_no_cache_takes_one_for_another(
    small: FakeEngine,
) -> None:
    compiled("self_consistency_3")({"review": "the lamp is good"})
    assert seeds(small) == [0, 1, 2]


def test_a_trace_holds_one_step_with_the_outcome(small: FakeEngine) -> None:
    program = compiled("self_consistency_3")
    with dspy.context(trace=[]):
        answer = program({"review": "the lamp is good"})
        ((predictor, inputs, prediction),) = dspy.settings.trace
    assert predictor is program.module.predict
    assert inputs == {"review": "the lamp is good"}
    assert prediction.sentiment == answer.sentiment


def test_the_program_keeps_its_predictors_and_the_users_stays_as_it_is(small: FakeEngine) -> None:
    own = Classify()
    module = compiled("self_check", program=own).module
    assert [name for name, _ in module.named_predictors()] == ["predict"]
    assert isinstance(module.predict, PromptedPredict)
    assert type(own.predict) is dspy.Predict
    assert type(module.deepcopy().predict) is type(module.predict)


def test_a_predictor_held_twice_and_in_a_list_is_found_everywhere(small: FakeEngine) -> None:
    class Twice(dspy.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.steps = [dspy.Predict(ClassifySentiment)]
            self.last = self.steps[0]

        def forward(self, review: str) -> Any:
            return self.last(review=review)

    compiled("self_consistency_3", program=Twice())({"review": "the lamp is good"})
    assert len(small.requests) == 3


def test_a_predictor_class_of_the_users_own_still_makes_the_calls(small: FakeEngine) -> None:
    class Shouting(dspy.Predict):  # type: ignore[misc]
        def forward(self, **inputs: Any) -> Any:
            return super().forward(**{**inputs, "review": inputs["review"].upper()})

    program = Classify()
    program.predict = Shouting(ClassifySentiment)
    compiled("self_consistency_3", program=program)({"review": "the lamp is good"})
    assert all("THE LAMP IS GOOD" in (request.messages[0].text or "") for request in small.requests)
    assert len(small.requests) == 3


def test_a_saved_program_loads_with_its_state(small: FakeEngine, tmp_path: Path) -> None:
    program, again = compiled("self_consistency_3"), compiled("self_consistency_3", instruction="Other.")
    program.module.save(str(tmp_path / "program.json"))
    again.module.load(str(tmp_path / "program.json"), allow_unsafe_lm_state=True)
    assert again.module.predict.signature.instructions == "Say."
    assert [dict(demo) for demo in again.module.predict.demos] == list(DEMOS)


def test_it_can_be_awaited(small: FakeEngine) -> None:
    program = compiled("self_consistency_3")
    with dspy.context(adapter=program.adapter(7)):
        answer = asyncio.run(program.module.predict.acall(review="the lamp is good"))
    assert answer.sentiment in ("positive", "negative")
    assert seeds(small) == [7, 8, 9]


def test_an_empty_instruction_stays_empty_but_for_the_techniques_words(small: FakeEngine) -> None:
    def with_instruction(technique: str, instruction: str) -> str:
        return str(compiled(technique, instruction=instruction).module.predict.signature.instructions)

    assert with_instruction("direct", "").strip() == with_instruction("chain_of_thought", "").strip() == ""
    assert with_instruction("concise", "").startswith("First reason in at most three short steps")
    assert with_instruction("concise", "Say.").startswith("Say.\nFirst reason in at most three short steps")


def test_a_technique_that_does_not_apply_leaves_a_direct_answer(small: FakeEngine) -> None:
    program = Classify()
    program.predict.signature = ClassifySentiment.prepend("reasoning", dspy.OutputField(), str)
    module = compiled("self_consistency_3_reasoned", program=program).module
    assert type(module.predict) is dspy.Predict
