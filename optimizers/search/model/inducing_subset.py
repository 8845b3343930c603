"""Which candidates beliefs are formed from, and what they scored.

All of them while they are few. Of many, those that may lead, and a sample of the others: without
it, what makes a candidate poor would be forgotten.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np

from optimizers.results.statistics.pareto import non_dominated
from optimizers.search.model.posterior import Scores

if TYPE_CHECKING:
    from optimizers.records.rows import Block
    from optimizers.search.model.observations import CandidateStats

LEADING, SAMPLED = 120, 40
"""Candidates that may lead, and others, that beliefs are formed from at most."""

OF_EACH_MODEL = 8
"""Candidates of each model among those that may lead, at least: a model is compared by its best."""

Total = tuple[float, int, float]
"""Of some blocks: sum of the scores, how many there are, and what they cost to serve, US dollars."""

DOUBT = 10
"""Scores' worth of doubt in a candidate's own mean, when those that may lead are told from others."""


def evidence(ran: Sequence[tuple[CandidateStats, int]]) -> tuple[list[CandidateStats], Scores]:
    """The candidates that beliefs are formed from after some blocks, and their block means.

    Args:
        ran: Blocks in the order in which they were run: whose, and the number of the block.
    """
    counts = Counter(stats.candidate.id for stats, _ in ran)
    stats = list({stats.candidate.id: stats for stats, _ in ran}.values())
    known = window(stats, [total(one.blocks[: counts[one.candidate.id]]) for one in stats])
    return known, scores_of(known, [counts[stats.candidate.id] for stats in known])


def scores_of(known: Sequence[CandidateStats], counts: Sequence[int]) -> Scores:
    """The first blocks' means of some candidates.

    Args:
        known: The candidates.
        counts: Blocks to take of each.
    """
    rows = [
        (place, number, block.scores)
        for place, (stats, count) in enumerate(zip(known, counts, strict=True))
        for number, block in enumerate(stats.blocks[:count])
        if block.scores
    ]
    return Scores(
        candidate=np.array([place for place, _, _ in rows], dtype=np.int64),
        block=np.array([number for _, number, _ in rows], dtype=np.int64),
        mean=np.array([fmean(scores) for _, _, scores in rows]),
        n=np.array([len(scores) for _, _, scores in rows], dtype=float),
    )


def total(blocks: Sequence[Block]) -> Total:
    """The sum of some blocks."""
    right = sum(sum(block.scores) for block in blocks)
    return right, sum(len(block.scores) for block in blocks), sum(block.cost for block in blocks)


def window(stats: Sequence[CandidateStats], totals: Sequence[Total]) -> list[CandidateStats]:
    """The best of every model, the first layers of dominance, and some of the others evenly taken.

    Args:
        stats: Measured candidates.
        totals: What each is judged by.
    """
    if len(stats) <= LEADING + SAMPLED:
        return list(stats)
    right, scored, cost = np.array(totals, dtype=float).T
    cost = cost / np.maximum(1, scored)
    models = [stats.candidate.model for stats in stats]
    usual = np.zeros(len(stats))
    for model in set(models):
        own = np.array([other == model for other in models])
        usual[own] = right[own].sum() / max(1, scored[own].sum())
    quality = (right + DOUBT * usual) / (scored + DOUBT)
    leading: list[int] = []
    for model in dict.fromkeys(models):
        own = np.flatnonzero([other == model for other in models])
        leading += own[np.argsort(-quality[own], kind="stable")[:OF_EACH_MODEL]].tolist()
    left = np.setdiff1d(np.arange(len(stats)), leading)
    while len(leading) < LEADING and len(left):
        front = non_dominated(quality[left].tolist(), cost[left].tolist())
        leading += left[front].tolist()
        left = left[~front]
    others = left[np.unique(np.linspace(0, len(left) - 1, min(SAMPLED, len(left))).astype(int))]
    return [stats[place] for place in (*leading[:LEADING], *others.tolist())]
