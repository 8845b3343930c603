"""What a candidate's next block is worth."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizers.search.model.acquisition import AcquisitionInputs, capped, knowledge_gradient, regret
from optimizers.search.model.posterior import Posterior

BLOCKS = 4


def belief(quality: list[float], spread: list[float]) -> Posterior:
    """Candidates that have nothing in common, and blocks that are all alike."""
    count = len(quality)
    size = count + 3 * BLOCKS
    covariance = np.zeros((size, size))
    covariance[range(count), range(count)] = np.square(spread)
    mean = np.zeros(size)
    mean[:count] = quality
    return Posterior(mean, covariance, count, BLOCKS, np.full(count, 0.2))


def prospects(count: int, **changes: Any) -> AcquisitionInputs:
    known: dict[str, Any] = {
        "model": np.zeros(count, dtype=int),
        "costs": np.ones((1, count)),
        "done": np.ones(count, dtype=int),
        "spend": np.full(count, 10.0),
        "sizes": np.full(BLOCKS, 10),
    }
    return AcquisitionInputs(**known | changes)


def test_what_may_be_best_is_worth_more_than_what_cannot() -> None:
    found = knowledge_gradient(belief([0.8, 0.79, 0.3], [0.05, 0.05, 0.05]), prospects(3))
    assert found[1] > 100 * max(found[2], 1e-12)


def test_what_is_known_is_worth_nothing() -> None:
    found = knowledge_gradient(belief([0.8, 0.7], [1e-9, 1e-9]), prospects(2))
    assert found == pytest.approx([0, 0], abs=1e-9)


def test_who_has_run_all_blocks_has_none_to_run() -> None:
    found = knowledge_gradient(belief([0.8, 0.7], [0.1, 0.1]), prospects(2, done=np.array([BLOCKS, 1])))
    assert found[0] == -1
    assert found[1] >= 0


def test_a_dearer_block_must_be_worth_more() -> None:
    found = knowledge_gradient(belief([0.8, 0.8], [0.1, 0.1]), prospects(2, spend=np.array([10.0, 30.0])))
    assert found[0] == pytest.approx(3 * found[1])


def test_a_rival_that_is_cheaper_is_worth_more_than_one_that_is_dearer() -> None:
    costs = np.array([[1.0, 0.1, 3.0]])
    found = knowledge_gradient(belief([0.8, 0.75, 0.75], [0.01, 0.05, 0.05]), prospects(3, costs=costs))
    assert found[1] > 2 * found[2]


def test_where_cost_does_not_count_only_what_may_be_best_is_worth_knowing() -> None:
    known, dear = belief([0.8, 0.5, 0.49], [0.05] * 3), np.array([[9.0, 1.0, 1.0]])
    alone = prospects(3, costs=np.empty((0, 3)))
    assert knowledge_gradient(known, alone) == pytest.approx(knowledge_gradient(known, prospects(3)))
    assert knowledge_gradient(known, prospects(3, costs=dear))[2] > 1e-4
    assert knowledge_gradient(known, alone)[2] < 1e-6
    assert regret(known, alone) == pytest.approx(regret(known, prospects(3)))


def test_a_promising_candidate_is_worth_measuring_for_what_is_believed_of_it() -> None:
    found = knowledge_gradient(belief([0.6, 0.9], [0.01, 0.01]), prospects(2, done=np.array([3, 0])))
    assert found[1] > 10 * max(found[0], 1e-12)


def test_the_best_of_a_model_that_is_nowhere_on_the_frontier_is_still_worth_knowing() -> None:
    model, costs = np.array([0, 1, 1]), np.array([[0.1, 1.0, 1.0]])
    found = knowledge_gradient(
        belief([0.9, 0.5, 0.5], [0.01, 0.05, 0.05]), prospects(3, model=model, costs=costs)
    )
    assert found[1] > 0


@given(
    quality=st.lists(st.floats(0.05, 0.95), min_size=2, max_size=8),
    spread=st.floats(0.001, 0.3),
)
def test_to_know_more_is_never_expected_to_hurt(quality: list[float], spread: float) -> None:
    count = len(quality)
    costs = np.linspace(1, 2, count)[None, :]
    found = knowledge_gradient(belief(quality, [spread] * count), prospects(count, costs=costs))
    assert np.all(found > -1e-9)


def test_what_is_nearly_perfect_already_promises_little_more() -> None:
    low = knowledge_gradient(belief([0.6, 0.6], [0.01, 0.1]), prospects(2))
    high = knowledge_gradient(belief([0.99, 0.99], [0.01, 0.1]), prospects(2))
    assert 0 <= high[1] < low[1] / 5


@given(mean=st.floats(-0.5, 1.5), spread=st.floats(0.001, 0.5))
def test_a_quality_counts_for_what_is_expected_of_it_cut_off_at_1(mean: float, spread: float) -> None:
    drawn = mean + spread * np.random.default_rng(0).standard_normal(20_000)
    found = float(capped(np.array(mean), np.array(spread)))
    assert found <= min(1, mean) + 1e-12
    assert found == pytest.approx(np.minimum(drawn, 1).mean(), abs=0.05 * spread)


def test_choosing_loses_less_the_better_the_rivals_are_known() -> None:
    far, near = ([0.8, 0.5], [0.8, 0.79])
    unsure = regret(belief(near, [0.05, 0.05]), prospects(2))
    assert unsure > 0.01
    assert regret(belief(far, [0.05, 0.05]), prospects(2)) < unsure / 20
    assert regret(belief(near, [0.001, 0.001]), prospects(2)) < unsure / 20


def test_what_is_common_to_all_changes_no_choice() -> None:
    known = belief([0.5, 0.49], [0.01, 0.01])
    common = known.covariance.copy()
    common[:2, :2] += 0.01
    assert regret(replace(known, covariance=common), prospects(2)) == pytest.approx(
        regret(known, prospects(2)), rel=0.3
    )


def test_a_rival_that_was_not_measured_is_no_choice_to_regret() -> None:
    unsure = belief([0.8, 0.79], [0.05, 0.05])
    assert regret(unsure, prospects(2, done=np.array([1, 0]))) == pytest.approx(0, abs=1e-12)
