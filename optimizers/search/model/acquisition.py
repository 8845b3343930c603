"""The acquisition function: expected gain of hypervolume by a candidate's next block, per unit of spend.

A block changes the posterior of its own candidate and of all that are like it, and with it the frontier.
Its gain is the expected hypervolume of the frontier afterwards, less that of today's: the knowledge
gradient for correlated Gaussian posteriors (Frazier, Powell & Dayanik, INFORMS Journal on Computing 21,
2009) with hypervolume as its value. One block often cannot change the order of two candidates where several
could, so the gain is computed 1, 2 and 4 blocks ahead and taken per block (KG(*): Frazier & Powell, Decision
Analysis 7, 2010).

A Gaussian has no ceiling, but no quality is above 1. So the expectation of a quality cut off at 1 counts:
otherwise a little-known candidate near 1 would promise the impossible.

Symbols and shapes:
    n: candidates; B: blocks of the dev set; k: unknowns of the posterior, n qualities first; s: candidates
    whose next block is valued.
    mu: (k,), mean and Sigma: (k, k), covariance of the posterior, in score units.
    L: (s, k), the unknowns that the next blocks measure, with their weights.
    step: (s, k), change of mu if those blocks come out one standard deviation above expectation:
       L Sigma / sqrt(diag(L Sigma L') + noise).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from optimizers.search.model.kernel import Floats
from optimizers.search.model.posterior import Posterior

NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(5)
WEIGHTS = WEIGHTS / WEIGHTS.sum()


@dataclass(frozen=True)
class AcquisitionInputs:
    """What the acquisition function needs in addition to the posterior.

    Attributes:
        model: (n,), number of each candidate's model.
        costs: (costs, n), above 0: one row per objective that is a cost (US dollars, seconds, fragility). No
            row where quality is the only objective.
        done: (n,), blocks that each candidate has run, in [0, B].
        spend: (n,), what one block of each uses of the budget, above 0, in the budget's unit.
        sizes: (B,), examples of each block.
    """

    model: NDArray[np.int64]
    costs: Floats
    done: NDArray[np.int64]
    spend: Floats
    sizes: NDArray[np.int64]


def knowledge_gradient(
    posterior: Posterior, inputs: AcquisitionInputs, candidates: NDArray[np.int64] | None = None
) -> Floats:
    """Expected gain of each candidate's next block per unit of spend.

    Args:
        posterior: The posterior of n candidates.
        inputs: What else is known of them.
        candidates: (s,), places of the candidates to compute it for; all when None.

    Returns:
        (n,): gain in hypervolume per unit of spend, at least 0; -1 for a candidate that has no block left,
        and for one that was not asked for.
    """
    found = np.full(posterior.candidates, -1.0)
    value = _value_function(inputs)
    left = np.full(posterior.candidates, -1)
    left[candidates] = (posterior.blocks - inputs.done)[candidates]
    for ahead in (1, 2, 4):
        which = np.flatnonzero(left >= ahead)
        if len(which):
            # Knowing more never loses; below 0 is rounding.
            gain = np.maximum(_expected_gain(posterior, inputs, which, ahead, value), 0.0)
            found[which] = np.maximum(found[which], gain / (ahead * inputs.spend[which]))
    return found


def regret(posterior: Posterior, inputs: AcquisitionInputs) -> float:
    """Expected loss of choosing now: value of the truly best, less that of the best by posterior mean.

    Estimated by 400 draws from the joint posterior, so that what all candidates share does not count.

    Args:
        posterior: The posterior of n candidates.
        inputs: What else is known of them; candidates that ran no block cannot be chosen.

    Returns:
        Loss in quality, at least 0.
    """
    known = np.flatnonzero(inputs.done > 0)
    mean, covariance = posterior.quality[known], posterior.covariance[np.ix_(known, known)]
    # A root by eigenvalues, as rounding may leave the matrix singular.
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    drawn = mean + np.random.default_rng(0).standard_normal((400, len(known))) @ root.T
    drawn = np.minimum(drawn, 1.0)
    own = replace(inputs, model=inputs.model[known], costs=inputs.costs[:, known])
    lost = _value_function(own)(drawn) - _value_function(own, mean)(drawn)
    return float(lost.mean())


def capped(mean: Floats, sd: Floats) -> Floats:
    """Expectation of min(X, 1) for Gaussian X, elementwise.

    Args:
        mean: Mean of X.
        sd: Standard deviation of X, at least 0; broadcasts with ``mean``.
    """
    above = (mean - 1) / np.maximum(sd, 1e-9)
    density = np.exp(-0.5 * above * above) / np.sqrt(2 * np.pi)
    value: Floats = mean - sd * (density + above * ndtr(above))
    return value


def condition_on_pending(
    posterior: Posterior, inputs: AcquisitionInputs, candidate: int
) -> tuple[Posterior, AcquisitionInputs]:
    """The posterior and inputs while a candidate's next block runs.

    Its scores are taken to come out as expected: means stay, variances fall. So blocks that run at the same
    time do not all answer the same question (the kriging believer: Ginsbourger, Le Riche & Carraro,
    Computational Intelligence in Expensive Optimization Problems, 2010, chapter 6).

    Args:
        posterior: The posterior of n candidates.
        inputs: What else is known of them.
        candidate: Place of the candidate whose next block runs.
    """
    step = _step(posterior, inputs, np.array([candidate]), 1)[0]
    done = inputs.done.copy()
    done[candidate] += 1
    conditioned = replace(posterior, covariance=posterior.covariance - np.outer(step, step))
    return conditioned, replace(inputs, done=done)


def _expected_gain(
    posterior: Posterior,
    inputs: AcquisitionInputs,
    which: NDArray[np.int64],
    ahead: int,
    value: Callable[[Floats], Floats],
) -> Floats:
    """(s,): expected gain in value by the next ``ahead`` blocks of each of the candidates ``which`` (s,)."""
    count, rows = posterior.candidates, np.arange(len(which))
    step = _step(posterior, inputs, which, ahead)[:, :count]
    sd = np.sqrt(np.maximum(np.diag(posterior.covariance)[:count] - step * step, 0.0))
    unmeasured = np.repeat((inputs.done == 0)[None, :], len(which), axis=0)
    unmeasured_then = unmeasured.copy()
    unmeasured_then[rows, which] = False
    then, now = np.zeros(len(which)), np.zeros_like(step)
    # The expectation over the blocks' outcome, by 5 nodes of Gauss-Hermite quadrature.
    for node, weight in zip(NODES, WEIGHTS, strict=True):
        quality = capped(posterior.quality + node * step, sd)
        now += weight * quality
        then += weight * value(np.where(unmeasured_then, 0.0, quality))
    # Today's value by the same nodes, so that no error of the nodes is taken for a gain.
    return then - value(np.where(unmeasured, 0.0, now))


def _step(posterior: Posterior, inputs: AcquisitionInputs, which: NDArray[np.int64], ahead: int) -> Floats:
    """(s, k): change of mu if the next ``ahead`` blocks come out one standard deviation above expectation."""
    count, rows = posterior.candidates, np.arange(len(which))
    blocks = inputs.done[which][:, None] + np.arange(ahead)
    sizes = inputs.sizes[blocks]
    share = sizes / sizes.sum(axis=1, keepdims=True)
    weights = np.zeros((len(which), len(posterior.mean)))
    weights[rows, which] = 1.0
    weights[rows[:, None], count + blocks] = share
    own = count + posterior.blocks * (1 + inputs.model[which][:, None]) + blocks
    weights[rows[:, None], own] = share
    covariance = weights @ posterior.covariance
    variance = np.sum(covariance * weights, axis=1) + posterior.noise[which] / sizes.sum(axis=1)
    step: Floats = covariance / np.sqrt(variance)[:, None]
    return step


def _value_function(inputs: AcquisitionInputs, by: Floats | None = None) -> Callable[[Floats], Floats]:
    """Value of qualities: hypervolume of the frontier, plus 0.2 times the mean of each model's best quality.

    Each model's best counts so that a model that is nowhere on the frontier still has its best candidate
    compared with the others'. The hypervolume is over quality and the logarithm of cost, as a share of the
    range of costs up to 1.1 times the highest. With several costs it is the mean over them; with none, the
    best quality, as if all cost the same.

    Args:
        inputs: Costs and models of n candidates.
        by: (n,), qualities that the frontier and each model's best are chosen by; the valued ones when None.

    Returns:
        A function from (rows, n) qualities to (rows,) values.
    """
    planes = []
    costs = inputs.costs if len(inputs.costs) else np.ones((1, len(inputs.model)))
    for cost in np.log(costs):
        order = np.argsort(cost, kind="stable")
        ends = np.append(cost[order], cost.max() + np.log(1.1))
        planes.append((order, np.diff(ends) / (ends[-1] - ends[0])))
    models = [np.flatnonzero(inputs.model == model) for model in np.unique(inputs.model)]

    def value(quality: Floats) -> Floats:
        if by is None:
            covered = [np.maximum.accumulate(quality[:, order], axis=1) @ widths for order, widths in planes]
            best = [quality[:, own].max(axis=1) for own in models]
        else:
            covered = [quality[:, order[_running_argmax(by[order])]] @ widths for order, widths in planes]
            best = [quality[:, own[np.argmax(by[own])]] for own in models]
        total: Floats = np.mean(covered, axis=0) + 0.2 * np.mean(best, axis=0)
        return total

    return value


def _running_argmax(quality: Floats) -> NDArray[np.int64]:
    """(n,): place of the highest of the first i + 1 qualities (n,), for each i."""
    is_new = quality >= np.maximum.accumulate(quality)
    places: NDArray[np.int64] = np.maximum.accumulate(np.where(is_new, np.arange(len(quality)), 0))
    return places
