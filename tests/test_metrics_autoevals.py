"""Scorers of autoevals as metrics of a task; `nox -s interop` runs these with autoevals installed."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import dspy
import pytest
from fake_judge import FakeJudge, judge
from fakes import LARGE, FakeEngine

pytest.importorskip("autoevals", reason="autoevals is not installed")

from autoevals import (
    EmbeddingSimilarity,
    ExactMatch,
    Factuality,
    JSONDiff,
    Levenshtein,
    LLMClassifier,
    NumericDiff,
)

from metrics.autoevals_scores import autoevals_judge, autoevals_score
from metrics.fields import Metric
from optimizers.errors import MetricError
from optimizers.models.lm import metered
from optimizers.task.hashing import metric_hash

EXAMPLE = dspy.Example(question="How many?", answer="abcd", number=4, record={"a": 1, "b": "x"}).with_inputs(
    "question"
)
PREDICTED = dspy.Prediction(answer="abxd", number=3, record={"a": 1, "b": "y"})


def of(scorer: object, field: str) -> Metric:
    return autoevals_score(scorer, output=field, expected=field)


def test_scorers_without_a_model_give_what_autoevals_gives_from_many_threads() -> None:
    metrics = [
        (of(Levenshtein(), "answer"), 0.75),
        (of(NumericDiff(), "number"), 1 - 1 / 7),
        (of(JSONDiff(), "record"), JSONDiff()(PREDICTED.record, EXAMPLE.record).score),
        (of(ExactMatch(), "answer"), 0.0),
        (of(ExactMatch(), "question"), 0.0),  # the prediction has none
    ]
    for metric, wanted in metrics:
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda _, asked=metric: asked(EXAMPLE, PREDICTED), range(8)))
        assert found == [pytest.approx(wanted)] * 8


def test_a_judges_calls_are_on_the_account(engines: dict[str, FakeEngine]) -> None:
    engines[LARGE.name] = FakeJudge(lambda text: 'So: {"reasons": "as is", "choice": "B"}')
    scorer = Factuality(client=autoevals_judge(LARGE))
    metric = autoevals_score(scorer, output="answer", expected="answer", input="question")
    with metered() as meter:
        assert metric(EXAMPLE, PREDICTED) == 0.6
    assert [model for model, _ in meter.calls] == [LARGE]
    sent = engines[LARGE.name].requests[-1].messages[-1].text or ""
    assert "How many?" in sent
    assert '"choice"' in sent


def test_no_choice_is_an_error() -> None:
    for reply in ("I like it", '{"choice": "Z"}'):
        lm, _ = judge(lambda text, reply=reply: reply)
        with pytest.raises(MetricError):
            of(Factuality(client=autoevals_judge(lm)), "answer")(EXAMPLE, PREDICTED)
    with pytest.raises(MetricError, match="TypeError"):
        of(NumericDiff(), "answer")(EXAMPLE, PREDICTED)
    with pytest.raises(MetricError, match="requires an expected value"):
        autoevals_score(Levenshtein(), output="answer")(EXAMPLE, PREDICTED)
    with pytest.raises(MetricError, match="embeddings"):
        of(EmbeddingSimilarity(client=autoevals_judge("openai/x")), "answer")(EXAMPLE, PREDICTED)
    with pytest.raises(ValueError, match="give an instance"):
        of(Levenshtein, "answer")


def test_settings_are_part_of_the_hash() -> None:
    def classifier(prompt: str, judged_by: str) -> LLMClassifier:
        scores = {"good": 1, "bad": 0}
        return LLMClassifier("tone", prompt, choice_scores=scores, client=autoevals_judge(judged_by))

    made = [("a", "openai/x"), ("a", "openai/x"), ("b", "openai/x"), ("a", "openai/y")]
    hashes = [metric_hash(of(classifier(*one), "answer")) for one in made]
    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == 3, json.dumps(hashes)
