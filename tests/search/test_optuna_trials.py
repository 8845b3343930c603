"""Optuna has every trial of the ledger, whatever moment a process died at."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy
from fakes import rollouts

from optimizers.records.rows import Block, TrialRow
from optimizers.search.model.observations import ObservationStore
from optimizers.search.optuna_trials import OptunaMirror, add_trial, open_round, sqlite_address
from optimizers.search.space.initial_design import FixedChoices, few_shot_starts
from optimizers.search.space.search_space import SearchSpace, search_space
from optimizers.task.task import LoadedTask

BEGAN = datetime(2026, 1, 2, 3, 4, 5)


def named(row: TrialRow) -> dict[str, Any]:
    return {str(parameter): value for parameter, value in row.choices.items()}


@pytest.fixture
def space(task: LoadedTask) -> SearchSpace:
    return search_space(task)


@pytest.fixture
def observations() -> ObservationStore:
    return ObservationStore()


@pytest.fixture
def rows(space: SearchSpace, observations: ObservationStore) -> list[TrialRow]:
    found = []
    for number, choices in enumerate([c for size in (1, 2, 4) for c in few_shot_starts(space, size)]):
        chooser = FixedChoices(choices)
        candidate = space.choose(chooser)
        observations.register(candidate, chooser.made)
        stats = observations.stats[candidate.id]
        block = Block.of(rollouts(stats.candidate, [1.0] * 7 + [0.0] * 3, cost=1e-6))
        observations.add_block(stats, block)
        found.append(
            TrialRow(
                number=number,
                round=1 if number < 3 else 2,
                candidate=stats.candidate.id,
                choices=chooser.made,
                values=tuple(observations.objective_values(stats)),
                ran=((stats.candidate.id, block),),
                began=BEGAN,
                ended=BEGAN + timedelta(seconds=number),
            )
        )
    return found


def opened(
    tmp_path: Path, number: int, known: list[TrialRow], space: SearchSpace, observations: ObservationStore
) -> optuna.Study:
    values = {
        identity: observations.objective_values(stats) for identity, stats in observations.stats.items()
    }
    return open_round(
        sqlite_address(tmp_path / "o.db"), "s", number, known, space, observations.objectives, values
    )


def test_optuna_gets_what_a_process_that_died_had_not_written(
    rows: list[TrialRow], space: SearchSpace, observations: ObservationStore, tmp_path: Path
) -> None:
    study = opened(tmp_path, 1, rows[:1], space, observations)
    assert [trial.params for trial in study.trials] == [named(rows[0])]
    again = opened(tmp_path, 1, rows[:3], space, observations)
    assert [trial.user_attrs["candidate"] for trial in again.trials] == [row.candidate for row in rows[:3]]
    assert [trial.values for trial in again.trials] == [list(row.values) for row in rows[:3]]
    assert again.trials[2].duration == timedelta(seconds=2)
    assert len(opened(tmp_path, 1, rows[:3], space, observations).trials) == 3


def test_a_later_round_begins_with_the_earlier_trials_and_goes_on_with_its_own(
    rows: list[TrialRow], space: SearchSpace, observations: ObservationStore, tmp_path: Path
) -> None:
    study = opened(tmp_path, 2, rows[:3], space, observations)
    assert [trial.params for trial in study.trials] == [named(row) for row in rows[:3]]
    add_trial(study, space, rows[3])
    again = opened(tmp_path, 2, rows, space, observations)
    assert [trial.params for trial in again.trials] == [named(row) for row in rows]
    assert {name for trial in again.trials for name in trial.distributions} == {
        str(parameter) for row in rows for parameter in row.choices
    }


def test_trials_that_were_half_taken_over_are_taken_over_again(
    rows: list[TrialRow],
    space: SearchSpace,
    observations: ObservationStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real, calls = optuna.create_trial, iter(range(10))

    def dies(*args: object, **known: object) -> object:
        if next(calls) == 2:
            raise KeyboardInterrupt
        return real(*args, **known)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(optuna, "create_trial", dies)
        with pytest.raises(KeyboardInterrupt):
            opened(tmp_path, 2, rows[:3], space, observations)
    study = opened(tmp_path, 2, rows[:3], space, observations)
    assert [trial.params for trial in study.trials] == [named(row) for row in rows[:3]]
    assert study.best_trials


def test_what_could_not_be_written_behind_the_search_is_raised_when_it_ends(
    rows: list[TrialRow], space: SearchSpace, observations: ObservationStore, tmp_path: Path
) -> None:
    mirror = OptunaMirror(sqlite_address(tmp_path / "missing" / "o.db"), "s")
    mirror.open_round(1, [], space, observations)
    mirror.add(space, rows[0])
    with pytest.raises(sqlalchemy.exc.OperationalError, match="unable to open"):
        mirror.__exit__(None, None, None)


def test_what_runs_behind_the_search_is_written_when_it_ends(
    rows: list[TrialRow], space: SearchSpace, observations: ObservationStore, tmp_path: Path
) -> None:
    with OptunaMirror(sqlite_address(tmp_path / "o.db"), "s") as mirror:
        mirror.open_round(1, rows[:2], space, observations)
        mirror.add(space, rows[2])
        mirror.open_round(2, rows[:3], space, observations)
        mirror.add(space, rows[3])
    later = opened(tmp_path, 2, rows[:4], space, observations)
    assert [trial.params for trial in later.trials] == [named(row) for row in rows[:4]]


def test_a_trial_without_a_score_failed(
    rows: list[TrialRow], space: SearchSpace, observations: ObservationStore, tmp_path: Path
) -> None:
    study = opened(tmp_path, 1, [], space, observations)
    add_trial(study, space, rows[0].model_copy(update={"values": ()}))
    assert study.trials[0].state == optuna.trial.TrialState.FAIL
