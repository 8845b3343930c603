"""Turns: together where servers answer, one at a time in this process, and nothing lost when one fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from fakes import LARGE, SMALL

from optimizers.candidate import Candidate, PredictorPrompt, Sampling
from optimizers.errors import BudgetSpent, EngineError
from optimizers.models.model import Model
from optimizers.models.resolve import model
from optimizers.search.turns import Turn, run_turns
from optimizers.task import LoadedTask


@dataclass
class Measured:
    """Stands for a measurer: takes its time, and notes how many turns run at once."""

    task: LoadedTask
    problems: dict[str, Exception] = field(default_factory=dict)
    running: int = 0
    most: int = 0
    began: list[tuple[str, int]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def measure(self, candidate: Candidate, examples: Sequence[Any], split: str, *, number: int) -> list[Any]:
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


def turns_of(names: Sequence[str], count: int) -> list[Turn]:
    return [
        (candidate(name), [10 * number + place for place in range(10)])
        for number in range(count)
        for name in names
    ]  # type: ignore[misc]


def measured(task: LoadedTask, *models: Model, **problems: Exception) -> Any:
    return Measured(
        replace(task, models=models, reference=models[-1]), {f"openai/{n}": e for n, e in problems.items()}
    )


def test_servers_are_kept_busy_and_rollouts_come_in_order(task: LoadedTask) -> None:
    measurer = measured(task, served("a"), served("b"))
    turns, shares = turns_of(["openai/a", "openai/b"], 6), list[float]()
    found = run_turns(turns, measurer, "test", on_share=shares.append)
    assert found == [(turn.model, example) for turn, examples in turns for example in examples]
    # Eight calls at once and half as many again are two turns of ten, for each of the two models.
    assert measurer.most == 4
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0.0, 1.0)


def test_models_in_this_process_take_turns(task: LoadedTask) -> None:
    measurer = measured(task, SMALL, LARGE)
    turns = turns_of([SMALL.name, LARGE.name], 3)
    run_turns(turns, measurer, "test")
    assert measurer.most == 1
    assert measurer.began == [(turn.model, examples[0]) for turn, examples in turns]


def test_a_model_in_this_process_runs_beside_a_server_but_not_beside_itself(task: LoadedTask) -> None:
    measurer = measured(task, SMALL, served("b"))
    run_turns(turns_of([SMALL.name], 4), measurer, "test")
    assert measurer.most == 1
    run_turns(turns_of([SMALL.name, "openai/b"], 4), measurer, "test")
    assert measurer.most == 2


def test_of_two_problems_the_one_that_is_no_lack_of_money_is_told(task: LoadedTask) -> None:
    problems: dict[str, Exception] = {
        "a": BudgetSpent("calls", "10calls"),
        "b": EngineError("The server is down."),
    }
    measurer = measured(task, served("a"), served("b"), **problems)
    with pytest.raises(EngineError, match="down"):
        run_turns(turns_of(["openai/a", "openai/b"], 40), measurer, "test")
    assert len(measurer.began) < 20
