"""Are two restaurant listings the same place? Real pairs from two guides, labelled by hand.

Phone numbers are left out: they would give most matches away. Three pairs in four differ, so
answering ``different`` always is right three times in four; calling those with 40% of their
words in common the same is right in 98%. What a model adds to that is little, and what it
lacks is easy to see.
"""

from __future__ import annotations

from typing import Literal

import dspy

from metrics.exact import exact_match
from optimizers import Task


class MatchListings(dspy.Signature):
    """Decide whether two listings from restaurant guides are of the same restaurant."""

    left: str = dspy.InputField(desc="a listing: name, address, city")
    right: str = dspy.InputField(desc="a listing of another guide")
    verdict: Literal["same", "different"] = dspy.OutputField()


class Match(dspy.Module):
    """One call: two listings in, the verdict out."""

    def __init__(self) -> None:
        """Set up the one predictor."""
        super().__init__()
        self.match = dspy.Predict(MatchListings)

    def forward(self, left: str, right: str) -> dspy.Prediction:
        """Compare two listings."""
        return self.match(left=left, right=right)


task = Task(
    program=Match(),
    metric=exact_match("verdict"),
    data="data/restaurants.toml",
    models=["local/smollm2-135m-instruct", "local/gemma-3-270m"],
    reference="local/gemma-3-270m",
)
