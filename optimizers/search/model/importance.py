"""How much each choice mattered to quality, from the posterior of a model like the search's own.

The kernel of the search's model is a sum over choices. So given the variances, the contribution of each
choice has a Gaussian posterior in closed form; the variances are drawn from theirs. The values of a choice
are independent a priori here. A value may suit some blocks of examples better than others: that is no effect,
but few blocks may look like one. The mean score of candidate i on block b is

    y[i, b] = mu + sum_c f_c[v_c(i)] + g[i] + h[b] + sum_c e_c[v_c(i), b] + noise.

All scores are in the likelihood, so it does not matter by which rule the search went on or stopped (Berger
& Wolpert, The Likelihood Principle, 1988). The importance of a choice is the share of the variance between
candidates that its main effect explains, its values being equally frequent: the main effects of a
functional analysis of variance (Hutter, Hoos & Leyton-Brown, ICML 2014). Combinations of choices belong to
the candidate's own part g and to no choice.

Symbols and shapes:
    n: candidates; m: entries, one per candidate and block with a score; V: values of all choices.
    f: (V,), g: (n,): contributions of values and of candidates, in score units.
    Z: (m, k): 1 where one of the k unknowns (f, g, mu, h, e) is part of an entry, else 0.
    N: (m,): variances of the entries' noise; s: (k,): prior variances of the unknowns.
    Sigma = (Z' N^-1 Z + diag(1/s))^-1: (k, k): posterior covariance of the unknowns.
    Sigma Z' N^-1 (y - PRIOR_MEAN): (k,): their posterior mean.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.linalg import cho_solve, solve_triangular
from scipy.sparse import csr_array

from optimizers.records.candidate import Candidate
from optimizers.records.report import Effect, Importance
from optimizers.records.rows import Rollout
from optimizers.results.choices import choices_of
from optimizers.search.model.kernel import Floats
from optimizers.search.model.posterior import (
    PRIOR_MEAN,
    BlockMeans,
    minimized,
    negative_log_posterior,
    single_thread,
)
from optimizers.task.data.split import example_id

if TYPE_CHECKING:
    import dspy

    from optimizers.records.ledger import Ledger

CandidateChoices = Mapping[str, Mapping[str, str]]
"""Candidate id -> choice -> value; a choice that does not apply to a candidate is absent."""

LEVEL = 0.9
TAIL = (1 - LEVEL) / 2
"""Coverage of the intervals, and the share of the posterior below each."""

VARIANCES = {"all": 0.06, "part": 0.08, "own": 0.008, "block": 0.004, "value's block": 0.001, "noise": 1.0}
LOG_SD = {"all": 0.5, "noise": 0.3, "part": 2.5}
"""Medians of the prior variances, and standard deviations of their logarithms; 1 where none is given.

Those of a choice are larger than in the search, so that little data gives a wide interval.
"""

MAX_CANDIDATES = 1000
"""Most candidates of a model, a random sample where there are more: memory grows with their square."""

GOES_WITH = 0.8
"""Share of a choice's variation that another one predicts before the two are said to go together."""


@dataclass(frozen=True)
class _Choice:
    """A choice with at least two values.

    Attributes:
        name: What is chosen.
        values: Its values, sorted.
        of: (n,): each candidate's place in ``values``, -1 where the choice does not apply.
    """

    name: str
    values: tuple[str, ...]
    of: NDArray[np.int64]

    @property
    def one_hot(self) -> Floats:
        """(n, values): 1 where a candidate has the value."""
        found: Floats = (self.of[:, None] == np.arange(len(self.values))).astype(float)
        return found


def importances_of(
    ledger: Ledger, rollouts: Iterable[Rollout], blocks: Sequence[Sequence[dspy.Example]], seed: int
) -> tuple[Importance, ...]:
    """:func:`importances` from a study's ledger, its rollouts, and its dev set in blocks."""
    numbers = {example_id(one): number for number, block in enumerate(blocks) for one in block}
    groups = {row.id: row.group for row in ledger.examples().values() if row.group is not None}
    return importances(ledger.candidates(), rollouts, blocks=numbers, seed=seed, groups=groups)


