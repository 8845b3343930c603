"""What the adapters of other tools' metrics share: inputs, scores, failures, judges, hashes."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from enum import Enum
from typing import Any

import dspy
import pytest
from fake_judge import FakeJudge, judge
from fakes import LARGE, FakeEngine

from metrics.fields import Metric
from metrics.other_tools import Judge, finished, metric_of, settings_of, tool
from optimizers.errors import BudgetSpent, MetricError
from optimizers.evaluation.rollouts import _judged
from optimizers.models.lm import metered
from optimizers.records.budget import parse_budget
from optimizers.task.hashing import metric_hash

EXAMPLE = dspy.Example(question="Why?", answer="Blue.", facts=["gold"]).with_inputs("question")
PREDICTED = dspy.Prediction(answer="Red.", facts=["found"])


class Colour(Enum):
    RED = "red"


class Held:
    """A metric of another tool."""

    def __init__(self, **settings: Any) -> None:
        self.__dict__ |= settings


def asking(score: Any, held: Any = None, produced: tuple[str, ...] = (), **fields: str) -> Metric:
    named = {"said": "answer"} | fields
    return metric_of("dspy", "tool.score", held, score, named, answer="said", produced=produced)


def test_arguments_come_from_the_side_that_they_are_about() -> None:
    seen: list[Mapping[str, Any]] = []

    def score(given: Mapping[str, Any]) -> float:
        seen.append(given)
        return 0.25

    fields = {"label": "answer", "asked": "question", "found": "facts", "known": "facts"}
    metric = asking(score, produced=("found",), **fields)
    assert metric(EXAMPLE, PREDICTED) == 0.25
    assert metric(EXAMPLE, dspy.Prediction(answer=Colour.RED)) == 0.25
    full = {"said": "Red.", "label": "Blue.", "asked": "Why?", "found": ["found"], "known": ["gold"]}
    assert seen == [full, full | {"said": "red", "found": ["gold"]}]
    assert metric.__name__ == "tool.score(answer)"


def test_no_answer_scores_nothing_without_asking() -> None:
    def score(given: Mapping[str, Any]) -> float:
        raise AssertionError

    assert asking(score)(EXAMPLE, dspy.Prediction(other=1)) == 0.0
    assert asking(score)(EXAMPLE, None) == 0.0
    with pytest.raises(ValueError, match="name the output field"):
        metric_of("dspy", "t", None, score, {"label": "answer"}, answer="said")


@pytest.mark.parametrize("value", [math.nan, math.inf, -0.1, 1.1, "pass", None, [1.0]])
def test_what_is_no_score_is_an_error_that_names_the_metric(value: Any) -> None:
    with pytest.raises(MetricError, match=r"no number from 0 to 1(.|\n)*dspy \d.*tool\.score"):
        asking(lambda given: value)(EXAMPLE, PREDICTED)


def test_a_failure_is_an_error_and_no_score() -> None:
    def score(given: Mapping[str, Any]) -> float:
        raise KeyError("contexts")

    with pytest.raises(MetricError, match=r"KeyError: 'contexts'"):
        asking(score)(EXAMPLE, PREDICTED)
    with pytest.raises(MetricError, match="neither the example nor the prediction has the field nowhere"):
        asking(lambda given: 1.0, label="nowhere")(EXAMPLE, PREDICTED)


def test_a_mean_that_rounding_left_above_1_is_1() -> None:
    assert asking(lambda given: 1 + 1e-12)(EXAMPLE, PREDICTED) == 1.0


def test_a_tool_that_is_missing_is_named_with_its_extra() -> None:
    with pytest.raises(MetricError, match=r"needs no_such_tool(.|\n)*pip install 'prompt-parity\[ragas\]'"):
        tool("no_such_tool.metrics", "ragas")


def test_coroutines_end_in_any_thread_with_the_meter_of_the_one_that_asked() -> None:
    async def seen() -> Any:
        return await asyncio.to_thread(lambda: dspy.settings.get("parity_meter"))

    async def inside() -> Any:
        return finished(seen)

    with metered() as meter:
        assert finished(seen) is meter
        assert asyncio.run(inside()) is meter


def test_a_judges_calls_are_metered_and_a_model_of_ones_own_is_asked_past_the_account(
    engines: dict[str, FakeEngine],
) -> None:
    engines[LARGE.name] = FakeJudge(lambda text: 'Well: {"a": 1} so')
    asked = Judge(LARGE)
    with metered() as meter:
        assert asked.found(asked.text([{"role": "user", "content": "?"}])) == {"a": 1}
    assert [model for model, _ in meter.calls] == [LARGE]
    own, engine = judge(lambda text: "fine")
    with metered() as meter:
        assert finished(lambda: Judge(own).text_soon([{"role": "user", "content": "?"}])) == "fine"
    assert (meter.calls, len(engine.requests)) == ([], 1)


def test_a_reply_without_json_is_an_error_that_shows_it() -> None:
    with pytest.raises(MetricError, match=r"no JSON object: 'not \{so'"):
        Judge("openai/x").found("not {so")


def test_a_tool_that_hides_a_refused_call_still_ends_the_phase(engines: dict[str, FakeEngine]) -> None:
    class Closed:
        def open(self, *args: Any) -> int:
            raise BudgetSpent("calls", str(parse_budget(["1calls"])))

    asked = Judge(LARGE)

    def score(given: Mapping[str, Any]) -> float:
        try:
            asked.text([{"role": "user", "content": "?"}])
        except BudgetSpent:
            raise RuntimeError("the judge did not answer") from None
        return 1.0

    with pytest.raises(BudgetSpent):
        _judged(asking(score), EXAMPLE, PREDICTED, Closed())  # type: ignore[arg-type]


def test_a_study_is_told_the_tool_the_example_and_what_to_do() -> None:
    def score(given: Mapping[str, Any]) -> float:
        raise KeyError("contexts")

    said = (
        r"no score: KeyError: 'contexts'\n  where: dspy \d.*tool\.score.*; example \w+.*Why.*\n  fix:   see"
    )
    with pytest.raises(MetricError, match=said):
        _judged(asking(score), EXAMPLE, PREDICTED, None)


def test_settings_and_fields_are_part_of_the_hash_and_nothing_that_passes_is() -> None:
    def score(given: Mapping[str, Any]) -> float:
        return 1.0

    def hashed(held: Any, **fields: str) -> str:
        return metric_hash(asking(score, held, **fields))

    made = {"rule": "a", "levels": [1, 2], "llm": Judge("openai/x"), "_run": object(), "api_key": "k"}
    base = hashed(Held(**made))
    assert base == hashed(Held(**made | {"_run": object(), "api_key": "other"}))
    assert base != hashed(Held(**made | {"rule": "b"}))
    assert base != hashed(Held(**made | {"llm": Judge("openai/y")}))
    assert base != hashed(Held(**made), label="answer")


def test_settings_of_things_that_hold_each_other_end() -> None:
    one, other = Held(name="one"), Held(name="other")
    one.peer, other.peer = other, one  # type: ignore[attr-defined]
    assert settings_of(one) == ["Held", {"name": "one", "peer": ["Held", {"name": "other", "peer": "Held"}]}]
