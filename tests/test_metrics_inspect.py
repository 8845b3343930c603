"""Scorers of Inspect as metrics of a task; `nox -s interop` runs these with Inspect installed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import dspy
import pytest
from fake_judge import FakeJudge, judge
from fakes import LARGE, FakeEngine

pytest.importorskip("inspect_ai", reason="Inspect is not installed")

from inspect_ai.scorer import Score, exact, f1, includes, match, mean, model_graded_qa, scorer

from metrics.inspect_scores import inspect_judge, inspect_score
from optimizers.errors import MetricError
from optimizers.models.lm import metered
from optimizers.task.hashing import metric_hash

pytestmark = pytest.mark.filterwarnings("ignore:The 'initial' parameter:DeprecationWarning")  # Inspect's own
EXAMPLE = dspy.Example(question="Which?", answer="the blue lamp", also=["lamp", "a red lamp"]).with_inputs(
    "question"
)
PREDICTED = dspy.Prediction(answer="It is the blue lamp.")
TEXTS = {"output": "answer", "target": "answer"}


@pytest.mark.parametrize(
    ("one", "target", "wanted"),
    [
        (match(), "answer", 1.0),
        (match(location="begin"), "answer", 0.0),
        (includes(), "answer", 1.0),
        (includes(), "also", 1.0),
        (exact(), "answer", 0.0),
        (f1(), "answer", 0.67),
    ],
)
def test_scorers_of_text_give_what_inspect_gives_from_many_threads(
    one: Any, target: str, wanted: float
) -> None:
    metric = inspect_score(one, output="answer", target=target)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda _: metric(EXAMPLE, PREDICTED), range(8))) == [wanted] * 8


def test_a_judges_calls_are_on_the_account_from_many_threads(engines: dict[str, FakeEngine]) -> None:
    engines[LARGE.name] = FakeJudge(lambda text: "It is right.\nGRADE: P")
    scorer = model_graded_qa(model=inspect_judge(LARGE), partial_credit=True)
    metric = inspect_score(scorer, input="question", **TEXTS)
    with metered() as meter:
        assert metric(EXAMPLE, PREDICTED) == 0.5
    assert [model for model, _ in meter.calls] == [LARGE]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda _: metric(EXAMPLE, PREDICTED), range(8))) == [0.5] * 8
    assert "Which?" in (engines[LARGE.name].requests[-1].messages[-1].text or "")


def test_no_grade_is_an_error() -> None:
    lm, engine = judge(lambda text: "Who knows?")
    with pytest.raises(MetricError, match="grader_failed"):
        inspect_score(model_graded_qa(model=inspect_judge(lm)), **TEXTS)(EXAMPLE, PREDICTED)
    assert len(engine.requests) == 1


def test_values_that_are_no_score_are_refused() -> None:
    @scorer(metrics=[mean()])
    def odd() -> Any:
        async def score(state: Any, target: Any) -> Score:
            return Score(value={"a": 1.0})

        return score

    with pytest.raises(MetricError, match="no number from 0 to 1"):
        inspect_score(odd(), **TEXTS)(EXAMPLE, PREDICTED)
    with pytest.raises(ValueError, match="is no scorer"):
        inspect_score(len, **TEXTS)
    with pytest.raises(ValueError, match="reference is none of"):
        inspect_score(f1(), output="answer", reference="answer")


def test_settings_are_part_of_the_hash() -> None:
    made = [match(), match(), match(location="any"), f1()]
    hashes = [metric_hash(inspect_score(one, **TEXTS)) for one in made]
    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == 3
