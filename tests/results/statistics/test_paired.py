"""Paired comparisons: properties that must always hold; evidence; sampling noise."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizers.results.statistics.paired import (
    examples_to_settle,
    noise_floor,
    noninferiority_p,
    paired_difference,
)

pairs = st.integers(2, 60).flatmap(
    lambda n: st.tuples(
        st.lists(st.sampled_from([0.0, 1.0]), min_size=n, max_size=n),
        st.lists(st.sampled_from([0.0, 1.0]), min_size=n, max_size=n),
    )
)


def grouped(n: int, size: int) -> list[str]:
    return [str(index // size) for index in range(n)]


@given(pairs)
def test_swapping_the_pair_mirrors_the_difference(pair: tuple[list[float], list[float]]) -> None:
    a, b = pair
    difference, low, high = paired_difference(a, b)
    mirrored, other_low, other_high = paired_difference(b, a)
    assert difference == pytest.approx(-mirrored)
    assert (low, high) == pytest.approx((-other_high, -other_low), abs=1e-6)
    assert -1 <= low <= difference + 1e-9
    assert difference - 1e-9 <= high <= 1


@given(pairs, st.integers(2, 5))
def test_grouped_pairs_mirror_too_and_keep_their_interval_within_bounds(
    pair: tuple[list[float], list[float]], size: int
) -> None:
    a, b = pair
    groups = grouped(len(a), size)
    difference, low, high = paired_difference(a, b, groups=groups)
    _, other_low, other_high = paired_difference(b, a, groups=groups)
    assert (low, high) == pytest.approx((-other_high, -other_low), abs=1e-6)
    assert -1 <= low <= difference + 1e-9
    assert difference - 1e-9 <= high <= 1


@given(pairs)
def test_groups_of_one_change_nothing(pair: tuple[list[float], list[float]]) -> None:
    alone = grouped(len(pair[0]), 1)
    assert paired_difference(*pair, groups=alone) == paired_difference(*pair)
    assert noninferiority_p(*pair, 0.05, groups=alone) == noninferiority_p(*pair, 0.05)


def test_the_paired_interval_is_the_inversion_of_its_test() -> None:
    first = [1.0] * 12 + [0.0] * 2 + [1.0] * 36
    second = [0.0] * 12 + [1.0] * 2 + [1.0] * 36
    difference, low, high = paired_difference(first, second)
    assert difference == pytest.approx(0.2)
    # The ends of a 95% interval are where the one-sided test has p = 0.025.
    assert noninferiority_p(first, second, -low) == pytest.approx(0.025, abs=1e-4)
    assert 0.05 < low < 0.08
    assert 0.33 < high < 0.36


def test_the_grouped_interval_is_the_inversion_of_its_test() -> None:
    random = np.random.default_rng(5)
    first, second = (random.random(200) < share for share in (0.9, 0.8))
    groups = grouped(200, 4)
    _, low, _ = paired_difference(first.tolist(), second.tolist(), groups=groups)
    assert noninferiority_p(first.tolist(), second.tolist(), -low, groups=groups) == pytest.approx(
        0.025, abs=1e-4
    )


@given(pairs, st.floats(0, 0.3), st.floats(0, 0.3))
def test_a_wider_margin_is_easier_to_meet(
    pair: tuple[list[float], list[float]], one: float, two: float
) -> None:
    narrow, wide = sorted((one, two))
    assert noninferiority_p(*pair, wide) <= noninferiority_p(*pair, narrow) + 1e-9


def test_a_group_that_repeats_itself_does_not_make_a_match() -> None:
    first, second = [1.0] * 45 + [0.0] * 5, [1.0] * 45 + [0.0] * 5
    first[0], second[1] = 0.0, 0.0
    once = noninferiority_p(first, second, 0.05)
    copies = [s for s in first for _ in range(20)], [s for s in second for _ in range(20)]
    assert noninferiority_p(*copies, 0.05) < 0.001
    assert noninferiority_p(*copies, 0.05, groups=grouped(1000, 20)) == pytest.approx(once, abs=0.02)


def test_one_group_alone_shows_nothing() -> None:
    same = [1.0] * 50
    assert noninferiority_p(same, same, 0.1, groups=["a"] * 50) == 1.0
    assert paired_difference(same, same, groups=["a"] * 50) == (0.0, -1.0, 1.0)


def test_two_equal_candidates_need_as_many_more_examples_as_the_score_test_asks_for() -> None:
    same = [1.0] * 50
    # No pair differs: z^2 (1 - margin) / margin, and nothing varies that power would need.
    needed = math.ceil(1.6449**2 * 0.98 / 0.02)
    more = examples_to_settle(same, same, 0.02, level=0.05)
    assert more == needed - 50
    assert noninferiority_p([1.0] * needed, [1.0] * needed, 0.02) <= 0.05
    assert noninferiority_p([1.0] * (needed - 1), [1.0] * (needed - 1), 0.02) > 0.05


@pytest.mark.parametrize("sign", [1, -1])
def test_the_nearer_the_difference_to_the_margin_the_more_examples_settle_it(sign: int) -> None:
    def more(losses: int) -> int:
        # 10 wins of 500, and losses about 20: a difference about the margin of 0.02.
        own = [1.0] * 10 + [0.0] * losses + [1.0] * (490 - losses)
        theirs = [0.0] * 10 + [1.0] * 490
        found = examples_to_settle(own, theirs, 0.02, level=0.05)
        assert found is not None
        return found

    far, near, nearest = (more(20 - sign * off) for off in (5, 3, 1))
    assert far < near < nearest


def test_a_difference_on_the_margin_is_settled_by_no_number() -> None:
    own = [0.0] * 5 + [1.0] * 95
    assert examples_to_settle(own, [1.0] * 100, 0.05, level=0.05) is None
    assert examples_to_settle([1.0], [1.0], 0.05, level=0.05) is None


def test_a_stricter_level_and_groups_ask_for_more() -> None:
    random = np.random.default_rng(3)
    own, theirs = ((random.random(100) < 0.8).repeat(2).astype(float).tolist() for _ in range(2))
    plain = examples_to_settle(own, theirs, 0.1, level=0.05)
    strict = examples_to_settle(own, theirs, 0.1, level=0.01)
    clustered = examples_to_settle(own, theirs, 0.1, level=0.05, groups=grouped(200, 2))
    assert plain is not None
    assert strict is not None
    assert clustered is not None
    assert plain < strict
    assert plain < clustered


def test_the_noise_floor_of_a_candidate_that_changes_its_mind() -> None:
    floor = noise_floor([1.0, 1.0, 0.0, 0.0], [1.0, 0.0, 1.0, 0.0])
    assert (floor.n, floor.changed, floor.difference) == (4, 0.5, 0.5)
    # Differences 0, -1, 1, 0: deviation sqrt(2 / 3), over sqrt(2 * 4).
    assert floor.error == pytest.approx(math.sqrt(2 / 3 / 8))
    same = noise_floor([1.0, 0.0], [1.0, 0.0])
    assert (same.changed, same.difference, same.error) == (0, 0, 0)


def test_noise_cannot_be_told_from_one_example() -> None:
    with pytest.raises(ValueError, match="two examples"):
        noise_floor([1.0], [0.0])
