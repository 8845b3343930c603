"""Word problems of grade-school arithmetic (GSM8K, its test part), answered with one number.

A benchmark since 2021: models have likely seen it, so its scores say little about new
problems. The embedded models solve few of them; add models of 1 B and up to see differences.
"""

from __future__ import annotations

import dspy

from metrics.numeric import numeric_match
from optimizers import Task


class SolveProblem(dspy.Signature):
    """Solve a word problem and give the resulting number."""

    question: str = dspy.InputField(desc="a word problem")
    answer: float = dspy.OutputField(desc="the resulting number, without a unit")


class Solve(dspy.Module):
    """One call: the problem in, the number out."""

    def __init__(self) -> None:
        """Set up the one predictor."""
        super().__init__()
        self.solve = dspy.Predict(SolveProblem)

    def forward(self, question: str) -> dspy.Prediction:
        """Solve one problem."""
        return self.solve(question=question)


task = Task(
    program=Solve(),
    metric=numeric_match("answer"),
    data="data/gsm8k.toml",
    models=["local/smollm2-135m-instruct", "local/gemma-3-270m"],
    reference="local/gemma-3-270m",
)
