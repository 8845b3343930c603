"""Racing: what stops a candidate, and what never may."""

from __future__ import annotations

from collections import Counter

import dspy
import pytest
from fakes import candidate, fill

from optimizers.search.board import Board, Standing
from optimizers.search.racing import BLOCK, blocks, judge


@pytest.fixture
def board() -> Board:
    return Board()


def rival_and_challenger(board: Board, *, rival_cost: float, challenger_cost: float) -> Standing:
    fill(board, candidate("big", "rival"), [1.0] * 60, rival_cost)
    return fill(board, candidate("small", "challenger"), [0.0] * BLOCK, challenger_cost)


def test_a_hopeless_candidate_is_stopped_after_one_block(board: Board) -> None:
    assert judge(rival_and_challenger(board, rival_cost=1.0, challenger_cost=2.0), board) == "eliminate"


def test_a_small_model_is_never_stopped_by_a_dearer_rival(board: Board) -> None:
    assert judge(rival_and_challenger(board, rival_cost=2.0, challenger_cost=1.0), board) == "continue"


def test_an_equal_candidate_goes_on(board: Board) -> None:
    fill(board, candidate("a", "rival"), [1.0, 1.0, 1.0, 0.0] * 15, 1.0)
    challenger = fill(board, candidate("a", "challenger"), [1.0, 1.0, 1.0, 0.0] * 5, 1.5)
    assert judge(challenger, board) == "continue"


def test_many_rivals_that_agree_stop_a_poor_candidate_and_one_lucky_rival_among_many_does_not(
    board: Board,
) -> None:
    fill(board, candidate("a", "lucky"), [1.0] * 60, 1.0)
    for index in range(30):
        fill(board, candidate("a", f"equal {index}"), [1.0] * 4 + [0.0] * 56, 1.0)
    challenger = fill(board, candidate("a", "challenger"), [1.0] * 4 + [0.0] * 6, 1.5)
    assert judge(challenger, board) != "eliminate"
    poor = fill(board, candidate("a", "poor"), [0.0] * 10, 1.5)
    for index in range(30):
        fill(board, candidate("a", f"good {index}"), [1.0] * 60, 1.0)
    assert judge(poor, board) == "eliminate"


def test_judging_twice_says_the_same(board: Board) -> None:
    fill(board, candidate("a", "rival"), [1.0, 1.0, 0.0] * 20, 1.0)
    challenger = fill(board, candidate("a", "challenger"), [0.0, 1.0, 0.0] * 10, 1.5)
    assert judge(challenger, board) == judge(challenger, board)


def test_every_block_holds_its_share_of_every_label() -> None:
    examples = [
        dspy.Example(text=str(index), label="rare" if index % 5 == 0 else "common").with_inputs("text")
        for index in range(100)
    ]
    made = blocks(examples, ["label"], seed=3)
    assert sum(len(block) for block in made) == 100
    for block in made:
        assert Counter(example.label for example in block)["rare"] == 2


def test_the_order_depends_on_the_seed_alone() -> None:
    examples = [dspy.Example(text=str(index)).with_inputs("text") for index in range(50)]
    assert blocks(examples, [], 1) == blocks(examples, [], 1)
    assert blocks(examples, [], 1) != blocks(examples, [], 2)
