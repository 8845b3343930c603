"""The parts of a candidate that the search chooses, and what the search knows of each: one table.

A new dimension of the space is an entry in :data:`PARTS` and the place in
:mod:`optimizers.search.space.search_space` that asks for it. The kernel, the initial design, warm starts and
Optuna read the table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from optimizers.records.parameters import Parameter

Group = Literal["model", "serving", "sampling", "instruction", "demos"]
"""What a part belongs to: ``serving`` is how a program is served, ``demos`` which examples it shows."""

TOGGLES = ("role", "audience", "labels", "steps", "principles", "rule")
"""What may be added to an instruction; the effect of each is learned separately."""


@dataclass(frozen=True)
class Part:
    """What the search knows of a part.

    Attributes:
        group: What it belongs to.
        plain_first: Whether the first choice is the plain one, which random starts prefer: other choices are
            expensive, or change little and would hide what changes much.
        by_cost: Whether its choices are in the order of their cost, so that later ones are drawn less often.
    """

    group: Group
    plain_first: bool = False
    by_cost: bool = False


PARTS = {
    "model": Part("model"),
    "rendering": Part("serving"),
    "technique": Part("serving", plain_first=True),
    "elaborate": Part("serving"),
    "calls": Part("serving", by_cost=True),
    "max_tokens": Part("sampling"),
    "reasoning_effort": Part("sampling"),
    "temperature": Part("sampling", plain_first=True),
    "truncation": Part("sampling", plain_first=True),
    "repetition_penalty": Part("sampling", plain_first=True),
    "instruction": Part("instruction"),
    **{f"part.{toggle}": Part("instruction", plain_first=True) for toggle in TOGGLES},
    "demos": Part("demos"),
    "demos.from": Part("demos"),
    "draw": Part("demos"),
    "demos.alternate": Part("demos"),
}
"""Part -> what the search knows of it. The names are those that Optuna and MLflow show."""

MODEL = Parameter(None, None, "model")
"""The choice of a model for the whole program."""


def part_of(parameter: Parameter) -> Part:
    """What the search knows of a parameter's part."""
    return PARTS[parameter.part]


def model_of(predictor: str) -> Parameter:
    """The choice of a model for one predictor."""
    return Parameter(None, predictor, "model")
