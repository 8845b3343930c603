"""How much of the winner's dev score is luck of having been chosen by it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from optimizers.records.report import Optimism

FEWEST_SCORES = 50
"""Dev scores a candidate needs to take part: the best of many short measurements is all luck."""


def selection_optimism(scores: NDArray[np.float64], *, seed: int, resamples: int = 500) -> Optimism:
    """Estimate the optimism of the best candidate's dev mean by bootstrap over examples.

    Each resample of the examples chooses its own winner, which is scored on the examples the
    resample left out; the best dev mean minus the mean of those scores is the optimism
    (bootstrap bias corrected cross-validation: Tsamardinos, Greasidou & Borboudakis, Machine
    Learning 107, 2018). The winner is the highest mean; nothing is run again.

    Args:
        scores: ``(candidates, examples)``, in [0, 1]; NaN where a candidate did not run an example.
        seed: Seed of the resamples.
        resamples: Bootstrap resamples.

    Returns:
        The estimate; optimism 0 where fewer than two candidates have ``FEWEST_SCORES`` scores.
    """
    ran = ~np.isnan(scores)
    taking = ran.sum(axis=1) >= FEWEST_SCORES
    ran = ran[taking]
    used = ran.any(axis=0)
    ran = ran[:, used].astype(float)
    candidates, examples = ran.shape
    if candidates < 2:
        return Optimism(optimism=0.0, candidates=candidates, examples=examples)
    values = np.nan_to_num(scores[taking][:, used])
    drawn = np.random.default_rng(seed).multinomial(examples, np.full(examples, 1 / examples), resamples)
    inside = _means(drawn.astype(float), values, ran)
    outside = _means((drawn == 0).astype(float), values, ran)
    winners = np.where(np.isnan(inside), -1.0, inside).argmax(axis=1)
    honest = float(np.nanmean(outside[np.arange(resamples), winners]))
    best = float((values.sum(axis=1) / ran.sum(axis=1)).max())
    return Optimism(optimism=best - honest, candidates=candidates, examples=examples)


def _means(
    weights: NDArray[np.float64], values: NDArray[np.float64], ran: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Weighted mean of each candidate on each resample.

    Args:
        weights: ``(resamples, examples)``, how often an example was drawn.
        values: ``(candidates, examples)``, scores, 0 where there is none.
        ran: ``(candidates, examples)``, 1 where there is a score, else 0.

    Returns:
        ``(resamples, candidates)``; NaN where a candidate ran none of the examples.
    """
    count = weights @ ran.T
    means: NDArray[np.float64] = np.full(count.shape, np.nan)
    np.divide(weights @ values.T, count, out=means, where=count > 0)
    return means