def importances(
    candidates: Mapping[str, Candidate],
    rollouts: Iterable[Rollout],
    *,
    blocks: Mapping[str, int],
    seed: int,
    groups: Mapping[str, str] | None = None,
    describe: Callable[[Mapping[str, Candidate]], CandidateChoices] = choices_of,
) -> tuple[Importance, ...]:
    """How much each choice mattered to quality, over all candidates and for each model.

    Args:
        candidates: Candidate id -> candidate.
        rollouts: Any rollouts; first rollouts on dev that got a score count.
        blocks: Dev example id -> number of its block, from 0.
        seed: Seed of the draws behind the intervals of shares.
        groups: Example id -> group, for examples that come in groups. A value may suit a whole group.
        describe: Returns the choices of each candidate.

    Returns:
        Over all candidates (``model`` None) where there are several models, then by model in their order;
        the most important first. A choice that does not vary is left out.
    """
    rows: dict[str, dict[str, Rollout]] = defaultdict(dict)
    for row in rollouts:
        is_first_on_dev = row.split == "dev" and row.number == 0 and row.example in blocks
        if is_first_on_dev and row.score is not None and row.candidate in candidates:
            rows[row.candidate][row.example] = row
    chosen = describe({identity: candidates[identity] for identity in sorted(rows)})
    by_model: dict[str | None, list[str]] = {None: sorted(rows)}
    for identity in sorted(rows, key=lambda identity: (candidates[identity].models, identity)):
        by_model.setdefault(" + ".join(candidates[identity].models), []).append(identity)
    if len(by_model) == 2:
        del by_model[None]
    # At most 10 sets of examples that a value may suit: time grows with the cube of their number.
    count = min(10, max(blocks.values(), default=0) + 1)
    place = {group: number % count for number, group in enumerate(sorted(set((groups or {}).values())))}
    sets = {
        name: place[groups[name]] if groups and name in groups else blocks[name] % count for name in blocks
    }
    found: list[Importance] = []
    with single_thread():
        for model, members in by_model.items():
            # Ids are content hashes: the first ones are a random sample.
            sample = members[:MAX_CANDIDATES]
            own = [list(rows[identity].values()) for identity in sample]
            found += _of_model(model, [chosen[identity] for identity in sample], own, blocks, sets, seed)
    return tuple(found)


def _of_model(
    model: str | None,
    chosen: Sequence[Mapping[str, str]],
    rows: Sequence[Sequence[Rollout]],
    blocks: Mapping[str, int],
    sets: Mapping[str, int],
    seed: int,
) -> list[Importance]:
    """The importances of one model's candidates: their choices, and their rollouts on dev."""
    choices = _choices(chosen)
    if not choices:
        return []
    drawn = _draws(choices, *_entries(rows, blocks, sets), seed)
    ends = [0, *accumulate(len(choice.values) for choice in choices)]
    columns = [slice(*both) for both in pairwise(ends)]
    between = np.stack([drawn[:, part].var(axis=1) for part in (*columns, slice(ends[-1], None))])
    shares = np.quantile(between / between.sum(axis=0), (TAIL, 0.5, 1 - TAIL), axis=1)
    costs = _log_cost_effects(choices, [fmean(row.cost for row in own) for own in rows])
    # Of many choices that do nothing, one or another would look as if it did (Bonferroni).
    level = 1 - (1 - LEVEL) / len(choices)
    found = []
    for place, (choice, part) in enumerate(zip(choices, columns, strict=True)):
        tried = Counter(choice.of[choice.of >= 0].tolist())
        base = max(tried, key=lambda value: (tried[value], choice.values[value]))
        against = drawn[:, part] - drawn[:, [part.start + base]]
        low, median, high = shares[:, place].tolist()
        found.append(
            Importance(
                model=model,
                dimension=choice.name,
                share=median,
                low=low if _differs(np.delete(against, base, axis=1), level) else 0.0,
                high=high,
                baseline=choice.values[base],
                effects=_effects(choice, against, None if costs is None else costs[part], base),
                goes_with=tuple(
                    other.name
                    for other in choices
                    if other is not choice and _predicts(choice, other) >= GOES_WITH
                ),
            )
        )
    return sorted(found, key=lambda one: (not one.distinguishable, -one.share, one.dimension))


