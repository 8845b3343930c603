"""What kind of thing does a definition define, in two steps: first its realm, then the kind.

No data says the realm, so the first step learns from runs of the whole program that were right.
Each step may have a model of its own.
"""

from __future__ import annotations

from typing import Literal

import dspy

from metrics.exact import exact_match
from optimizers import Task


class FindRealm(dspy.Signature):
    """Decide which realm a dictionary definition belongs to."""

    definition: str = dspy.InputField(desc="the definition of a noun, without the noun itself")
    realm: Literal["living being", "part of a body", "place", "something to eat"] = dspy.OutputField()


class FindKind(dspy.Signature):
    """Decide what kind of thing a dictionary definition defines."""

    definition: str = dspy.InputField(desc="the definition of a noun, without the noun itself")
    realm: str = dspy.InputField(desc="where to look, if it is right")
    kind: Literal["animal", "food", "place", "person", "plant", "body part"] = dspy.OutputField()


class CoarseToFine(dspy.Module):
    """Two calls: the definition gives the realm, both give the kind."""

    def __init__(self) -> None:
        """Set up the two predictors."""
        super().__init__()
        self.coarse = dspy.Predict(FindRealm)
        self.fine = dspy.Predict(FindKind)

    def forward(self, definition: str) -> dspy.Prediction:
        """Categorize one definition."""
        realm = self.coarse(definition=definition).realm
        return self.fine(definition=definition, realm=realm)


task = Task(
    program=CoarseToFine(),
    metric=exact_match("kind"),
    data="data/kinds.toml",
    models=["local/smollm2-135m-instruct", "local/gemma-3-270m"],
    reference="local/gemma-3-270m",
    models_per_predictor=True,
)
