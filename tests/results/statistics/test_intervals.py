"""Intervals of a mean and clustered errors: what must always hold, and published values."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizers.results.statistics.intervals import (
    clustered_error,
    estimate,
    group_codes,
    holm,
    mean_interval,
    unpaired_difference,
    wilson,
)

binary = st.lists(st.sampled_from([0.0, 1.0]), min_size=2, max_size=80)
graded = st.lists(st.floats(0, 1), min_size=2, max_size=40)
grouped = st.one_of(binary, graded).flatmap(
    lambda scores: st.tuples(
        st.just(scores), st.lists(st.sampled_from("abcd"), min_size=len(scores), max_size=len(scores))
    )
)


def test_wilson_matches_a_published_value() -> None:
    # 81 of 263: Newcombe (1998), Statistics in Medicine 17, table I.
    low, high = wilson(81, 263)
    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)


@given(st.one_of(binary, graded))
def test_an_interval_holds_its_mean_and_never_has_zero_width(scores: list[float]) -> None:
    low, high = mean_interval(scores)
    mean = float(np.mean(scores))
    assert 0 <= low <= mean + 1e-12
    assert mean - 1e-12 <= high <= 1
    assert high - low > 0


@given(grouped)
def test_an_interval_of_grouped_scores_holds_its_mean_too(drawn: tuple[list[float], list[str]]) -> None:
    scores, groups = drawn
    low, high = mean_interval(scores, groups=groups)
    mean = float(np.mean(scores))
    assert 0 <= low <= mean + 1e-9
    assert mean - 1e-9 <= high <= 1
    assert high - low > 0


@given(st.one_of(binary, graded))
def test_groups_of_one_change_nothing(scores: list[float]) -> None:
    alone = [str(index) for index in range(len(scores))]
    assert mean_interval(scores, groups=alone) == mean_interval(scores)


def test_the_clustered_error_is_that_of_the_group_means_when_groups_are_alike() -> None:
    # Equal sizes: the error of the G group means, s / sqrt(G), s with G - 1 in the denominator.
    means = [0.2, 0.4, 0.9, 0.5]
    scores = np.repeat(means, 5)
    codes = group_codes([name for name in "abcd" for _ in range(5)], 20)
    assert codes is not None
    error, count = clustered_error(scores, codes)
    assert count == 4
    assert error == pytest.approx(float(np.std(means, ddof=1)) / math.sqrt(4))


def test_copies_of_an_answer_are_no_further_evidence() -> None:
    scores = [1.0, 1.0, 0.0, 1.0, 0.0, 1.0, 1.0, 1.0, 0.0, 1.0] * 3
    names = [str(index) for index in range(30)]
    low, high = mean_interval(scores)
    wide_low, wide_high = mean_interval(
        [s for s in scores for _ in range(10)], groups=[n for n in names for _ in range(10)]
    )
    assert wide_low == pytest.approx(low, abs=0.015)
    assert wide_high == pytest.approx(high, abs=0.015)


def test_one_group_alone_says_nothing() -> None:
    assert mean_interval([1.0, 0.0, 1.0], groups=["a"] * 3) == (0.0, 1.0)


def test_every_score_needs_its_group() -> None:
    with pytest.raises(ValueError, match="2 groups for 3 scores"):
        estimate([1.0, 0.0, 1.0], groups=["a", "b"])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_only_raises_p_values_and_keeps_their_order(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert all(a >= p for a, p in zip(adjusted, p_values, strict=True))
    assert all(a <= 1 for a in adjusted)
    order = np.argsort(p_values, kind="stable")
    assert np.all(np.diff(np.asarray(adjusted)[order]) >= 0)


def test_no_score_at_all_says_nothing() -> None:
    nothing = estimate([], failures=3)
    assert (nothing.n, nothing.low, nothing.high, nothing.failures) == (0, 0.0, 1.0, 3)


def test_coverage_is_the_share_that_got_a_score() -> None:
    assert estimate([1.0, 0.0, 1.0], failures=1).coverage == 0.75
    assert estimate([], failures=3).coverage == 0.0
    assert estimate([]).coverage == 1.0


def test_the_unpaired_difference_is_newcombes() -> None:
    # Newcombe, Statistics in Medicine 17, 1998, table II, example (a), method 10: 56/70 against 48/80.
    a, b = estimate([1.0] * 56 + [0.0] * 14), estimate([1.0] * 48 + [0.0] * 32)
    difference, low, high = unpaired_difference(a, b)
    assert difference == pytest.approx(0.2)
    assert (low, high) == pytest.approx((0.0524, 0.3339), abs=5e-5)
    assert unpaired_difference(b, a) == pytest.approx((-difference, -high, -low))