def _effects(choice: _Choice, against: Floats, log_costs: Floats | None, base: int) -> tuple[Effect, ...]:
    """Each value's effect, with its interval.

    Args:
        choice: The choice, of v values.
        against: (draws, v): effects against the most common value, in score units.
        log_costs: (v,): effects on the logarithm of cost; None where a candidate is free.
        base: Place of the most common value.
    """
    mean, (low, high) = against.mean(axis=0), np.quantile(against, (TAIL, 1 - TAIL), axis=0)
    ratios = None if log_costs is None else np.exp(log_costs - log_costs[base])
    return tuple(
        Effect(
            value=value,
            effect=mean[place],
            low=low[place],
            high=high[place],
            cost_ratio=None if ratios is None else ratios[place],
            candidates=int((choice.of == place).sum()),
        )
        for place, value in enumerate(choice.values)
    )


def _differs(drawn: Floats, level: float) -> bool:
    """Whether 0 lies outside the ellipsoid about the mean that holds this share of the (draws, v) draws."""
    mean = drawn.mean(axis=0)
    inverse = np.linalg.pinv(np.atleast_2d(np.cov(drawn, rowvar=False)))
    away = drawn - mean
    distances = np.einsum("ij,jk,ik->i", away, inverse, away)
    return bool(mean @ inverse @ mean > np.quantile(distances, level))


def _choices(chosen: Sequence[Mapping[str, str]]) -> list[_Choice]:
    """The choices that vary, by name."""
    found = []
    for name in sorted({name for choices in chosen for name in choices}):
        values = tuple(sorted({choices[name] for choices in chosen if name in choices}))
        places = [values.index(choices[name]) if name in choices else -1 for choices in chosen]
        if len(values) > 1:
            found.append(_Choice(name, values, np.array(places)))
    return found


def _entries(
    rows: Sequence[Sequence[Rollout]], blocks: Mapping[str, int], sets: Mapping[str, int]
) -> tuple[BlockMeans, NDArray[np.int64]]:
    """Mean scores of each candidate, by block and set of examples, and the (m,) sets."""
    scores: dict[tuple[int, int, int], list[float]] = defaultdict(list)
    for candidate, own in enumerate(rows):
        for row in own:
            scores[candidate, blocks[row.example], sets[row.example]].append(row.score or 0.0)
    keys = sorted(scores)
    candidate, block, part = np.array(keys, dtype=np.int64).T
    mean = np.array([fmean(scores[key]) for key in keys])
    return BlockMeans(candidate, block, mean, np.array([float(len(scores[key])) for key in keys])), part


def _draws(choices: Sequence[_Choice], scores: BlockMeans, part: NDArray[np.int64], seed: int) -> Floats:
    """(3000, V + n): draws from the joint posterior of the contributions f and g.

    For each of 60 draws of the variances, 50 of the unknowns: the closed form is that given the variances.

    Args:
        choices: The choices.
        scores: The m entries.
        part: (m,): the set of examples that each entry is of.
        seed: Seed of the draws.
    """
    columns, noise = _columns(choices, scores, part), scores.sampling_variance()
    residual, random = scores.mean - PRIOR_MEAN, np.random.default_rng(seed)
    sizes = [int(of.max()) + 1 for _, of in columns]
    starts = [0, *accumulate(sizes)]
    unknown = np.stack([of for _, of in columns])
    kind, entry = np.nonzero(unknown >= 0)
    at = np.array(starts)[kind] + unknown[kind, entry]
    z = csr_array((np.ones(len(entry)), (entry, at)), shape=(len(part), starts[-1]))
    weighted = z.multiply(1 / noise[:, None]).T.tocsr()
    gram, pull = (weighted @ z).toarray(), weighted @ residual
    found = []
    for variances in _variances(columns, noise, residual, random):
        prior = np.repeat([1 / variances[name] for name, _ in columns], sizes)
        root = np.linalg.cholesky(gram / variances["noise"] + np.diag(prior))
        mean = cho_solve((root, True), pull / variances["noise"])
        drawn = mean[:, None] + solve_triangular(root.T, random.standard_normal((len(mean), 50)))
        found.append(drawn[: starts[len(choices) + 1]].T)
    return np.concatenate(found)


