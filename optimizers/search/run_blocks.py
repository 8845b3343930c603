"""Blocks of examples run at the same time: how many, and running them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextvars import copy_context
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

from optimizers.errors import BudgetSpent
from optimizers.evaluation.measure import raise_together
from optimizers.records.rows import Block

if TYPE_CHECKING:
    import dspy

    from optimizers.evaluation.measure import Measurer
    from optimizers.models.model import Model
    from optimizers.records.candidate import Candidate

AT_ONCE = 1.5
"""Calls of the blocks that run together, as a multiple of those that a model takes at once."""


def filling(model: Model, size: int, workers: int) -> int:
    """Blocks of a size that together keep a model's servers busy, in all processes that share the work."""
    return ceil(AT_ONCE * workers * model.concurrency / size)


@dataclass
class Room:
    """How many more blocks may run at the same time: of each model, and of all."""

    of: dict[str, int]
    total: int

    def take(self, model: str) -> bool:
        """Take a place for a model's block; False when none is left."""
        left = min(self.total, self.of.get(model, 1))
        self.of[model], self.total = self.of.get(model, 1) - 1, self.total - 1
        return left > 0


Job = tuple["Candidate", Sequence["dspy.Example"], "Sequence[dspy.Example] | None"]
"""A candidate, a block of dev examples, and their perturbed forms; None where they are not run."""


def run_blocks(jobs: Sequence[Job], measurer: Measurer) -> list[Block | BudgetSpent]:
    """Run blocks at the same time.

    Returns:
        Per job what was scored, or that the budget does not cover it.
    """
    stop = threading.Event()
    with ThreadPoolExecutor(max(1, len(jobs))) as pool:
        running = [pool.submit(copy_context().run, _run_block, job, measurer, stop) for job in jobs]
        try:
            wait(running, return_when=FIRST_EXCEPTION)
        finally:
            # When one fails, or the user interrupts, no other begins a further rollout.
            stop.set()
    batches = [(candidate, [*block, *(changed or ())]) for candidate, block, changed in jobs]
    raise_together(measurer, running, batches)
    return [future.result() for future in running]


def _run_block(job: Job, measurer: Measurer, stop: threading.Event) -> Block | BudgetSpent:
    candidate, block, changed = job
    try:
        found = measurer.measure(candidate, block, "dev", stop=stop)
        if changed is None:
            return Block.of(found)
        return Block.of(found, measurer.measure(candidate, changed, "perturbed", stop=stop))
    except BudgetSpent as spent:
        return spent
