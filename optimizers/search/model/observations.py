"""All scores of a search so far, the posterior mean of each candidate's quality, and the leaders."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from optimizers.results.statistics.pareto import non_dominated, thin
from optimizers.search.model.inducing_subset import (
    SHRINKAGE,
    CandidateStats,
    Totals,
    block_means,
    inducing_subset,
    training_data,
)
from optimizers.search.model.kernel import features
from optimizers.search.model.posterior import fit_variances, posterior, prior_variances, single_thread

if TYPE_CHECKING:
    from optimizers.records.candidate import Candidate
    from optimizers.records.parameters import Parameter
    from optimizers.records.rows import Block, Objective
    from optimizers.search.model.kernel import Features
    from optimizers.search.model.posterior import BlockMeans, Variances

FIRST_FIT, FIT_GROWTH = 8, 1.5
"""Blocks before variances are first fitted, and the factor by which they grow between two fits."""

MOST_FITTED = 200
"""Block means that variances are fitted to; more say little more, and time grows with their cube."""

SUBSET_EVERY = 25
"""Blocks between two choices of the inducing subset."""


class ObservationStore:
    """Every candidate's results, by candidate id.

    Args:
        objectives: What the frontier trades off.
        min_coverage: Share of rollouts that must have a score, in [0, 1]: a candidate with fewer is on no
            frontier, as too much of it is unknown.

    Attributes:
        stats: Candidate id -> its results.
        history: Every block that ran, in order: candidate, and number of the block.
        tried: Model -> candidates of it that ran.
        tried_choices: Choices of every candidate, each as its items.
    """

    def __init__(
        self,
        objectives: Sequence[Objective] = ("quality", "cost"),
        min_coverage: float = 0.0,
    ) -> None:
        self.objectives, self.min_coverage = tuple(objectives), min_coverage
        self.stats: dict[str, CandidateStats] = {}
        self.history: list[tuple[CandidateStats, int]] = []
        self.tried: Counter[str] = Counter()
        self.tried_choices: set[frozenset[tuple[Parameter, Any]]] = set()
        # Sums of the scores of each model's candidates, and how many there are.
        self._score: dict[str, float] = defaultdict(float)
        self._scored: dict[str, int] = defaultdict(int)
        # Computed from the first blocks of the history: how many blocks, and the result.
        self._subset: tuple[int, list[CandidateStats]] = (0, [])
        self._means: tuple[int, dict[str, float]] = (0, {})
        self._variances: tuple[int, Variances] = (0, {})

    def register(self, candidate: Candidate, choices: Mapping[Parameter, Any] | None = None) -> None:
        """Let a candidate be known by its id, and its choices be tried; a known one keeps its results."""
        if choices is not None:
            self.tried_choices.add(frozenset(choices.items()))
        self.stats.setdefault(candidate.id, CandidateStats(candidate, choices))

    def add_block(self, stats: CandidateStats, block: Block) -> None:
        """Add the results of a candidate's next block."""
        model = stats.candidate.model
        if not stats.blocks:
            self.tried[model] += 1
        self.history.append((stats, len(stats.blocks)))
        stats.blocks.append(block)
        score, scored, cost = stats.totals
        stats.totals = Totals(score + sum(block.scores), scored + len(block.scores), cost + block.cost)
        self._score[model] += sum(block.scores)
        self._scored[model] += len(block.scores)

    def measured(self) -> list[CandidateStats]:
        """Candidates with at least one score."""
        return [stats for stats in self.stats.values() if stats.scored]

    def measured_subset(self) -> list[CandidateStats]:
        """Candidates with a score that are in the inducing subset or were tried since it was chosen.

        All while they are few: what is computed from these takes no longer however many candidates there are.
        """
        return [stats for stats in self._current_subset() if stats.scored]

    def quality(self, stats: CandidateStats) -> float:
        """Posterior mean of the candidate's quality, given all scores of all candidates.

        In score units, not clipped to [0, 1]. For a candidate outside the inducing subset, its mean score
        shrunk towards that of its model's candidates: the best of many is mostly lucky.
        """
        if self._means[0] != len(self.history):
            with single_thread():
                self._means = (len(self.history), self._posterior_means())
        found = self._means[1].get(stats.candidate.id)
        return self._shrunk_mean(stats) if found is None else found

    def objective_values(self, stats: CandidateStats) -> list[float]:
        """The candidate's objectives, in their order.

        Posterior mean of quality in [0, 1]; US dollars per 1,000 rollouts; seconds of a rollout; robustness,
        the mean score on perturbed examples in [0, 1].
        """
        bounded = min(1.0, max(0.0, self.quality(stats)))
        known = {
            "quality": bounded,
            "cost": 1000 * stats.cost,
            "latency": stats.latency,
            "robustness": 1.0 - stats.fragility,
        }
        return [known[objective] for objective in self.objectives]

    def costs(self, stats: CandidateStats) -> list[float]:
        """The objectives to be minimised, in their order: US dollars a rollout, seconds, fragility."""
        known = {"cost": stats.cost, "latency": stats.latency, "robustness": stats.fragility}
        return [known[objective] for objective in self.objectives if objective != "quality"]

    def frontier(self) -> list[CandidateStats]:
        """Candidates that are not dominated in their objectives and have enough scores."""
        enough = [stats for stats in self.measured_subset() if stats.coverage >= self.min_coverage]
        if not enough:
            return []
        costs = zip(*[self.costs(stats) for stats in enough], strict=True)
        efficient = non_dominated([self.quality(stats) for stats in enough], *costs)
        return [stats for stats, kept in zip(enough, efficient, strict=True) if kept]

    def best_of(self, model: str) -> CandidateStats | None:
        """The candidate of highest posterior mean that the model serves alone."""
        pool = [stats for stats in self.measured_subset() if stats.candidate.models == (model,)]
        enough = [stats for stats in pool if stats.coverage >= self.min_coverage]
        return max(enough or pool, key=self.quality, default=None)

    def leaders(self, most: int | None = None) -> list[CandidateStats]:
        """The frontier and each model's best: the candidates to be measured well.

        A model that is nowhere on the frontier is still compared by its best candidate, the reference above
        all.

        Args:
            most: Points of the frontier to keep, those that cover it best; all when None.
        """
        frontier = self.frontier()
        if most is not None:
            kept = thin([self.quality(s) for s in frontier], [s.cost for s in frontier], most)
            frontier = [frontier[index] for index in kept]
        models = dict.fromkeys(stats.candidate.model for stats in self.measured_subset())
        best = [stats for model in models if (stats := self.best_of(model)) is not None]
        found = {stats.candidate.id: stats for stats in [*frontier, *best]}
        return list(found.values())

    def training_data(self, count: int | None = None) -> tuple[list[CandidateStats], BlockMeans]:
        """The candidates that the posterior is computed from, and their block means.

        Args:
            count: Take the first ``count`` blocks of the history alone.
        """
        if count is not None:
            return training_data([one for one in self.history[:count] if one[0].choices is not None])
        # Without a score a candidate's cost is unknown too: as free it would seem to promise most.
        known = [one for one in self._current_subset() if one.choices is not None and one.scored]
        return known, block_means(known, [len(stats.blocks) for stats in known])

    def variances(self, of: Features) -> Variances:
        """The fitted variance of each part of a score.

        Fitted at certain lengths of the history, to the blocks up to there alone, so that a process that
        takes up an interrupted study finds the same.

        Args:
            of: Features of the candidates that the variances are for.
        """
        due = FIRST_FIT
        while due * FIT_GROWTH <= len(self.history):
            due = int(due * FIT_GROWTH)
        if len(self.history) < due:
            return prior_variances(of)
        if self._variances[0] != due:
            known, scores = self.training_data(due)
            self._variances = (due, fit_variances(self.features_of(known), scores.thinned(MOST_FITTED)))
        return {**prior_variances(of), **self._variances[1]}

    def features_of(
        self, known: Sequence[CandidateStats], proposed: Sequence[Mapping[Parameter, Any]] = ()
    ) -> Features:
        """Features of measured candidates, then of proposed ones."""
        return features([*(stats.choices or {} for stats in known), *proposed])

    def _current_subset(self) -> list[CandidateStats]:
        """The inducing subset as chosen last, and the candidates tried since.

        Chosen on demand from the history up to when it was due, so that a replay of earlier trials chooses
        once.
        """
        due = len(self.history) // SUBSET_EVERY * SUBSET_EVERY
        since = self.history[due:]
        if self._subset[0] != due:
            later = Counter(stats.candidate.id for stats, _ in since)
            ran = [
                (one, len(one.blocks) - later[one.candidate.id])
                for one in self.stats.values()
                if len(one.blocks) > later[one.candidate.id]
            ]
            totals = [
                one.totals if count == len(one.blocks) else Totals.of(one.blocks[:count])
                for one, count in ran
            ]
            self._subset = due, inducing_subset([one for one, _ in ran], totals)
        return [*self._subset[1], *(stats for stats, number in since if number == 0)]

    def _posterior_means(self) -> dict[str, float]:
        """Candidate id -> posterior mean of its quality."""
        known, scores = self.training_data()
        if not known:
            return {}
        of = self.features_of(known)
        found = posterior(of, scores, self.variances(of), int(scores.block.max(initial=0)) + 1)
        return {
            stats.candidate.id: float(quality) for stats, quality in zip(known, found.quality, strict=True)
        }

    def _shrunk_mean(self, stats: CandidateStats) -> float:
        model = stats.candidate.model
        model_mean = self._score[model] / max(1, self._scored[model])
        return (sum(stats.scores) + SHRINKAGE * model_mean) / (stats.scored + SHRINKAGE)
