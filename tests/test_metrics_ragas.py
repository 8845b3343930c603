"""Metrics of Ragas as metrics of a task; `nox -s interop` runs these with Ragas installed."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import dspy
import pytest
from fake_judge import FakeJudge, judge
from fakes import LARGE, FakeEngine

pytest.importorskip("ragas", reason="Ragas is not installed")

from ragas.metrics.collections import (
    BleuScore,
    CHRFScore,
    DomainSpecificRubrics,
    ExactMatch,
    Faithfulness,
    NonLLMStringSimilarity,
    RougeScore,
)

from metrics.ragas_scores import ragas_judge, ragas_score
from optimizers.errors import MetricError
from optimizers.models.lm import metered
from optimizers.task.hashing import metric_hash

EXAMPLE = dspy.Example(
    question="Why is the sky blue?", answer="Air scatters blue light.", context=["Air scatters light."]
).with_inputs("question")
PREDICTED = dspy.Prediction(answer="Air scatters the blue light.")
TEXTS = {"response": "answer", "reference": "answer"}
GROUNDED = {"response": "answer", "user_input": "question", "retrieved_contexts": "context"}


@pytest.mark.parametrize("kind", [BleuScore, RougeScore, CHRFScore, NonLLMStringSimilarity, ExactMatch])
def test_metrics_of_text_give_what_ragas_gives_from_many_threads(kind: type) -> None:
    metric = ragas_score(kind(), **TEXTS)
    wanted = kind().score(reference=EXAMPLE.answer, response=PREDICTED.answer).value
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: metric(EXAMPLE, PREDICTED), range(8)))
    assert found == [pytest.approx(wanted)] * 8
    assert metric(EXAMPLE, dspy.Prediction(answer=EXAMPLE.answer)) == pytest.approx(1.0)


def statements(verdicts: list[int]) -> FakeJudge:
    def reply(text: str) -> str:
        if "verdict" not in text:
            return json.dumps({"statements": [f"It says {i}." for i in range(len(verdicts))]})
        judged = [{"statement": "s", "reason": "r", "verdict": verdict} for verdict in verdicts]
        return f"Here it is:\n```json\n{json.dumps({'statements': judged})}\n```"

    return FakeJudge(reply)


def test_a_judges_calls_are_on_the_account(engines: dict[str, FakeEngine]) -> None:
    engines[LARGE.name] = statements([1, 0, 1, 1])
    metric = ragas_score(Faithfulness(llm=ragas_judge(LARGE)), **GROUNDED)
    with metered() as meter:
        assert metric(EXAMPLE, PREDICTED) == 0.75
    assert [model for model, _ in meter.calls] == [LARGE, LARGE]
    sent = engines[LARGE.name].requests[-1].messages[-1].text or ""
    assert "Air scatters light." in sent


def test_another_range_is_scaled() -> None:
    lm, _ = judge(lambda text: '{"score": 4, "feedback": "fine"}')
    metric = ragas_score(DomainSpecificRubrics(llm=ragas_judge(lm)), response="answer", user_input="question")
    assert metric(EXAMPLE, PREDICTED) == 0.75


def test_no_score_is_an_error() -> None:
    lm, _ = judge(lambda text: '{"statements": []}')
    with pytest.raises(MetricError, match=r"nan(.|\n)*ragas \d"):
        ragas_score(Faithfulness(llm=ragas_judge(lm)), **GROUNDED)(EXAMPLE, PREDICTED)
    with pytest.raises(MetricError, match="retrieved_contexts"):
        ragas_score(Faithfulness(llm=ragas_judge(lm)), response="answer")(EXAMPLE, PREDICTED)
    with pytest.raises(ValueError, match="give an instance"):
        ragas_score(BleuScore, **TEXTS)


def test_settings_are_part_of_the_hash() -> None:
    hashes = [
        metric_hash(ragas_score(metric, **TEXTS))
        for metric in (
            RougeScore(),
            RougeScore(),
            RougeScore(rouge_type="rouge1"),
            Faithfulness(llm=ragas_judge("openai/a")),
            Faithfulness(llm=ragas_judge("openai/b")),
        )
    ]
    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == 4
