"""What is believed of every candidate's quality, from the few blocks that some of them ran.

Scores form a table of candidates and blocks of examples, most of it empty. A linear mixed model
fills it: the mean score of candidate c on block b is

    quality[c] + ease[b] + ease[model of c, b] + noise,

and qualities are correlated by what candidates have in common (:mod:`optimizers.search.model.kernel`):
the model, each choice, and all choices together. So a candidate is known in part before it ran, and
one that met hard blocks is not held to be bad. All is Gaussian: the posterior is exact (Rasmussen &
Williams, Gaussian Processes for Machine Learning, 2006, chapter 2), and the variances of the parts
are those that are likeliest given the scores and a prior (chapter 5).
"""

from __future__ import annotations

from collections.abc import Mapping
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
"""Part of a score -> the variance it adds; ``part NAME`` for a choice."""

PRIOR: Variances = {
    "all": 0.06,
    "model": 0.03,
    "near": 0.006,
    "own": 0.002,
    "block": 0.004,
    "model's block": 0.002,
    "noise": 1.0,
}
"""Variances before anything is known; ``noise`` is a multiple of what chance gives 0/1 scores."""

PARTS, MOST_PART = 0.05, 0.006
"""Prior variance of all choices together, and of one at most."""

DOUBT = {"all": 0.5, "noise": 0.3, "part": 1.5}
"""Standard deviation of the logarithm of a variance in the prior; 1 where none is given."""

COSTS: Variances = {"all": 4.0, "model": 4.0, "near": 0.1, "own": 0.01, "part": 1.0}
"""Variances of the logarithm of a cost."""

CENTRE = 0.5
"""Quality expected of a candidate that nothing is known of."""

ODDS = 0.03
"""Qualities nearer to 0 or 1 than this have the noise of this one: all right so far is not always right."""

FIT_STEPS = 25
"""Steps of the search for the likeliest variances; more change little."""


@dataclass(frozen=True)
class Scores:
    """Measured block means, one entry each.

    Attributes:
        candidate: Which candidate.
        block: Which block.
        mean: Mean score, in [0, 1].
        n: Scores in it, at least 1.
    """

    candidate: NDArray[np.int64]
    block: NDArray[np.int64]
    mean: Floats
    n: Floats

    def thinned(self, most: int) -> Scores:
        """At most so many entries, evenly taken."""
        take = np.unique(np.linspace(0, len(self.mean) - 1, min(most, len(self.mean))).round().astype(int))
        return Scores(self.candidate[take], self.block[take], self.mean[take], self.n[take])

    def chance(self) -> Floats:
        """Variance that chance gives each entry if scores are 0 or 1."""
        size = int(self.candidate.max(initial=-1)) + 1
        right = np.bincount(self.candidate, weights=self.mean * self.n, minlength=size)
        tried = np.bincount(self.candidate, weights=self.n, minlength=size)
        rate = ((right + 1) / (tried + 2))[self.candidate]
        return chance(rate) / self.n


@dataclass(frozen=True)
class Posterior:
    """The joint posterior of qualities and of what blocks are like.

    Attributes:
        mean: Of each candidate's quality, then of each block's ease, then of each model's at each block.
        covariance: Of the same.
        candidates: Number of candidates.
        blocks: Number of blocks.
        noise: Variance of one score of each candidate that neither of them explains.
    """

    mean: Floats
    covariance: Floats
    candidates: int
    blocks: int
    noise: Floats

    @property
    def quality(self) -> Floats:
        """Expected quality of each candidate."""
        return self.mean[: self.candidates]


def on_one_thread() -> AbstractContextManager[Any]:
    """For matrices of this size: one thread is many times faster than several."""
    limited: AbstractContextManager[Any] = _pools().limit(limits=1)
    return limited


@cache
def _pools() -> ThreadpoolController:
    return ThreadpoolController()


def chance(rate: Floats) -> Floats:
    """Variance of one 0/1 score at a rate."""
    bounded = np.clip(rate, ODDS, 1 - ODDS)
    variance: Floats = bounded * (1 - bounded)
    return variance


def prior(features: Features) -> dict[str, float]:
    """Variances before anything is known."""
    each = min(MOST_PART, PARTS / max(1, len(features.parts)))
    return {**PRIOR, **{f"part {name}": each for name in features.parts}}


def posterior(features: Features, scores: Scores, variances: Variances, blocks: int) -> Posterior:
    """What scores say of every candidate.

    Args:
        features: What the candidates have in common.
        scores: What was measured.
        variances: Of every part, from :func:`prior` or :func:`fitted`.
        blocks: Blocks of the dev set.
    """
    count, models = len(features.model), int(features.model.max(initial=0)) + 1
    size = count + blocks * (1 + models)
    covariance = np.zeros((size, size))
    covariance[:count, :count] = sum(variances[name] * alike for name, alike in _of_quality(features).items())
    ease = [variances["block"]] * blocks + [variances["model's block"]] * (blocks * models)
    covariance[range(count, size), range(count, size)] = ease
    mean = np.zeros(size)
    mean[:count] = CENTRE
    if len(scores.mean):
        of, block = scores.candidate, scores.block
        # A score is the sum of three unknowns: adding their columns is faster than a product with zeros.
        summed = np.stack([of, count + block, count + blocks * (1 + features.model[of]) + block])
        noise, off = variances["noise"] * scores.chance(), scores.mean - mean[summed].sum(axis=0)
        moved, covariance = _given(covariance, summed, noise, off)
        mean = mean + moved
    noise = variances["noise"] * chance(mean[:count])
    return Posterior(mean, covariance, count, blocks, noise)


