"""The posterior of all candidates, given the scores of some."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizers.records.parameters import Parameter
from optimizers.search.model.kernel import Features, features
from optimizers.search.model.posterior import (
    PRIOR_MEAN,
    BlockMeans,
    _condition,
    fit_variances,
    posterior,
    predict_log_costs,
    prior_variances,
)
from optimizers.search.space.parts import MODEL

SIZE, WAY = Parameter("small", "p", "demos"), Parameter("small", "p", "instruction")
PARTS: list[dict[Parameter, Any]] = [
    {MODEL: model, Parameter(model, "p", "instruction"): way, Parameter(model, "p", "demos"): size}
    for model in ("small", "large")
    for way in ("own", "brief")
    for size in (0, 1, 4)
]


@pytest.fixture(scope="module")
def grid() -> Features:
    return features(PARTS)


def scores(*rows: tuple[int, int, float]) -> BlockMeans:
    """Blocks of ten: candidate, block, mean."""
    candidate, block, mean = zip(*rows, strict=True)
    return BlockMeans(np.array(candidate), np.array(block), np.array(mean), np.full(len(rows), 10.0))


def test_without_scores_the_posterior_is_the_prior(grid: Features) -> None:
    nothing = BlockMeans(*(np.zeros(0, dtype=int),) * 2, *(np.zeros(0),) * 2)
    found = posterior(grid, nothing, prior_variances(grid), blocks=3)
    assert found.quality.tolist() == [PRIOR_MEAN] * len(PARTS)


def test_one_block_is_shrunk_and_many_are_not(grid: Features) -> None:
    many = posterior(
        grid, scores(*((0, block, 0.9) for block in range(30))), prior_variances(grid), blocks=30
    )
    one = posterior(grid, scores((0, 0, 0.9)), prior_variances(grid), blocks=30)
    assert many.quality[0] == pytest.approx(0.9, abs=0.03)
    assert PRIOR_MEAN < one.quality[0] < many.quality[0]


def test_scores_of_similar_candidates_count(grid: Features) -> None:
    found = posterior(grid, scores((1, 0, 1.0), (2, 0, 1.0), (0, 0, 0.0)), prior_variances(grid), blocks=3)
    # 3 to 5 are the same with another instruction; 3 has no demos, as the poor one.
    assert found.quality[4] > found.quality[3]
    # The same holds for the other model, with more variance.
    assert found.quality[7] > found.quality[6]
    assert found.covariance[7, 7] > found.covariance[4, 4]


def test_a_hard_block_does_not_lower_quality(grid: Features) -> None:
    easy = [(place, 0, 0.9) for place in range(3)]
    hard = [(place, 1, 0.3) for place in range(3)]
    variances = {**prior_variances(grid), "block": 0.05}
    found = posterior(grid, scores(*easy, *hard, (3, 0, 0.9), (4, 1, 0.3)), variances, blocks=2)
    alone = posterior(grid, scores((3, 0, 0.9), (4, 1, 0.3)), variances, blocks=2)
    assert found.quality[3] - found.quality[4] < alone.quality[3] - alone.quality[4]


@given(
    rows=st.lists(
        st.tuples(st.integers(0, 11), st.integers(0, 4), st.floats(0, 1)),
        min_size=1,
        max_size=30,
        unique_by=lambda row: row[:2],
    ),
    order=st.randoms(use_true_random=False),
)
def test_order_does_not_matter_and_variance_never_grows(
    rows: list[tuple[int, int, float]], order: object
) -> None:
    grid = features(PARTS)
    shuffled = list(rows)
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    one = posterior(grid, scores(*rows), prior_variances(grid), blocks=5)
    two = posterior(grid, scores(*shuffled), prior_variances(grid), blocks=5)
    assert one.quality == pytest.approx(two.quality, abs=1e-8)
    nothing = BlockMeans(*(np.zeros(0, dtype=int),) * 2, *(np.zeros(0),) * 2)
    before = posterior(grid, nothing, prior_variances(grid), blocks=5)
    assert np.all(np.linalg.eigvalsh(one.covariance) > -1e-9)
    assert np.all(np.diag(one.covariance) <= np.diag(before.covariance) + 1e-9)


@given(entries=st.integers(1, 120), seed=st.integers(0, 1000))
def test_both_ways_to_condition_agree(entries: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    root = random.normal(size=(18, 18))
    covariance = 0.01 * root @ root.T + 0.002 * np.eye(18)
    summed = np.stack([random.integers(low, low + 6, entries) for low in (0, 6, 12)])
    noise, off = random.uniform(0.003, 0.05, entries), random.normal(0, 0.3, entries)
    across = covariance[:, summed].sum(axis=1)
    inverse = np.linalg.inv(across[summed].sum(axis=0) + np.diag(noise))
    shift, left = _condition(covariance, summed, noise, off)
    assert shift == pytest.approx(across @ inverse @ off, abs=1e-8)
    assert left == pytest.approx(covariance - across @ inverse @ across.T, abs=1e-9)


def test_variances_follow_the_scores(grid: Features) -> None:
    random = np.random.default_rng(0)
    shown = [place % 3 for place in range(12)]
    rows = [
        (place, block, float(np.clip([0.2, 0.6, 0.9][shown[place]] + random.normal(0, 0.05), 0, 1)))
        for place in range(12)
        for block in range(4)
    ]
    found = fit_variances(grid, scores(*rows))
    demos = found["part p.demos"] + found["part p.shows"]
    assert demos > 10 * found["part p.instruction"]
    assert demos > 2 * (prior_variances(grid)["part p.demos"] + prior_variances(grid)["part p.shows"])


def test_costs_are_predicted_from_choices() -> None:
    tokens = {0: 50.0, 1: 80.0, 4: 170.0}
    rows = [row for row in PARTS if row[MODEL] == "small"]
    known, new = rows[:5], rows[5]
    logs = np.log([[tokens[int(row[SIZE])] * (1.2 if row[WAY] == "brief" else 1)] for row in known])
    found = np.exp(predict_log_costs(features([*known, new]), logs))
    assert found[:5] == pytest.approx(np.exp(logs))
    assert found[5, 0] == pytest.approx(170 * 1.2, rel=0.15)
