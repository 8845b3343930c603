"""What a study has found to try beside what a signature and the labels give: pools that grow in rounds."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field

from optimizers.prompting.proposals.demos import Demo


class Pool(BaseModel):
    """What was found for one predictor.

    Attributes:
        instructions: Name -> text, of instructions that a model wrote or another study had.
        demos: Name -> demos, the most useful first.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    instructions: dict[str, str] = Field(default_factory=dict)
    demos: dict[str, tuple[Demo, ...]] = Field(default_factory=dict)


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
        )
    return found