def _variances(
    columns: Sequence[tuple[str, NDArray[np.int64]]], noise: Floats, residual: Floats, random: Generator
) -> Iterator[dict[str, float]]:
    """60 draws of the variances from the Laplace approximation to the posterior of their logarithms."""
    # 300 entries, evenly taken, are enough for a few variances.
    few = np.unique(np.linspace(0, len(noise) - 1, min(300, len(noise))).round().astype(int))
    kernels: dict[str, Floats] = {"noise": np.diag(noise[few])}
    for name, of in columns:
        shared: Floats = ((of[few][:, None] == of[few]) & (of[few] >= 0)).astype(float)
        kernels[name] = kernels.get(name, 0.0) + shared
    expected = np.log([VARIANCES[name if name in VARIANCES else "part"] for name in kernels])
    sd = np.array([LOG_SD.get(name.partition(" ")[0], 1.0) for name in kernels])
    objective = negative_log_posterior(kernels, expected, sd, residual[few])
    mode, step = minimized(objective, expected), 1e-3
    ways = step * np.eye(len(mode))
    hessian = np.stack([objective(mode + way)[1] - objective(mode - way)[1] for way in ways]) / (2 * step)
    precision, vectors = np.linalg.eigh((hessian + hessian.T) / 2)
    # No direction is less certain than twice the widest prior variance.
    root = vectors / np.sqrt(np.maximum(precision, 0.5 / sd.max() ** 2))
    logs = mode + random.standard_normal((60, len(mode))) @ root.T
    # No standard deviation of scores in [0, 1] is above 0.5; noise is a multiple.
    limits = np.array([np.inf if name == "noise" else np.log(0.25) for name in kernels])
    for row in np.exp(np.minimum(logs, limits)):
        yield dict(zip(kernels, row.tolist(), strict=True))


def _columns(
    choices: Sequence[_Choice], scores: BlockMeans, part: NDArray[np.int64]
) -> list[tuple[str, NDArray[np.int64]]]:
    """Each kind of unknown: its part of the variance, and (m,) its number in each entry, -1 for none."""
    values = [choice.of[scores.candidate] for choice in choices]
    count = int(part.max()) + 1
    return [
        *((f"part {choice.name}", of) for choice, of in zip(choices, values, strict=True)),
        ("own", scores.candidate),
        ("all", np.zeros_like(scores.candidate)),
        ("block", scores.block),
        *(("value's block", np.where(of < 0, -1, of * count + part)) for of in values),
    ]


def _log_cost_effects(choices: Sequence[_Choice], costs: Sequence[float]) -> Floats | None:
    """(V,): effects of values on the logarithm of the mean serving cost; None where a candidate is free."""
    if min(costs) <= 0:
        return None
    design = np.hstack([np.ones((len(costs), 1)), *(choice.one_hot for choice in choices)])
    logs = np.log(costs) - np.log(costs).mean()
    # A small ridge keeps effects defined where choices coincide.
    found: Floats = np.linalg.solve(design.T @ design + 0.01 * np.eye(design.shape[1]), design.T @ logs)[1:]
    return found


def _predicts(one: _Choice, by: _Choice) -> float:
    """How much knowing choice ``by`` lowers the error of guessing ``one``, in [0, 1], where both apply.

    Goodman & Kruskal's tau (JASA 49, 1954). Two choices that predict each other share one importance.
    """
    both = (one.of >= 0) & (by.of >= 0)
    table = one.one_hot[both].T @ by.one_hot[both] / max(1, both.sum())
    columns = table.sum(axis=0)
    alone = float((table.sum(axis=1) ** 2).sum())
    known = float(((table**2).sum(axis=0)[columns > 0] / columns[columns > 0]).sum())
    return (known - alone) / (1 - alone) if both.any() and alone < 1 else 0.0
