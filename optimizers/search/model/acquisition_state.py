"""What to run next: the next block of a known candidate, or the first block of a new one.

Symbols and shapes:
    n: candidates, the measured ones first, then the proposed ones; a place is an index into them.
    kg: (n,), knowledge gradient: expected gain of the next block per unit of spend.
"""

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
from optimizers.search.model.posterior import Posterior, posterior, predict_log_costs, single_thread
from optimizers.search.space.parts import MODEL

if TYPE_CHECKING:
    from optimizers.records.budget import Budget, Unit
    from optimizers.search.model.inducing_subset import CandidateStats
    from optimizers.search.model.kernel import Choices, Floats
    from optimizers.search.model.observations import ObservationStore


@dataclass(frozen=True)
class AcquisitionState:
    """The expected gain of the next block of each candidate.

    Attributes:
        known: Measured candidates.
        proposed: Choices of new ones.
        knowledge_gradient: (n,), kg; -1 where no block is left.
        posterior: Posterior of the n candidates.
        inputs: What else is known of them.
    """

    known: Sequence[CandidateStats]
    proposed: Sequence[Choices]
    knowledge_gradient: Floats
    posterior: Posterior
    inputs: AcquisitionInputs

    def best_new(self, model: str | None = None) -> int | None:
        """The place of the new candidate with the highest expected gain; None when there is none.

        Args:
            model: Take one of this model, where one was proposed.
        """
        first = len(self.known)
        untried = [
            place for place in range(first, len(self.knowledge_gradient)) if not self.inputs.done[place]
        ]
        wanted = [place for place in untried if self.choices(place).get(MODEL) == model]
        return max(wanted or untried, key=lambda place: self.knowledge_gradient[place], default=None)

    @property
    def best_known(self) -> int | None:
        """The place of the known candidate with the highest expected gain; None when all blocks have run."""
        own = self.knowledge_gradient[: len(self.known)]
        return int(np.argmax(own)) if len(own) and own.max() >= 0 else None

    @property
    def ucb_candidates(self) -> list[int]:
        """Of each model, the place of the known candidate with the highest upper confidence bound.

        Only if it has blocks left and its bound exceeds the posterior mean of the model's best candidate. The
        bound is one standard deviation above the mean (Auer, Cesa-Bianchi & Fischer, Machine Learning 47,
        2002, for a correlated Gaussian posterior).
        """
        count, quality = len(self.known), self.posterior.quality
        sd = np.sqrt(np.maximum(np.diag(self.posterior.covariance)[: len(quality)], 0.0))
        bound = np.where(self.inputs.done < self.posterior.blocks, quality + sd, -np.inf)
        found = []
        for model in np.unique(self.inputs.model[:count]):
            own = np.flatnonzero(self.inputs.model[:count] == model)
            place = int(own[np.argmax(bound[own])])
            if bound[place] > quality[own].max():
                found.append(place)
        return found

    @property
    def is_new_better(self) -> bool:
        """Whether a new candidate's expected gain is at least that of every known one."""
        new, known = self.best_new(), self.best_known
        return new is not None and (
            known is None or bool(self.knowledge_gradient[new] >= self.knowledge_gradient[known])
        )

    @property
    def regret(self) -> float:
        """Expected loss, in quality, of choosing among the known candidates now."""
        with single_thread():
            return regret(self.posterior, self.inputs)

    def choices(self, place: int) -> Choices:
        """The choices of a new candidate."""
        return self.proposed[place - len(self.known)]

    def without(self, place: int) -> AcquisitionState:
        """The state with one candidate left out."""
        gains, done = self.knowledge_gradient.copy(), self.inputs.done.copy()
        gains[place], done[place] = -1.0, self.posterior.blocks
        return replace(self, knowledge_gradient=gains, inputs=replace(self.inputs, done=done))

    def with_pending(self, place: int) -> AcquisitionState:
        """The state while a candidate's next block runs.

        The block will answer part of what others' blocks would, so their gains fall. Only the 16 largest
        gains are computed again; the others keep their former values, which are upper bounds.
        """
        with single_thread():
            conditioned, inputs = condition_on_pending(self.posterior, self.inputs, place)
            gains = self.knowledge_gradient.copy()
            gains[place] = -1.0
            again = np.unique(np.append(np.argsort(gains)[-16:], place))
            gains[again] = knowledge_gradient(conditioned, inputs, again)[again]
        return replace(self, knowledge_gradient=gains, posterior=conditioned, inputs=inputs)


def acquisition_state(
    observations: ObservationStore, sizes: Sequence[int], unit: Unit, proposed: Sequence[Choices] = ()
) -> AcquisitionState:
    """The expected gain of the next block of each candidate.

    Args:
        observations: The candidates' scores so far.
        sizes: Examples of each block of the dev set, B numbers.
        unit: The unit of spend, from :func:`scarcest_unit`.
        proposed: Choices of candidates that were not measured yet.
    """
    with single_thread():
        known, scores = observations.training_data()
        features = observations.features_of(known, proposed)
        found = posterior(features, scores, observations.variances(features), len(sizes))
        # (n, costs + 1): objectives that are costs, then spend, of one rollout.
        costs = np.ones((len(proposed), 2))
        if known:
            measured = np.array([[*observations.costs(one), one.spend(unit)] for one in known])
            # 0 has no logarithm: a millionth of the highest takes its place, or 1e-12 where all are free.
            floor = np.maximum(1e-6 * measured.max(axis=0), 1e-12)
            costs = np.exp(predict_log_costs(features, np.log(np.maximum(measured, floor))))
        inputs = AcquisitionInputs(
            model=features.model,
            costs=costs[:, :-1].T,
            done=np.array([*(len(stats.blocks) for stats in known), *([0] * len(proposed))]),
            spend=costs[:, -1] * sizes[0],
            sizes=np.asarray(sizes),
        )
        return AcquisitionState(known, proposed, knowledge_gradient(found, inputs), found, inputs)


def scarcest_unit(budget: Budget) -> Unit:
    """The unit that gains are divided by: what the budget limits; calls if it limits trials alone."""
    units: tuple[Unit, ...] = ("dollars", "tokens", "calls", "seconds")
    return next((unit for unit in units if getattr(budget, unit) is not None), "calls")
