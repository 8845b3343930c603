"""Which candidate's next block is worth its calls: expected gain of hypervolume per unit of spend.

A block may change what is believed, of its own candidate and of all that are like it, and with it
which candidates make up the frontier. The gain is the hypervolume of the frontier that is then
believed in, in expectation, less that of today's: the knowledge gradient (Frazier, Powell & Dayanik,
INFORMS Journal on Computing 21, 2009, for correlated beliefs) with hypervolume as its value. As one
block often cannot change the order of two candidates that several blocks could, the gain is looked
for several blocks ahead and taken per block (KG(*): Frazier & Powell, Decision Analysis 7, 2010).

Beliefs are Gaussian and know no ceiling, but no quality is above 1. So a quality counts for what is
expected of it cut off at 1: else a candidate near 1 that little is known of would promise what
cannot be.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from optimizers.search.model.kernel import Floats
from optimizers.search.model.posterior import Posterior

AHEAD = (1, 2, 4)
"""Blocks to look ahead."""

NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(5)
WEIGHTS = WEIGHTS / WEIGHTS.sum()

EACH_MODEL = 0.2
"""Worth of a model's own best quality, beside the frontier's hypervolume.

A model that is nowhere on the frontier still has its best candidate compared with the others'.
"""

DRAWS = 400
"""Draws from what is believed, for what choosing now is expected to lose."""

DEAREST = 1.1
"""The cost that covers nothing, as a multiple of the dearest candidate's."""


@dataclass(frozen=True)
class AcquisitionInputs:
    """What is known of the candidates beside their quality.

    Attributes:
        model: Number of each candidate's model.
        costs: One row per objective that is a cost (money, seconds): of each candidate, above 0. No row where
            quality alone is sought.
        done: Blocks each has run.
        spend: What one block of each uses of the budget, above 0.
        sizes: Examples of each block of the dev set.
    """

    model: NDArray[np.int64]
    costs: Floats
    done: NDArray[np.int64]
    spend: Floats
    sizes: NDArray[np.int64]


def knowledge_gradient(
    belief: Posterior, prospects: AcquisitionInputs, of: NDArray[np.int64] | None = None
) -> Floats:
    """Expected gain of each candidate's next block per unit of spend; -1 where none is left to run.

    Args:
        belief: What is believed of the candidates.
        prospects: What else is known of them.
        of: Candidates to look at, all when None; the others get -1.
    """
    found = np.full(belief.candidates, -1.0)
    worth = _worth(prospects)
    left = np.full(belief.candidates, -1)
    left[of] = (belief.blocks - prospects.done)[of]
    for ahead in AHEAD:
        which = np.flatnonzero(left >= ahead)
        if len(which):
            # Nothing is lost by knowing more, but for rounding.
            value = np.maximum(_gained(belief, prospects, which, ahead, worth), 0.0)
            found[which] = np.maximum(found[which], value / (ahead * prospects.spend[which]))
    return found


def regret(belief: Posterior, prospects: AcquisitionInputs) -> float:
    """What is expected to be lost by choosing now: the worth of the best, less that of what is believed best.

    The joint posterior is drawn from: what is common to all candidates changes no choice, and does not
    count.

    Args:
        belief: What is believed of the candidates.
        prospects: What else is known of them; those that ran no block cannot be chosen.
    """
    known = np.flatnonzero(prospects.done > 0)
    mean, covariance = belief.quality[known], belief.covariance[np.ix_(known, known)]
    # The root of a matrix that may be singular but for rounding.
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    drawn = mean + np.random.default_rng(0).standard_normal((DRAWS, len(known))) @ root.T
    drawn = np.minimum(drawn, 1.0)
    own = replace(prospects, model=prospects.model[known], costs=prospects.costs[:, known])
    lost = _worth(own)(drawn) - _worth(own, mean)(drawn)
    return float(lost.mean())


def capped(mean: Floats, spread: Floats) -> Floats:
    """Expectation of a Gaussian cut off at 1.

    Args:
        mean: Its mean.
        spread: Its standard deviation, at least 0; of a shape that fits the mean's.
    """
    above = (mean - 1) / np.maximum(spread, 1e-9)
    density = np.exp(-0.5 * above * above) / np.sqrt(2 * np.pi)
    value: Floats = mean - spread * (density + above * ndtr(above))
    return value


