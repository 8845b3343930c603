"""The candidates that the posterior is computed from, and their scores.

All candidates while they are few. Of many, those that may lead and a sample of the others: without the
sample, the posterior would forget what makes a candidate poor.

Symbols and shapes:
    n: candidates to choose from; totals: (n, 3), sum of scores, number of scores, serving cost of each.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from optimizers.records.budget import Use
from optimizers.results.statistics.pareto import non_dominated
from optimizers.search.model.posterior import BlockMeans

if TYPE_CHECKING:
    from optimizers.records.budget import Unit
    from optimizers.records.candidate import Candidate
    from optimizers.records.parameters import Parameter
    from optimizers.records.rows import Block

LEADING, SAMPLED = 120, 40
"""Most candidates that may lead, and most others. Time grows with the cube of their sum."""

SHRINKAGE = 10
"""Scores that a prior mean counts as, where a candidate's mean is shrunk towards one."""


class Totals(NamedTuple):
    """Sums over some blocks of a candidate.

    Attributes:
        score: Sum of the scores.
        scored: Number of scores.
        cost: Serving cost of the rollouts with a score, US dollars.
    """

    score: float = 0.0
    scored: int = 0
    cost: float = 0.0

    @classmethod
    def of(cls, blocks: Sequence[Block]) -> Totals:
        """The sums over some blocks."""
        score = sum(sum(block.scores) for block in blocks)
        return cls(score, sum(len(block.scores) for block in blocks), sum(block.cost for block in blocks))


@dataclass
class CandidateStats:
    """One candidate's dev results so far.

    Attributes:
        candidate: The candidate.
        choices: The choices that make it; None for one that the search did not choose.
        blocks: Results of the blocks that it ran, in the order of the blocks.
        totals: Their sums.
    """

    candidate: Candidate
    choices: Mapping[Parameter, Any] | None = None
    blocks: list[Block] = field(default_factory=list)
    totals: Totals = field(default_factory=Totals)

    @property
    def n(self) -> int:
        """Examples tried."""
        return sum(block.tried for block in self.blocks)

    @property
    def scores(self) -> list[float]:
        """Scores of the examples that got one, each in [0, 1]."""
        return [score for block in self.blocks for score in block.scores]

    @property
    def scored(self) -> int:
        """Examples that got a score."""
        return self.totals.scored

    @property
    def mean(self) -> float:
        """Mean score; 0 when there is none."""
        return self.totals.score / max(1, self.scored)

    @property
    def cost(self) -> float:
        """Mean serving cost of a rollout, US dollars."""
        return self.totals.cost / max(1, self.scored)

    @property
    def fragility(self) -> float:
        """1 less the mean score on perturbed examples, shrunk towards that on others; at least 0.01.

        Candidates within 0.01 of perfect count as equally robust.
        """
        scores = [score for block in self.blocks for score in block.perturbed]
        robustness = (sum(scores) + SHRINKAGE * self.mean) / (len(scores) + SHRINKAGE)
        return max(0.01, 1.0 - robustness)

    @property
    def latency(self) -> float:
        """Seconds of a rollout: the median of the blocks' medians."""
        return median(block.latency for block in self.blocks) if self.blocks else 0.0

    @property
    def coverage(self) -> float:
        """Share of the examples tried that have a score."""
        return self.scored / self.n if self.n else 1.0

    @property
    def use(self) -> Use:
        """What all its blocks used; seconds as if no two rollouts ran at once."""
        total = Use()
        for block in self.blocks:
            total += Use(block.calls, block.tokens, block.cost, block.latency * block.tried)
        return total

    def spend(self, unit: Unit) -> float:
        """What one rollout uses of the budget, in a unit of it."""
        return float(getattr(self.use, unit)) / max(1, self.n)


def training_data(history: Sequence[tuple[CandidateStats, int]]) -> tuple[list[CandidateStats], BlockMeans]:
    """The inducing subset after some blocks, and the block means of its candidates.

    Args:
        history: Blocks in the order in which they ran: candidate, and number of the block.
    """
    counts = Counter(stats.candidate.id for stats, _ in history)
    stats = list({stats.candidate.id: stats for stats, _ in history}.values())
    subset = inducing_subset(stats, [Totals.of(one.blocks[: counts[one.candidate.id]]) for one in stats])
    return subset, block_means(subset, [counts[one.candidate.id] for one in subset])


def block_means(stats: Sequence[CandidateStats], counts: Sequence[int]) -> BlockMeans:
    """The mean scores of candidates' first blocks; a block without a score has no entry.

    Args:
        stats: n candidates.
        counts: Blocks to take of each, n numbers.
    """
    rows = [
        (place, number, block.scores)
        for place, (one, count) in enumerate(zip(stats, counts, strict=True))
        for number, block in enumerate(one.blocks[:count])
        if block.scores
    ]
    return BlockMeans(
        candidate=np.array([place for place, _, _ in rows], dtype=np.int64),
        block=np.array([number for _, number, _ in rows], dtype=np.int64),
        mean=np.array([fmean(scores) for _, _, scores in rows]),
        n=np.array([len(scores) for _, _, scores in rows], dtype=float),
    )


def inducing_subset(stats: Sequence[CandidateStats], totals: Sequence[Totals]) -> list[CandidateStats]:
    """The best 8 of every model, the first Pareto fronts, and an even sample of the others.

    Args:
        stats: n measured candidates.
        totals: The sums that each is judged by, n entries.

    Returns:
        At most LEADING + SAMPLED candidates.
    """
    if len(stats) <= LEADING + SAMPLED:
        return list(stats)
    score, scored, cost = np.array(totals, dtype=float).T
    cost = cost / np.maximum(1, scored)
    models = [one.candidate.model for one in stats]
    model_mean = np.zeros(len(stats))
    for model in set(models):
        own = np.array([other == model for other in models])
        model_mean[own] = score[own].sum() / max(1, scored[own].sum())
    # Shrunk towards the mean of the model's candidates.
    quality = (score + SHRINKAGE * model_mean) / (scored + SHRINKAGE)
    leading: list[int] = []
    for model in dict.fromkeys(models):
        own = np.flatnonzero([other == model for other in models])
        leading += own[np.argsort(-quality[own], kind="stable")[:8]].tolist()
    left = np.setdiff1d(np.arange(len(stats)), leading)
    while len(leading) < LEADING and len(left):
        front = non_dominated(quality[left].tolist(), cost[left].tolist())
        leading += left[front].tolist()
        left = left[~front]
    others = left[np.unique(np.linspace(0, len(left) - 1, min(SAMPLED, len(left))).astype(int))]
    return [stats[place] for place in (*leading[:LEADING], *others.tolist())]
