"""The sealed test: freeze the frontier, then open the sealed test set, once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from optimizers.search.interleaved import run_interleaved
from optimizers.search.loop import FRONTIER_POINTS
from optimizers.search.space.initial_design import default_candidate

if TYPE_CHECKING:
    import dspy

    from optimizers.evaluation.measure import Measurer
    from optimizers.records.candidate import Candidate
    from optimizers.records.report import Role
    from optimizers.records.rows import Rollout
    from optimizers.search.interleaved import Batch
    from optimizers.search.model.observations import ObservationStore
    from optimizers.search.space.search_space import SearchSpace
    from optimizers.task.task import LoadedTask

TEST_BLOCK, SHORT_TEST_BLOCK = 50, 10
"""Test examples each point runs at a time, interleaved, so that all points run under the same load.
Batches are short where the budget may end the test, so that it ends for all points alike."""

DEFAULT_ROWS = 100
"""Test examples for a plain default that is on no frontier: it is often far off, and slow."""


NOISE_ROWS = 100
"""Test examples that a point sampled at a temperature runs twice, to show how much of it is luck."""


@dataclass(frozen=True)
class SealedTestPlan:
    """What the test is opened for, decided on dev alone.

    Attributes:
        candidates: Candidate id -> candidate, cheapest first.
        roles: Candidate id -> why it is tested.
    """

    candidates: dict[str, Candidate]
    roles: dict[str, tuple[Role, ...]]


def freeze(observations: ObservationStore, space: SearchSpace, task: LoadedTask) -> SealedTestPlan:
    """Decide what is tested: the frontier, each model's best, the reference's best, the plain defaults."""
    roles: dict[str, list[Role]] = {}
    efficient = {stats.candidate.id for stats in observations.frontier()}
    for stats in sorted(observations.leaders(FRONTIER_POINTS), key=lambda stats: stats.cost):
        if stats.candidate.id in efficient:
            roles.setdefault(stats.candidate.id, []).append("frontier")
    for model in task.models:
        best = observations.best_of(model.name)
        if best is not None:
            roles.setdefault(best.candidate.id, []).append("best")
            if model.name == task.reference.name:
                roles[best.candidate.id].append("reference")
        default = default_candidate(space, model)
        observations.register(default)
        roles.setdefault(default.id, []).append("default")
    candidates = {identity: observations.stats[identity].candidate for identity in roles}
    return SealedTestPlan(candidates, {identity: tuple(found) for identity, found in roles.items()})


def run_test(
    plan: SealedTestPlan,
    examples: Sequence[dspy.Example],
    measurer: Measurer,
    *,
    block: int = TEST_BLOCK,
    workers: int = 1,
    on_share: Callable[[float], None] = lambda share: None,
) -> list[Rollout]:
    """Run every planned candidate on the sealed test set, interleaved block by block.

    Args:
        plan: What to run.
        examples: The test set.
        measurer: Runs and records; rollouts of an interrupted test are not run again.
        block: Examples each point runs at a time.
        workers: Processes that the rollouts are shared among.
        on_share: Told the share that is done, in [0, 1].

    Returns:
        The test rollouts.
    """
    rounds = list(_rounds(plan, examples, block))
    return run_interleaved(rounds, measurer, "test", workers=workers, on_share=on_share)


def repeat_sampled(
    plan: SealedTestPlan, examples: Sequence[dspy.Example], measurer: Measurer, *, workers: int = 1
) -> None:
    """Run the frontier's points whose replies are drawn by chance a second time, on the first examples.

    Args:
        plan: What was tested.
        examples: The test set.
        measurer: Runs and records, as rollout 1.
        workers: Processes that the rollouts are shared among.
    """
    greedy = {model.name: model.takes_temperature for model in measurer.task.models}
    again = [
        (candidate, examples[:NOISE_ROWS])
        for candidate in plan.candidates.values()
        if "frontier" in plan.roles[candidate.id]
        and any(s.sampling.temperature > 0 or not greedy[s.model] for s in candidate.servings)
    ]
    run_interleaved([again], measurer, "test", number=1, workers=workers)


def _rounds(plan: SealedTestPlan, examples: Sequence[dspy.Example], block: int) -> Iterable[list[Batch]]:
    # Grouped by model within a block: switching weights is what costs time.
    order = sorted(plan.candidates.values(), key=lambda candidate: candidate.model)
    for start in range(0, len(examples), block):
        batch = examples[start : start + block]
        yield [
            (candidate, batch)
            for candidate in order
            if plan.roles[candidate.id] != ("default",) or start < DEFAULT_ROWS
        ]
