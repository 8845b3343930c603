"""Ways to search a table: Parity's own, and its peers' reimplemented from their papers and sources."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, cast

import numpy as np
import optuna
from benchmarks.replay import (
    PARTS,
    OptunaChooser,
    Replay,
    Searcher,
    Table,
    frontier,
    parameter,
    row_of,
)
from scipy import stats

from optimizers.records.parameters import Choices
from optimizers.search.loop import SEARCH_SHARE, Search
from optimizers.search.model.observations import ObservationStore
from optimizers.search.space.initial_design import FixedChoices
from optimizers.search.space.parts import MODEL

BLOCK = 10


def parity(replay: Replay, random: np.random.Generator) -> Generator[list[int], None, None]:
    """The shipped search: its trials, then the refinement of the leaders."""
    yield from continue_search(start_search(replay, random), replay)


def start_search(replay: Replay, random: np.random.Generator) -> Search:
    """The shipped search, before its first trial."""
    table = replay.table
    observations = ObservationStore()
    order = random.permutation(table.dev.shape[1])
    blocks = [tuple(order[start : start + BLOCK].tolist()) for start in range(0, len(order), BLOCK)]
    seed = int(random.integers(2**31))
    # Replay and GridSpace have the parts of a measurer and a space that the search uses.
    search = Search(observations, cast("Any", replay), cast("Any", blocks), seed)
    search.begin(cast("Any", table.space), _starts(replay), 0)
    return search


def continue_search(search: Search, replay: Replay) -> Generator[list[int], None, None]:
    """Spend the rest of the budget; a search can be continued again when its budget grows."""
    observations = search.observations
    position = len(observations.stats)
    while (share := replay.used / replay.budget / SEARCH_SHARE) < 1:
        finished, spent = search.trials(position, None, share)
        position += len(finished)
        if spent is not None:
            raise spent
        yield [row_of(stats.candidate) for stats in observations.frontier()]
    while search.refine(is_paid=True) < 1:
        yield [row_of(stats.candidate) for stats in observations.frontier()]


def _starts(replay: Replay) -> list[Choices]:
    """Choices with each model's fewest demos, half of its most, and none; the rest is the grid's first.

    A study begins with the same, plus two random candidates of each model.
    """
    found = []
    for model, values in replay.table.space._values.items():
        few = [n for n in values["demos"] if n]
        for demos in (*few[:1], few[len(few) // 2], 0):
            chooser = FixedChoices({MODEL: model, parameter(model, "demos"): demos})
            replay.table.space.decided(chooser)
            found.append(chooser.made)
    return found


def random_search(replay: Replay, random: np.random.Generator) -> Generator[list[int], None, None]:
    """Candidates drawn at random, each measured on the whole dev set."""
    table, known = replay.table, {}
    every = range(table.dev.shape[1])
    for candidate in random.permutation(len(table.places)).tolist():
        known[candidate] = float(replay.buy(candidate, every).mean())
        yield frontier(table, known)


def tpe(replay: Replay, random: np.random.Generator) -> Generator[list[int], None, None]:
    """Optuna's TPE on two objectives, each candidate measured on the whole dev set."""
    seed = int(random.integers(2**31))
    sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True, group=True)
    yield from _optuna(replay, sampler)


def nsga2(replay: Replay, random: np.random.Generator) -> Generator[list[int], None, None]:
    """Optuna's NSGA-II with ten candidates a generation, each measured on the whole dev set."""
    yield from _optuna(
        replay, optuna.samplers.NSGAIISampler(population_size=10, seed=int(random.integers(2**31)))
    )


def _optuna(replay: Replay, sampler: optuna.samplers.BaseSampler) -> Generator[list[int], None, None]:
    table, known = replay.table, {}
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
    while True:
        trial = study.ask()
        candidate = table.space.number(OptunaChooser(trial))
        if candidate not in known:
            known[candidate] = float(replay.buy(candidate, range(table.dev.shape[1])).mean())
        study.tell(trial, [known[candidate], float(np.log(table.cost[candidate]))])
        yield frontier(table, known)