def _given(
    covariance: Floats, summed: NDArray[np.int64], noise: Floats, off: Floats
) -> tuple[Floats, Floats]:
    """How far scores move the mean of the unknowns, and the covariance they leave.

    By as many equations as there are scores, or as there are unknowns that scores say something of (the
    matrix inversion lemma), whichever are fewer: so long measurements make no decision slow.

    Args:
        covariance: Of the unknowns.
        summed: Three unknowns, whose sum each score is: a column per score.
        noise: Variance of what else is in each score, above 0.
        off: By how much each score is off what was expected.
    """
    seen, place = np.unique(summed, return_inverse=True)
    if off.size <= seen.size:
        across = covariance[:, summed].sum(axis=1)
        factor = cho_factor(across[summed].sum(axis=0) + np.diag(noise))
        return across @ cho_solve(factor, off), covariance - across @ cho_solve(factor, across.T)
    known, pull = np.zeros((seen.size, seen.size)), np.zeros(seen.size)
    places = place.reshape(summed.shape)
    for one in places:
        np.add.at(pull, one, off / noise)
        for other in places:
            np.add.at(known, (one, other), 1 / noise)
    across = covariance[:, seen]
    system = np.eye(seen.size) + known @ across[seen]
    solved = np.linalg.solve(system, np.column_stack([pull, known]))
    return across @ solved[:, 0], covariance - across @ solved[:, 1:] @ across.T


def fitted(features: Features, scores: Scores) -> dict[str, float]:
    """The variances that are likeliest, given the scores and the prior.

    Args:
        features: What the candidates have in common.
        scores: What was measured, at least one entry.
    """
    return most_likely(_of_scores(features, scores), prior(features), scores.mean - CENTRE)


def most_likely(parts: Mapping[str, Floats], start: Variances, off: Floats) -> dict[str, float]:
    """X."""
    names, stacked = list(parts), np.stack(list(parts.values()))
    expected = np.log([start[name] for name in names])
    doubt = np.array([DOUBT.get(name.partition(" ")[0], 1.0) for name in names])

    def unlikelihood(logs: Floats) -> tuple[float, Floats]:
        weights = np.exp(logs)
        factor = cho_factor(np.tensordot(weights, stacked, 1) + 1e-9 * np.eye(len(off)))
        inverse = cho_solve(factor, np.eye(len(off)))
        pull = inverse @ off
        slope = 0.5 * weights * np.tensordot(stacked, inverse - np.outer(pull, pull), 2)
        strain = (logs - expected) / doubt
        value = 0.5 * off @ pull + np.log(np.diag(factor[0])).sum() + 0.5 * strain @ strain
        return float(value), slope + strain / doubt

    found = minimize(unlikelihood, expected, jac=True, method="L-BFGS-B", options={"maxiter": FIT_STEPS})
    return {name: float(np.exp(log)) for name, log in zip(names, found.x, strict=True)}


def predict_log_costs(features: Features, logs: Floats) -> Floats:
    """What the first candidates' costs let expect of the others: additive in their choices on a log scale.

    Args:
        features: What the candidates have in common.
        logs: Logarithms of costs: a row per measured candidate, at least one; a column per cost.

    Returns:
        A row per candidate, the first ones as they were measured.
    """
    known = len(logs)
    parts = [COSTS.get(name, COSTS["part"]) * share for name, share in _of_quality(features).items()]
    alike = np.sum(parts, axis=0)
    centre = logs.mean(axis=0)
    factor = cho_factor(alike[:known, :known])
    others: Floats = centre + alike[known:, :known] @ cho_solve(factor, logs - centre)
    return np.vstack([logs, others])


def _of_quality(features: Features) -> dict[str, Floats]:
    """What correlates qualities: part -> of each two candidates, how much of it they share."""
    count = len(features.model)
    parts = {f"part {name}": alike for name, alike in features.alike.items()}
    return {
        "all": np.ones((count, count)),
        "model": features.same_model,
        "near": features.near,
        "own": np.eye(count),
        **parts,
    }


def _of_scores(features: Features, scores: Scores) -> dict[str, Floats]:
    """What correlates measured block means: part -> of each two entries, how much of it they share."""
    of, model = scores.candidate, features.model[scores.candidate]
    block = (scores.block[:, None] == scores.block[None, :]).astype(float)
    found = {name: alike[np.ix_(of, of)] for name, alike in _of_quality(features).items()}
    own_block = block * (model[:, None] == model[None, :])
    return found | {"block": block, "model's block": own_block, "noise": np.diag(scores.chance())}
