"""What kind of thing does a dictionary definition define?"""

from __future__ import annotations

from typing import Literal

import dspy

from metrics.exact import exact_match
from optimizers import Task


class CategorizeDefinition(dspy.Signature):
    """Decide what kind of thing a dictionary definition defines."""

    definition: str = dspy.InputField(desc="the definition of a noun, without the noun itself")
    kind: Literal["animal", "food", "place", "person", "plant", "body part"] = dspy.OutputField()


class Categorize(dspy.Module):
    """One call: the definition in, the kind of thing out."""

    def __init__(self) -> None:
        """Set up the one predictor."""
        super().__init__()
        self.categorize = dspy.Predict(CategorizeDefinition)

    def forward(self, definition: str) -> dspy.Prediction:
        """Categorize one definition."""
        return self.categorize(definition=definition)


task = Task(
    program=Categorize(),
    metric=exact_match("kind"),
    data="data/kinds.toml",
    models=["local/smollm2-135m-instruct", "local/gemma-3-270m"],
    reference="local/gemma-3-270m",
)
