"""The posterior of every candidate's quality, given the blocks that some of them ran.

Scores form a table of candidates and blocks of examples, most of it empty. A linear mixed model fills it.
The mean score of candidate c with model v on block b is

    y = q[c] + h[b] + w[v, b] + noise.

Qualities q are correlated by what candidates have in common (:mod:`optimizers.search.model.kernel`): the
model, each choice, and all choices together. So a candidate is known in part before it runs, and one that
ran on hard blocks is not taken for a poor one. All is Gaussian and the posterior exact (Rasmussen &
Williams, Gaussian Processes for Machine Learning, 2006, chapter 2). The variances of the parts are the most
likely ones given the scores and a prior on them (chapter 5).

Symbols and shapes:
    n: candidates; B: blocks; M: models; m: entries, one per measured candidate and block.
    u: (k,), the unknowns: n qualities q, B block effects h, M x B effects w of a block on a model.
       k = n + B (1 + M). Scores and all effects are in score units, where a score lies in [0, 1].
    K: (n, n), the prior covariance of q: a sum of kernels, each times its variance.
    mu: (k,), mean of u; Sigma: (k, k), covariance of u; prior or posterior.
    y: (m,), mean score of each entry; N: (m,), variance of its noise.
    A: (3, m), the three unknowns whose sum each entry measures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize
from threadpoolctl import ThreadpoolController

from optimizers.search.model.kernel import Features, Floats

Variances = Mapping[str, float]
"""Part of a score -> the variance it adds, in squared score units; ``part NAME`` for a choice."""

PRIOR_VARIANCES: Variances = {
    "all": 0.06,
    "model": 0.03,
    "near": 0.006,
    "own": 0.002,
    "block": 0.004,
    "model's block": 0.002,
    "noise": 1.0,
}
"""Variances before any score; ``noise`` is a multiple of the variance of 0/1 scores."""

Objective = Callable[[Floats], tuple[float, Floats]]
"""A function of log variances with its gradient."""

LOG_VARIANCE_SD = {"all": 0.5, "noise": 0.3, "part": 1.5}
"""Prior standard deviation of the logarithm of a variance; 1 where none is given."""

LOG_COST_VARIANCES: Variances = {"all": 4.0, "model": 4.0, "near": 0.1, "own": 0.01, "part": 1.0}
"""Variances of the parts of the logarithm of a cost."""

PRIOR_MEAN = 0.5
"""Expected quality of a candidate before any score."""


@dataclass(frozen=True)
class BlockMeans:
    """Measured mean scores: m entries, one per candidate and block.

    Attributes:
        candidate: (m,), place of the candidate, in [0, n).
        block: (m,), number of the block, in [0, B).
        mean: (m,), mean score, in [0, 1].
        n: (m,), scores in the mean, at least 1.
    """

    candidate: NDArray[np.int64]
    block: NDArray[np.int64]
    mean: Floats
    n: Floats

    def thinned(self, most: int) -> BlockMeans:
        """At most this many entries, evenly taken."""
        take = np.unique(np.linspace(0, len(self.mean) - 1, min(most, len(self.mean))).round().astype(int))
        return BlockMeans(self.candidate[take], self.block[take], self.mean[take], self.n[take])

    def sampling_variance(self) -> Floats:
        """(m,): variance of each entry if its scores are draws of 0 or 1 at the candidate's rate."""
        size = int(self.candidate.max(initial=-1)) + 1
        right = np.bincount(self.candidate, weights=self.mean * self.n, minlength=size)
        tried = np.bincount(self.candidate, weights=self.n, minlength=size)
        rate = ((right + 1) / (tried + 2))[self.candidate]
        return bernoulli_variance(rate) / self.n


@dataclass(frozen=True)
class Posterior:
    """The joint Gaussian distribution of qualities and block effects.

    Attributes:
        mean: (k,), mu: qualities, then block effects, then each model's block effects.
        covariance: (k, k), Sigma, in the same order.
        candidates: n.
        blocks: B.
        noise: (n,), variance of one score of each candidate around the sum of its unknowns.
    """

    mean: Floats
    covariance: Floats
    candidates: int
    blocks: int
    noise: Floats

    @property
    def quality(self) -> Floats:
        """(n,): mean of each candidate's quality, in score units; not clipped to [0, 1]."""
        return self.mean[: self.candidates]


