"""What the search knows so far: every candidate's dev scores, what they let believe, and who leads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from optimizers.budget import Use
from optimizers.frontier.pareto import non_dominated, thin
from optimizers.search.beliefs import Scores, believe, fitted, on_one_thread, prior
from optimizers.search.features import features

if TYPE_CHECKING:
    from optimizers.candidate import Candidate
    from optimizers.records.rows import Objective, Rollout
    from optimizers.search.beliefs import Variances
    from optimizers.search.features import Features

FIRST_FIT, FIT_GROWTH = 8, 1.5
"""Measured blocks before variances are fitted to the scores, and by how much they grow between two fits."""

MOST_KNOWN = 160
"""Candidates that beliefs are formed from: half of them those measured most, half a sample of the others."""

MOST_FITTED = 200
"""Block means that variances are fitted to; more say little more, and take long."""

PRIOR = 10
"""Rollouts' worth of doubt in the mean of a candidate that no belief is formed of."""


class Block(BaseModel):
    """What one block of dev examples says of a candidate.

    Attributes:
        scores: Of the examples that got one.
        tried: Examples run, failures included.
        cost: Serving cost of those with a score, US dollars.
        latency: Median seconds of those with a score.
        calls: Model calls of all.
        tokens: Tokens of all.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    scores: tuple[float, ...]
    tried: int
    cost: float
    latency: float
    calls: int
    tokens: int

    @classmethod
    def of(cls, rollouts: Sequence[Rollout]) -> Block:
        """What a candidate's rollouts on a block say."""
        scored = [rollout for rollout in rollouts if rollout.score is not None]
        return cls(
            scores=tuple(rollout.score for rollout in scored if rollout.score is not None),
            tried=len(rollouts),
            cost=sum(rollout.cost for rollout in scored),
            latency=median(rollout.latency for rollout in scored) if scored else 0.0,
            calls=sum(rollout.calls for rollout in rollouts),
            tokens=sum(rollout.prompt_tokens + rollout.completion_tokens for rollout in rollouts),
        )


@dataclass
class Standing:
    """One candidate's dev results so far.

    Attributes:
        candidate: The candidate.
        choices: What was chosen to make it; None for one that the search did not choose.
        blocks: What each block that it ran says, in the order of the blocks.
    """

    candidate: Candidate
    choices: Mapping[str, Any] | None = None
    blocks: list[Block] = field(default_factory=list)

    @property
    def n(self) -> int:
        """Examples tried."""
        return sum(block.tried for block in self.blocks)

    @property
    def scores(self) -> list[float]:
        """Scores of the examples that got one."""
        return [score for block in self.blocks for score in block.scores]

    @property
    def mean(self) -> float:
        """Mean score of the scored rollouts; 0 when there are none."""
        scores = self.scores
        return fmean(scores) if scores else 0.0

    @property
    def cost(self) -> float:
        """Mean serving cost of a rollout, US dollars."""
        return sum(block.cost for block in self.blocks) / max(1, len(self.scores))

    @property
    def latency(self) -> float:
        """Seconds of a rollout: the median of the blocks' medians."""
        return median(block.latency for block in self.blocks) if self.blocks else 0.0

    @property
    def coverage(self) -> float:
        """Share of the examples tried that have a score."""
        return len(self.scores) / self.n if self.n else 1.0

    @property
    def use(self) -> Use:
        """What all its blocks used; in seconds as if no two rollouts ran at once."""
        total = Use()
        for block in self.blocks:
            total += Use(block.calls, block.tokens, block.cost, block.latency * block.tried)
        return total


