"""The board: what is known of each candidate, and who leads."""

from __future__ import annotations

from fakes import candidate, fill

from optimizers.search.model.observations import Board


def test_a_failure_is_tried_but_is_no_wrong_answer() -> None:
    board = Board()
    standing = fill(board, candidate("a", "x"), [1.0, None, 1.0], 1.0)
    assert (standing.n, standing.mean) == (3, 1.0)


def test_luck_in_a_short_measurement_does_not_beat_a_long_one() -> None:
    board = Board()
    lucky = fill(board, candidate("a", "lucky"), [1.0] * 5, 1.0)
    solid = fill(board, candidate("a", "solid"), [1.0] * 90 + [0.0] * 10, 1.0)
    fill(board, candidate("a", "poor"), [0.0, 1.0] * 50, 1.0)
    assert board.quality(solid) > board.quality(lucky)


def test_the_frontier_keeps_what_is_cheap_and_what_is_good() -> None:
    board = Board()
    cheap = fill(board, candidate("a", "cheap"), [1.0, 0.0] * 40, 1.0)
    good = fill(board, candidate("b", "good"), [1.0] * 80, 5.0)
    fill(board, candidate("b", "dominated"), [1.0, 0.0] * 40, 6.0)
    assert {s.candidate.id for s in board.frontier()} == {cheap.candidate.id, good.candidate.id}


def test_where_quality_alone_counts_the_best_leads_alone() -> None:
    board = Board(("quality",))
    cheap = fill(board, candidate("a", "cheap"), [1.0, 0.0] * 40, 1.0)
    good = fill(board, candidate("a", "good"), [1.0] * 80, 5.0)
    fill(board, candidate("a", "dominated"), [1.0, 0.0] * 40, 6.0)
    assert board.frontier() == [good]
    assert board.leaders() == [good]
    assert board.values(cheap) == [board.quality(cheap)]


def test_a_model_off_the_frontier_still_has_its_best_among_the_leaders() -> None:
    board = Board()
    fill(board, candidate("small", "x"), [1.0] * 80, 1.0)
    beaten = fill(board, candidate("big", "y"), [1.0, 0.0] * 40, 9.0)
    assert beaten not in board.frontier()
    assert beaten in board.leaders()
