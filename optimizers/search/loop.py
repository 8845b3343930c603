"""The search: Optuna proposes candidates, racing decides how long each is measured.

What a study does next follows from its seed and its recorded scores alone. A process
that takes up an interrupted study goes through the finished trials again, reading their
rollouts from the ledger, and so stands where the other one stood.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from optuna.study import StudyDirection
from optuna.trial import TrialState

from optimizers.errors import BudgetSpent
from optimizers.search.racing import BLOCK, CHALLENGE, judge
from optimizers.starts import Choices, FixedChoices

if TYPE_CHECKING:
    import dspy

    from optimizers.candidate import Candidate
    from optimizers.evaluation.measure import Measurer
    from optimizers.records.rows import Objective
    from optimizers.search.board import Board, Standing
    from optimizers.space import SearchSpace

FRONTIER_POINTS = 6
"""Points of the frontier that are settled and tested. More of them, near each other, would cost as much
as any and say little more, and each would weaken the verdicts on the others."""

SETTLED = 200
"""Dev examples a leader is measured on before the frontier is frozen, or the whole dev set."""

LEARN_FROM = 16
"""Trials after which the sampler learns from them; by then the seeded starts have run."""

DIRECTIONS = {"quality": StudyDirection.MAXIMIZE}
METRICS = {"quality": "quality", "cost": "cost_per_1000", "latency": "latency_p50"}

CANDIDATE = "candidate"
"""User attribute of a trial: the id of its candidate."""

INHERITED = "inherited"
"""User attribute of a later round's study that holds all it takes over from the rounds before."""

VALUES = "values"
"""User attribute of a trial that ran to its end: its objectives, empty when nothing was scored."""


def open_rounds(
    path: Path, name: str, objectives: Sequence[Objective] = ("quality", "cost")
) -> list[optuna.Study]:
    """The study's Optuna records, one per round, the first one made when missing."""
    rounds = [_open(path, name, objectives)]
    known = set(optuna.get_all_study_names(rounds[0]._storage))
    while (title := _title(name, len(rounds) + 1)) in known:
        rounds.append(_open(path, title, objectives))
    return rounds


def open_round(
    path: Path,
    name: str,
    number: int,
    earlier: Sequence[optuna.Study],
    space: SearchSpace,
    board: Board,
) -> optuna.Study:
    """The Optuna record of a later round, which begins with the trials of the rounds before.

    Choices cannot be added to an Optuna study, so a round with larger pools is a study of its
    own. What it takes over has the values that are known now, which may be of more rollouts
    than when the trial ended.

    Args:
        path: Where Optuna keeps its studies.
        name: The study's name.
        number: The round's, from 2.
        earlier: The rounds before.
        space: This round's search space.
        board: What is known of every candidate.
    """
    title = _title(name, number)
    study = _open(path, title, board.objectives)
    if INHERITED in study.user_attrs:
        return study
    if study.get_trials(deepcopy=False):  # a process died while it copied
        optuna.delete_study(study_name=title, storage=study._storage)
        study = _open(path, title, board.objectives)
    for trial in finished(earlier):
        standing = board.standings[trial.user_attrs[CANDIDATE]]
        if not standing.scores:
            continue
        chooser = FixedChoices(trial.params)
        space.choose(chooser)
        study.add_trial(
            optuna.create_trial(
                params=chooser.made,
                distributions={
                    parameter: optuna.distributions.CategoricalDistribution(choices)
                    for parameter, choices in chooser.offered.items()
                },
                values=board.values(standing),
            )
        )
    study.set_user_attr(INHERITED, number)
    return study


def _title(name: str, number: int) -> str:
    return f"{name}, round {number}"


