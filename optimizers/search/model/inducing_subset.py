"""The candidates that the posterior is computed from, and their scores.

All candidates while they are few. Of many, those that may lead and a sample of the others: without the
sample, the posterior would forget what makes a candidate poor.

Symbols and shapes:
    n: candidates to choose from; totals: (n, 3), sum of scores, number of scores, serving cost of each.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from optimizers.results.statistics.pareto import non_dominated
from optimizers.search.model.posterior import BlockMeans

if TYPE_CHECKING:
    from optimizers.records.rows import Block
    from optimizers.search.model.observations import CandidateStats

LEADING, SAMPLED = 120, 40
"""Most candidates that may lead, and most others. Time grows with the cube of their sum."""


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
    # Shrunk towards the mean of the model's candidates, which counts as 10 scores.
    quality = (score + 10 * model_mean) / (scored + 10)
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
