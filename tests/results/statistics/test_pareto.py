"""The frontier and its hypervolume, against brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizers.results.statistics.pareto import hypervolume, non_dominated, thin

points = st.lists(
    st.tuples(st.integers(0, 6).map(lambda q: q / 6), st.integers(1, 6).map(float)), max_size=14
)


@given(points)
def test_what_is_kept_is_what_nothing_beats(drawn: list[tuple[float, float]]) -> None:
    quality, cost = [q for q, _ in drawn], [c for _, c in drawn]
    kept = non_dominated(quality, cost)
    for index, (q, c) in enumerate(drawn):
        beaten = any((p > q and d <= c) or (p >= q and d < c) for p, d in drawn)
        repeated = (q, c) in drawn[:index]
        assert kept[index] == (not beaten and not repeated)


@given(points.filter(bool))
def test_hypervolume_grows_with_points_and_stays_within_bounds(drawn: list[tuple[float, float]]) -> None:
    quality, cost = [q for q, _ in drawn], [c for _, c in drawn]
    fewer = hypervolume(quality[:-1], cost[:-1], best_cost=1.0, worst_cost=6.0)
    more = hypervolume(quality, cost, best_cost=1.0, worst_cost=6.0)
    assert 0 <= fewer <= more + 1e-12
    assert more <= 1 + 1e-12


def test_hypervolume_of_one_point_is_its_rectangle() -> None:
    # Half way down from 100 to 1 on a log scale, at quality 0.8.
    assert hypervolume([0.8], [10.0], best_cost=1.0, worst_cost=100.0) == pytest.approx(0.4)


def test_no_point_covers_nothing() -> None:
    assert hypervolume([], [], best_cost=1.0, worst_cost=2.0) == 0.0
    assert np.array_equal(non_dominated([], []), np.zeros(0, dtype=bool))


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(1e-6, 1)), min_size=1, max_size=12), st.integers(1, 12))
def test_thinning_keeps_as_many_as_asked_of_the_points_there_are(
    points: list[tuple[float, float]], most: int
) -> None:
    quality, cost = zip(*points, strict=True)
    kept = thin(quality, cost, most)
    assert len(kept) == min(most, len(points))
    assert set(kept) <= set(range(len(points)))


def test_thinning_drops_near_equals_and_keeps_the_ends() -> None:
    quality = [0.30, 0.31, 0.60, 0.61, 0.90]
    cost = [1e-6, 1.05e-6, 1e-5, 1.05e-5, 1e-4]
    kept = thin(quality, cost, 3)
    assert [round(quality[i], 1) for i in kept] == [0.3, 0.6, 0.9]
