from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes import FakeEngine

from optimizers.evaluation.measure import Measurer
from optimizers.models.sampling import Sampling
from optimizers.records.candidate import Candidate, PredictorPrompt
from optimizers.records.ledger import Ledger
from optimizers.search.sealed_test import SealedTestPlan, repeat_sampled, run_test
from optimizers.task.task import LoadedTask


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(tmp_path / "ledger.db") as opened:
        yield opened


def candidate(model: str, temperature: float) -> Candidate:
    return Candidate(
        model=model,
        rendering="completion",
        technique="direct",
        predictors={"predict": PredictorPrompt(instruction="Say which.")},
        sampling=Sampling(temperature=temperature, max_tokens=12),
    )


def plan(*roles: tuple[Candidate, tuple[str, ...]]) -> SealedTestPlan:
    return SealedTestPlan({c.id: c for c, _ in roles}, {c.id: role for c, role in roles})  # type: ignore[misc]


def test_only_sampled_points_of_the_frontier_run_twice(
    task: LoadedTask, engines: dict[str, FakeEngine], ledger: Ledger
) -> None:
    sampled, greedy = candidate("local/small", 0.7), candidate("local/small", 0.0)
    default = candidate("local/large", 0.7)
    points = plan((sampled, ("frontier",)), (greedy, ("frontier", "best")), (default, ("default",)))
    repeat_sampled(points, task.dataset.test[:30], Measurer(task, ledger))
    rows = ledger.rollouts()
    assert {(row.candidate, row.number) for row in rows} == {(sampled.id, 1)}
    assert len(rows) == 30


def test_points_take_turns_so_that_a_cut_leaves_them_alike(
    task: LoadedTask, engines: dict[str, FakeEngine], ledger: Ledger
) -> None:
    small, large = candidate("local/small", 0.0), candidate("local/large", 0.0)
    points = plan((small, ("frontier",)), (large, ("frontier", "best")))

    def cut(share: float) -> None:
        if share > 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_test(points, task.dataset.test[:60], Measurer(task, ledger), block=10, on_share=cut)
    counts = [len(ledger.rollouts(candidate=c.id)) for c in (small, large)]
    assert abs(counts[0] - counts[1]) <= 10
    assert sum(counts) >= 60
