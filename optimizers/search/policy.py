"""What to do next: which candidate runs its next block, one of those known or a new one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from optimizers.search.beliefs import believe, foretold, on_one_thread
from optimizers.search.features import MODEL
from optimizers.search.gain import Prospects, gains

if TYPE_CHECKING:
    from optimizers.budget import Budget
    from optimizers.records.rows import Objective
    from optimizers.search.board import Board, Standing
    from optimizers.search.features import Choices, Floats

FREE, LEAST = 1e-6, 1e-12
"""Stand for a cost of nothing, which has no logarithm: a share of the dearest, and where all are free."""

Unit = Literal["calls", "tokens", "dollars", "seconds"]


@dataclass(frozen=True)
class Outlook:
    """What the next block of each candidate is expected to be worth.

    Attributes:
        known: Candidates that were measured.
        proposed: Choices of new ones.
        gains: Expected gain per unit of spend of the known ones, then of the new.
    """

    known: Sequence[Standing]
    proposed: Sequence[Choices]
    gains: Floats

    def best_new(self, model: str | None = None) -> Choices | None:
        """The new candidate that promises most; None when none was proposed.

        Args:
            model: Take one of this model, where one was proposed.
        """
        own = self.gains[len(self.known) :]
        places = [place for place, choices in enumerate(self.proposed) if choices.get(MODEL) == model]
        places = places or list(range(len(own)))
        return self.proposed[max(places, key=lambda place: own[place])] if places else None

    @property
    def best_known(self) -> tuple[Standing, float] | None:
        """The known candidate whose next block promises most, and what; None when all have run all blocks."""
        own = self.gains[: len(self.known)]
        if not len(own) or own.max() < 0:
            return None
        place = int(np.argmax(own))
        return self.known[place], float(own[place])

    @property
    def is_new_better(self) -> bool:
        """Whether a new candidate promises at least what any known one does."""
        own, new = self.gains[: len(self.known)], self.gains[len(self.known) :]
        return len(new) > 0 and (not len(own) or bool(new.max() >= own.max()))


def outlook(board: Board, sizes: Sequence[int], unit: Unit, proposed: Sequence[Choices] = ()) -> Outlook:
    """What the next block of each candidate is expected to be worth.

    Args:
        board: What is known.
        sizes: Examples of each block of the dev set.
        unit: What the budget is short of.
        proposed: Choices of candidates that were not measured yet.
    """
    with on_one_thread():
        return _outlook(board, sizes, unit, proposed)


def _outlook(board: Board, sizes: Sequence[int], unit: Unit, proposed: Sequence[Choices]) -> Outlook:
    known, scores = board.evidence()
    alike = board.features_of(known, proposed)
    belief = believe(alike, scores, board.variances(alike), len(sizes))
    every = np.ones((len(proposed), 2))
    if known:
        measured = np.array([_costs(standing, board.objectives, unit) for standing in known])
        floor = np.maximum(FREE * measured.max(axis=0), LEAST)
        every = np.exp(foretold(alike, np.log(np.maximum(measured, floor))))
    prospects = Prospects(
        model=alike.model,
        costs=every[:, :-1].T,
        done=np.array([*(len(standing.blocks) for standing in known), *([0] * len(proposed))]),
        spend=every[:, -1] * sizes[0],
        sizes=np.asarray(sizes),
    )
    return Outlook(known, proposed, gains(belief, prospects))


def _costs(standing: Standing, objectives: Sequence[Objective], unit: Unit) -> list[float]:
    """What a candidate's rollout costs in each objective, and last what it uses of the budget."""
    known = {"cost": standing.cost, "latency": standing.latency}
    each = getattr(standing.use, unit) / max(1, standing.n)
    return [*(known[objective] for objective in objectives if objective != "quality"), each]


def scarce(budget: Budget) -> Unit:
    """What the worth of a block is counted against: what the budget limits, calls if trials alone."""
    units: tuple[Unit, ...] = ("dollars", "tokens", "calls", "seconds")
    return next((unit for unit in units if getattr(budget, unit) is not None), "calls")