def mipro(replay: Replay, random: np.random.Generator) -> Generator[list[int], None, None]:
    """MIPROv2: the default on all, then TPE on minibatches of 35; every 5th, the best mean runs on all.

    Rollouts bought before are free, as with DSPy's cache. MIPROv2 returns a program measured on all examples;
    so that it has a frontier early, candidates with minibatches alone enter it with their means.
    """
    table, every = replay.table, range(replay.table.dev.shape[1])
    sampler = optuna.samplers.TPESampler(seed=int(random.integers(2**31)), multivariate=True)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    reference = table.models[-1]
    default = FixedChoices({MODEL: reference, parameter(reference, "demos"): 0})
    table.space.decided(default)
    study.enqueue_trial({str(one): value for one, value in default.made.items()})
    small: dict[int, list[float]] = {}
    full: dict[int, float] = {}
    trials: dict[int, optuna.trial.FrozenTrial] = {}
    for number in range(100_000):
        trial = study.ask()
        candidate = table.space.number(OptunaChooser(trial))
        batch = every if number == 0 else random.choice(len(every), min(35, len(every)), replace=False)
        score = float(replay.buy(candidate, list(batch)).mean())
        trials[candidate] = study.tell(trial, score)
        if number == 0:
            full[candidate] = score
        else:
            small.setdefault(candidate, []).append(score)
        left = [known for known in small if known not in full]
        if number and number % 5 == 0 and left:
            best = max(left, key=lambda known: np.mean(small[known]))
            full[best] = float(replay.buy(best, every).mean())
            params, kinds = trials[best].params, trials[best].distributions
            study.add_trial(optuna.trial.create_trial(params=params, distributions=kinds, value=full[best]))
        yield frontier(table, {known: float(np.mean(means)) for known, means in small.items()} | full)


