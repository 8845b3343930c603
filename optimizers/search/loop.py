"""The search: Optuna proposes candidates, racing decides how long each is measured."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import optuna
from optuna.trial import TrialState

from optimizers.search.racing import BLOCK, CHALLENGE, judge

if TYPE_CHECKING:
    import dspy

    from optimizers.evaluation.measure import Measurer
    from optimizers.search.board import Board, Standing
    from optimizers.space import SearchSpace

SETTLED = 200
"""Dev examples a leader is measured on before the frontier is frozen, or the whole dev set."""

LEARN_FROM = 16
"""Trials after which the sampler learns from them; by then the seeded starts have run."""


def open_study(path: Path, name: str, seed: int) -> optuna.Study:
    """The study's Optuna record, new or continued: (quality, US dollars per 1,000 rollouts).

    Trials left running by a process that died are marked failed, since nobody will tell them,
    and queued again, so that no start is lost; what they measured already is in the ledger.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        # Conditional parameters need the group option, which Optuna still marks experimental,
        # as it does the names that its dashboard shows for the objectives.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = optuna.samplers.TPESampler(
            seed=seed, multivariate=True, group=True, n_startup_trials=LEARN_FROM
        )
        study = optuna.create_study(
            study_name=name,
            storage=f"sqlite:///{path}",
            directions=["maximize", "minimize"],
            sampler=sampler,
            load_if_exists=True,
        )
        study.set_metric_names(["quality", "cost_per_1000"])
    for trial in study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
        study.tell(trial.number, state=TrialState.FAIL)
        study.enqueue_trial(trial.params)
    # A sampler seeded alike would repeat, on resuming, the draws it made before.
    if study.trials:
        sampler.reseed_rng()
    return study


def finished(study: optuna.Study) -> int:
    """Trials that count towards the budget: the ones that ran to their end, whatever it was."""
    return sum("rollouts" in trial.user_attrs for trial in study.get_trials(deepcopy=False))


def enqueue_starts(study: optuna.Study, space: SearchSpace, seed: int) -> None:
    """Queue the assignments every study begins with, once."""
    if not study.trials:
        for start in space.starts(seed):
            study.enqueue_trial(start)


class Search:
    """One study's trials, one after the other.

    Args:
        study: Optuna's record of it.
        space: What may be chosen.
        board: What is known; grows as trials run.
        measurer: Runs candidates and records their rollouts.
        blocks: The dev set in blocks, in the order all candidates run them.
    """

    def __init__(
        self,
        study: optuna.Study,
        space: SearchSpace,
        board: Board,
        measurer: Measurer,
        blocks: Sequence[tuple[dspy.Example, ...]],
    ) -> None:
        self.study, self.space, self.board = study, space, board
        self.measurer, self.blocks = measurer, blocks

    def trial(self) -> tuple[optuna.Trial, Standing]:
        """Run one trial: ask, measure until racing stops it, tell; then measure one leader further."""
        trial = self.study.ask()
        standing = self.board.enter(self.space.choose(trial))
        trial.set_user_attr("candidate", standing.candidate.id)
        if standing.n:
            # Asked for again: what is known already counts, and one block more is learnt.
            self._block(standing)
        else:
            self._race(standing)
        trial.set_user_attr("rollouts", standing.n)
        trial.set_user_attr("eliminated", standing.eliminated)
        if standing.scores:
            self.study.tell(trial, [self.board.quality(standing), 1000 * standing.cost])
            self._refine_a_leader()
        else:
            self.study.tell(trial, state=TrialState.FAIL)
        return trial, standing

    def settle(self) -> float:
        """Measure the least-measured leader one block further; returns the share that is settled."""
        target = self._target()
        leaders = self.board.leaders()
        behind = [standing for standing in leaders if standing.n < target]
        if behind:
            self._block(min(behind, key=lambda standing: standing.n))
        done = sum(min(standing.n, target) for standing in leaders)
        return 1.0 if not behind else min(0.99, done / (target * len(leaders)))

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
        position = standing.n // BLOCK
        if position >= len(self.blocks):
            return False
        self.board.add(self.measurer.measure(standing.candidate, self.blocks[position], "dev"))
        return True
