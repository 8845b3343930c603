"""What the search knows so far: every candidate's dev scores, and who leads."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from optimizers.frontier.pareto import non_dominated

if TYPE_CHECKING:
    from optimizers.candidate import Candidate
    from optimizers.records.rows import Rollout

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
        tried: Examples run, failures included.
        eliminated: Whether a rival no dearer was shown better with confidence.
    """

    candidate: Candidate
    scores: dict[str, float] = field(default_factory=dict)
    costs: dict[str, float] = field(default_factory=dict)
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

    def shared(self, other: Standing) -> tuple[list[float], list[float]]:
        """Both candidates' scores on the examples that both have a score for, paired."""
        examples = [example for example in self.scores if example in other.scores]
        return [self.scores[e] for e in examples], [other.scores[e] for e in examples]

    def dearer_than(self, other: Standing) -> bool:
        """Whether this candidate costs more than another on the examples both ran."""
        examples = [example for example in self.costs if example in other.costs]
        return sum(self.costs[e] for e in examples) > sum(other.costs[e] for e in examples)


class Board:
    """Every candidate's standing, by candidate id."""

    def __init__(self) -> None:
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

    def frontier(self) -> list[Standing]:
        """Candidates not eliminated and not dominated by shrunk quality and cost."""
        alive = [standing for standing in self.measured() if not standing.eliminated]
        if not alive:
            return []
        keep = non_dominated([self.quality(s) for s in alive], [s.cost for s in alive])
        return [standing for standing, kept in zip(alive, keep, strict=True) if kept]

    def best_of(self, model: str) -> Standing | None:
        """The model's candidate of highest shrunk quality."""
        pool = [standing for standing in self.measured() if standing.candidate.model == model]
        return max(pool, key=self.quality, default=None)

    def leaders(self) -> list[Standing]:
        """The frontier and each model's best: what deserves to be known well.

        A model that is nowhere on the frontier still owes its best candidate a fair
        measurement, the reference above all.
        """
        models = dict.fromkeys(standing.candidate.model for standing in self.measured())
        best = [standing for model in models if (standing := self.best_of(model)) is not None]
        found = {standing.candidate.id: standing for standing in [*self.frontier(), *best]}
        return list(found.values())
