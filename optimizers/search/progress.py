"""The state of a running study, as a watcher is told of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from optimizers.results.render.text_chart import ChartPoint

if TYPE_CHECKING:
    from optimizers.evaluation.budget_gate import BudgetGate
    from optimizers.records.budget import Budget, Use
    from optimizers.records.rows import Phase, TrialRow
    from optimizers.search.model.observations import ObservationStore

REFRESH = 0.5
"""Seconds between two updates while rollouts run."""


@dataclass(frozen=True)
class Progress:
    """The state of a study at one moment.

    Attributes:
        phase: ``search`` runs trials, ``refine`` measures the leaders further, ``test`` opens the sealed set.
        trials: Trials finished.
        budget: The study's limits.
        used: What calls that have ended used, over all the study's processes, and its time.
        rollouts: Rollouts run by this process.
        seconds: Wall-clock seconds since this process began.
        phase_seconds: Wall-clock seconds since this process began the current phase.
        share: Share of the current phase that is done, in [0, 1].
        points: Everything measured, for the chart.
    """

    phase: Phase
    trials: int
    budget: Budget
    used: Use
    rollouts: int
    seconds: float
    phase_seconds: float
    share: float
    points: tuple[ChartPoint, ...]


Watcher = Callable[[Progress], None]


@dataclass
class ProgressDisplay:
    """Tells a watcher the state of a study.

    Attributes:
        watch: The watcher.
        gate: Knows what was used; is told the phase.
        observations: What is measured so far.
        trials: The finished trials.
        rollouts: Gives the number of rollouts that this process ran.
    """

    watch: Watcher
    gate: BudgetGate
    observations: ObservationStore
    trials: Sequence[TrialRow]
    rollouts: Callable[[], int]
    _began: float = field(default_factory=time.monotonic)
    _entered: float = field(default_factory=time.monotonic)
    _phase: Phase = "prepare"
    _share: float = 0.0
    _last: float = 0.0

    def tick(self) -> None:
        """Show the state again after a rollout, at most every ``REFRESH`` seconds."""
        if time.monotonic() - self._last >= REFRESH:
            self.show(self._phase, self._share)

    def show(self, phase: Phase, share: float) -> None:
        """Enter or continue a phase of which this share is done, in [0, 1]."""
        now = time.monotonic()
        if phase != self._phase:
            self._entered = now
        self._phase, self._share, self._last = phase, share, now
        self.gate.phase = phase
        leaders = {stats.candidate.id for stats in self.observations.frontier()}
        points = [
            ChartPoint(
                s.candidate.label, self.observations.objective_values(s)[0], s.cost, s.candidate.id in leaders
            )
            for s in self.observations.measured_subset()
        ]
        self.watch(
            Progress(
                phase=phase,
                trials=len(self.trials),
                budget=self.gate.budget,
                used=self.gate.booked,
                rollouts=self.rollouts(),
                seconds=now - self._began,
                phase_seconds=now - self._entered,
                share=share,
                points=tuple(points),
            )
        )
