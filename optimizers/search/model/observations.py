"""What the search knows so far: every candidate's dev scores, what they let posterior, and who leads."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any

from optimizers.records.budget import Use
from optimizers.results.statistics.pareto import non_dominated, thin
from optimizers.search.model.inducing_subset import Total, evidence, scores_of, total, window
from optimizers.search.model.kernel import features
from optimizers.search.model.posterior import fitted, on_one_thread, posterior, prior

if TYPE_CHECKING:
    from optimizers.records.candidate import Candidate
    from optimizers.records.parameters import Parameter
    from optimizers.records.rows import Block, Objective
    from optimizers.search.model.kernel import Features
    from optimizers.search.model.posterior import Scores, Variances

FIRST_FIT, FIT_GROWTH = 8, 1.5
"""Measured blocks before variances are fitted to the scores, and by how much they grow between two fits."""

REVIEWED = 25
"""Blocks between two choices of the candidates that beliefs are formed from."""

MOST_FITTED = 200
"""Block means that variances are fitted to; more say little more, and take long."""

PRIOR = 10
"""Rollouts' worth of doubt in the mean of a candidate that no belief is formed of."""

LEAST_FRAGILITY = 0.01
"""Candidates this far from perfect on perturbed examples count as equally robust."""


@dataclass
class CandidateStats:
    """One candidate's dev results so far.

    Attributes:
        candidate: The candidate.
        choices: What was chosen to make it; None for one that the search did not choose.
        blocks: What each block that it ran says, in the order of the blocks.
        total: Their sum.
    """

    candidate: Candidate
    choices: Mapping[Parameter, Any] | None = None
    blocks: list[Block] = field(default_factory=list)
    total: Total = (0.0, 0, 0.0)

    @property
    def n(self) -> int:
        """Examples tried."""
        return sum(block.tried for block in self.blocks)

    @property
    def scores(self) -> list[float]:
        """Scores of the examples that got one."""
        return [score for block in self.blocks for score in block.scores]

    @property
    def scored(self) -> int:
        """Examples that got a score."""
        return self.total[1]

    @property
    def mean(self) -> float:
        """Mean score of the scored rollouts; 0 when there are none."""
        return self.total[0] / max(1, self.scored)

    @property
    def cost(self) -> float:
        """Mean serving cost of a rollout, US dollars."""
        return self.total[2] / max(1, self.scored)

    @property
    def fragility(self) -> float:
        """1 less the mean score on perturbed examples; while they are few, that on others counts too."""
        scores = [score for block in self.blocks for score in block.perturbed]
        kept = (sum(scores) + PRIOR * self.mean) / (len(scores) + PRIOR)
        return max(LEAST_FRAGILITY, 1.0 - kept)

    @property
    def latency(self) -> float:
        """Seconds of a rollout: the median of the blocks' medians."""
        return median(block.latency for block in self.blocks) if self.blocks else 0.0

    @property
    def coverage(self) -> float:
        """Share of the examples tried that have a score."""
        return self.scored / self.n if self.n else 1.0

    @property
    def use(self) -> Use:
        """What all its blocks used; in seconds as if no two rollouts ran at once."""
        total = Use()
        for block in self.blocks:
            total += Use(block.calls, block.tokens, block.cost, block.latency * block.tried)
        return total