class Board:
    """Every candidate's standing, by candidate id.

    Args:
        objectives: What the frontier trades off.
        min_coverage: A candidate with a smaller share of scored rollouts is on no frontier:
            too much of it is unknown.
        prefixes: What the choices of each model are named by.

    Attributes:
        standings: Candidate id -> its standing.
        ran: Every block that was run, in order: candidate id and the block's number.
    """

    def __init__(
        self,
        objectives: Sequence[Objective] = ("quality", "cost"),
        min_coverage: float = 0.0,
        prefixes: Iterable[str] = (),
    ) -> None:
        self.objectives, self.min_coverage = tuple(objectives), min_coverage
        self.prefixes = tuple(prefixes)
        self.standings: dict[str, Standing] = {}
        self.ran: list[tuple[str, int]] = []
        self._believed: tuple[int, dict[str, float]] = (0, {})
        self._fitted: tuple[int, Variances] = (0, {})

    def enter(self, candidate: Candidate, choices: Mapping[str, Any] | None = None) -> Standing:
        """The candidate's standing, new or known."""
        return self.standings.setdefault(candidate.id, Standing(candidate, choices))

    def add(self, standing: Standing, block: Block) -> None:
        """Count a candidate's next block."""
        self.ran.append((standing.candidate.id, len(standing.blocks)))
        standing.blocks.append(block)

    def measured(self) -> list[Standing]:
        """Candidates with at least one score."""
        return [standing for standing in self.standings.values() if standing.scores]

    def quality(self, standing: Standing) -> float:
        """What is believed to be the candidate's quality, given all scores of all candidates."""
        if self._believed[0] != len(self.ran):
            with on_one_thread():
                self._believed = (len(self.ran), self._qualities())
        found = self._believed[1].get(standing.candidate.id)
        return self._shrunk(standing) if found is None else found

    def values(self, standing: Standing) -> list[float]:
        """The candidate's objectives: believed quality, US dollars per 1,000 rollouts, seconds if asked."""
        known = {
            "quality": self.quality(standing),
            "cost": 1000 * standing.cost,
            "latency": standing.latency,
        }
        return [known[objective] for objective in self.objectives]

    def frontier(self) -> list[Standing]:
        """Candidates not dominated in their objectives, and with enough scored."""
        enough = [s for s in self.measured() if s.coverage >= self.min_coverage]
        if not enough:
            return []
        quality, *costs = zip(*[self.values(standing) for standing in enough], strict=True)
        keep = non_dominated(quality, *costs)
        return [standing for standing, kept in zip(enough, keep, strict=True) if kept]

    def best_of(self, model: str) -> Standing | None:
        """The candidate of highest believed quality that the model serves alone."""
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

    def evidence(self, count: int | None = None) -> tuple[list[Standing], Scores]:
        """The candidates that beliefs are formed from, and what they scored.

        Args:
            count: Take the first blocks that were run alone, so many of them.

        Returns:
            The candidates, and their block means in the order in which they were measured.
        """
        ran = self.ran[:count]
        times = Counter(identity for identity, _ in ran if self.standings[identity].choices is not None)
        order = sorted(times, key=lambda identity: -times[identity])
        # The search measures most what leads; of the others a sample says what choices do.
        rest = order[MOST_KNOWN // 2 :]
        sample = rest[:: max(1, -(-len(rest) // (MOST_KNOWN // 2)))]
        places = {identity: place for place, identity in enumerate((*order[: MOST_KNOWN // 2], *sample))}
        rows = [
            (places[identity], number, block)
            for identity, number in ran
            if identity in places and (block := self.standings[identity].blocks[number]).scores
        ]
        scores = Scores(
            candidate=np.array([place for place, _, _ in rows], dtype=np.int64),
            block=np.array([number for _, number, _ in rows], dtype=np.int64),
            mean=np.array([fmean(block.scores) for _, _, block in rows]),
            n=np.array([len(block.scores) for _, _, block in rows], dtype=float),
        )
        return [self.standings[identity] for identity in places], scores

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

    def features_of(self, known: Sequence[Standing], proposed: Sequence[Mapping[str, Any]] = ()) -> Features:
        """What measured and proposed candidates have in common."""
        return features([*(standing.choices or {} for standing in known), *proposed], self.prefixes)

    def _qualities(self) -> dict[str, float]:
        """Candidate id -> believed quality."""
        known, scores = self.evidence()
        if not known:
            return {}
        alike = self.features_of(known)
        belief = believe(alike, scores, self.variances(alike), int(scores.block.max()) + 1)
        bounded = np.clip(belief.quality, 0.0, 1.0)
        return {
            standing.candidate.id: float(quality) for standing, quality in zip(known, bounded, strict=True)
        }

    def _shrunk(self, standing: Standing) -> float:
        """A mean, shrunk towards that of its model's candidates: the best of many is mostly lucky."""
        model = standing.candidate.model
        scores = [score for s in self.measured() if s.candidate.model == model for score in s.scores]
        return (sum(standing.scores) + PRIOR * fmean(scores)) / (len(standing.scores) + PRIOR)
