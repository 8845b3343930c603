"""What to do next, on a board as the search has it."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from fakes import LARGE, SMALL, candidate, rollouts

from optimizers.records.budget import Budget
from optimizers.records.rows import Block
from optimizers.search.model.observations import Board, Standing
from optimizers.search.model.proposed import proposals
from optimizers.search.model.selection import Outlook, outlook, scarce
from optimizers.search.space.initial_design import Choices, few_shot_starts
from optimizers.search.space.search_space import SearchSpace, search_space
from optimizers.task.task import LoadedTask

SIZES = [10] * 8


@pytest.fixture
def space(task: LoadedTask) -> SearchSpace:
    return search_space(task)


@pytest.fixture
def board(space: SearchSpace) -> Board:
    return Board(prefixes=[space.prefix(model) for model in space.models])


def measured(board: Board, choices: Choices, right: int, *, blocks: int = 1, cost: float = 1e-6) -> Standing:
    entered = candidate(str(choices["model"]), str(sorted(choices.items())))
    standing = board.enter(entered, choices)
    for _ in range(blocks):
        board.add(standing, Block.of(rollouts(entered, [1.0] * right + [0.0] * (10 - right), cost=cost)))
    return standing


def test_the_first_candidate_is_a_new_one(board: Board, space: SearchSpace) -> None:
    new = few_shot_starts(space, 1)
    found = outlook(board, SIZES, "calls", new)
    assert found.is_new_better
    assert best_new(found) in new
    assert found.best_known is None


def best_new(found: Outlook, model: str | None = None) -> Choices:
    place = found.best_new(model)
    assert place is not None
    return found.choices(place)


def test_a_known_candidate_is_run_again_where_that_decides_more(board: Board, space: SearchSpace) -> None:
    few, more = (few_shot_starts(space, size)[0] for size in (1, 4))
    first = measured(board, few, 8)
    close = measured(board, more, 8, cost=2e-6)
    found = outlook(board, SIZES, "calls")
    assert found.best_new() is None
    assert found.best_known is not None
    assert found.gains[found.best_known] > 0
    standing = found.known[found.best_known]
    for _ in range(7):
        board.add(standing, standing.blocks[0])
    after = outlook(board, SIZES, "calls")
    assert after.best_known is not None
    other = after.known[after.best_known]
    assert {id(standing), id(other)} == {id(first), id(close)}


@pytest.mark.parametrize("right", range(11))
def test_a_candidate_with_blocks_left_can_always_run_one(
    board: Board, space: SearchSpace, right: int
) -> None:
    measured(board, few_shot_starts(space, 4)[0], right)
    assert outlook(board, SIZES, "calls").best_known == 0


def test_what_is_like_the_best_is_proposed_before_what_is_like_the_worst(
    board: Board, space: SearchSpace
) -> None:
    none, few, many = (few_shot_starts(space, size)[0] for size in (0, 1, 4))
    measured(board, none, 1, blocks=3)
    measured(board, few, 6, blocks=3)
    leader = measured(board, many, 9, blocks=3)
    new = proposals(space, [leader.choices or {}], board.chosen, Random(0))
    found = outlook(board, SIZES, "calls", new)
    name = next(name for name in many if name.endswith(".demos"))
    assert best_new(found).get(name, 1) > 0
    assert best_new(found, LARGE.name)["model"] == LARGE.name


def test_what_runs_at_the_same_time_is_not_all_one_question(board: Board, space: SearchSpace) -> None:
    few, more = (few_shot_starts(space, size)[0] for size in (1, 4))
    measured(board, few, 7, blocks=2)
    measured(board, more, 7, blocks=2)
    new = proposals(space, [few, more], board.chosen, Random(0))
    found = outlook(board, SIZES, "calls", new)
    first = found.best_new()
    assert first is not None
    beside = found.beside(first)
    second = beside.best_new()
    assert second is not None
    assert second != first
    assert beside.prospects.done[first] == 1
    assert beside.belief.quality == pytest.approx(found.belief.quality)
    spreads = [np.diag(outlook.belief.covariance) for outlook in (found, beside)]
    assert np.all(spreads[1] <= spreads[0] + 1e-12)
    assert spreads[1][first] < spreads[0][first]
    assert beside.gains[second] <= found.gains[first]


def test_quality_leans_on_what_is_known_of_others_and_a_long_measurement_stands(
    board: Board, space: SearchSpace
) -> None:
    for model in (SMALL, LARGE):
        starts = [c for size in (1, 4) for c in few_shot_starts(space, size) if c["model"] == model.name]
        for choices in starts:
            measured(board, choices, 5, blocks=4)
    lucky = measured(board, {**few_shot_starts(space, 8)[0]}, 10)
    assert 0.5 < board.quality(lucky) < 0.95
    for _ in range(30):
        board.add(lucky, lucky.blocks[0])
    assert board.quality(lucky) == pytest.approx(1.0, abs=0.03)


def test_variances_are_those_of_the_scores_up_to_a_certain_number(board: Board, space: SearchSpace) -> None:
    """So that whoever takes up a study believes the same."""
    choices = [c for size in (0, 1, 2, 4, 8) for c in few_shot_starts(space, size)]
    standings = [measured(board, one, 3 + place % 5) for place, one in enumerate(choices)]
    alike = board.features_of(standings)
    first = dict(board.variances(alike))
    again = Board(prefixes=board.prefixes)
    for standing in standings:
        again.enter(standing.candidate, standing.choices)
    for standing, number in board.ran:
        again.add(again.standings[standing.candidate.id], standing.blocks[number])
    assert dict(again.variances(alike)) == first


@pytest.mark.parametrize("costs", [(0.0, 0.0), (0.0, 1e-6)])
def test_what_is_free_can_be_searched(board: Board, space: SearchSpace, costs: tuple[float, float]) -> None:
    few, more = (few_shot_starts(space, size)[0] for size in (1, 4))
    for choices, cost in zip((few, more), costs, strict=True):
        measured(board, choices, 7, cost=cost)
    found = outlook(board, SIZES, "dollars", proposals(space, [few], board.chosen, Random(0)))
    assert np.isfinite(found.gains).all()
    assert found.gains.max() > 0


@pytest.mark.parametrize(
    ("budget", "unit"),
    [
        (Budget(trials=40), "calls"),
        (Budget(dollars=1.0, trials=10), "dollars"),
        (Budget(tokens=1000), "tokens"),
        (Budget(calls=100, seconds=60), "calls"),
    ],
)
def test_what_the_budget_limits_is_what_a_block_costs(budget: Budget, unit: str) -> None:
    assert scarce(budget) == unit


def test_of_each_model_the_candidate_that_may_be_its_best_is_hopeful(
    board: Board, space: SearchSpace
) -> None:
    (small, large), (small_more, large_more) = (few_shot_starts(space, size)[:2] for size in (1, 4))
    well_known = measured(board, small, 8, blocks=7)
    hardly_known = measured(board, small_more, 8)
    bad, done = measured(board, large, 3), measured(board, large_more, 10, blocks=len(SIZES))
    found = outlook(board, SIZES, "calls")
    hopeful = [found.known[place] for place in found.hopeful]
    assert hardly_known in hopeful
    assert well_known not in hopeful
    # The large model's best has run all blocks, and the other one is not expected to come near it.
    assert bad not in hopeful
    assert done not in hopeful


def test_nobody_is_hopeful_where_all_blocks_are_run(board: Board, space: SearchSpace) -> None:
    for choices in few_shot_starts(space, 1):
        measured(board, choices, 8, blocks=len(SIZES))
    assert outlook(board, SIZES, "calls").hopeful == []
