"""What each choice did to quality and cost, from a study's candidates and dev rollouts alone.

A search measures candidates unequally: poor ones stop after a few examples, and values that look
good are tried more often. Means per value would be misled by both. So scores are read with a
mixed linear model,

    score = general level + effect of each chosen value + the candidate's own + the example's own + noise,

in which the effects of values, of candidates and of examples are random: what little was measured
is drawn towards no effect. As the whole record is in the likelihood, it does not matter by which
rule the search went on or stopped (Berger and Wolpert, "The Likelihood Principle", 1988).

The importance of a choice is the share of the variance between candidates that its main effect
explains, each of its values being equally frequent: the main effects of a functional analysis of
variance (Hutter, Hoos and Leyton-Brown, "An Efficient Approach for Assessing Hyperparameter
Importance", ICML 2014), with an additive model in place of their forest. What combinations of
choices do, and which demos were drawn, belongs to the candidate's own part and to no choice.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from optimizers.records.candidate import Candidate
from optimizers.records.report import Effect, Importance
from optimizers.records.rows import Rollout
from optimizers.results.choices import choices_of

Array = NDArray[np.float64]

Choices = Mapping[str, Mapping[str, str]]
"""Candidate id -> dimension -> value; a dimension that does not apply to a candidate is absent."""

LEVEL = 0.9
"""Coverage of the intervals."""

TAILS = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)

DRAWS = 3000
"""Posterior draws behind the intervals: other draws change a share by 0.003 in the median, rarely by 0.05."""

SCALES = np.geomspace(0.005, 0.5, 14)
"""Standard deviations considered, of a choice's effects and of candidates' own parts, in score units.

Evenly likely up to 0.5, the most that scores in [0, 1] can have (a flat prior on standard
deviations: Gelman, Bayesian Analysis 1, 2006).
"""

CHAINS, WARM_UP = 50, 30
"""Chains of draws, and steps of each that only lead away from where it began."""

GOES_WITH = 0.8
"""Share of a choice's variation that another one foretells before the two are said to go together."""

COST_RIDGE = 0.01
"""Keeps cost effects defined where choices go together; costs hardly vary otherwise."""


def importances(
    candidates: Mapping[str, Candidate],
    rollouts: Iterable[Rollout],
    *,
    seed: int,
    groups: Mapping[str, str] | None = None,
    describe: Callable[[Mapping[str, Candidate]], Choices] = choices_of,
) -> tuple[Importance, ...]:
    """How much each choice mattered to quality, over all candidates and for each model by itself.

    Args:
        candidates: Candidate id -> candidate.
        rollouts: Any; first rollouts on dev that got a score count.
        seed: Seed of the draws behind the intervals.
        groups: Example id -> group, for examples that come in groups; others stand alone.
        describe: What each candidate chose.

    Returns:
        Over all candidates (``model`` None), where there are several models, then by model in
        their order; the most important first. A dimension that does not vary is left out.
    """
    rows: dict[str, dict[str, Rollout]] = defaultdict(dict)
    for row in rollouts:
        if row.split == "dev" and row.number == 0 and row.score is not None and row.candidate in candidates:
            rows[row.candidate][row.example] = row
    chosen = describe({identity: candidates[identity] for identity in sorted(rows)})
    by_model: dict[str | None, list[str]] = {None: sorted(rows)}
    for identity in sorted(rows, key=lambda identity: (candidates[identity].models, identity)):
        by_model.setdefault(" + ".join(candidates[identity].models), []).append(identity)
    if len(by_model) == 2:
        del by_model[None]
    # Threads only get in each other's way on matrices of this size.
    with threadpool_limits(1):
        return tuple(
            found
            for model, members in by_model.items()
            for found in _of_group(model, [(chosen[i], rows[i]) for i in members], groups or {}, seed)
        )


@dataclass(frozen=True)
class _Dimension:
    """A choice with at least two values.

    Attributes:
        name: What is chosen.
        values: Its values, sorted.
        of: Place of each candidate's value among them, -1 where the choice does not apply.
        at: Its columns in the design.
    """

    name: str
    values: tuple[str, ...]
    of: NDArray[np.int64]
    at: slice