def halving(replay: Replay, random: np.random.Generator) -> Generator[list[int], None, None]:
    """Successive halving, 27 candidates a bracket on 11, 33 and all examples; layers of dominance decide."""
    table = replay.table
    known: dict[int, float] = {}
    order = random.permutation(table.dev.shape[1]).tolist()
    while True:
        pool = random.choice(len(table.places), min(27, len(table.places)), replace=False).tolist()
        for rung in (11, 33, len(order)):
            for candidate in pool:
                known[candidate] = float(replay.buy(candidate, order[:rung]).mean())
                yield frontier(table, known)
            pool = _layers(replay, {one: known[one] for one in pool}, max(1, len(pool) // 3))


def _layers(replay: Replay, means: dict[int, float], keep: int) -> list[int]:
    """The ``keep`` candidates of the first Pareto fronts."""
    left = dict(means)
    chosen: list[int] = []
    while left and len(chosen) < keep:
        front = frontier(replay.table, left)
        chosen += sorted(front, key=lambda one: -means[one])[: keep - len(chosen)]
        left = {one: mean for one, mean in left.items() if one not in front}
    return chosen


def capo(replay: Replay, random: np.random.Generator) -> Generator[list[int], None, None]:
    """CAPO: ten candidates and their offspring race block by block, paired t-tests at 0.2 (AutoML 2025).

    Scores have its penalty of 0.05 for the longest prompt, here by cost instead of length.
    """
    table, survivors = replay.table, 10
    order = random.permutation(table.dev.shape[1]).tolist()
    batches = [order[start : start + 30] for start in range(0, len(order) - 9, 30)]
    penalty = 0.05 * table.cost / table.cost.max()
    known: dict[int, float] = {}
    population = random.choice(len(table.places), min(survivors, len(table.places)), replace=False).tolist()
    while True:
        born = [_offspring(replay, population, random) for _ in range(4)]
        racing = list(dict.fromkeys([*population, *born]))
        seen: list[int] = []
        for batch in batches:
            seen += batch
            scores = {}
            for candidate in racing:
                scores[candidate] = replay.buy(candidate, seen)
                known[candidate] = float(scores[candidate].mean())
                yield frontier(table, {one: known[one] for one in racing if one in known})
            penalised = {one: found - penalty[one] for one, found in scores.items()}
            beaten = {one: _beaten_by(penalised, one) for one in racing}
            racing = [one for one in racing if beaten[one] < survivors]
            if len(racing) <= survivors:
                break
        population = sorted(racing, key=lambda one: penalty[one] - known[one])[:survivors]


def _beaten_by(scores: dict[int, np.ndarray], candidate: int) -> int:
    """Rivals that are better by a paired t-test."""
    own, beaten = scores[candidate], 0
    for rival, theirs in scores.items():
        ahead = theirs - own
        if rival != candidate and ahead.mean() > 0:
            error = ahead.std(ddof=1) / np.sqrt(len(ahead))
            beaten += bool(error == 0 or stats.t.sf(ahead.mean() / error, len(ahead) - 1) < 0.2)
    return beaten


def mo_capo(replay: Replay, random: np.random.Generator) -> Generator[list[int], None, None]:
    """MO-CAPO, after promptolution's Capoeira: a budgeted race of two objectives among ten candidates.

    Those of the ten that are not dominated are the incumbents. A challenger runs the blocks that all
    incumbents have run, until the incumbent nearest to it dominates it; then the incumbent that was
    measured least runs one block more. More than ten are pruned, the least measured first.
    """
    table = replay.table
    order = random.permutation(table.dev.shape[1]).tolist()
    batches = [order[start : start + BLOCK] for start in range(0, len(order), BLOCK)]
    scores: dict[int, list[float]] = {}

    def run(candidate: int) -> None:
        batch = batches[len(scores.setdefault(candidate, [])) // BLOCK]
        scores[candidate] += replay.buy(candidate, batch).tolist()

    def front(among: list[int]) -> list[int]:
        return frontier(table, {one: float(np.mean(scores[one])) for one in among})

    population = random.choice(len(table.places), min(POPULATION, len(table.places)), replace=False).tolist()
    incumbents: list[int] = []
    for candidate in population:
        run(candidate)
        incumbents = front([*incumbents, candidate])
        yield list(incumbents)
    while True:
        parents = [_of_two(population, incumbents, random) for _ in range(2)]
        challenger = _offspring(replay, parents, random)
        # 30% of the challengers are drawn at random.
        if random.random() < 0.3 or challenger in scores:
            challenger = int(random.integers(len(table.places)))
        if challenger not in scores:
            common = min(len(scores[one]) for one in incumbents)
            survives = True
            while survives and len(scores.get(challenger, [])) < common:
                run(challenger)
                survives = not _dominated(table, scores, challenger, incumbents)
                yield list(incumbents)
            population.append(challenger)
            if survives:
                incumbents = front([*incumbents, challenger])
            population = _pruned(population, incumbents, scores)
        least = min(incumbents, key=lambda one: len(scores[one]))
        if len(scores[least]) < len(order):
            run(least)
            incumbents = front(incumbents)
        yield list(incumbents)


POPULATION = 10
"""Candidates that MO-CAPO keeps, incumbents and others."""


def _of_two(population: list[int], incumbents: list[int], random: np.random.Generator) -> int:
    """One of two drawn candidates, an incumbent rather than another."""
    drawn = random.choice(population, min(2, len(population)), replace=False).tolist()
    return next((one for one in drawn if one in incumbents), int(drawn[0]))


def _dominated(table: Table, scores: dict[int, list[float]], challenger: int, incumbents: list[int]) -> bool:
    """Whether the incumbent nearest to a challenger is as good and as cheap, on the examples both ran."""
    log_cost, seen = np.log(table.cost), len(scores[challenger])
    means = {one: float(np.mean(scores[one][:seen])) for one in (*incumbents, challenger)}

    def distance(one: int) -> float:
        further = abs(log_cost[one] - log_cost[challenger]) / np.ptp(log_cost)
        return float(abs(means[one] - means[challenger]) + further)

    near = min(incumbents, key=distance)
    return bool(means[near] >= means[challenger] and log_cost[near] <= log_cost[challenger])


def _pruned(population: list[int], incumbents: list[int], scores: dict[int, list[float]]) -> list[int]:
    """The incumbents, filled up to ten with the others that were measured most."""
    others = [one for one in population if one not in incumbents]
    others.sort(key=lambda one: -len(scores[one]))
    return [*incumbents, *others[: max(0, POPULATION - len(incumbents))]]


def _offspring(replay: Replay, parents: list[int], random: np.random.Generator) -> int:
    """A crossover of two parents' choices, with one choice mutated."""
    table = replay.table
    one, two = (table.places[parent] for parent in random.choice(parents, 2).tolist())
    model = int(table.model[random.choice(parents)])
    mixed = {part: (one if random.random() < 0.5 else two).get(part) for part in PARTS}
    own = [place for place, other in enumerate(table.model) if other == model]
    part = str(random.choice(PARTS))
    values = sorted({str(table.places[place].get(part)) for place in own})
    changed = str(random.choice(values))

    def unlike(place: int) -> tuple[int, float]:
        theirs = table.places[place]
        wanted = {name: str(value) for name, value in mixed.items()} | {part: changed}
        return sum(str(theirs.get(name)) != value for name, value in wanted.items()), random.random()

    return min(own, key=unlike)


SEARCHERS: dict[str, Searcher] = {
    "Parity": parity,
    "random search": random_search,
    "TPE": tpe,
    "NSGA-II": nsga2,
    "MIPROv2": mipro,
    "successive halving": halving,
    "CAPO": capo,
    "MO-CAPO": mo_capo,
}
"""Parity's own first, then its peers."""
