"""Intervals and tests: properties that must always hold, and error rates by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizers.frontier.statistics import (
    alpha_spending,
    estimate,
    holm,
    mean_interval,
    noninferiority_p,
    paired_difference,
    wilson,
    worse_with_confidence,
)

binary = st.lists(st.sampled_from([0.0, 1.0]), min_size=2, max_size=80)
graded = st.lists(st.floats(0, 1), min_size=2, max_size=40)
pairs = st.integers(2, 60).flatmap(
    lambda n: st.tuples(
        st.lists(st.sampled_from([0.0, 1.0]), min_size=n, max_size=n),
        st.lists(st.sampled_from([0.0, 1.0]), min_size=n, max_size=n),
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


@given(pairs)
def test_swapping_the_pair_mirrors_the_difference(pair: tuple[list[float], list[float]]) -> None:
    a, b = pair
    difference, low, high = paired_difference(a, b)
    mirrored, other_low, other_high = paired_difference(b, a)
    assert difference == pytest.approx(-mirrored)
    assert (low, high) == pytest.approx((-other_high, -other_low), abs=1e-6)
    assert -1 <= low <= difference + 1e-9
    assert difference - 1e-9 <= high <= 1


def test_the_paired_interval_is_the_inversion_of_its_test() -> None:
    first = [1.0] * 12 + [0.0] * 2 + [1.0] * 36
    second = [0.0] * 12 + [1.0] * 2 + [1.0] * 36
    difference, low, high = paired_difference(first, second)
    assert difference == pytest.approx(0.2)
    # The ends of a 95% interval are where the one-sided test has p = 0.025.
    assert noninferiority_p(first, second, -low) == pytest.approx(0.025, abs=1e-4)
    assert 0.05 < low < 0.08
    assert 0.33 < high < 0.36


@given(pairs, st.floats(0, 0.3), st.floats(0, 0.3))
def test_a_wider_margin_is_easier_to_meet(
    pair: tuple[list[float], list[float]], one: float, two: float
) -> None:
    narrow, wide = sorted((one, two))
    assert noninferiority_p(*pair, wide) <= noninferiority_p(*pair, narrow) + 1e-9


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_only_raises_p_values_and_keeps_their_order(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert all(a >= p for a, p in zip(adjusted, p_values, strict=True))
    assert all(a <= 1 for a in adjusted)
    order = np.argsort(p_values, kind="stable")
    assert np.all(np.diff(np.asarray(adjusted)[order]) >= 0)


def test_spending_never_exceeds_alpha() -> None:
    assert sum(alpha_spending(look, 0.05) for look in range(1, 100_000)) <= 0.05


def test_no_score_at_all_says_nothing() -> None:
    nothing = estimate([], failures=3)
    assert (nothing.n, nothing.low, nothing.high, nothing.failures) == (0, 0.0, 1.0, 3)


def test_graded_scores_are_compared_too() -> None:
    random = np.random.default_rng(0)
    base = random.uniform(0.2, 0.8, 60)
    assert worse_with_confidence(list(base - 0.15), list(base), 0.01)
    assert not worse_with_confidence(list(base), list(base), 0.4)


def test_wilson_covers_at_its_level() -> None:
    random = np.random.default_rng(1)
    covered = 0
    for _ in range(2000):
        truth = random.uniform(0.05, 0.95)
        low, high = wilson(int(random.binomial(200, truth)), 200)
        covered += low <= truth <= high
    assert 0.93 <= covered / 2000 <= 0.97


def test_a_candidate_worse_by_the_margin_is_called_non_inferior_no_oftener_than_allowed() -> None:
    random, margin, n, wrong = np.random.default_rng(2), 0.05, 300, 0
    for _ in range(1000):
        reference = random.random(n) < 0.85
        flips = random.random(n)
        worse = np.where(reference, flips > (margin + 0.05) / 0.85, flips < 0.05 / 0.15)
        wrong += noninferiority_p(worse.astype(float), reference.astype(float), margin) <= 0.05
    # Two standard errors of 1,000 simulations above the nominal 5%.
    assert wrong / 1000 <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 1000)
