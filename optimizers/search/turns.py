"""Candidates taking turns on the same examples, as many turns at once as keep their servers busy."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, nullcontext
from contextvars import copy_context
from itertools import chain
from math import ceil
from typing import TYPE_CHECKING, Any

from optimizers.evaluation.rollouts import raise_first
from optimizers.search.loop import AT_ONCE

if TYPE_CHECKING:
    import dspy

    from optimizers.candidate import Candidate
    from optimizers.evaluation.measure import Measurer
    from optimizers.records.rows import Rollout, Split

Turn = tuple["Candidate", Sequence["dspy.Example"]]
"""A candidate and the examples of one of its turns."""


def run_turns(
    turns: Sequence[Turn],
    measurer: Measurer,
    split: Split,
    *,
    number: int = 0,
    workers: int = 1,
    on_share: Callable[[float], None] = lambda share: None,
) -> list[Rollout]:
    """Run turns, begun in their order, several at once where servers or other processes answer them.

    Models in this process take turns one at a time: they share its cores, and a prompt's prefix.

    Args:
        turns: What to run.
        measurer: Runs and records; rollouts that are known are not run again.
        split: What the examples are part of.
        number: Rollout number: 0, or 1, 2, ... for repeats.
        workers: Processes that the rollouts are shared among.
        on_share: Told the share of the turns that is done, in [0, 1].

    Returns:
        The rollouts, in the order of the turns.

    Raises:
        BudgetSpent: The budget does not cover all; finished rollouts are recorded.
    """
    alone = threading.Lock()
    inside = {model.name for model in measurer.task.models if model.engine == "llama" and workers == 1}

    def run(turn: Turn) -> list[Rollout]:
        candidate, examples = turn
        held: AbstractContextManager[Any] = alone if inside & set(candidate.models) else nullcontext()
        with held:
            return measurer.measure(candidate, examples, split, number=number)

    on_share(0.0)
    if (count := _at_once(turns, measurer, inside, workers)) == 1:
        # On this thread, so that an interruption ends the turn too.
        return list(chain.from_iterable(_one_by_one(turns, run, on_share)))
    with ThreadPoolExecutor(count) as pool:
        futures = [pool.submit(copy_context().run, run, turn) for turn in turns]
        left = set(futures)
        try:
            while left and not any(future.done() and future.exception() for future in futures):
                _, left = wait(left, return_when=FIRST_COMPLETED)
                on_share(1 - len(left) / len(futures))
        finally:
            for future in futures:
                future.cancel()
    raise_first(error for one in futures if not one.cancelled() and (error := one.exception()))
    return [rollout for future in futures for rollout in future.result()]


def _one_by_one(
    turns: Sequence[Turn], run: Callable[[Turn], list[Rollout]], on_share: Callable[[float], None]
) -> Iterator[list[Rollout]]:
    for done, turn in enumerate(turns, 1):
        yield run(turn)
        on_share(done / len(turns))


def _at_once(turns: Sequence[Turn], measurer: Measurer, inside: set[str], workers: int) -> int:
    """Turns that fill what all servers take at once, one at the least."""
    size = max((len(examples) for _, examples in turns), default=1)
    used = {name for candidate, _ in turns for name in candidate.models} - inside
    served = [model for model in measurer.task.models if model.name in used]
    return max(1, sum(ceil(AT_ONCE * workers * model.concurrency / size) for model in served))
