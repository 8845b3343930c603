"""Searches on recorded rollouts: a table in place of the models, and every call on a book."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from optimizers.errors import BudgetSpent
from optimizers.models.sampling import Sampling
from optimizers.records.candidate import Candidate, PredictorPrompt
from optimizers.records.rows import Rollout
from optimizers.results.statistics.pareto import hypervolume, non_dominated
from optimizers.search.space.search_space import Chooser

DEAREST = 1.1
"""The cost that covers nothing, as a multiple of the dearest candidate's."""

Searcher = Callable[["Book", np.random.Generator], Generator[list[int], None, None]]
"""Buys rollouts from a book, and after each purchase yields the candidates it would now hand over."""


@dataclass(frozen=True)
class Table:
    """All rollouts of a task's candidates.

    Attributes:
        task: The task's name.
        models: Names of its models, the smallest first.
        model: Of each candidate, which model.
        places: Of each candidate, its choices: serving, instruction, demos, and a draw where it has demos.
        dev: Scores, a row per candidate, a column per dev example.
        test: The same on test.
        cost: Mean serving cost of each candidate, US dollars.
        calls: Calls of one rollout of each.
    """

    task: str
    models: tuple[str, ...]
    model: np.ndarray
    places: tuple[Mapping[str, Any], ...]
    dev: np.ndarray
    test: np.ndarray
    cost: np.ndarray
    calls: np.ndarray

    @classmethod
    def read(cls, task: str, paths: Mapping[str, Path]) -> Table:
        """Read the tables of a task.

        Args:
            task: The task's name.
            paths: Model -> its table, the smallest model first.
        """
        model, places, cost, calls = [], [], [], []
        parts: dict[str, list[np.ndarray]] = {"dev": [], "test": []}
        for number, path in enumerate(paths.values()):
            frame = pq.read_table(path).to_pandas()
            for _, rows in frame.groupby("candidate", sort=False):
                first = rows.iloc[0]
                place = {"serving": str(first["serving"]), "instruction": str(first["instruction"])}
                demos = int(first["demos"])
                places.append(place | {"demos": demos} | ({"draw": int(first["draw"])} if demos else {}))
                model.append(number)
                cost.append(rows["cost"].mean())
                calls.append(round(rows["calls"].mean()))
                for split, scores in parts.items():
                    own = rows[rows["split"] == split].sort_values("example")
                    scores.append(own["score"].to_numpy())
        return cls(
            task=task,
            models=tuple(paths),
            model=np.array(model),
            places=tuple(places),
            dev=np.array(parts["dev"], dtype=float),
            test=np.array(parts["test"], dtype=float),
            cost=np.array(cost),
            calls=np.array(calls),
        )

    def covered(self, candidates: Sequence[int], split: str = "test") -> float:
        """Hypervolume of some candidates."""
        quality = getattr(self, split).mean(axis=1)
        chosen = list(candidates)
        return hypervolume(
            quality[chosen].tolist(),
            self.cost[chosen].tolist(),
            best_cost=float(self.cost.min()),
            worst_cost=float(self.cost.max() * DEAREST),
        )

    @cached_property
    def space(self) -> GridSpace:
        """The same candidates as a search space."""
        return GridSpace(self)


class GridSpace:
    """The candidates of a table as the search meets them: choices with names, some of them conditional."""

    mixed = False

    def __init__(self, table: Table) -> None:
        self.models = tuple(SimpleNamespace(name=name, concurrency=1) for name in table.models)
        self._values: dict[str, dict[str, tuple[Any, ...]]] = {}
        self.index: dict[tuple[Any, ...], int] = {}
        for number, name in enumerate(table.models):
            own = [place for place, model in zip(table.places, table.model, strict=True) if model == number]
            parts = {part: tuple(sorted({place[part] for place in own if part in place})) for part in PARTS}
            self._values[name] = parts
        for candidate, place in enumerate(table.places):
            key = (table.models[table.model[candidate]], *(place.get(part) for part in PARTS))
            self.index[key] = candidate

    def prefix(self, model: Any) -> str:
        """What a model's choices are named by."""
        return str(model.name)

    def decided(self, chooser: Chooser) -> tuple[Any, ...]:
        """The choices that make a candidate."""
        names = [model.name for model in self.models]
        name = chooser.suggest_categorical("model", names) if len(names) > 1 else names[0]
        chosen: dict[str, Any] = {}
        for part, values in self._values[name].items():
            if part != "draw" or chosen["demos"]:
                chosen[part] = chooser.suggest_categorical(f"{name}.{NAMES[part]}", values)
        return (name, *(chosen.get(part) for part in PARTS))

    def number(self, chooser: Chooser) -> int:
        """The row of the candidate that a chooser makes."""
        return self.index[self.decided(chooser)]

    def choose(self, chooser: Chooser) -> Candidate:
        """The candidate itself, its row in the name of its instruction."""
        key = self.decided(chooser)
        prompt = PredictorPrompt(instruction=str(self.index[key]), instruction_name="")
        return Candidate(
            model=key[0],
            rendering="completion",
            technique="direct",
            predictors={"predict": prompt},
            sampling=Sampling(max_tokens=8),
        )


