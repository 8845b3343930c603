"""Searches replayed on recorded rollouts: a table replaces the models, and every call is counted."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import optuna
import pyarrow.parquet as pq

from optimizers.errors import BudgetSpent
from optimizers.models.sampling import Sampling
from optimizers.records.candidate import Candidate, PredictorPrompt
from optimizers.records.parameters import Parameter
from optimizers.records.rows import Rollout
from optimizers.results.statistics.pareto import hypervolume, non_dominated
from optimizers.search.space.parts import MODEL
from optimizers.search.space.search_space import Chooser

Searcher = Callable[["Replay", np.random.Generator], Generator[list[int], None, None]]
"""Buys rollouts from a replay, and after each purchase yields the candidates it would return now."""


@dataclass(frozen=True)
class Table:
    """All rollouts of a task's candidates.

    Attributes:
        task: The task's name.
        models: Names of its models, the smallest first.
        model: Number of each candidate's model, (candidates,).
        places: The choices of each candidate: serving, instruction, demos, and a draw where it has demos.
        dev: Dev scores, (candidates, dev examples), in [0, 1].
        test: Test scores, (candidates, test examples), in [0, 1].
        cost: Mean serving cost of each candidate, US dollars, (candidates,).
        calls: Calls of one rollout of each, (candidates,).
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
        """Hypervolume of some candidates, in quality and log cost."""
        quality = getattr(self, split).mean(axis=1)
        chosen = list(candidates)
        return hypervolume(
            quality[chosen].tolist(),
            self.cost[chosen].tolist(),
            best_cost=float(self.cost.min()),
            worst_cost=float(self.cost.max() * 1.1),
        )

    @cached_property
    def space(self) -> GridSpace:
        """The same candidates as a search space."""
        return GridSpace(self)


class GridSpace:
    """The candidates of a table as a search space: named choices, some of them conditional."""

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

    def label(self, model: Any) -> str:
        """What a model's parameters name it by."""
        return str(model.name)

    def decided(self, chooser: Chooser) -> tuple[Any, ...]:
        """The choices that make a candidate."""
        names = [model.name for model in self.models]
        name = chooser.choose(MODEL, names) if len(names) > 1 else names[0]
        chosen: dict[str, Any] = {}
        for part, values in self._values[name].items():
            if part != "draw" or chosen["demos"]:
                chosen[part] = chooser.choose(parameter(name, part), values)
        return (name, *(chosen.get(part) for part in PARTS))

    def number(self, chooser: Chooser) -> int:
        """The row of the candidate that a chooser makes."""
        return self.index[self.decided(chooser)]

    def choose(self, chooser: Chooser) -> Candidate:
        """The candidate; its row is the text of its instruction."""
        key = self.decided(chooser)
        prompt = PredictorPrompt(instruction=str(self.index[key]), instruction_name="")
        return Candidate(
            model=key[0],
            rendering="completion",
            technique="direct",
            predictors={"predict": prompt},
            sampling=Sampling(max_tokens=8),
        )


PARAMETERS = {
    "serving": Parameter(None, None, "rendering"),
    "instruction": Parameter(None, "answer", "instruction"),
    "demos": Parameter(None, "answer", "demos"),
    "draw": Parameter(None, "answer", "draw", ("balanced",)),
}
"""Column of a table -> its parameter in the search space, for no model in particular."""

PARTS = tuple(PARAMETERS)


def parameter(model: str, column: str) -> Parameter:
    """The parameter of a model for a column of a table."""
    return PARAMETERS[column].for_model(model)


class OptunaChooser:
    """A chooser that asks an Optuna trial."""

    def __init__(self, trial: optuna.Trial) -> None:
        self.trial = trial

    def choose(self, parameter: Parameter, choices: Sequence[Any]) -> Any:
        """What the trial's sampler suggests."""
        return self.trial.suggest_categorical(str(parameter), tuple(choices))


def row_of(candidate: Candidate) -> int:
    """The row of a candidate of :class:`GridSpace`."""
    return int(candidate.predictors["predict"].instruction)


@dataclass
class Replay:
    """One search on a table, with a limit on its calls.

    Attributes:
        table: The recorded rollouts.
        budget: Calls that it may use.
        used: Calls that it has used.
    """

    table: Table
    budget: int
    used: int = 0
    _bought: dict[int, set[int]] = field(default_factory=dict)

    def buy(self, candidate: int, examples: Sequence[int]) -> np.ndarray:
        """Scores of a candidate on dev examples; those bought before are free.

        Args:
            candidate: Row of the candidate.
            examples: Columns of the examples.

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
        """The same, in the form of a measurer."""
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
    """The candidates that are not dominated by a searcher's estimates of quality, cheapest first."""
    known = list(quality)
    kept = non_dominated([quality[one] for one in known], table.cost[known].tolist())
    return sorted(
        (one for one, keep in zip(known, kept, strict=True) if keep), key=lambda one: table.cost[one]
    )


@dataclass(frozen=True)
class Run:
    """The course of one search.

    Attributes:
        used: Calls used at each purchase.
        covered: Test hypervolume of the candidates it would have returned then.
        chosen: The candidates it returned in the end.
    """

    used: np.ndarray
    covered: np.ndarray
    chosen: tuple[int, ...]

    def at(self, calls: int) -> float:
        """Test hypervolume of the candidates it would have returned after this many calls."""
        place = int(np.searchsorted(self.used, calls, side="right")) - 1
        return float(self.covered[place]) if place >= 0 else 0.0


def play(searcher: Searcher, table: Table, budget: int, seed: int) -> Run:
    """Let a searcher spend a budget."""
    replay, idle, chosen = Replay(table, budget), 0, list[int]()
    used: list[int] = []
    covered: list[float] = []
    known: dict[tuple[int, ...], float] = {}
    try:
        for chosen in searcher(replay, np.random.default_rng(seed)):
            idle = idle + 1 if used and used[-1] == replay.used else 0
            # A searcher that only asks for what it has already bought has come to its end.
            if idle > 300:
                break
            key = tuple(sorted(chosen))
            if key not in known:
                known[key] = table.covered(chosen) if chosen else 0.0
            used.append(replay.used)
            covered.append(known[key])
    except BudgetSpent:
        pass
    return Run(np.array(used), np.array(covered), tuple(chosen))
