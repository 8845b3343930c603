"""The optimism of a chosen winner."""

from __future__ import annotations

import numpy as np
import pytest

from optimizers.results.statistics.optimism import FEWEST_SCORES, selection_optimism


def test_the_optimism_of_many_equals_is_what_their_best_owes_to_luck() -> None:
    random = np.random.default_rng(4)
    true, found = [], []
    for _ in range(40):
        scores = (random.random((60, 200)) < 0.7).astype(float)
        true.append(scores.mean(axis=1).max() - 0.7)
        found.append(selection_optimism(scores, seed=0, resamples=200).optimism)
    assert np.mean(found) == pytest.approx(np.mean(true), abs=0.015)
    assert np.mean(found) > 0.05


def test_a_clear_winner_owes_little_to_luck() -> None:
    random = np.random.default_rng(5)
    shares = np.r_[0.95, np.full(30, 0.6)][:, None]
    scores = (random.random((31, 200)) < shares).astype(float)
    assert abs(selection_optimism(scores, seed=0).optimism) < 0.01


def test_short_measurements_and_examples_nobody_ran_take_no_part() -> None:
    scores = np.full((3, 100), np.nan)
    scores[0, :60] = np.tile([1.0, 0.0], 30)
    scores[1, 10:70] = np.tile([1.0, 1.0, 0.0], 20)
    scores[2, : FEWEST_SCORES - 1] = 1.0
    found = selection_optimism(scores, seed=0)
    assert (found.candidates, found.examples) == (2, 70)


def test_nothing_to_choose_from_is_no_optimism() -> None:
    alone = selection_optimism(np.ones((1, 60)), seed=0)
    assert (alone.optimism, alone.candidates) == (0.0, 1)
    assert selection_optimism(np.empty((0, 0)), seed=0).examples == 0


def test_the_same_seed_gives_the_same_estimate() -> None:
    scores = (np.random.default_rng(6).random((20, 80)) < 0.5).astype(float)
    assert selection_optimism(scores, seed=1) == selection_optimism(scores, seed=1)