NAMES = {
    "serving": "rendering",
    "instruction": "answer.instruction",
    "demos": "answer.demos",
    "draw": "answer.balanced.draw",
}
"""What a table's columns are called where choices are searched."""

PARTS = tuple(NAMES)


def row_of(candidate: Candidate) -> int:
    """The row of a candidate of :class:`GridSpace`."""
    return int(candidate.predictors["predict"].instruction)


@dataclass
class Book:
    """What a searcher has bought.

    Attributes:
        table: Where rollouts come from.
        budget: Calls it may use.
        used: Calls it has used.
    """

    table: Table
    budget: int
    used: int = 0
    _bought: dict[int, set[int]] = field(default_factory=dict)

    def buy(self, candidate: int, examples: Sequence[int]) -> np.ndarray:
        """Scores of a candidate on dev examples; those bought before are free.

        Args:
            candidate: Which.
            examples: Which.

        Raises:
            BudgetSpent: They cost more calls than are left.
        """
        known = self._bought.setdefault(candidate, set())
        fresh = [example for example in examples if example not in known]
        need = len(fresh) * int(self.table.calls[candidate])
        if self.used + need > self.budget:
            raise BudgetSpent("calls", f"{self.budget:,} calls")
        self.used += need
        known.update(fresh)
        return self.table.dev[candidate, list(examples)]

    def measure(
        self, candidate: Candidate, examples: Sequence[int], split: str, *, stop: Any = None
    ) -> list[Rollout]:
        """The same as the shipped search asks for it."""
        row = row_of(candidate)
        scores = self.buy(row, examples)
        return [
            Rollout(
                candidate=candidate.id,
                example=str(example),
                split="dev",
                score=float(score),
                calls=int(self.table.calls[row]),
                prompt_tokens=0,
                completion_tokens=0,
                cost=float(self.table.cost[row]),
                latency=0.0,
                created=NOON,
            )
            for example, score in zip(examples, scores, strict=True)
        ]


NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def frontier(table: Table, quality: Mapping[int, float]) -> list[int]:
    """The candidates that are not dominated, by what a searcher takes for their qualities."""
    known = list(quality)
    kept = non_dominated([quality[one] for one in known], [float(table.cost[one]) for one in known])
    return sorted(
        (one for one, keep in zip(known, kept, strict=True) if keep), key=lambda one: table.cost[one]
    )


@dataclass(frozen=True)
class Run:
    """What came of one search.

    Attributes:
        used: Calls used at each purchase.
        covered: Test hypervolume of what it would have handed over then.
        chosen: What it handed over in the end.
    """

    used: np.ndarray
    covered: np.ndarray
    chosen: tuple[int, ...]

    def at(self, calls: int) -> float:
        """Test hypervolume of what it would have handed over after so many calls."""
        place = int(np.searchsorted(self.used, calls, side="right")) - 1
        return float(self.covered[place]) if place >= 0 else 0.0


STUCK = 300
"""Steps in a row that bought nothing, after which a searcher is at its end: what it has is free."""


def play(searcher: Searcher, table: Table, budget: int, seed: int) -> Run:
    """Let a searcher spend a budget."""
    book, idle, chosen = Book(table, budget), 0, list[int]()
    used: list[int] = []
    covered: list[float] = []
    known: dict[tuple[int, ...], float] = {}
    try:
        for chosen in searcher(book, np.random.default_rng(seed)):
            idle = idle + 1 if used and used[-1] == book.used else 0
            if idle > STUCK:
                break
            key = tuple(sorted(chosen))
            if key not in known:
                known[key] = table.covered(chosen) if chosen else 0.0
            used.append(book.used)
            covered.append(known[key])
    except BudgetSpent:
        pass
    return Run(np.array(used), np.array(covered), tuple(chosen))
