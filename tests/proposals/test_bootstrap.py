"""Bootstrapped demos: each predictor's own reads and writes, of runs that were right, and no others."""

from __future__ import annotations

import json
import random
from typing import Any, Literal

import dspy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from proposals.scripted import proposer

from optimizers.errors import BudgetSpent, MetricError
from optimizers.proposals.bootstrap import Bootstrap, bootstrap


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


TRAIN = [dspy.Example(text=f"{n} and more", grade="high").with_inputs("text") for n in range(40)]


def run_of(program: dspy.Module) -> Any:
    lm, _ = proposer("")

    def run(example: dspy.Example) -> Any:
        with dspy.context(adapter=Rules(), lm=lm):
            return program(**example.inputs())

    return run


def score(example: dspy.Example, prediction: Any) -> float:
    return float(example.grade == prediction.grade)


def boot(program: dspy.Module | None = None, train: Any = TRAIN, **changes: Any) -> Bootstrap:
    program = program or Steps()
    options = {"threshold": 1.0, "most_attempts": 40, "most_demos": 40, "seed": 0, **changes}
    run = options.pop("run", None) or run_of(program)
    return bootstrap(program, run, options.pop("score", score), train, **options)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 99), attempts=st.integers(0, 40), demos=st.integers(0, 6), order=st.randoms())
def test_the_limits_hold_and_a_seed_repeats(
    seed: int, attempts: int, demos: int, order: random.Random
) -> None:
    found = boot(seed=seed, most_attempts=attempts, most_demos=demos)
    assert found.attempts <= attempts
    assert all(len(each) <= demos for each in found.demos.values())
    shuffled = list(TRAIN)
    order.shuffle(shuffled)
    assert boot(train=shuffled, seed=seed, most_attempts=attempts, most_demos=demos) == found
    assert json.loads(json.dumps(found.demos)) == {name: list(each) for name, each in found.demos.items()}


def test_each_predictor_gets_its_own_calls_of_the_runs_that_passed() -> None:
    found = boot()
    right = {n for n in range(40) if n % 2 == 0 and n % 5}
    assert found.attempts == 40
    assert found.passed == len(right)
    assert {demo["summary"] for demo in found.demos["grade.predict"]} == {str(n) for n in right}
    assert found.demos["grade.predict"][0].keys() == {"summary", "reasoning", "grade"}
    assert found.demos["unused"] == ()
    summaries = found.demos["summarize"]
    assert len(summaries) == len(right)
    assert {demo["summary"] for demo in summaries} == {str(n) for n in right}
    # Of the two calls in a run, now the one and now the other.
    assert 0 < sum("more" in demo["text"] for demo in summaries) < len(right)


def test_runs_end_when_every_predictor_has_enough() -> None:
    program = Steps()
    del program.unused
    found = boot(program, most_demos=2)
    assert [len(each) for each in found.demos.values()] == [2, 2]
    assert found.attempts < 40


def test_predictors_run_in_a_copy_keep_their_names() -> None:
    program = Steps()
    found = boot(program, run=run_of(program.deepcopy()))
    assert found == boot(program)


def test_an_example_that_is_shown_as_a_demo_is_passed_over() -> None:
    program = Steps()
    program.summarize.demos = [{"text": "2 and more", "summary": "2"}]
    found = boot(program)
    assert found.attempts == 39
    assert "2" not in {demo["summary"] for demo in found.demos["grade.predict"]}


@pytest.mark.parametrize("error", [BudgetSpent("calls", "3 calls"), MetricError("The metric raises.")])
def test_errors_raised_on_purpose_pass_through(error: Exception) -> None:
    def fail(*args: Any) -> Any:
        raise error

    with pytest.raises(type(error)):
        boot(run=fail)
    with pytest.raises(type(error)):
        boot(score=fail)


def test_inputs_without_a_json_form_give_no_demo() -> None:
    class Odd(dspy.Module):
        def __init__(self) -> None:
            super().__init__()
            self.grade = dspy.Predict("summary, extra -> grade")

        def forward(self, text: str) -> dspy.Prediction:
            return self.grade(summary=text.split()[0], extra=object())

    program = Odd()
    found = boot(program, score=lambda example, prediction: 1.0)
    assert found.passed > 0
    assert found.demos == {"grade": ()}