def _gained(
    belief: Posterior,
    prospects: AcquisitionInputs,
    which: NDArray[np.int64],
    ahead: int,
    worth: Callable[[Floats], Floats],
) -> Floats:
    """What is expected to be gained by some candidate's next blocks, for each of the candidates."""
    count, rows = belief.candidates, np.arange(len(which))
    step = _moved(belief, prospects, which, ahead)[:, :count]
    spread = np.sqrt(np.maximum(np.diag(belief.covariance)[:count] - step * step, 0.0))
    hidden = np.repeat((prospects.done == 0)[None, :], len(which), axis=0)
    shown = hidden.copy()
    shown[rows, which] = False
    then, now = np.zeros(len(which)), np.zeros_like(step)
    for node, weight in zip(NODES, WEIGHTS, strict=True):
        quality = capped(belief.quality + node * step, spread)
        now += weight * quality
        then += weight * worth(np.where(shown, 0.0, quality))
    # Against the mean of what may be believed then, so that no error of the nodes is taken for a gain.
    return then - worth(np.where(hidden, 0.0, now))


def _moved(belief: Posterior, prospects: AcquisitionInputs, which: NDArray[np.int64], ahead: int) -> Floats:
    """How far candidates' next blocks move each belief, if they come out one standard deviation off."""
    count, rows = belief.candidates, np.arange(len(which))
    blocks = prospects.done[which][:, None] + np.arange(ahead)
    sizes = prospects.sizes[blocks]
    share = sizes / sizes.sum(axis=1, keepdims=True)
    looked = np.zeros((len(which), len(belief.mean)))
    looked[rows, which] = 1.0
    looked[rows[:, None], count + blocks] = share
    own = count + belief.blocks * (1 + prospects.model[which][:, None]) + blocks
    looked[rows[:, None], own] = share
    covariance = looked @ belief.covariance
    variance = np.sum(covariance * looked, axis=1) + belief.noise[which] / sizes.sum(axis=1)
    moved: Floats = covariance / np.sqrt(variance)[:, None]
    return moved


def condition_on_pending(
    belief: Posterior, prospects: AcquisitionInputs, candidate: int
) -> tuple[Posterior, AcquisitionInputs]:
    """What is believed once a candidate's next block has run, before its scores are known.

    Nothing is expected to be other than it is believed to be, but less is left to learn: so blocks that run
    at the same time are not all spent on the same question (Ginsbourger, Le Riche & Carraro,
    Computational Intelligence in Expensive Optimization Problems, 2010, chapter 6, the kriging believer).
    """
    moved = _moved(belief, prospects, np.array([candidate]), 1)[0]
    done = prospects.done.copy()
    done[candidate] += 1
    known = replace(belief, covariance=belief.covariance - np.outer(moved, moved))
    return known, replace(prospects, done=done)


def _worth(prospects: AcquisitionInputs, by: Floats | None = None) -> Callable[[Floats], Floats]:
    """What a row of qualities is worth: the hypervolume of its frontier, and each model's best quality.

    With several costs, the mean of the hypervolumes of quality and each of them. With none, the best
    quality stands for it: what is covered where all cost the same.

    Args:
        prospects: Costs and models of the candidates.
        by: Qualities to choose by, at each cost and of each model; the rows' own when None.
    """
    planes = []
    costs = prospects.costs if len(prospects.costs) else np.ones((1, len(prospects.model)))
    for cost in np.log(costs):
        order = np.argsort(cost, kind="stable")
        ends = np.append(cost[order], cost.max() + np.log(DEAREST))
        planes.append((order, np.diff(ends) / (ends[-1] - ends[0])))
    models = [np.flatnonzero(prospects.model == model) for model in np.unique(prospects.model)]

    def worth(quality: Floats) -> Floats:
        if by is None:
            covered = [np.maximum.accumulate(quality[:, order], axis=1) @ widths for order, widths in planes]
            best = [quality[:, own].max(axis=1) for own in models]
        else:
            covered = [quality[:, order[_leading(by[order])]] @ widths for order, widths in planes]
            best = [quality[:, own[np.argmax(by[own])]] for own in models]
        value: Floats = np.mean(covered, axis=0) + EACH_MODEL * np.mean(best, axis=0)
        return value

    return worth


def _leading(quality: Floats) -> NDArray[np.int64]:
    """Of each beginning of a row, the place of its highest."""
    is_new = quality >= np.maximum.accumulate(quality)
    places: NDArray[np.int64] = np.maximum.accumulate(np.where(is_new, np.arange(len(quality)), 0))
    return places
