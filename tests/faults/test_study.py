"""A study over HTTP, against a server that fails: nothing is overshot, nothing is misjudged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from faults.server import KINDS, Faults, FaultServer

from optimizers.models.resolve import model
from optimizers.records.budget import Budget
from optimizers.records.ledger import Ledger
from optimizers.records.report import FrontierReport
from optimizers.search.manifest import open_folder
from optimizers.search.study import run_study
from optimizers.task.task import LoadedTask

TRIALS = 12


@pytest.fixture(autouse=True)
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("optimizers.models.lm._wait", lambda error: 0.05)


def study(task: LoadedTask, server: FaultServer, runs: Path, budget: Budget) -> FrontierReport:
    small = model("openai/small", api_base=server.address, price=(0.1, 0.2), size=0.1, timeout=0.5)
    large = model("openai/large", api_base=server.address, price=(1.0, 2.0), size=1.0, timeout=0.5)
    served = replace(task, models=(small, large), reference=large)
    folder = open_folder(served, runs, "s", 0, budget)
    return run_study(served, folder, watch=lambda progress: None)


def frontier(report: FrontierReport) -> list[tuple[str, float]]:
    return [(point.candidate.id, point.dev.mean) for point in report.with_role("frontier")]


def test_faults_that_one_retry_mends_leave_the_frontier_as_it_is(task: LoadedTask, tmp_path: Path) -> None:
    with FaultServer() as server:
        calm = study(task, server, tmp_path / "calm", Budget(trials=TRIALS))
    with FaultServer(Faults(rate=0.2, mode="once", hang=1.0, slow=0.2)) as server:
        report = study(task, server, tmp_path / "stormy", Budget(trials=TRIALS))
        served = server.stats()
    assert served["faulted"] > 0.1 * served["received"]
    assert frontier(report) == frontier(calm)
    assert report.spend is not None
    assert report.spend.total.calls == served["received"]
    assert all(point.dev.failures == 0 for point in report.points)


def test_no_fault_makes_a_study_overshoot_its_calls(task: LoadedTask, tmp_path: Path) -> None:
    with FaultServer(Faults(rate=0.2, kinds=KINDS, mode="each", hang=1.0, slow=0.2)) as server:
        report = study(task, server, tmp_path, Budget(calls=700))
        served = server.stats()
    assert report.spend is not None
    assert 400 < report.spend.total.calls == served["received"] <= 700
    with Ledger.open(tmp_path / "s" / "ledger.db") as ledger:
        kinds = {rollout.failure for rollout in ledger.rollouts() if rollout.failure}
    assert kinds <= {"rate_limit", "server", "timeout", "provider"}
    assert any(point.test is not None and point.test.n for point in report.with_role("frontier"))
