"""What a running study tells whoever watches it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from optimizers.records.budget import Budget, Use
from optimizers.records.rows import Phase
from optimizers.results.render.text_chart import ChartPoint


@dataclass(frozen=True)
class Progress:
    """The state of a study at one moment.

    Attributes:
        phase: ``search`` runs trials, ``settle`` measures the leaders further, ``test`` opens the sealed set.
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
