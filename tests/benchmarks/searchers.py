"""Ways to search a table: Parity's own, and those of its peers, written from their papers and sources."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, cast

import numpy as np
import optuna
from benchmarks.replay import PARTS, Book, Searcher, Table, frontier, row_of
from scipy import stats

from optimizers.search.loop import SEARCH_SHARE, Search
from optimizers.search.model.observations import ObservationStore
from optimizers.search.space.initial_design import Choices, FixedChoices

BLOCK = 10


def parity(book: Book, random: np.random.Generator) -> Generator[list[int], None, None]:
    """The shipped search: its trials, then settling."""
    yield from carried_on(begun(book, random), book)


def begun(book: Book, random: np.random.Generator) -> Search:
    """The shipped search, before its first trial."""
    table = book.table
    observations = ObservationStore(prefixes=table.models)
    order = random.permutation(table.dev.shape[1])
    blocks = [tuple(order[start : start + BLOCK].tolist()) for start in range(0, len(order), BLOCK)]
    seed = int(random.integers(2**31))
    # A book and a grid have of a measurer and a space what the search asks of them.
    search = Search(observations, cast("Any", book), cast("Any", blocks), seed)
    search.begin(cast("Any", table.space), _starts(book), 0)
    return search


def carried_on(search: Search, book: Book) -> Generator[list[int], None, None]:
    """Spend what the book has left; a search may be carried on again when its book gets more."""
    observations = search.observations
    position = len(observations.stats)
    while (share := book.used / book.budget / SEARCH_SHARE) < 1:
        finished, spent = search.trials(position, None, share)
        position += len(finished)
        if spent is not None:
            raise spent
        yield [row_of(stats.candidate) for stats in observations.frontier()]
    while search.refine(is_paid=True) < 1:
        yield [row_of(stats.candidate) for stats in observations.frontier()]


def _starts(book: Book) -> list[Choices]:
    """Each model's fewest demos, half of its most, and none, the rest as the grid has it first.

    A study begins with the same, and with two drawn candidates of each model beside.
    """
    found = []
    for model, values in book.table.space._values.items():
        few = [n for n in values["demos"] if n]
        for demos in (*few[:1], few[len(few) // 2], 0):
            chooser = FixedChoices({"model": model, f"{model}.answer.demos": demos})
            book.table.space.decided(chooser)
            found.append(chooser.made)
    return found


def random_search(book: Book, random: np.random.Generator) -> Generator[list[int], None, None]:
    """Candidates drawn at random, each measured on the whole dev set."""
    table, known = book.table, {}
    every = range(table.dev.shape[1])
    for candidate in random.permutation(len(table.places)).tolist():
        known[candidate] = float(book.buy(candidate, every).mean())
        yield frontier(table, known)


def tpe(book: Book, random: np.random.Generator) -> Generator[list[int], None, None]:
    """Optuna's TPE on two objectives, each candidate measured on the whole dev set."""
    seed = int(random.integers(2**31))
    sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True, group=True)
    yield from _optuna(book, sampler)


def nsga2(book: Book, random: np.random.Generator) -> Generator[list[int], None, None]:
    """Optuna's NSGA-II with ten candidates a generation, each measured on the whole dev set."""
    yield from _optuna(
        book, optuna.samplers.NSGAIISampler(population_size=10, seed=int(random.integers(2**31)))
    )


def _optuna(book: Book, sampler: optuna.samplers.BaseSampler) -> Generator[list[int], None, None]:
    table, known = book.table, {}
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
    while True:
        trial = study.ask()
        candidate = table.space.number(trial)
        if candidate not in known:
            known[candidate] = float(book.buy(candidate, range(table.dev.shape[1])).mean())
        study.tell(trial, [known[candidate], float(np.log(table.cost[candidate]))])
        yield frontier(table, known)


def mipro(book: Book, random: np.random.Generator) -> Generator[list[int], None, None]:
    """MIPROv2: the default on all, then TPE on minibatches of 35; every 5th, the best mean runs on all.

    What was bought is free, as DSPy's cache makes it. The program that it returns is one measured on
    all; so that it has a frontier early, candidates with minibatches alone stand in it by their means.
    """
    table, every = book.table, range(book.table.dev.shape[1])
    sampler = optuna.samplers.TPESampler(seed=int(random.integers(2**31)), multivariate=True)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    reference = table.models[-1]
    default = FixedChoices({"model": reference, f"{reference}.answer.demos": 0})
    table.space.decided(default)
    study.enqueue_trial(default.made)
    small: dict[int, list[float]] = {}
    full: dict[int, float] = {}
    trials: dict[int, optuna.trial.FrozenTrial] = {}
    for number in range(100_000):
        trial = study.ask()
        candidate = table.space.number(trial)
        batch = every if number == 0 else random.choice(len(every), min(35, len(every)), replace=False)
        score = float(book.buy(candidate, list(batch)).mean())
        trials[candidate] = study.tell(trial, score)
        if number == 0:
            full[candidate] = score
        else:
            small.setdefault(candidate, []).append(score)
        left = [known for known in small if known not in full]
        if number and number % 5 == 0 and left:
            best = max(left, key=lambda known: np.mean(small[known]))
            full[best] = float(book.buy(best, every).mean())
            params, kinds = trials[best].params, trials[best].distributions
            study.add_trial(optuna.trial.create_trial(params=params, distributions=kinds, value=full[best]))
        yield frontier(table, {known: float(np.mean(means)) for known, means in small.items()} | full)