def _of_group(
    model: str | None,
    members: Sequence[tuple[Mapping[str, str], Mapping[str, Rollout]]],
    groups: Mapping[str, str],
    seed: int,
) -> list[Importance]:
    dimensions = _dimensions([chosen for chosen, _ in members])
    if not dimensions:
        return []
    design = np.zeros((len(members), dimensions[-1].at.stop))
    design[:, 0] = 1
    for dimension in dimensions:
        applies = np.flatnonzero(dimension.of >= 0)
        design[applies, dimension.at.start + dimension.of[applies]] = 1
    random = np.random.default_rng(seed)
    quality = _quality([rows for _, rows in members], groups)
    posterior = _posterior(design, quality, [len(d.values) for d in dimensions], random)
    effects = posterior.effects + _of_examples(posterior, quality, dimensions, random)
    costs = _cost_effects(design, [[row.cost for row in rows.values()] for _, rows in members])
    spread = np.stack([effects[:, d.at].var(axis=1) for d in dimensions])
    shares = spread / (spread.sum(axis=0) + posterior.own**2)
    together = _together(dimensions)
    # Of many choices that do nothing, one or another would look as if it did (Bonferroni).
    level = 1 - (1 - LEVEL) / len(dimensions)
    found = [
        _importance(model, dimension, shares[place], effects[:, dimension.at], costs, together, level)
        for place, dimension in enumerate(dimensions)
    ]
    return sorted(found, key=lambda one: (not one.distinguishable, -one.share, one.dimension))


def _dimensions(chosen: Sequence[Mapping[str, str]]) -> list[_Dimension]:
    """The choices that vary; column 0 of the design is the general level."""
    found: list[_Dimension] = []
    for name in sorted({name for choices in chosen for name in choices}):
        values = tuple(sorted({choices[name] for choices in chosen if name in choices}))
        if len(values) > 1:
            places = [values.index(choices[name]) if name in choices else -1 for choices in chosen]
            start = found[-1].at.stop if found else 1
            found.append(_Dimension(name, values, np.array(places), slice(start, start + len(values))))
    return found


def _together(dimensions: Sequence[_Dimension]) -> dict[str, tuple[str, ...]]:
    """Dimension -> those that foretell it: they share one importance, and no data here divides it.

    Goodman and Kruskal's tau: by how much knowing the one lowers the chance of error in guessing
    the other at its own frequencies (JASA 49, 1954), where both apply.
    """
    return {
        one.name: tuple(
            other.name for other in dimensions if other is not one and _predicts(one, other) >= GOES_WITH
        )
        for one in dimensions
    }


def _predicts(one: _Dimension, by: _Dimension) -> float:
    both = (one.of >= 0) & (by.of >= 0)
    table = np.zeros((len(one.values), len(by.values)))
    np.add.at(table, (one.of[both], by.of[both]), 1 / max(1, both.sum()))
    alone = float((table.sum(axis=1) ** 2).sum())
    columns = table.sum(axis=0)
    known = float(((table**2).sum(axis=0)[columns > 0] / columns[columns > 0]).sum())
    return (known - alone) / (1 - alone) if both.any() and alone < 1 else 0.0


@dataclass(frozen=True)
class _Quality:
    """The candidates' levels of quality, as the rollouts tell them, the examples' own parts removed.

    Attributes:
        levels: Each candidate's level, in score units.
        precision: Inverse of the levels' covariance.
        by_cluster: Candidates x groups of examples: what each adds to ``precision @ errors``.
    """

    levels: Array
    precision: Array
    by_cluster: Array


def _quality(rows: Sequence[Mapping[str, Rollout]], groups: Mapping[str, str]) -> _Quality:
    """Generalised least squares with random example effects (Henderson, Biometrics 31, 1975)."""
    examples = {name: place for place, name in enumerate(sorted({name for row in rows for name in row}))}
    scores, ran = np.zeros((2, len(rows), len(examples)))
    for place, row in enumerate(rows):
        at = [examples[name] for name in row]
        scores[place, at], ran[place, at] = [one.score for one in row.values()], 1
    noise, difficulty = _variances(scores, ran)
    # Weight of an example's total that its own part explains.
    kept = difficulty / (noise + ran.sum(axis=0) * difficulty)
    precision = (np.diag(ran.sum(axis=1)) - (ran * kept) @ ran.T) / noise
    levels = np.linalg.solve(precision, ran * (scores - kept * scores.sum(axis=0)) @ np.ones(len(examples)))
    levels /= noise
    errors = ran * (scores - levels[:, None])
    adds = ran * (errors - kept * errors.sum(axis=0)) / noise
    _, clusters = np.unique([groups.get(name, name) for name in examples], return_inverse=True)
    return _Quality(levels, precision, adds @ np.eye(clusters.max() + 1)[clusters])


