"""Replayed searches: every call is counted, and Parity needs fewer than peers on a structured table."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks.race import STEP, calls_to
from benchmarks.replay import Replay, Table, play
from benchmarks.searchers import SEARCHERS

from optimizers.errors import BudgetSpent

MODELS = ("small", "large")


def made_up(seed: int) -> Table:
    """Two models whose candidates differ by serving, instruction, number of demos and draw."""
    random = np.random.default_rng(seed)
    hard = random.normal(0, 1, 160)
    places, model, odds, cost = [], [], [], []
    for number in range(len(MODELS)):
        served, told = random.normal(0, 0.7, 2), random.normal(0, 0.4, 3)
        for serving in range(2):
            for instruction in range(3):
                for demos in (0, 1, 4):
                    for draw in range(3 if demos else 1):
                        place = {"serving": str(serving), "instruction": str(instruction), "demos": demos}
                        places.append(place | ({"draw": draw} if demos else {}))
                        model.append(number)
                        luck = random.normal(0, 0.4) if demos else -1.0
                        odds.append(0.5 * number + served[serving] + told[instruction] + demos / 4 + luck)
                        cost.append((1 + number) * (30 + 25 * demos + 10 * instruction) * 1e-7)
    right = 1 / (1 + np.exp(-(np.array(odds)[:, None] + hard)))
    scores = (random.random(right.shape) < right).astype(float)
    count = len(places)
    return Table(
        task="made up",
        models=MODELS,
        model=np.array(model),
        places=tuple(places),
        dev=scores[:, :80],
        test=scores[:, 80:],
        cost=np.array(cost),
        calls=np.ones(count, dtype=int),
    )


@pytest.fixture(scope="module")
def table() -> Table:
    return made_up(0)


@pytest.mark.parametrize("name", SEARCHERS)
def test_a_searcher_keeps_its_budget_and_returns_measured_candidates(name: str, table: Table) -> None:
    run = play(SEARCHERS[name], table, 400, seed=1)
    assert 300 <= run.used[-1] <= 400
    assert list(run.used) == sorted(run.used)
    assert 0 < run.covered[-1] <= table.covered(range(len(table.places)))
    assert set(run.chosen) <= set(range(len(table.places)))


@pytest.mark.parametrize("name", ["Parity", "TPE"])
def test_the_same_seed_runs_the_same_search(name: str, table: Table) -> None:
    one, two = (play(SEARCHERS[name], table, 300, seed=2) for _ in range(2))
    assert one.chosen == two.chosen
    assert np.array_equal(one.covered, two.covered)


def test_rollouts_bought_before_are_free(table: Table) -> None:
    replay = Replay(table, 25)
    assert replay.buy(3, range(10)).tolist() == table.dev[3, :10].tolist()
    replay.buy(3, range(10))
    assert replay.used == 10
    replay.buy(4, range(10))
    assert replay.used == 20
    with pytest.raises(BudgetSpent):
        replay.buy(5, range(10))
    assert replay.used == 20


def test_parity_covers_with_few_calls_what_peers_need_many_for() -> None:
    tables = [made_up(seed) for seed in range(4)]

    def mean(name: str, calls: int) -> float:
        runs = [play(SEARCHERS[name], one, calls, seed) for seed, one in enumerate(tables)]
        reach = [one.covered(range(len(one.places))) for one in tables]
        return float(np.mean([run.covered[-1] / all_ for run, all_ in zip(runs, reach, strict=True)]))

    peers = [mean(name, 600) for name in ("random search", "TPE", "MO-CAPO")]
    assert mean("Parity", 300) > max(peers)


def test_calls_to_a_level_count_to_its_first_reach() -> None:
    curve = np.array([0.2, 0.6, 0.4, 0.6, 0.7])
    assert calls_to(curve, 0.1) == STEP
    assert calls_to(curve, 0.6) == 2 * STEP
    assert calls_to(curve, 0.8) is None
