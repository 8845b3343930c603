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

from optimizers.frontier.pareto import non_dominated
from optimizers.search.beliefs import Scores

if TYPE_CHECKING:
    from optimizers.search.board import Standing

LEADING, SAMPLED = 120, 40
"""Candidates that may lead, and others, that beliefs are formed from at most."""

DOUBT = 10
"""Scores' worth of doubt in a candidate's own mean, when those that may lead are told from others."""


def evidence(ran: Sequence[tuple[Standing, int]]) -> tuple[list[Standing], Scores]:
    """The candidates that beliefs are formed from, and their block means.

    Args:
        ran: Blocks in the order in which they were run: whose, and the number of the block.
    """
    counts = Counter(standing.candidate.id for standing, _ in ran)
    standings = list({standing.candidate.id: standing for standing, _ in ran}.values())
    known = _window(standings, [counts[standing.candidate.id] for standing in standings])
    places = {standing.candidate.id: place for place, standing in enumerate(known)}
    rows = [
        (places[standing.candidate.id], number, standing.blocks[number].scores)
        for standing, number in ran
        if standing.candidate.id in places and standing.blocks[number].scores
    ]
    return known, Scores(
        candidate=np.array([place for place, _, _ in rows], dtype=np.int64),
        block=np.array([number for _, number, _ in rows], dtype=np.int64),
        mean=np.array([fmean(scores) for _, _, scores in rows]),
        n=np.array([len(scores) for _, _, scores in rows], dtype=float),
    )


def _window(standings: Sequence[Standing], counts: Sequence[int]) -> list[Standing]:
    """The candidates of the first layers of dominance, and some of the others evenly taken."""
    if len(standings) <= LEADING + SAMPLED:
        return list(standings)
    ran = [standing.blocks[:count] for standing, count in zip(standings, counts, strict=True)]
    models = [standing.candidate.model for standing in standings]
    right = np.array([sum(sum(block.scores) for block in blocks) for blocks in ran])
    scored = np.array([sum(len(block.scores) for block in blocks) for blocks in ran])
    usual = np.zeros(len(standings))
    for model in set(models):
        own = np.array([other == model for other in models])
        usual[own] = right[own].sum() / max(1, scored[own].sum())
    quality = (right + DOUBT * usual) / (scored + DOUBT)
    cost = np.array([sum(block.cost for block in blocks) for blocks in ran]) / np.maximum(1, scored)
    leading: list[int] = []
    left = np.arange(len(standings))
    while len(leading) < LEADING:
        front = non_dominated(quality[left].tolist(), cost[left].tolist())
        leading += left[front].tolist()
        left = left[~front]
    others = left[np.unique(np.linspace(0, len(left) - 1, min(SAMPLED, len(left))).astype(int))]
    return [standings[place] for place in (*leading[:LEADING], *others.tolist())]