def _variances(scores: Array, ran: Array) -> tuple[float, float]:
    """Variance of a rollout's noise, and of the examples' own parts, by the method of moments.

    Within a candidate, scores vary by both; what two candidates' scores on the same examples vary
    by together is the examples' own. One imagined score of the largest variance keeps the noise
    from being taken for zero when all scores are alike.
    """
    count = ran.sum(axis=1)
    centred = ran * (scores - (scores.sum(axis=1) / count)[:, None])
    within = ((centred**2).sum() + 0.25) / ((count - 1).sum() + 1)
    shared = ran @ ran.T
    inverse = 1 / count
    pairs = shared * (1 - inverse[:, None] - inverse + shared * np.outer(inverse, inverse))
    np.fill_diagonal(pairs, 0)
    common = (centred.sum(axis=0) ** 2).sum() - (centred**2).sum()
    difficulty = max(0.0, float(common / pairs.sum())) if pairs.sum() > 0 else 0.0
    difficulty = min(difficulty, 0.9 * float(within))
    return float(within) - difficulty, difficulty


@dataclass(frozen=True)
class _Posterior:
    """Draws of what the records leave possible.

    Attributes:
        effects: Draws x columns of the design.
        own: Draws of the standard deviation of candidates' own parts.
        gain: Columns of the design x candidates: how typical effects follow from ``precision @ errors``.
    """

    effects: Array
    own: Array
    gain: Array