class ObservationStore:
    """Every candidate's stats, by candidate id.

    Args:
        objectives: What the frontier trades off.
        min_coverage: A candidate with a smaller share of scored rollouts is on no frontier:
            too much of it is unknown.

    Attributes:
        stats: Candidate id -> its stats.
        ran: Every block that was run, in order: whose, and its number.
        tried: Model -> candidates of it that were run.
        chosen: Choices of every candidate.
    """

    def __init__(
        self,
        objectives: Sequence[Objective] = ("quality", "cost"),
        min_coverage: float = 0.0,
    ) -> None:
        self.objectives, self.min_coverage = tuple(objectives), min_coverage
        self.stats: dict[str, CandidateStats] = {}
        self.ran: list[tuple[CandidateStats, int]] = []
        self.tried: Counter[str] = Counter()
        self.chosen: set[frozenset[tuple[Parameter, Any]]] = set()
        self._window: tuple[int, list[CandidateStats]] = (0, [])
        self._sums: dict[str, float] = defaultdict(float)
        self._scored: dict[str, int] = defaultdict(int)
        self._believed: tuple[int, dict[str, float]] = (0, {})
        self._fitted: tuple[int, Variances] = (0, {})

    def enter(self, candidate: Candidate, choices: Mapping[Parameter, Any] | None = None) -> CandidateStats:
        """The candidate's stats, new or known."""
        if choices is not None:
            self.chosen.add(frozenset(choices.items()))
        return self.stats.setdefault(candidate.id, CandidateStats(candidate, choices))

    def add(self, stats: CandidateStats, block: Block) -> None:
        """Count a candidate's next block."""
        if not stats.blocks:
            self.tried[stats.candidate.model] += 1
        self.ran.append((stats, len(stats.blocks)))
        stats.blocks.append(block)
        right, scored, cost = stats.total
        stats.total = right + sum(block.scores), scored + len(block.scores), cost + block.cost
        self._sums[stats.candidate.model] += sum(block.scores)
        self._scored[stats.candidate.model] += len(block.scores)

    def measured(self) -> list[CandidateStats]:
        """Candidates with at least one score."""
        return [stats for stats in self.stats.values() if stats.scored]

    def considered(self) -> list[CandidateStats]:
        """Candidates with at least one score that may lead, a sample of the others, and the latest.

        All of them while they are few: what is asked of these takes no longer however many there are.
        """
        return [stats for stats in self._reviewed() if stats.scored]

    def quality(self, stats: CandidateStats) -> float:
        """What is believed to be the candidate's quality, given all scores of all candidates."""
        if self._believed[0] != len(self.ran):
            with on_one_thread():
                self._believed = (len(self.ran), self._qualities())
        found = self._believed[1].get(stats.candidate.id)
        return self._shrunk(stats) if found is None else found

    def values(self, stats: CandidateStats) -> list[float]:
        """The candidate's objectives: believed quality, US dollars per 1,000 rollouts, and the third if any.

        Seconds of a rollout, or the mean score on perturbed examples.
        """
        bounded = min(1.0, max(0.0, self.quality(stats)))
        known = {
            "quality": bounded,
            "cost": 1000 * stats.cost,
            "latency": stats.latency,
            "robustness": 1.0 - stats.fragility,
        }
        return [known[objective] for objective in self.objectives]

    def burdens(self, stats: CandidateStats) -> list[float]:
        """What is to be little, beside quality: US dollars a rollout, and seconds or fragility if asked."""
        known = {"cost": stats.cost, "latency": stats.latency, "robustness": stats.fragility}
        return [known[objective] for objective in self.objectives if objective != "quality"]

    def frontier(self) -> list[CandidateStats]:
        """Candidates not dominated in their objectives, and with enough scored."""
        enough = [s for s in self.considered() if s.coverage >= self.min_coverage]
        if not enough:
            return []
        costs = zip(*[self.burdens(stats) for stats in enough], strict=True)
        keep = non_dominated([self.quality(stats) for stats in enough], *costs)
        return [stats for stats, kept in zip(enough, keep, strict=True) if kept]

    def best_of(self, model: str) -> CandidateStats | None:
        """The candidate of highest believed quality that the model serves alone."""
        pool = [stats for stats in self.considered() if stats.candidate.models == (model,)]
        enough = [stats for stats in pool if stats.coverage >= self.min_coverage]
        return max(enough or pool, key=self.quality, default=None)

    def leaders(self, most: int | None = None) -> list[CandidateStats]:
        """The frontier and each model's best: what deserves to be known well.

        A model that is nowhere on the frontier still owes its best candidate a fair
        measurement, the reference above all.

        Args:
            most: Points of the frontier to keep, those that cover it best; all when None.
        """
        frontier = self.frontier()
        if most is not None:
            kept = thin([self.quality(s) for s in frontier], [s.cost for s in frontier], most)
            frontier = [frontier[index] for index in kept]
        models = dict.fromkeys(stats.candidate.model for stats in self.considered())
        best = [stats for model in models if (stats := self.best_of(model)) is not None]
        found = {stats.candidate.id: stats for stats in [*frontier, *best]}
        return list(found.values())

    def evidence(self, count: int | None = None) -> tuple[list[CandidateStats], Scores]:
        """The candidates that beliefs are formed from, and what they scored.

        Args:
            count: Take the first blocks that were run alone, so many of them.
        """
        if count is not None:
            return evidence([one for one in self.ran[:count] if one[0].choices is not None])
        # Of one without a score nothing is known, its cost neither: as free it would seem to promise most.
        known = [one for one in self._reviewed() if one.choices is not None and one.scored]
        return known, scores_of(known, [len(stats.blocks) for stats in known])

    def variances(self, of: Features) -> Variances:
        """How much each part of a score varies, as far as the scores say.

        Fitted anew at certain numbers of blocks, to the blocks up to there alone: whoever takes up
        an interrupted study finds the same.

        Args:
            of: What the candidates in question have in common.
        """
        due = FIRST_FIT
        while due * FIT_GROWTH <= len(self.ran):
            due = int(due * FIT_GROWTH)
        if len(self.ran) < due:
            return prior(of)
        if self._fitted[0] != due:
            known, scores = self.evidence(due)
            self._fitted = (due, fitted(self.features_of(known), scores.thinned(MOST_FITTED)))
        return {**prior(of), **self._fitted[1]}

    def features_of(
        self, known: Sequence[CandidateStats], proposed: Sequence[Mapping[Parameter, Any]] = ()
    ) -> Features:
        """What measured and proposed candidates have in common."""
        return features([*(stats.choices or {} for stats in known), *proposed])

    def _reviewed(self) -> list[CandidateStats]:
        """Those that may lead and a sample of the others, as chosen last, and those tried since.

        Chosen when asked for, from what was known when it was due: going through earlier trials asks once.
        """
        due = len(self.ran) // REVIEWED * REVIEWED
        since = self.ran[due:]
        if self._window[0] != due:
            later = Counter(stats.candidate.id for stats, _ in since)
            ran = [
                (one, len(one.blocks) - later[one.candidate.id])
                for one in self.stats.values()
                if len(one.blocks) > later[one.candidate.id]
            ]
            known = [one for one, _ in ran]
            totals = [
                one.total if count == len(one.blocks) else total(one.blocks[:count]) for one, count in ran
            ]
            self._window = due, window(known, totals)
        return [*self._window[1], *(stats for stats, number in since if number == 0)]

    def _qualities(self) -> dict[str, float]:
        """Candidate id -> believed quality."""
        known, scores = self.evidence()
        if not known:
            return {}
        alike = self.features_of(known)
        belief = posterior(alike, scores, self.variances(alike), int(scores.block.max(initial=0)) + 1)
        return {
            stats.candidate.id: float(quality) for stats, quality in zip(known, belief.quality, strict=True)
        }

    def _shrunk(self, stats: CandidateStats) -> float:
        """A mean, shrunk towards that of its model's candidates: the best of many is mostly lucky."""
        model = stats.candidate.model
        known = self._sums[model] / max(1, self._scored[model])
        return (sum(stats.scores) + PRIOR * known) / (stats.scored + PRIOR)
