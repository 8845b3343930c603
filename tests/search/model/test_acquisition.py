"""The expected gain of a candidate's next block, and the regret of choosing now."""

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


def made_posterior(quality: list[float], sd: list[float]) -> Posterior:
    """Candidates that have nothing in common, and blocks that are all alike."""
    count = len(quality)
    size = count + 3 * BLOCKS
    covariance = np.zeros((size, size))
    covariance[range(count), range(count)] = np.square(sd)
    mean = np.zeros(size)
    mean[:count] = quality
    return Posterior(mean, covariance, count, BLOCKS, np.full(count, 0.2))


def inputs(count: int, **changes: Any) -> AcquisitionInputs:
    known: dict[str, Any] = {
        "model": np.zeros(count, dtype=int),
        "costs": np.ones((1, count)),
        "done": np.ones(count, dtype=int),
        "spend": np.full(count, 10.0),
        "sizes": np.full(BLOCKS, 10),
    }
    return AcquisitionInputs(**known | changes)


def test_a_possible_best_gains_more_than_a_hopeless_one() -> None:
    found = knowledge_gradient(made_posterior([0.8, 0.79, 0.3], [0.05, 0.05, 0.05]), inputs(3))
    assert found[1] > 100 * max(found[2], 1e-12)


def test_a_known_quality_gains_nothing() -> None:
    found = knowledge_gradient(made_posterior([0.8, 0.7], [1e-9, 1e-9]), inputs(2))
    assert found == pytest.approx([0, 0], abs=1e-9)


def test_no_gain_where_all_blocks_have_run() -> None:
    found = knowledge_gradient(made_posterior([0.8, 0.7], [0.1, 0.1]), inputs(2, done=np.array([BLOCKS, 1])))
    assert found[0] == -1
    assert found[1] >= 0


def test_gain_is_per_unit_of_spend() -> None:
    found = knowledge_gradient(
        made_posterior([0.8, 0.8], [0.1, 0.1]), inputs(2, spend=np.array([10.0, 30.0]))
    )
    assert found[0] == pytest.approx(3 * found[1])


def test_a_cheaper_rival_gains_more_than_a_dearer_one() -> None:
    costs = np.array([[1.0, 0.1, 3.0]])
    found = knowledge_gradient(made_posterior([0.8, 0.75, 0.75], [0.01, 0.05, 0.05]), inputs(3, costs=costs))
    assert found[1] > 2 * found[2]


def test_without_a_cost_objective_only_a_possible_best_gains() -> None:
    known, dear = made_posterior([0.8, 0.5, 0.49], [0.05] * 3), np.array([[9.0, 1.0, 1.0]])
    alone = inputs(3, costs=np.empty((0, 3)))
    assert knowledge_gradient(known, alone) == pytest.approx(knowledge_gradient(known, inputs(3)))
    assert knowledge_gradient(known, inputs(3, costs=dear))[2] > 1e-4
    assert knowledge_gradient(known, alone)[2] < 1e-6
    assert regret(known, alone) == pytest.approx(regret(known, inputs(3)))


def test_an_unmeasured_candidate_of_high_posterior_mean_gains_most() -> None:
    found = knowledge_gradient(made_posterior([0.6, 0.9], [0.01, 0.01]), inputs(2, done=np.array([3, 0])))
    assert found[1] > 10 * max(found[0], 1e-12)


def test_the_best_of_a_model_off_the_frontier_still_gains() -> None:
    model, costs = np.array([0, 1, 1]), np.array([[0.1, 1.0, 1.0]])
    found = knowledge_gradient(
        made_posterior([0.9, 0.5, 0.5], [0.01, 0.05, 0.05]), inputs(3, model=model, costs=costs)
    )
    assert found[1] > 0


@given(
    quality=st.lists(st.floats(0.05, 0.95), min_size=2, max_size=8),
    spread=st.floats(0.001, 0.3),
)
def test_gain_is_never_negative(quality: list[float], spread: float) -> None:
    count = len(quality)
    costs = np.linspace(1, 2, count)[None, :]
    found = knowledge_gradient(made_posterior(quality, [spread] * count), inputs(count, costs=costs))
    assert np.all(found > -1e-9)


def test_a_nearly_perfect_candidate_gains_little() -> None:
    low = knowledge_gradient(made_posterior([0.6, 0.6], [0.01, 0.1]), inputs(2))
    high = knowledge_gradient(made_posterior([0.99, 0.99], [0.01, 0.1]), inputs(2))
    assert 0 <= high[1] < low[1] / 5


@given(mean=st.floats(-0.5, 1.5), spread=st.floats(0.001, 0.5))
def test_capped_is_the_expectation_cut_off_at_1(mean: float, spread: float) -> None:
    drawn = mean + spread * np.random.default_rng(0).standard_normal(20_000)
    found = float(capped(np.array(mean), np.array(spread)))
    assert found <= min(1, mean) + 1e-12
    assert found == pytest.approx(np.minimum(drawn, 1).mean(), abs=0.05 * spread)


def test_regret_falls_as_rivals_are_known_better() -> None:
    far, near = ([0.8, 0.5], [0.8, 0.79])
    unsure = regret(made_posterior(near, [0.05, 0.05]), inputs(2))
    assert unsure > 0.01
    assert regret(made_posterior(far, [0.05, 0.05]), inputs(2)) < unsure / 20
    assert regret(made_posterior(near, [0.001, 0.001]), inputs(2)) < unsure / 20


def test_shared_uncertainty_adds_no_regret() -> None:
    known = made_posterior([0.5, 0.49], [0.01, 0.01])
    common = known.covariance.copy()
    common[:2, :2] += 0.01
    assert regret(replace(known, covariance=common), inputs(2)) == pytest.approx(
        regret(known, inputs(2)), rel=0.3
    )


def test_an_unmeasured_rival_adds_no_regret() -> None:
    unsure = made_posterior([0.8, 0.79], [0.05, 0.05])
    assert regret(unsure, inputs(2, done=np.array([1, 0]))) == pytest.approx(0, abs=1e-12)
