"""The record of finished trials: the ledger, Optuna and MLflow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from optimizers.records.rows import TrialRow
from optimizers.results.statistics.intervals import estimate

if TYPE_CHECKING:
    from optimizers.records.ledger import Ledger
    from optimizers.records.tracking.mlflow_log import StudyRun
    from optimizers.search.loop import Search, Trial
    from optimizers.search.model.inducing_subset import CandidateStats
    from optimizers.search.model.observations import ObservationStore
    from optimizers.search.optuna_trials import OptunaMirror


@dataclass(frozen=True)
class TrialLog:
    """The finished trials of a study.

    Attributes:
        rows: All of them, in order; grows.
    """

    ledger: Ledger
    optuna: OptunaMirror
    tracking: StudyRun
    observations: ObservationStore
    rows: list[TrialRow]

    @property
    def done(self) -> int:
        """Number of finished trials."""
        return len(self.rows)

    def add(self, search: Search, finished: Sequence[Trial]) -> None:
        """Record trials that ran together."""
        rows = [
            TrialRow(
                number=number,
                round=search.round,
                candidate=trial.own.candidate.id,
                choices=dict(trial.chooser.made),
                values=tuple(self.observations.objective_values(trial.own)) if trial.own.scored else (),
                ran=trial.blocks,
                began=trial.began,
                ended=datetime.now(),
            )
            for number, trial in enumerate(finished, self.done)
        ]
        self.ledger.add_trials(rows)
        self.rows.extend(rows)
        for row, trial in zip(rows, finished, strict=True):
            self.optuna.add(search.space, row)
            self.track(row, trial.own)

    def track(self, trial: TrialRow, stats: CandidateStats) -> None:
        """Record a finished trial in MLflow."""
        self.tracking.trial(
            trial.number,
            stats.candidate,
            estimate(stats.scores, failures=stats.n - stats.scored),
            cost=stats.cost,
            rollouts=trial.rollouts,
            seconds=(trial.ended - trial.began).total_seconds(),
        )
