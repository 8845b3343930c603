"""What a study found to try in addition to what signature and labels give: pools that grow in rounds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from optimizers.prompting.proposals.demos import Demo

Method = Literal["written", "rewritten", "hardest", "reasoned", "bootstrapped", "transferred"]
"""How a find came about: a proposer wrote or rewrote an instruction; demos are what candidates failed, or
correct runs, with reasoning or without; or another study had it."""


class Origin(BaseModel):
    """Where a find comes from.

    Attributes:
        method: How it came about.
        candidate: Id of the candidate it was made with or for; None where it is for any.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Method
    candidate: str | None = None


class Pool(BaseModel):
    """What was found for one predictor.

    Attributes:
        instructions: Name -> text, of instructions that a model wrote or another study had.
        demos: Name -> demos, the most useful first.
        origins: Name -> where the instruction or demos of that name come from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    instructions: dict[str, str] = Field(default_factory=dict)
    demos: dict[str, tuple[Demo, ...]] = Field(default_factory=dict)
    origins: dict[str, Origin] = Field(default_factory=dict)


Pools = Mapping[str, Pool]
"""Predictor name -> what was found for it."""


def joined(pools: Pools, more: Pools) -> dict[str, Pool]:
    """Pools with further finds. A name that is taken keeps its content; a known text gets no second name."""
    found = {}
    for predictor in {**pools, **more}:
        old, new = pools.get(predictor, Pool()), more.get(predictor, Pool())
        instructions = dict(old.instructions)
        for name, text in new.instructions.items():
            if text not in instructions.values():
                instructions.setdefault(name, text)
        found[predictor] = Pool(
            instructions=instructions,
            demos=old.demos | {name: demos for name, demos in new.demos.items() if name not in old.demos},
            origins=new.origins | old.origins,
        )
    return found
