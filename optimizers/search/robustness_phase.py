"""Robustness: perturbed dev examples where it is an objective, perturbed test examples of the frontier."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from optimizers.evaluation.perturbations.examples import count, perturbed, perturbed_rows
from optimizers.records.perturbed_rows import PERTURBED_DEV, PERTURBED_TEST, keep_perturbed
from optimizers.search.interleaved import run_interleaved
from optimizers.task.data.split import example_id

if TYPE_CHECKING:
    import dspy

    from optimizers.evaluation.measure import Measurer
    from optimizers.search.sealed_test import SealedTestPlan
    from optimizers.task.task import LoadedTask

ROWS = 30
"""Test examples that get every perturbation."""


def rows_of(task: LoadedTask) -> int:
    """Perturbed examples that each point of the frontier runs, at most."""
    return count(task.program, task.dataset.dev) * min(ROWS, len(task.dataset.test))


def perturbed_dev(measurer: Measurer, examples: Sequence[dspy.Example], seed: int) -> dict[str, dspy.Example]:
    """Id of a dev example -> what was made of it: one thing was done to each.

    Args:
        measurer: Of the study.
        examples: The dev set, in an order that does not depend on that of its rows.
        seed: The study's.
    """
    rows = perturbed_rows(measurer.task.program, examples, examples, seed, each=False)
    known = {example_id(example): example for example in examples}
    kept = keep_perturbed(measurer.ledger, PERTURBED_DEV, rows)
    return {row.source: perturbed(known[row.source], row) for row in kept}


def run_robustness(
    plan: SealedTestPlan,
    examples: Sequence[dspy.Example],
    measurer: Measurer,
    seed: int,
    *,
    workers: int = 1,
    on_share: Callable[[float], None] = lambda share: None,
) -> None:
    """Run the frontier and the reference's best on perturbed test examples, all points interleaved.

    Nothing is chosen by what comes out, so that the sealed test stays one.

    Args:
        plan: What was tested.
        examples: The test set, in the order in which it was run.
        measurer: Runs and records; what an interrupted process ran is not run again.
        seed: The study's.
        workers: Processes that the rollouts are shared among.
        on_share: Told the share that is done, in [0, 1].

    Raises:
        BudgetSpent: The budget does not cover all; finished rollouts are recorded.
    """
    task, chosen = measurer.task, examples[:ROWS]
    known: Mapping[str, dspy.Example] = {example_id(example): example for example in chosen}
    made = perturbed_rows(task.program, task.dataset.dev, chosen, seed, each=True)
    rows = keep_perturbed(measurer.ledger, PERTURBED_TEST, made)
    points = [one for one in plan.candidates.values() if plan.roles[one.id] != ("default",)]
    groups = [list(found) for _, found in groupby(rows, key=lambda row: row.name)]
    # Grouped by model: switching weights is what costs time.
    order = sorted(points, key=lambda point: point.model)
    rounds = [
        [(point, [perturbed(known[row.source], row) for row in group]) for point in order] for group in groups
    ]
    run_interleaved(rounds, measurer, "perturbed", workers=workers, on_share=on_share)
