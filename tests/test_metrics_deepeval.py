"""Metrics of DeepEval as metrics of a task; `nox -s interop` runs these with DeepEval installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dspy
import pytest
from fake_judge import FakeJudge, judge
from fakes import LARGE, FakeEngine

os.environ.setdefault("DEEPEVAL_TELEMETRY_OPT_OUT", "1")
pytest.importorskip("deepeval", reason="DeepEval is not installed")

from deepeval.metrics import BaseMetric, ExactMatchMetric, FaithfulnessMetric, GEval, PatternMatchMetric
from deepeval.test_case import SingleTurnParams

from metrics.deepeval_scores import deepeval_judge, deepeval_score
from optimizers.errors import MetricError
from optimizers.models.lm import metered
from optimizers.task.hashing import metric_hash

EXAMPLE = dspy.Example(question="Why?", answer="Air scatters blue light.", context=["Air."]).with_inputs(
    "question"
)
PREDICTED = dspy.Prediction(answer="The sea.")
TEXTS = {"actual_output": "answer", "expected_output": "answer"}


def geval(model: Any, step: str = "Is it true?") -> GEval:
    params = [SingleTurnParams.ACTUAL_OUTPUT, SingleTurnParams.EXPECTED_OUTPUT]
    return GEval(name="truth", evaluation_steps=[step], evaluation_params=params, model=deepeval_judge(model))


class Errors(BaseMetric):
    """Counts errors: less is better."""

    def __init__(self) -> None:
        self.threshold = 0.5

    def measure(self, test_case: Any, *args: Any, **kwargs: Any) -> float:
        self.score = 0.25
        return self.score

    async def a_measure(self, test_case: Any, *args: Any, **kwargs: Any) -> float:
        return self.measure(test_case)

    def is_successful(self) -> bool:
        return self.score <= self.threshold


def test_metrics_of_text_are_scored_from_many_threads_each_for_itself() -> None:
    exact = deepeval_score(ExactMatchMetric(), **TEXTS)
    pairs = [(dspy.Prediction(answer="The sea."), 0.0), (dspy.Prediction(answer=EXAMPLE.answer), 1.0)] * 8
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda pair: exact(EXAMPLE, pair[0]), pairs))
    assert found == [wanted for _, wanted in pairs]
    assert deepeval_score(PatternMatchMetric("The .*"), actual_output="answer")(EXAMPLE, PREDICTED) == 1.0


def test_less_is_turned_into_more() -> None:
    assert deepeval_score(Errors(), **TEXTS)(EXAMPLE, PREDICTED) == 0.75


def test_a_judges_calls_are_on_the_account(engines: dict[str, FakeEngine]) -> None:
    engines[LARGE.name] = FakeJudge(lambda text: '{"score": 7, "reason": "nearly"}')
    with metered() as meter:
        assert deepeval_score(geval(LARGE), **TEXTS)(EXAMPLE, PREDICTED) == 0.7
    assert [model for model, _ in meter.calls] == [LARGE]


def test_contexts_reach_metrics_that_compare_with_them() -> None:
    def reply(text: str) -> str:
        kinds = {"truths": ["Air."], "claims": ["It is the sea.", "It is air."]}
        return json.dumps(kinds | {"verdicts": [{"verdict": "no", "reason": "r"}, {"verdict": "yes"}]})

    lm, engine = judge(reply)
    metric = FaithfulnessMetric(model=deepeval_judge(lm), include_reason=False)
    fields = {"actual_output": "answer", "input": "question", "retrieval_context": "context"}
    assert deepeval_score(metric, **fields)(EXAMPLE, PREDICTED) == 0.5
    assert any("Air." in (request.messages[-1].text or "") for request in engine.requests)


def test_a_judge_that_does_not_grade_is_an_error() -> None:
    lm, _ = judge(lambda text: "Fine!")
    with pytest.raises(MetricError, match=r"invalid JSON(.|\n)*deepeval \d.*truth"):
        deepeval_score(geval(lm), **TEXTS)(EXAMPLE, PREDICTED)
    with pytest.raises(MetricError, match="expected_output"):
        deepeval_score(ExactMatchMetric(), actual_output="answer")(EXAMPLE, PREDICTED)
    with pytest.raises(ValueError, match="give an instance"):
        deepeval_score(ExactMatchMetric, **TEXTS)


def test_settings_are_part_of_the_hash() -> None:
    made = (geval("openai/a"), geval("openai/a"), geval("openai/b"), geval("openai/a", "Is it short?"))
    hashes = [metric_hash(deepeval_score(metric, **TEXTS)) for metric in made]
    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == 3


OFFLINE = """
import socket
def refuse(*args, **kwargs):
    raise SystemExit(f"network: {args}")
socket.socket.connect = socket.getaddrinfo = refuse
import dspy
from optimizers.task.program_file import run_program
from pathlib import Path
metric = run_program(Path("task.py")).metric
print(metric(dspy.Example(answer="a"), dspy.Prediction(answer="a")))
"""


def test_a_metric_of_text_reports_nothing_and_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "task.py").write_text(
        "from deepeval.metrics import ExactMatchMetric\n"
        "from metrics.deepeval_scores import deepeval_score\n"
        "metric = deepeval_score(ExactMatchMetric(), actual_output='answer', expected_output='answer')\n"
    )
    root = Path(__file__).parents[1]
    quiet = {name: value for name, value in os.environ.items() if not name.startswith("DEEPEVAL")}
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE],
        cwd=tmp_path, env=quiet | {"PYTHONPATH": str(root)}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert "1.0" in done.stdout, done.stderr
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "__pycache__") == ["task.py"]
