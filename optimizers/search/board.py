"""What the search knows so far: every candidate's dev scores, and who leads."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING

from optimizers.frontier.pareto import non_dominated, thin

if TYPE_CHECKING:
    from optimizers.candidate import Candidate
    from optimizers.records.rows import Objective, Rollout

PRIOR = 10
"""Rollouts' worth of doubt in a candidate's own mean: it is shrunk towards its model's mean.

The best of many short measurements is mostly lucky; shrinking keeps luck off the frontier.
"""


@dataclass
class Standing:
    """One candidate's dev results so far.

    Attributes:
        candidate: The candidate.
        scores: Example id -> score; failures have none.
        costs: Example id -> serving cost in US dollars.
        latencies: Example id -> seconds.
        tried: Examples run, failures included.
        eliminated: Whether a rival no dearer was shown better with confidence.
    """

    candidate: Candidate
    scores: dict[str, float] = field(default_factory=dict)
    costs: dict[str, float] = field(default_factory=dict)
    latencies: dict[str, float] = field(default_factory=dict)
    tried: set[str] = field(default_factory=set)
    eliminated: bool = False

    @property
    def n(self) -> int:
        """Examples tried."""
        return len(self.tried)

    @property
    def mean(self) -> float:
        """Mean score of the scored rollouts; 0 when there are none."""
        return sum(self.scores.values()) / len(self.scores) if self.scores else 0.0

    @property
    def cost(self) -> float:
        """Mean serving cost of a rollout, US dollars."""
        return sum(self.costs.values()) / len(self.costs) if self.costs else 0.0

    @property
    def latency(self) -> float:
        """Median seconds of a rollout."""
        return median(self.latencies.values()) if self.latencies else 0.0

    @property
    def coverage(self) -> float:
        """Share of the examples tried that have a score."""
        return len(self.scores) / len(self.tried) if self.tried else 1.0

    def shared(self, other: Standing) -> tuple[list[float], list[float]]:
        """Both candidates' scores on the examples that both have a score for, paired."""
        examples = [example for example in self.scores if example in other.scores]
        return [self.scores[e] for e in examples], [other.scores[e] for e in examples]

    def dearer_than(self, other: Standing) -> bool:
        """Whether this candidate costs more than another on the examples both ran."""
        examples = [example for example in self.costs if example in other.costs]
        return sum(self.costs[e] for e in examples) > sum(other.costs[e] for e in examples)


class Board:
    """Every candidate's standing, by candidate id.

    Args:
        objectives: What the frontier trades off.
        min_coverage: A candidate with a smaller share of scored rollouts is on no frontier:
            too much of it is unknown.
    """

    def __init__(
        self, objectives: Sequence[Objective] = ("quality", "cost"), min_coverage: float = 0.0
    ) -> None:
        self.objectives, self.min_coverage = tuple(objectives), min_coverage
        self.standings: dict[str, Standing] = {}
        self._total: dict[str, float] = defaultdict(float)
        self._scored: dict[str, int] = defaultdict(int)

    def enter(self, candidate: Candidate) -> Standing:
        """The candidate's standing, new or known."""
        return self.standings.setdefault(candidate.id, Standing(candidate))

    def add(self, rollouts: Iterable[Rollout]) -> None:
        """Count finished dev rollouts of candidates that were entered, each example once."""
        for rollout in rollouts:
            standing = self.standings[rollout.candidate]
            if rollout.example in standing.tried:
                continue
            standing.tried.add(rollout.example)
            if rollout.score is not None:
                standing.scores[rollout.example] = rollout.score
                standing.costs[rollout.example] = rollout.cost
                standing.latencies[rollout.example] = rollout.latency
                self._total[standing.candidate.model] += rollout.score
                self._scored[standing.candidate.model] += 1

    def measured(self) -> list[Standing]:
        """Candidates with at least one score."""
        return [standing for standing in self.standings.values() if standing.scores]

    def quality(self, standing: Standing) -> float:
        """The candidate's mean, shrunk towards the mean of its model's candidates."""
        model = standing.candidate.model
        prior = self._total[model] / self._scored[model] if self._scored[model] else 0.5
        return (sum(standing.scores.values()) + PRIOR * prior) / (len(standing.scores) + PRIOR)

    def values(self, standing: Standing) -> list[float]:
        """The candidate's objectives: shrunk quality, US dollars per 1,000 rollouts, seconds if asked for."""
        known = {
            "quality": self.quality(standing),
            "cost": 1000 * standing.cost,
            "latency": standing.latency,
        }
        return [known[objective] for objective in self.objectives]

    def spares(self, rival: Standing, standing: Standing) -> bool:
        """Whether a rival is no dearer than a candidate, and no slower where latency counts."""
        slower = "latency" in self.objectives and rival.latency > standing.latency
        return not rival.dearer_than(standing) and not slower

    def frontier(self) -> list[Standing]:
        """Candidates not eliminated, not dominated in their objectives, and with enough scored."""
        alive = [
            standing
            for standing in self.measured()
            if not standing.eliminated and standing.coverage >= self.min_coverage
        ]
        if not alive:
            return []
        quality, *costs = zip(*[self.values(standing) for standing in alive], strict=True)
        keep = non_dominated(quality, *costs)
        return [standing for standing, kept in zip(alive, keep, strict=True) if kept]

    def best_of(self, model: str) -> Standing | None:
        """The candidate of highest shrunk quality that the model serves alone."""
        pool = [standing for standing in self.measured() if standing.candidate.models == (model,)]
        enough = [standing for standing in pool if standing.coverage >= self.min_coverage]
        return max(enough or pool, key=self.quality, default=None)

    def leaders(self, most: int | None = None) -> list[Standing]:
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
        models = dict.fromkeys(standing.candidate.model for standing in self.measured())
        best = [standing for model in models if (standing := self.best_of(model)) is not None]
        found = {standing.candidate.id: standing for standing in [*frontier, *best]}
        return list(found.values())