def halving(book: Book, random: np.random.Generator) -> Generator[list[int], None, None]:
    """Successive halving, 27 candidates a bracket on 11, 33 and all examples; layers of dominance decide."""
    table = book.table
    known: dict[int, float] = {}
    order = random.permutation(table.dev.shape[1]).tolist()
    while True:
        pool = random.choice(len(table.places), min(27, len(table.places)), replace=False).tolist()
        for rung in (11, 33, len(order)):
            for candidate in pool:
                known[candidate] = float(book.buy(candidate, order[:rung]).mean())
                yield frontier(table, known)
            pool = _layers(book, {one: known[one] for one in pool}, max(1, len(pool) // 3))


def _layers(book: Book, means: dict[int, float], keep: int) -> list[int]:
    """The candidates of the first fronts, so many of them."""
    left = dict(means)
    chosen: list[int] = []
    while left and len(chosen) < keep:
        front = frontier(book.table, left)
        chosen += sorted(front, key=lambda one: -means[one])[: keep - len(chosen)]
        left = {one: mean for one, mean in left.items() if one not in front}
    return chosen


def capo(book: Book, random: np.random.Generator) -> Generator[list[int], None, None]:
    """CAPO: ten candidates and their offspring race block by block, paired t-tests at 0.2 (AutoML 2025).

    Scores have its penalty of 0.05 for the longest prompt, by cost in place of length.
    """
    table, survivors = book.table, 10
    order = random.permutation(table.dev.shape[1]).tolist()
    turns = [order[start : start + 30] for start in range(0, len(order) - 9, 30)]
    penalty = 0.05 * table.cost / table.cost.max()
    known: dict[int, float] = {}
    population = random.choice(len(table.places), min(survivors, len(table.places)), replace=False).tolist()
    while True:
        born = [_offspring(book, population, random) for _ in range(4)]
        racing = list(dict.fromkeys([*population, *born]))
        seen: list[int] = []
        for turn in turns:
            seen += turn
            scores = {}
            for candidate in racing:
                scores[candidate] = book.buy(candidate, seen)
                known[candidate] = float(scores[candidate].mean())
                yield frontier(table, {one: known[one] for one in racing if one in known})
            punished = {one: found - penalty[one] for one, found in scores.items()}
            beaten = {one: _beaten_by(punished, one) for one in racing}
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


def mo_capo(book: Book, random: np.random.Generator) -> Generator[list[int], None, None]:
    """MO-CAPO, after promptolution's Capoeira: a budgeted race of two objectives among ten candidates.

    Those of the ten that are not dominated are the incumbents. A challenger runs the blocks that all
    incumbents have run, until the incumbent nearest to it dominates it; then the incumbent that was
    measured least runs one block more. More than ten are pruned, the least measured first.
    """
    table = book.table
    order = random.permutation(table.dev.shape[1]).tolist()
    turns = [order[start : start + BLOCK] for start in range(0, len(order), BLOCK)]
    scores: dict[int, list[float]] = {}

    def run(candidate: int) -> None:
        turn = turns[len(scores.setdefault(candidate, [])) // BLOCK]
        scores[candidate] += book.buy(candidate, turn).tolist()

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
        challenger = _offspring(book, parents, random)
        if random.random() < EXPLORED or challenger in scores:
            challenger = int(random.integers(len(table.places)))
        if challenger not in scores:
            common = min(len(scores[one]) for one in incumbents)
            stands = True
            while stands and len(scores.get(challenger, [])) < common:
                run(challenger)
                stands = not _dominated(table, scores, challenger, incumbents)
                yield list(incumbents)
            population.append(challenger)
            if stands:
                incumbents = front([*incumbents, challenger])
            population = _pruned(population, incumbents, scores)
        least = min(incumbents, key=lambda one: len(scores[one]))
        if len(scores[least]) < len(order):
            run(least)
            incumbents = front(incumbents)
        yield list(incumbents)


POPULATION = 10
"""Candidates that a budgeted race keeps, incumbents and others."""

EXPLORED = 0.3
"""Share of a budgeted race's challengers that are drawn at random."""


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
    """The incumbents, and the others that were measured most, ten in all where incumbents leave room."""
    others = [one for one in population if one not in incumbents]
    others.sort(key=lambda one: -len(scores[one]))
    return [*incumbents, *others[: max(0, POPULATION - len(incumbents))]]


def _offspring(book: Book, parents: list[int], random: np.random.Generator) -> int:
    """Two parents' choices mixed, and one of them changed."""
    table = book.table
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
