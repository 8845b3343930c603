"""Steps of a run: each predictor's own reads and writes under its name, and nothing that cannot be kept."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any, Literal

import dspy
import pytest
from prompting.proposals.scripted import proposer

from optimizers.evaluation.traces import steps_of
from optimizers.records.rows import Step


class Steps(dspy.Module):
    """A pipeline whose predictors answer by rule: the first one twice, the last with reasoning."""

    def __init__(self) -> None:
        super().__init__()
        self.summarize = dspy.Predict("text -> summary")
        self.grade = dspy.ChainOfThought("summary -> grade: Literal['low', 'high']")
        self.unused = dspy.Predict("summary -> title")

    def forward(self, text: str) -> dspy.Prediction:
        short = self.summarize(text=text).summary
        self.summarize(text=short)
        return self.grade(summary=short)


class Rules(dspy.Adapter):
    """Answers in place of a model: cuts a text to its first word, grades even numbers high."""

    def __call__(
        self, lm: Any, lm_kwargs: Any, signature: Any, demos: Any, inputs: Any
    ) -> list[dict[str, Any]]:
        if "summary" in signature.output_fields:
            return [{"summary": inputs["text"].split()[0]}]
        number = int(inputs["summary"])
        if number % 5 == 0:
            raise ValueError("no answer")
        grade: Literal["low", "high"] = "high" if number % 2 == 0 else "low"
        return [{"reasoning": f"{number} is what it is", "grade": grade}]


def traced(program: dspy.Module, *, of: dspy.Module | None = None, **inputs: Any) -> tuple[Step, ...]:
    lm, _ = proposer("")
    trace: list[Any] = []
    with dspy.context(adapter=Rules(), lm=lm, trace=trace), suppress(ValueError):
        program(**inputs)
    return steps_of(of or program, trace)


def test_every_call_is_a_step_in_order_under_its_predictors_name() -> None:
    steps = traced(Steps(), text="4 and more")
    assert [step.predictor for step in steps] == ["summarize", "summarize", "grade.predict"]
    assert steps[0] == Step(predictor="summarize", inputs={"text": "4 and more"}, outputs={"summary": "4"})
    assert steps[1].inputs == {"text": "4"}
    assert steps[2].outputs == {"reasoning": "4 is what it is", "grade": "high"}
    assert json.loads(steps[2].model_dump_json()) == steps[2].model_dump()


def test_a_run_that_broke_off_has_the_steps_before() -> None:
    assert [step.predictor for step in traced(Steps(), text="5 and more")] == ["summarize", "summarize"]


def test_predictors_run_in_a_copy_keep_their_names() -> None:
    program = Steps()
    assert traced(program.deepcopy(), of=program, text="4") == traced(program, text="4")


def test_modules_that_run_copies_of_what_they_hold_are_seen_through() -> None:
    class Best(dspy.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.best = dspy.BestOfN(Steps(), N=2, reward_fn=lambda inputs, found: 1.0, threshold=2.0)

        def forward(self, text: str) -> dspy.Prediction:
            return self.best(text=text)

    steps = traced(Best(), text="4 and more")
    assert [step.predictor.rpartition("best.module.")[2] for step in steps][-3:] == [
        "summarize",
        "summarize",
        "grade.predict",
    ]


def test_copies_that_cannot_be_told_apart_are_known_by_themselves_alone() -> None:
    class Twins(dspy.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.one = dspy.Predict("text -> summary")
            self.other = self.one.deepcopy()

        def forward(self, text: str) -> dspy.Prediction:
            self.one(text=text)
            return self.other(text=text)

    program = Twins()
    assert [step.predictor for step in traced(program, text="4")] == ["one", "other"]
    assert traced(program.deepcopy(), of=program, text="4") == ()


def test_a_predictor_that_the_program_does_not_hold_leaves_no_step() -> None:
    class Outside(dspy.Module):  # type: ignore[misc]
        def forward(self, text: str) -> dspy.Prediction:
            return dspy.Predict("text -> summary")(text=text)

    assert traced(Outside(), text="4") == ()


@pytest.mark.parametrize("value", [object(), lambda: None, [object()]])
def test_a_call_whose_inputs_have_no_json_form_is_left_out(value: Any) -> None:
    class Odd(dspy.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.first = dspy.Predict("text -> summary")
            self.grade = dspy.Predict("summary, extra -> grade")

        def forward(self, text: str) -> dspy.Prediction:
            return self.grade(summary=self.first(text=text).summary, extra=value)

    assert [step.predictor for step in traced(Odd(), text="4")] == ["first"]
