"""What to do next: which candidate runs its next block, one of those known or a new one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from optimizers.search.model.acquisition import (
    AcquisitionInputs,
    condition_on_pending,
    knowledge_gradient,
    regret,
)
from optimizers.search.model.posterior import Posterior, on_one_thread, posterior, predict_log_costs
from optimizers.search.space.parameters import MODEL

if TYPE_CHECKING:
    from optimizers.records.budget import Budget, Unit
    from optimizers.search.model.kernel import Choices, Floats
    from optimizers.search.model.observations import CandidateStats, ObservationStore

FREE, LEAST = 1e-6, 1e-12
"""Stand for a cost of nothing, which has no logarithm: a share of the dearest, and where all are free."""

ANEW = 16
"""Gains that are counted anew when one more block is to run at the same time."""


@dataclass(frozen=True)
class AcquisitionState:
    """What the next block of each candidate is expected to be worth.

    Attributes:
        known: Candidates that were measured.
        proposed: Choices of new ones.
        knowledge_gradient: Expected gain per unit of spend of the known ones, then of the new.
        belief: What is believed of them, in this order.
        prospects: What else is known of them.
    """

    known: Sequence[CandidateStats]
    proposed: Sequence[Choices]
    knowledge_gradient: Floats
    belief: Posterior
    prospects: AcquisitionInputs

    def best_new(self, model: str | None = None) -> int | None:
        """The place of the new candidate that promises most; None when there is none.

        Args:
            model: Take one of this model, where one was proposed.
        """
        first = len(self.known)
        untried = [
            place for place in range(first, len(self.knowledge_gradient)) if not self.prospects.done[place]
        ]
        wanted = [place for place in untried if self.choices(place).get(MODEL) == model]
        return max(wanted or untried, key=lambda place: self.knowledge_gradient[place], default=None)

    @property
    def best_known(self) -> int | None:
        """The place of the known candidate whose next block promises most; None when all blocks are run."""
        own = self.knowledge_gradient[: len(self.known)]
        return int(np.argmax(own)) if len(own) and own.max() >= 0 else None

    @property
    def ucb_candidates(self) -> list[int]:
        """Of each model, the place of the known candidate that most may be its best, if it has blocks left.

        Its quality is taken for one standard deviation more than is expected (the upper confidence bound of
        Auer, Cesa-Bianchi & Fischer, Machine Learning 47, 2002, for correlated Gaussian beliefs). A model
        has none when that is no more than what is expected of its best.
        """
        count, quality = len(self.known), self.belief.quality
        spread = np.sqrt(np.maximum(np.diag(self.belief.covariance)[: len(quality)], 0.0))
        bound = np.where(self.prospects.done < self.belief.blocks, quality + spread, -np.inf)
        found = []
        for model in np.unique(self.prospects.model[:count]):
            own = np.flatnonzero(self.prospects.model[:count] == model)
            place = int(own[np.argmax(bound[own])])
            if bound[place] > quality[own].max():
                found.append(place)
        return found

    @property
    def is_new_better(self) -> bool:
        """Whether a new candidate promises at least what any known one does."""
        new, known = self.best_new(), self.best_known
        return new is not None and (
            known is None or bool(self.knowledge_gradient[new] >= self.knowledge_gradient[known])
        )

    @property
    def regret(self) -> float:
        """What choosing among the known candidates now is expected to lose, in quality."""
        with on_one_thread():
            return regret(self.belief, self.prospects)

    def choices(self, place: int) -> Choices:
        """The choices of a new candidate."""
        return self.proposed[place - len(self.known)]

    def without(self, place: int) -> AcquisitionState:
        """The same with one candidate left out."""
        found, done = self.knowledge_gradient.copy(), self.prospects.done.copy()
        found[place], done[place] = -1.0, self.belief.blocks
        return replace(self, knowledge_gradient=found, prospects=replace(self.prospects, done=done))

    def beside(self, place: int) -> AcquisitionState:
        """What is worth running beside a candidate's next block.

        Less of what others may say remains unknown then, so their gains fall. The largest are counted
        anew; the others stand for no more than what they are at most.
        """
        with on_one_thread():
            belief, prospects = condition_on_pending(self.belief, self.prospects, place)
            found = self.knowledge_gradient.copy()
            found[place] = -1.0
            anew = np.unique(np.append(np.argsort(found)[-ANEW:], place))
            found[anew] = knowledge_gradient(belief, prospects, anew)[anew]
        return replace(self, knowledge_gradient=found, belief=belief, prospects=prospects)


def acquisition_state(
    observations: ObservationStore, sizes: Sequence[int], unit: Unit, proposed: Sequence[Choices] = ()
) -> AcquisitionState:
    """What the next block of each candidate is expected to be worth.

    Args:
        observations: What is known.
        sizes: Examples of each block of the dev set.
        unit: What the budget is short of.
        proposed: Choices of candidates that were not measured yet.
    """
    with on_one_thread():
        return _outlook(observations, sizes, unit, proposed)


def _outlook(
    observations: ObservationStore, sizes: Sequence[int], unit: Unit, proposed: Sequence[Choices]
) -> AcquisitionState:
    known, scores = observations.evidence()
    alike = observations.features_of(known, proposed)
    belief = posterior(alike, scores, observations.variances(alike), len(sizes))
    every = np.ones((len(proposed), 2))
    if known:
        measured = np.array([[*observations.burdens(one), _spends(one, unit)] for one in known])
        floor = np.maximum(FREE * measured.max(axis=0), LEAST)
        every = np.exp(predict_log_costs(alike, np.log(np.maximum(measured, floor))))
    prospects = AcquisitionInputs(
        model=alike.model,
        costs=every[:, :-1].T,
        done=np.array([*(len(stats.blocks) for stats in known), *([0] * len(proposed))]),
        spend=every[:, -1] * sizes[0],
        sizes=np.asarray(sizes),
    )
    return AcquisitionState(known, proposed, knowledge_gradient(belief, prospects), belief, prospects)


def _spends(stats: CandidateStats, unit: Unit) -> float:
    """What a candidate's rollout uses of the budget."""
    return float(getattr(stats.use, unit)) / max(1, stats.n)


def scarce(budget: Budget) -> Unit:
    """What the worth of a block is counted against: what the budget limits, calls if trials alone."""
    units: tuple[Unit, ...] = ("dollars", "tokens", "calls", "seconds")
    return next((unit for unit in units if getattr(budget, unit) is not None), "calls")
