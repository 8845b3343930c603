"""Ways to search a table: Parity's own, and those of its peers, written from their papers and sources."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, cast

import numpy as np
import optuna
from benchmarks.replay import PARTS, Book, Searcher, frontier, row_of
from scipy import stats

from optimizers.search.board import Board
from optimizers.search.loop import SEARCHED, Search
from optimizers.starts import Choices, FixedChoices

BLOCK = 10


def parity(book: Book, random: np.random.Generator) -> Generator[list[int], None, None]:
    """The shipped search: an Optuna study in memory, its trials, then settling."""
    table = book.table
    board = Board(prefixes=table.models)
    order = random.permutation(table.dev.shape[1])
    blocks = [tuple(order[start : start + BLOCK].tolist()) for start in range(0, len(order), BLOCK)]
    seed = int(random.integers(2**31))
    # A book and a grid have of a measurer and a space what the search asks of them.
    search = Search(board, cast("Any", book), cast("Any", blocks), seed)
    search.begin(cast("Any", table.space), _starts(book), 0)
    position = 0
    while (share := book.used / book.budget / SEARCHED) < 1:
        finished, spent = search.trials(position, None, share)
        position += len(finished)
        if spent is not None:
            raise spent
        yield [row_of(standing.candidate) for standing in board.frontier()]
    while search.settle(is_paid=True) < 1:
        yield [row_of(standing.candidate) for standing in board.frontier()]


def _starts(book: Book) -> list[Choices]:
    """As every study begins: each model's few-shot prompts, then its plain default."""
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
    """MIPROv2's schedule: TPE on minibatches of 35; every 5 trials the best mean is measured on all."""
    table, every = book.table, range(book.table.dev.shape[1])
    sampler = optuna.samplers.TPESampler(seed=int(random.integers(2**31)), multivariate=True)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    small: dict[int, list[float]] = {}
    full: dict[int, float] = {}
    for number in range(1, 100_000):
        trial = study.ask()
        candidate = table.space.number(trial)
        batch = random.choice(len(every), min(35, len(every)), replace=False)
        score = float(book.buy(candidate, batch.tolist(), again=True).mean())
        small.setdefault(candidate, []).append(score)
        study.tell(trial, score)
        left = [known for known in small if known not in full]
        if number % 5 == 0 and left:
            best = max(left, key=lambda known: np.mean(small[known]))
            full[best] = float(book.buy(best, every, again=True).mean())
        yield frontier(table, full or {known: float(np.mean(means)) for known, means in small.items()})


def halving(book: Book, random: np.random.Generator) -> Generator[list[int], None, None]:
    """Successive halving, 27 candidates a bracket on 11, 33 and all examples; layers of dominance decide."""
    table, full = book.table, {}
    order = random.permutation(table.dev.shape[1]).tolist()
    while True:
        pool = random.choice(len(table.places), min(27, len(table.places)), replace=False).tolist()
        for rung in (11, 33, len(order)):
            means: dict[int, float] = {}
            for candidate in pool:
                means[candidate] = float(book.buy(candidate, order[:rung]).mean())
                if rung == len(order):
                    full[candidate] = means[candidate]
                yield frontier(table, full or means)
            pool = _layers(book, means, max(1, len(pool) // 3))


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
    """CAPO: ten candidates and their offspring race block by block, paired t-tests at 0.2 (AutoML 2025)."""
    table, survivors = book.table, 10
    order = random.permutation(table.dev.shape[1]).tolist()
    turns = [order[start : start + 30] for start in range(0, len(order) - 9, 30)]
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
                means = {one: float(found.mean()) for one, found in scores.items()}
                yield frontier(table, means)
            beaten = {one: _beaten_by(scores, one) for one in racing}
            racing = sorted(racing, key=lambda one: -means[one])
            racing = [one for one in racing if beaten[one] < survivors or one in racing[:survivors]]
            if len(racing) <= survivors:
                break
        population = racing[:survivors]


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
    """A budgeted race of two objectives: a challenger runs the blocks that all incumbents have run.

    After each block it is compared with the incumbent nearest to it; then the incumbent that was
    measured least runs one block more.
    """
    table = book.table
    order = random.permutation(table.dev.shape[1]).tolist()
    turns = [order[start : start + BLOCK] for start in range(0, len(order), BLOCK)]
    log_cost = np.log(table.cost)
    scores: dict[int, list[float]] = {}

    def run(candidate: int) -> None:
        turn = turns[len(scores.setdefault(candidate, [])) // BLOCK]
        scores[candidate] += book.buy(candidate, turn).tolist()

    incumbents = [int(random.integers(len(table.places)))]
    run(incumbents[0])
    while True:
        common = min(len(scores[one]) for one in incumbents)
        parents = (
            incumbents if len(incumbents) > 1 else [*incumbents, int(random.integers(len(table.places)))]
        )
        challenger = _offspring(book, parents, random)
        if random.random() < EXPLORED or challenger in scores:
            challenger = int(random.integers(len(table.places)))
        if challenger not in scores:
            kept = True
            while kept and len(scores.get(challenger, [])) < common:
                run(challenger)
                seen = len(scores[challenger])
                means = {one: float(np.mean(scores[one][:seen])) for one in (*incumbents, challenger)}
                near = min(
                    incumbents,
                    key=lambda one: (
                        abs(means[one] - means[challenger])
                        + abs(log_cost[one] - log_cost[challenger]) / np.ptp(log_cost)
                    ),
                )
                kept = means[near] < means[challenger] or log_cost[near] > log_cost[challenger]
                yield list(incumbents)
            if kept:
                means = {one: float(np.mean(scores[one])) for one in (*incumbents, challenger)}
                incumbents = frontier(table, means)
        least = min(incumbents, key=lambda one: len(scores[one]))
        if len(scores[least]) < len(order):
            run(least)
            incumbents = frontier(table, {one: float(np.mean(scores[one])) for one in incumbents})
        yield list(incumbents)


EXPLORED = 0.3
"""Share of a budgeted race's challengers that are drawn at random."""


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
