"""The program file of the torture test: two served models on made-up reviews."""

from __future__ import annotations

from typing import Any, Literal

import dspy

from optimizers import Task, model

ADDRESS = "http://127.0.0.1:1/v1"


class ClassifySentiment(dspy.Signature):
    """Say whether a review is positive or negative."""

    review: str = dspy.InputField()
    sentiment: Literal["positive", "negative"] = dspy.OutputField()


def right_sentiment(example: dspy.Example, pred: dspy.Prediction, trace: Any = None) -> float:
    return float(example.sentiment == pred.sentiment)


task = Task(
    program=dspy.Predict(ClassifySentiment),
    metric=right_sentiment,
    data="reviews.csv",
    models=[
        model("openai/small", api_base=ADDRESS, price=(0.1, 0.2), size=0.1),
        model("openai/large", api_base=ADDRESS, price=(1, 2), size=1.0),
    ],
    reference="openai/large",
)