def single_thread() -> AbstractContextManager[Any]:
    """Limit linear algebra to one thread: for matrices of this size, many times faster than several."""
    limited: AbstractContextManager[Any] = _controller().limit(limits=1)
    return limited


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


def bernoulli_variance(rate: Floats) -> Floats:
    """Variance of one 0/1 score at each rate, elementwise.

    Rates nearer to 0 or 1 than 0.03 count as that: all right so far does not mean always right.
    """
    bounded = np.clip(rate, 0.03, 1 - 0.03)
    variance: Floats = bounded * (1 - bounded)
    return variance


def prior_variances(features: Features) -> dict[str, float]:
    """Variances before any score; all choices share 0.05, and no choice has more than 0.006."""
    each = min(0.006, 0.05 / max(1, len(features.parts)))
    return {**PRIOR_VARIANCES, **{f"part {name}": each for name in features.parts}}


def posterior(features: Features, scores: BlockMeans, variances: Variances, blocks: int) -> Posterior:
    """The posterior of all unknowns given the scores.

    Args:
        features: Features of the n candidates.
        scores: The m entries; none gives the prior.
        variances: Variance of every part, from :func:`prior_variances` or :func:`fit_variances`.
        blocks: Blocks of the dev set, B.
    """
    count, models = len(features.model), int(features.model.max(initial=0)) + 1
    size = count + blocks * (1 + models)
    covariance = np.zeros((size, size))
    covariance[:count, :count] = sum(
        variances[name] * kernel for name, kernel in _quality_kernels(features).items()
    )
    effects = [variances["block"]] * blocks + [variances["model's block"]] * (blocks * models)
    covariance[range(count, size), range(count, size)] = effects
    mean = np.zeros(size)
    mean[:count] = PRIOR_MEAN
    if len(scores.mean):
        of, block = scores.candidate, scores.block
        # A: indices rather than a matrix of zeros and ones, as adding three columns is faster.
        summed = np.stack([of, count + block, count + blocks * (1 + features.model[of]) + block])
        noise, residual = (
            variances["noise"] * scores.sampling_variance(),
            scores.mean - mean[summed].sum(axis=0),
        )
        shift, covariance = _condition(covariance, summed, noise, residual)
        mean = mean + shift
    noise = variances["noise"] * bernoulli_variance(mean[:count])
    return Posterior(mean, covariance, count, blocks, noise)


def _condition(
    covariance: Floats, summed: NDArray[np.int64], noise: Floats, residual: Floats
) -> tuple[Floats, Floats]:
    """Condition the unknowns on the entries.

    Solves m equations, or as many as there are unknowns in the entries (the matrix inversion lemma),
    whichever are fewer. So a decision takes no longer after long measurements.

    Args:
        covariance: (k, k), prior Sigma.
        summed: (3, m), A: places of the unknowns whose sum each entry measures.
        noise: (m,), N, above 0.
        residual: (m,), y less its prior mean.

    Returns:
        (k,): the change of mu, and (k, k): the posterior Sigma.
    """
    seen, place = np.unique(summed, return_inverse=True)
    if residual.size <= seen.size:
        across = covariance[:, summed].sum(axis=1)
        factor = cho_factor(across[summed].sum(axis=0) + np.diag(noise))
        return across @ cho_solve(factor, residual), covariance - across @ cho_solve(factor, across.T)
    # precision = A N^-1 A' and weighted = A N^-1 residual, over the unknowns in the entries alone.
    precision, weighted = np.zeros((seen.size, seen.size)), np.zeros(seen.size)
    places = place.reshape(summed.shape)
    for one in places:
        np.add.at(weighted, one, residual / noise)
        for other in places:
            np.add.at(precision, (one, other), 1 / noise)
    across = covariance[:, seen]
    system = np.eye(seen.size) + precision @ across[seen]
    solved = np.linalg.solve(system, np.column_stack([weighted, precision]))
    return across @ solved[:, 0], covariance - across @ solved[:, 1:] @ across.T


def fit_variances(features: Features, scores: BlockMeans) -> dict[str, float]:
    """The most likely variances of all parts, given the scores and the prior.

    Args:
        features: Features of the candidates.
        scores: The m entries, at least one.
    """
    return most_likely(_score_kernels(features, scores), prior_variances(features), scores.mean - PRIOR_MEAN)


