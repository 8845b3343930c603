"""Does a tweet speak well of something, badly, or neither?"""

from __future__ import annotations

from typing import Literal

import dspy

from metrics.exact import exact_match
from optimizers import Task


class RateTweet(dspy.Signature):
    """Decide whether a tweet sounds positive, negative or neutral."""

    tweet: str = dspy.InputField(desc="the text of one tweet")
    sentiment: Literal["positive", "negative", "neutral"] = dspy.OutputField()


class Rate(dspy.Module):
    """One call: the tweet in, its sentiment out."""

    def __init__(self) -> None:
        """Set up the one predictor."""
        super().__init__()
        self.rate = dspy.Predict(RateTweet)

    def forward(self, tweet: str) -> dspy.Prediction:
        """Rate one tweet."""
        return self.rate(tweet=tweet)


task = Task(
    program=Rate(),
    metric=exact_match("sentiment"),
    data="data/tweets.toml",
    models=["local/smollm2-135m-instruct", "local/gemma-3-270m"],
    reference="local/gemma-3-270m",
)
