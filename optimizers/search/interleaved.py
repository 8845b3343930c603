"""Candidates run interleaved on the same examples, as many batches at once as keep their servers busy."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor, as_completed
from contextvars import copy_context
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from optimizers.evaluation.measure import raise_together
from optimizers.models.keys import OLLAMA
from optimizers.search.run_blocks import filling

if TYPE_CHECKING:
    import dspy

    from optimizers.evaluation.measure import Measurer
    from optimizers.models.model import Model
    from optimizers.records.candidate import Candidate
    from optimizers.records.rows import Rollout, Split

Batch = tuple["Candidate", Sequence["dspy.Example"]]
"""A candidate and examples that it runs together."""


def run_interleaved(
    rounds: Sequence[Sequence[Batch]],
    measurer: Measurer,
    split: Split,
    *,
    number: int = 0,
    workers: int = 1,
    on_share: Callable[[float], None] = lambda share: None,
) -> list[Rollout]:
    """Run batches in order, those of a round at once where servers or other processes answer them.

    A round ends before the next begins: where a budget ends the work, all candidates have come equally far.
    Models that share one machine's cores or memory run one batch at a time.

    Args:
        rounds: What to run: in each round a batch of every candidate.
        measurer: Runs and records; rollouts that are known are not run again.
        split: What the examples are part of.
        number: Rollout number: 0, or 1, 2, ... for repeats.
        workers: Processes that the rollouts are shared among.
        on_share: Told the share of the batches that is done, in [0, 1].

    Returns:
        The rollouts, in the order of the batches.

    Raises:
        BudgetSpent: The budget does not cover all; finished rollouts are recorded.
    """
    alone = {model.name for model in measurer.task.models if workers == 1 and _shares_a_machine(model)}
    total, done, rollouts = sum(map(len, rounds)), count(1), list["Rollout"]()
    work = _Work(measurer, split, number, workers, frozenset(alone), lambda: on_share(next(done) / total))
    on_share(0.0)
    for batches in rounds:
        most = work.at_once(batches)
        rollouts += work.together(batches, most) if most > 1 else work.one_by_one(batches)
    return rollouts


def _shares_a_machine(model: Model) -> bool:
    """Whether the model runs in this process, or by a server that holds one model at a time."""
    return model.engine == "llama" or model.name.partition("/")[0] in OLLAMA


@dataclass(frozen=True)
class _Work:
    """How batches are run.

    Attributes:
        alone: Names of the models that run one batch at a time.
        on_done: Called on this thread when one more batch is done.
    """

    measurer: Measurer
    split: Split
    number: int
    workers: int
    alone: frozenset[str]
    on_done: Callable[[], None]

    def at_once(self, batches: Sequence[Batch]) -> int:
        """Batches that fill what all servers take at once, and no more than there are."""
        size = max((len(examples) for _, examples in batches), default=1)
        used = {name for candidate, _ in batches for name in candidate.models} - self.alone
        served = [model for model in self.measurer.task.models if model.name in used]
        fill = sum(filling(model, size, self.workers) for model in served)
        return max(1, min(len(batches), fill + bool(self.alone)))

    def one_by_one(self, batches: Sequence[Batch]) -> list[Rollout]:
        """Run a round's batches one after another."""
        rollouts = []
        for candidate, examples in batches:
            rollouts += self.measurer.measure(candidate, examples, self.split, number=self.number)
            self.on_done()
        return rollouts

    def together(self, batches: Sequence[Batch], most: int) -> list[Rollout]:
        """Run up to ``most`` batches at once; when one fails, or is interrupted, the others end soon."""
        stop = threading.Event()

        def run(batch: Batch) -> list[Rollout]:
            candidate, examples = batch
            if stop.is_set():
                raise CancelledError
            return self.measurer.measure(candidate, examples, self.split, number=self.number, stop=stop)

        # Batches that go one at a time have a thread of their own, so that none waits in a server's place.
        with ThreadPoolExecutor(1) as lone, ThreadPoolExecutor(most) as pool:
            pools = [lone if self.alone & set(candidate.models) else pool for candidate, _ in batches]
            futures = [
                one.submit(copy_context().run, run, batch) for one, batch in zip(pools, batches, strict=True)
            ]
            try:
                for future in as_completed(futures):
                    if future.exception():
                        break
                    self.on_done()
            finally:
                stop.set()
                for future in futures:
                    future.cancel()
        raise_together(self.measurer, futures, batches, number=self.number)
        return [rollout for future in futures for rollout in future.result()]
