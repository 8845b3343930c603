"""Is a sentence from a product review positive or negative?"""

from __future__ import annotations

from typing import Literal

import dspy

from metrics.exact import exact_match
from optimizers import Task


class ClassifySentiment(dspy.Signature):
    """Decide whether a sentence from a product review speaks well or badly of the product."""

    review: str = dspy.InputField(desc="one sentence from a product review")
    sentiment: Literal["positive", "negative"] = dspy.OutputField()


class Classify(dspy.Module):
    """One call: the review in, its sentiment out."""

    def __init__(self) -> None:
        """Set up the one predictor."""
        super().__init__()
        self.classify = dspy.Predict(ClassifySentiment)

    def forward(self, review: str) -> dspy.Prediction:
        """Classify one review."""
        return self.classify(review=review)


task = Task(
    program=Classify(),
    metric=exact_match("sentiment"),
    data="data/reviews.toml",
    models=["local/smollm2-135m-instruct", "local/gemma-3-270m"],
    reference="local/gemma-3-270m",
)
