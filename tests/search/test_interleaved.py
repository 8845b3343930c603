"""Turns: together where servers answer, one at a time in this process, and nothing lost when one fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from fakes import LARGE, SMALL
from faults.server import FaultServer

from optimizers.errors import BudgetSpent, EngineError
from optimizers.evaluation.measure import Measurer
from optimizers.models.model import Model
from optimizers.models.resolve import model
from optimizers.models.sampling import Sampling
from optimizers.records.candidate import Candidate, PredictorPrompt
from optimizers.records.ledger import Ledger
from optimizers.search.interleaved import Batch, run_interleaved
from optimizers.task.task import LoadedTask


@dataclass
class Measured:
    """Stands for a measurer: takes its time, and notes how many turns run at once."""

    task: LoadedTask
    problems: dict[str, Exception] = field(default_factory=dict)
    running: int = 0
    most: int = 0
    began: list[tuple[str, int]] = field(default_factory=list)
    taken_back: list[tuple[str, int]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def measure(
        self, candidate: Candidate, examples: Sequence[Any], split: str, *, number: int, stop: Any = None
    ) -> list[Any]:
        with self.lock:
            self.running += 1
            self.most = max(self.most, self.running)
            self.began.append((candidate.model, examples[0]))
        time.sleep(0.02)
        with self.lock:
            self.running -= 1
        if candidate.model in self.problems:
            raise self.problems[candidate.model]
        return [(candidate.model, example) for example in examples]

    def withdraw(self, candidate: Candidate, examples: Sequence[Any], *, number: int) -> None:
        self.taken_back.append((candidate.model, examples[0]))


def served(name: str) -> Model:
    return model(f"openai/{name}", api_base="http://127.0.0.1:9", price=(0.1, 0.2), concurrency=8)


def candidate(name: str) -> Candidate:
    return Candidate(
        model=name,
        rendering="compact",
        technique="direct",
        predictors={"predict": PredictorPrompt(instruction="Say which.")},
        sampling=Sampling(temperature=0.0, max_tokens=12),
    )


def rounds_of(names: Sequence[str], number: int) -> list[list[Batch]]:
    made: Any = [
        [(candidate(name), [10 * place + row for row in range(10)]) for name in names]
        for place in range(number)
    ]
    return list(made)


def measured(task: LoadedTask, *models: Model, **problems: Exception) -> Any:
    known = {f"openai/{name}": problem for name, problem in problems.items()}
    return Measured(replace(task, models=models, reference=models[-1]), known)


def test_servers_are_kept_busy_and_rollouts_come_in_order(task: LoadedTask) -> None:
    measurer = measured(task, served("a"), served("b"))
    rounds, shares = rounds_of(["openai/a", "openai/b"] * 4, 3), list[float]()
    found = run_interleaved(rounds, measurer, "test", on_share=shares.append)
    assert found == [(one.model, row) for turns in rounds for one, rows in turns for row in rows]
    # Eight calls at once and half as many again are two turns of ten, for each of the two models.
    assert measurer.most == 4
    assert shares == sorted(shares)
    assert (shares[0], shares[-1], len(shares)) == (0.0, 1.0, 25)


def test_a_round_ends_before_the_next_begins(task: LoadedTask) -> None:
    measurer = measured(task, served("a"), served("b"))
    run_interleaved(rounds_of(["openai/a", "openai/b"], 6), measurer, "test")
    assert [row for _, row in measurer.began] == sorted(row for _, row in measurer.began)
    assert measurer.most == 2


@pytest.mark.parametrize("one", [SMALL.name, "ollama_chat/one"])
def test_models_of_one_machine_take_turns(task: LoadedTask, one: str) -> None:
    own = SMALL if one == SMALL.name else model(one, price=(0.1, 0.2), size=1)
    measurer = measured(task, own, LARGE)
    rounds = rounds_of([one, LARGE.name], 3)
    run_interleaved(rounds, measurer, "test")
    assert measurer.most == 1
    assert measurer.began == [(turn.model, rows[0]) for turns in rounds for turn, rows in turns]


def test_a_model_in_this_process_runs_beside_a_server_but_not_beside_itself(task: LoadedTask) -> None:
    measurer = measured(task, SMALL, served("b"))
    run_interleaved(rounds_of([SMALL.name] * 3, 2), measurer, "test")
    assert measurer.most == 1
    run_interleaved(rounds_of([SMALL.name, SMALL.name, "openai/b"], 4), measurer, "test")
    assert measurer.most == 2


def test_turns_that_wait_for_each_other_keep_no_server_waiting(task: LoadedTask) -> None:
    measurer = measured(task, SMALL, served("b"))
    run_interleaved(rounds_of([SMALL.name] * 6 + ["openai/b"] * 6, 1), measurer, "test")
    assert "openai/b" in [model for model, _ in measurer.began[:3]]


def test_an_outage_is_told_before_a_lack_of_money_and_taken_back_from_all(task: LoadedTask) -> None:
    down = EngineError("The server is down.")
    measurer = measured(task, served("a"), served("b"), a=BudgetSpent("calls", "10calls"), b=down)
    with pytest.raises(EngineError, match="down"):
        run_interleaved(rounds_of(["openai/a", "openai/b"], 40), measurer, "test")
    assert sorted(measurer.began) == [("openai/a", 0), ("openai/b", 0)]
    assert sorted(measurer.taken_back) == [("openai/a", 0), ("openai/b", 0)]


def test_an_interruption_lets_no_further_rollout_begin(task: LoadedTask, tmp_path: Path) -> None:
    begun = []

    def slow(example: Any, prediction: Any, trace: Any = None) -> float:
        begun.append(example)
        time.sleep(0.02)
        return 1.0

    def interrupted(share: float) -> None:
        if share > 0:
            raise KeyboardInterrupt

    with FaultServer() as server, Ledger.open(tmp_path / "ledger.db") as ledger:
        one = model("openai/one", api_base=server.address, price=(0.1, 0.2), concurrency=2)
        other = model("openai/two", api_base=server.address, price=(0.1, 0.2), concurrency=1)
        own = replace(task, models=(one, other), reference=one, metric=slow)
        rows = task.dataset.dev[:40]
        first, long = candidate("openai/one"), candidate("openai/two")
        with pytest.raises(KeyboardInterrupt):
            run_interleaved(
                [[(first, rows[:2]), (long, rows)]], Measurer(own, ledger), "dev", on_share=interrupted
            )
    assert len(begun) < 20