def _open(path: Path, name: str, objectives: Sequence[Objective]) -> optuna.Study:
    """An Optuna study, new or continued.

    A trial left running by a process that died is told its values when it had them, else
    failed: its number is lost, its candidate is proposed again.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with _experimental():
        study = optuna.create_study(
            study_name=name,
            storage=f"sqlite:///{path}",
            directions=[DIRECTIONS.get(objective, StudyDirection.MINIMIZE) for objective in objectives],
            load_if_exists=True,
        )
        study.set_metric_names([METRICS[objective] for objective in objectives])
    for trial in study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
        _tell(study, trial.number, trial.user_attrs.get(VALUES))
    return study


def finished(rounds: Sequence[optuna.Study]) -> list[optuna.trial.FrozenTrial]:
    """Trials that count towards the budget: the ones that ran to their end, whatever it was.

    Args:
        rounds: The study's rounds; trials that a round took over from another count there alone.
    """
    return [
        trial for study in rounds for trial in study.get_trials(deepcopy=False) if VALUES in trial.user_attrs
    ]


def sampler(seed: int, position: int, start: Mapping[str, Any] | None) -> optuna.samplers.BaseSampler:
    """Who proposes the trial at this position: a start's choices, else TPE on what came before.

    Seeded by the position, so that a resumed study proposes what it would have proposed.
    """
    with _experimental():
        # Conditional parameters need the group option, which Optuna still marks experimental.
        tpe = optuna.samplers.TPESampler(
            seed=(seed * 1_000_003 + position) % 2**32,
            multivariate=True,
            group=True,
            n_startup_trials=LEARN_FROM,
        )
        return optuna.samplers.PartialFixedSampler(dict(start), tpe) if start else tpe


class Search:
    """One study's trials, one after the other.

    Args:
        board: What is known; grows as trials run.
        measurer: Runs candidates and records their rollouts.
        blocks: The dev set in blocks, in the order all candidates run them.
        seed: Seed of the study.

    Attributes:
        rounds: Optuna's records, one per round.
        space: What may be chosen in the last round.
        starts: What the last round begins with.
        began: Finished trials before the last round.
    """

    def __init__(
        self,
        board: Board,
        measurer: Measurer,
        blocks: Sequence[tuple[dspy.Example, ...]],
        seed: int,
    ) -> None:
        self.board, self.measurer, self.blocks, self.seed = board, measurer, blocks, seed
        self.rounds: list[optuna.Study] = []
        self.space: SearchSpace
        self.starts: list[Choices] = []
        self.began = 0

    def begin(
        self, study: optuna.Study, space: SearchSpace, starts: Sequence[Choices], position: int
    ) -> None:
        """Begin a round.

        Args:
            study: Optuna's record of it.
            space: What may be chosen.
            starts: Choices of its first trials.
            position: Finished trials before it.
        """
        self.rounds.append(study)
        self.space, self.starts, self.began = space, list(starts), position

    def replay(self, candidate: Candidate) -> Standing:
        """Go through a finished trial again, on recorded rollouts."""
        standing = self.board.enter(candidate)
        self._run(standing)
        return standing

    def trial(self, position: int) -> tuple[optuna.Trial, Standing]:
        """Run one trial: ask, measure until racing stops it, measure one leader further, tell.

        Args:
            position: Finished trials before this one.

        Raises:
            BudgetSpent: It could not be finished; it does not count.
        """
        study, place = self.rounds[-1], position - self.began
        start = self.starts[place] if place < len(self.starts) else None
        study.sampler = sampler(self.seed, position, start)
        trial = study.ask()
        standing = self.board.enter(self.space.choose(trial))
        trial.set_user_attr(CANDIDATE, standing.candidate.id)
        try:
            self._run(standing)
        except BudgetSpent:
            _tell(study, trial.number, None)
            raise
        values = self.board.values(standing) if standing.scores else []
        trial.set_user_attr("rollouts", standing.n)
        trial.set_user_attr("eliminated", standing.eliminated)
        trial.set_user_attr(VALUES, values)
        _tell(study, trial.number, values)
        return trial, standing

    def choices(self) -> dict[str, Choices]:
        """Candidate id -> what was chosen in its first trial."""
        found: dict[str, Choices] = {}
        for trial in finished(self.rounds):
            found.setdefault(trial.user_attrs[CANDIDATE], trial.params)
        return found

    def settle(self) -> float:
        """Measure the least-measured leader one block further; returns the share that is settled.

        Raises:
            BudgetSpent: The budget does not cover the block.
        """
        target = self._target()
        leaders = self.board.leaders(FRONTIER_POINTS)
        behind = [standing for standing in leaders if standing.n < target]
        if behind:
            self._block(min(behind, key=lambda standing: standing.n))
        done = sum(min(standing.n, target) for standing in leaders)
        return 1.0 if not behind else min(0.99, done / (target * len(leaders)))

    def _run(self, standing: Standing) -> None:
        if standing.n:
            # Asked for again: what is known already counts, and one block more is learnt.
            self._block(standing)
        else:
            self._race(standing)
        if standing.scores:
            self._refine_a_leader()

    def _race(self, standing: Standing) -> None:
        limit = min(CHALLENGE, self._common())
        while self._block(standing):
            outcome = judge(standing, self.board)
            standing.eliminated = outcome == "eliminate"
            if outcome != "continue" or standing.n >= limit:
                return

    def _common(self) -> int:
        """Examples that every leader has run; at least two blocks, so that a first look is not the last."""
        leaders = self.board.frontier()
        return max(2 * BLOCK, min((leader.n for leader in leaders), default=0))

    def _refine_a_leader(self) -> None:
        behind = [leader for leader in self.board.leaders() if leader.n < self._target()]
        if behind:
            self._block(min(behind, key=lambda standing: standing.n))

    def _target(self) -> int:
        return min(SETTLED, sum(len(block) for block in self.blocks))

    def _block(self, standing: Standing) -> bool:
        """Run the candidate's next block; False when it has run them all."""
        # The last block may be a short one: it counts as run all the same.
        position = -(-standing.n // BLOCK)
        if position >= len(self.blocks):
            return False
        self.board.add(self.measurer.measure(standing.candidate, self.blocks[position], "dev"))
        return True


def _tell(study: optuna.Study, number: int, values: Sequence[float] | None) -> None:
    if values:
        study.tell(number, list(values))
    else:
        study.tell(number, state=TrialState.FAIL)


def _experimental() -> warnings.catch_warnings[None]:
    """Without Optuna's warnings about the parts it still marks experimental."""
    return warnings.catch_warnings(category=optuna.exceptions.ExperimentalWarning, action="ignore")