def most_likely(kernels: Mapping[str, Floats], start: Variances, residual: Floats) -> dict[str, float]:
    """The variances that maximise marginal likelihood times prior, by their logarithms.

    Args:
        kernels: Part -> (m, m), the covariance of the entries per unit of the part's variance.
        start: Part -> the prior's median, above 0; :data:`LOG_VARIANCE_SD` gives its width.
        residual: (m,), y less its prior mean.
    """
    expected = np.log([start[name] for name in kernels])
    sd = np.array([LOG_VARIANCE_SD.get(name.partition(" ")[0], 1.0) for name in kernels])
    logs = minimized(negative_log_posterior(kernels, expected, sd, residual), expected)
    return {name: float(np.exp(log)) for name, log in zip(kernels, logs, strict=True)}


def minimized(objective: Objective, start: Floats) -> Floats:
    """(parts,): the logarithms of variances at the minimum; more than 25 steps change little."""
    found: Floats = minimize(objective, start, jac=True, method="L-BFGS-B", options={"maxiter": 25}).x
    return found


def negative_log_posterior(
    kernels: Mapping[str, Floats], expected: Floats, sd: Floats, residual: Floats
) -> Objective:
    """The negative log posterior density of log variances, up to a constant.

    Args:
        kernels: Part -> (m, m), the covariance of the entries per unit of the part's variance.
        expected: (parts,), mean of the prior on the logarithms.
        sd: (parts,), its standard deviations.
        residual: (m,), y less its prior mean.

    Returns:
        A function from (parts,) logarithms to the value and its (parts,) gradient.
    """
    stacked = np.stack(list(kernels.values()))

    def objective(logs: Floats) -> tuple[float, Floats]:
        weights = np.exp(logs)
        factor = cho_factor(np.tensordot(weights, stacked, 1) + 1e-9 * np.eye(len(residual)))
        inverse = cho_solve(factor, np.eye(len(residual)))
        alpha = inverse @ residual
        slope = 0.5 * weights * np.tensordot(stacked, inverse - np.outer(alpha, alpha), 2)
        z = (logs - expected) / sd
        value = 0.5 * residual @ alpha + np.log(np.diag(factor[0])).sum() + 0.5 * z @ z
        return float(value), slope + z / sd

    return objective


def predict_log_costs(features: Features, logs: Floats) -> Floats:
    """Predict the costs of candidates that did not run: additive in their choices on a log scale.

    Args:
        features: Features of n candidates, the measured ones first.
        logs: (measured, costs), natural logarithms of the measured costs, at least one row.

    Returns:
        (n, costs): posterior means; the first rows as they were measured.
    """
    known = len(logs)
    parts = [
        LOG_COST_VARIANCES.get(name, LOG_COST_VARIANCES["part"]) * kernel
        for name, kernel in _quality_kernels(features).items()
    ]
    kernel = np.sum(parts, axis=0)
    centre = logs.mean(axis=0)
    factor = cho_factor(kernel[:known, :known])
    others: Floats = centre + kernel[known:, :known] @ cho_solve(factor, logs - centre)
    return np.vstack([logs, others])


def _quality_kernels(features: Features) -> dict[str, Floats]:
    """Part -> (n, n), the kernel of the part of qualities, in [0, 1]."""
    count = len(features.model)
    parts = {f"part {name}": kernel for name, kernel in features.alike.items()}
    return {
        "all": np.ones((count, count)),
        "model": features.same_model,
        "near": features.near,
        "own": np.eye(count),
        **parts,
    }


def _score_kernels(features: Features, scores: BlockMeans) -> dict[str, Floats]:
    """Part -> (m, m), the kernel of the part of the entries; ``noise`` is diagonal, the others in [0, 1]."""
    of, model = scores.candidate, features.model[scores.candidate]
    block = (scores.block[:, None] == scores.block[None, :]).astype(float)
    found = {name: kernel[np.ix_(of, of)] for name, kernel in _quality_kernels(features).items()}
    own_block = block * (model[:, None] == model[None, :])
    noise = np.diag(scores.sampling_variance())
    return found | {"block": block, "model's block": own_block, "noise": noise}
