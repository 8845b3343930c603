"""What Optuna keeps of a study: one Optuna study per round, one trial per candidate that was tried.

The ledger is the record; this is the same for Optuna's own tools: its dashboard, its importances, its
plots. What a process that died had not written yet is added when the study is taken up.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import optuna
import sqlalchemy as sa
from optuna.study import StudyDirection
from optuna.trial import TrialState

from optimizers.records.write_behind import WriteBehind
from optimizers.search.space.initial_design import FixedChoices

if TYPE_CHECKING:
    from optimizers.records.rows import Objective, TrialRow
    from optimizers.search.model.observations import ObservationStore
    from optimizers.search.space.search_space import SearchSpace

DIRECTIONS = {"quality": StudyDirection.MAXIMIZE, "robustness": StudyDirection.MAXIMIZE}
METRICS = {
    "quality": "quality",
    "cost": "cost_per_1000",
    "latency": "latency_p50",
    "robustness": "perturbed_quality",
}

INHERITED = "inherited"
"""User attribute of a round's study: how many trials it took over from the rounds before, once it has all."""


class OptunaMirror:
    """A study's trials in Optuna, written by one thread behind the search, which never waits for it.

    What that thread could not write is raised when the mirror is closed.

    Args:
        storage: Address of the database where Optuna keeps its studies.
        name: The study's name.
    """

    def __init__(self, storage: str, name: str) -> None:
        self._storage, self._name = storage, name
        self._behind = WriteBehind("optuna")
        self._study: optuna.Study

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._behind.close(error)

    def open_round(
        self, number: int, known: Sequence[TrialRow], space: SearchSpace, observations: ObservationStore
    ) -> None:
        """Begin a round, or go on with it: see :func:`open_round`."""
        earlier = {row.candidate for row in known if row.round < number}
        stats = [observations.stats[identity] for identity in earlier]
        values = {one.candidate.id: observations.objective_values(one) for one in stats if one.scored}
        rows, objectives = tuple(known), observations.objectives

        def write() -> None:
            self._study = open_round(self._storage, self._name, number, rows, space, objectives, values)

        self._behind(write)

    def add(self, space: SearchSpace, row: TrialRow) -> None:
        """Write a finished trial of the round."""
        self._behind(lambda: add_trial(self._study, space, row))


def sqlite_address(path: Path) -> str:
    """The address of a database in a file."""
    return f"sqlite:///{path}"


def open_round(
    storage: str,
    name: str,
    number: int,
    known: Sequence[TrialRow],
    space: SearchSpace,
    objectives: Sequence[Objective],
    values: Mapping[str, Sequence[float]],
) -> optuna.Study:
    """The Optuna study of a round, new or continued, with all its trials and those of the rounds before.

    Choices cannot be added to an Optuna study, so a round with larger pools is a study of its
    own. What it takes over has the values that are known now, which may be of more rollouts
    than when the trial ended.

    Args:
        storage: Address of the database where Optuna keeps its studies.
        name: The study's name.
        number: The round's, from 1.
        known: The study's finished trials.
        space: This round's search space.
        objectives: What is traded off.
        values: Candidate id -> its objectives as known when the round began; those without a score lack.
    """
    title = name if number == 1 else f"{name}, round {number}"
    study = _open(storage, title, objectives)
    inherited = study.user_attrs.get(INHERITED)
    if inherited is None:
        if study.get_trials(deepcopy=False):  # a process died while it copied
            optuna.delete_study(study_name=title, storage=study._storage)
            study = _open(storage, title, objectives)
        earlier = [row for row in known if row.round < number and row.candidate in values]
        for row in earlier:
            study.add_trial(_trial(space, row, values[row.candidate]))
        inherited = len(earlier)
        study.set_user_attr(INHERITED, inherited)
    own = [row for row in known if row.round == number]
    for row in own[_count(storage, title) - inherited :]:
        add_trial(study, space, row)
    return study


def _count(storage: str, title: str) -> int:
    """Trials of a study. Optuna itself would load them all to count them."""
    engine = sa.create_engine(storage)
    query = "SELECT COUNT(*) FROM trials JOIN studies USING (study_id) WHERE study_name = :title"
    with engine.connect() as connection:
        found = int(connection.execute(sa.text(query), {"title": title}).scalar_one())
    engine.dispose()
    return found


def add_trial(study: optuna.Study, space: SearchSpace, row: TrialRow) -> None:
    """Write a finished trial, all at once: so none is left half written, and it takes milliseconds."""
    attributes = {"candidate": row.candidate, "rollouts": row.rollouts}
    trial = _trial(space, row, row.values, attributes)
    trial.datetime_start, trial.datetime_complete = row.began, row.ended
    study.add_trial(trial)


def _open(storage: str, title: str, objectives: Sequence[Objective]) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings(category=optuna.exceptions.ExperimentalWarning, action="ignore"):
        study = optuna.create_study(
            study_name=title,
            storage=storage,
            directions=[DIRECTIONS.get(objective, StudyDirection.MINIMIZE) for objective in objectives],
            load_if_exists=True,
        )
        study.set_metric_names([METRICS[objective] for objective in objectives])
    return study


def _trial(
    space: SearchSpace, row: TrialRow, values: Sequence[float], attributes: dict[str, Any] | None = None
) -> optuna.trial.FrozenTrial:
    chooser = FixedChoices(row.choices)
    space.decided(chooser)
    return optuna.create_trial(
        state=TrialState.COMPLETE if values else TrialState.FAIL,
        params={str(parameter): value for parameter, value in chooser.made.items()},
        distributions={
            str(parameter): optuna.distributions.CategoricalDistribution(offered)
            for parameter, offered in chooser.offered.items()
        },
        values=list(values) or None,
        user_attrs=attributes,
    )