def _posterior(design: Array, quality: _Quality, sizes: Sequence[int], random: Generator) -> _Posterior:
    """Ridge regression of levels on choices, how strongly each is drawn to zero being learnt.

    A random-effects meta-regression, candidates being its studies, by Gibbs sampling (Gelfand and
    Smith, JASA 85, 1990): the effects given the standard deviations, which are Gaussian, and the
    standard deviations given the effects, from a grid. Many short chains from all over the grid.

    Args:
        design: Candidates x columns, of which the first is 1 and the others say who has which value.
        quality: The candidates' levels.
        sizes: Number of values of each dimension, in the order of the columns.
        random: Source of the draws.
    """
    # In the basis of its eigenvectors the levels' covariance is diagonal, whatever candidates add to it.
    spectrum, basis = np.linalg.eigh(quality.precision)
    spectrum = np.maximum(spectrum, 1e-9)
    turned, target = basis.T @ design, basis.T @ (quality.levels - quality.levels.mean())
    shrunk = 1 / (1 + spectrum * SCALES[:, None] ** 2)
    weights = spectrum * shrunk
    grams, pulls = turned.T @ (weights[:, :, None] * turned), (weights * target) @ turned
    of_own = 0.5 * np.log(weights).sum(axis=1) + np.log(SCALES)
    of_scales = (1 - np.array(sizes)[:, None]) * np.log(SCALES)
    starts = np.cumsum([0, *sizes[:-1]])

    own = random.integers(len(SCALES), size=CHAINS)
    scales = random.integers(len(SCALES), size=(CHAINS, len(sizes)))
    effects, owns = [], []
    for step in range(WARM_UP + DRAWS // CHAINS):
        root = np.linalg.inv(np.linalg.cholesky(grams[own] + _prior(SCALES[scales], sizes)))
        pull = root @ pulls[own][:, :, None] + random.standard_normal((CHAINS, design.shape[1], 1))
        drawn = (root.transpose(0, 2, 1) @ pull)[:, :, 0]
        squares = np.add.reduceat(drawn[:, 1:] ** 2, starts, axis=1)
        scales = _pick(of_scales - 0.5 * squares[:, :, None] / SCALES**2, random)
        own = _pick(of_own - 0.5 * (target - drawn @ turned.T) ** 2 @ weights.T, random)
        if step >= WARM_UP:
            effects.append(drawn)
            owns.append(SCALES[own])
    typical = int(np.median(own))
    inverse = np.linalg.inv(grams[typical] + _prior(np.median(SCALES[scales], axis=0), sizes))
    gain = ((inverse @ turned.T) * shrunk[typical]) @ basis.T
    return _Posterior(np.concatenate(effects), np.concatenate(owns), gain)


def _prior(scales: Array, sizes: Sequence[int]) -> Array:
    """Prior precision of the general level, which lies within about 1 of the mean, and of all effects."""
    precision = np.repeat(scales**-2, sizes, axis=-1)
    level = np.ones((*precision.shape[:-1], 1))
    diagonal = np.concatenate([level, precision], axis=-1)
    return diagonal[..., None] * np.eye(diagonal.shape[-1])


def _pick(logs: Array, random: Generator) -> NDArray[np.int64]:
    """Places drawn from unnormalised log probabilities along the last axis (the Gumbel-max trick)."""
    picked: NDArray[np.int64] = (logs + random.gumbel(size=logs.shape)).argmax(axis=-1)
    return picked


def _of_examples(
    posterior: _Posterior, quality: _Quality, dimensions: Sequence[_Dimension], random: Generator
) -> Array:
    """Further uncertainty of the effects, from values that suit some examples better than others.

    All candidates with a value then gain on the same examples, which noise between rollouts does
    not cover. How far the sum over examples varies more than noise would is a design effect, one
    per dimension (cluster-robust covariance: Liang and Zeger, Biometrika 73, 1986; design effect:
    Rao and Scott, Biometrics 48, 1992).
    """
    extra = np.zeros_like(posterior.effects)
    clusters = quality.by_cluster.shape[1]
    for dimension in dimensions:
        gain = posterior.gain[dimension.at] - posterior.gain[dimension.at].mean(axis=0)
        noise = gain @ quality.precision @ gain.T
        found = ((gain @ quality.by_cluster) ** 2).sum() * clusters / max(1, clusters - 1)
        more = found / max(float(np.trace(noise)), 1e-12) - 1
        if more > 0:
            values, vectors = np.linalg.eigh(noise)
            root = vectors * np.sqrt(more * np.maximum(values, 0))
            extra[:, dimension.at] = random.standard_normal((len(extra), len(values))) @ root.T
    return extra


def _cost_effects(design: Array, costs: Sequence[Sequence[float]]) -> Array | None:
    """Effects on the logarithm of the mean serving cost, or None where a candidate costs nothing."""
    mean = np.array([np.mean(of) for of in costs])
    if not (mean > 0).all():
        return None
    logs = np.log(mean) - np.log(mean).mean()
    ridge = COST_RIDGE * np.eye(design.shape[1])
    effects: Array = np.linalg.solve(design.T @ design + ridge, design.T @ logs)
    return effects


def _importance(
    model: str | None,
    dimension: _Dimension,
    shares: Array,
    effects: Array,
    costs: Array | None,
    together: Mapping[str, tuple[str, ...]],
    level: float,
) -> Importance:
    tried = Counter(dimension.of[dimension.of >= 0].tolist())
    base = max(tried, key=lambda value: (tried[value], dimension.values[value]))
    against = effects - effects[:, [base]]
    ratios = None if costs is None else np.exp(costs[dimension.at] - costs[dimension.at.start + base])
    ends = np.quantile(against, TAILS, axis=0)
    low, high = np.quantile(shares, TAILS)
    return Importance(
        model=model,
        dimension=dimension.name,
        share=float(np.median(shares)),
        low=float(low) if _differs(np.delete(against, base, axis=1), level) else 0.0,
        high=float(high),
        baseline=dimension.values[base],
        effects=tuple(
            Effect(
                value=value,
                effect=float(against[:, place].mean()),
                low=float(ends[0, place]),
                high=float(ends[1, place]),
                cost_ratio=None if ratios is None else float(ratios[place]),
                candidates=tried[place],
            )
            for place, value in enumerate(dimension.values)
        ),
        goes_with=together[dimension.name],
    )


def _differs(drawn: Array, level: float) -> bool:
    """Whether "no effects" lies outside the ellipsoid about the mean that holds this share of the draws."""
    mean = drawn.mean(axis=0)
    inverse = np.linalg.pinv(np.atleast_2d(np.cov(drawn, rowvar=False)))
    away = drawn - mean
    distances = np.einsum("ij,jk,ik->i", away, inverse, away)
    return bool(mean @ inverse @ mean > np.quantile(distances, level))
