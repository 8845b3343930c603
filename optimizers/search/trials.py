"""Optuna's records of a study: one Optuna study per round, one trial per candidate that was tried."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import optuna
from optuna.study import StudyDirection
from optuna.trial import TrialState

from optimizers.starts import FixedChoices

if TYPE_CHECKING:
    from optimizers.records.rows import Objective
    from optimizers.search.board import Board
    from optimizers.space import SearchSpace

DIRECTIONS = {"quality": StudyDirection.MAXIMIZE}
METRICS = {"quality": "quality", "cost": "cost_per_1000", "latency": "latency_p50"}

CANDIDATE = "candidate"
"""User attribute of a trial: the id of its candidate."""

ROLLOUTS = "rollouts"
"""User attribute of a finished trial: how many rollouts its blocks are."""

RAN = "ran"
"""User attribute of a finished trial: the blocks it measured, in order, and whose they are."""

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
        if not standing.scored:
            continue
        chooser = FixedChoices(trial.params)
        space.decided(chooser)
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
    with experimental():
        study = optuna.create_study(
            study_name=name,
            storage=f"sqlite:///{path}",
            directions=[DIRECTIONS.get(objective, StudyDirection.MINIMIZE) for objective in objectives],
            load_if_exists=True,
        )
        study.set_metric_names([METRICS[objective] for objective in objectives])
    for trial in study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
        tell(study, trial.number, trial.user_attrs.get(VALUES))
    return study


def finished(rounds: Sequence[optuna.Study]) -> list[optuna.trial.FrozenTrial]:
    """Trials that count towards the budget: the ones that ran to their end, whatever it was.

    Args:
        rounds: The study's rounds; trials that a round took over from another count there alone.
    """
    return [
        trial for study in rounds for trial in study.get_trials(deepcopy=False) if VALUES in trial.user_attrs
    ]


def tell(study: optuna.Study, number: int, values: Sequence[float] | None) -> None:
    """Tell Optuna a trial's objectives; that it failed where nothing was scored."""
    if values:
        study.tell(number, list(values))
    else:
        study.tell(number, state=TrialState.FAIL)


def experimental() -> warnings.catch_warnings[None]:
    """Without Optuna's warnings about the parts it still marks experimental."""
    return warnings.catch_warnings(category=optuna.exceptions.ExperimentalWarning, action="ignore")
