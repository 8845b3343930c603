"""What to run next, on observations as the search has them."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from fakes import LARGE, SMALL, candidate, rollouts

from optimizers.records.budget import Budget
from optimizers.records.parameters import Choices
from optimizers.records.rows import Block
from optimizers.search.model.acquisition_state import AcquisitionState, acquisition_state, scarcest_unit
from optimizers.search.model.inducing_subset import CandidateStats
from optimizers.search.model.observations import ObservationStore
from optimizers.search.model.proposed import proposals
from optimizers.search.space.initial_design import few_shot_starts
from optimizers.search.space.parts import MODEL
from optimizers.search.space.search_space import SearchSpace, search_space
from optimizers.task.task import LoadedTask

SIZES = [10] * 8


@pytest.fixture
def space(task: LoadedTask) -> SearchSpace:
    return search_space(task)


@pytest.fixture
def observations(space: SearchSpace) -> ObservationStore:
    return ObservationStore()


def measured(
    observations: ObservationStore, choices: Choices, right: int, *, blocks: int = 1, cost: float = 1e-6
) -> CandidateStats:
    entered = candidate(str(choices[MODEL]), str(sorted((str(one), value) for one, value in choices.items())))
    observations.register(entered, choices)
    stats = observations.stats[entered.id]
    for _ in range(blocks):
        observations.add_block(
            stats, Block.of(rollouts(entered, [1.0] * right + [0.0] * (10 - right), cost=cost))
        )
    return stats


def test_the_first_candidate_is_a_new_one(observations: ObservationStore, space: SearchSpace) -> None:
    new = few_shot_starts(space, 1)
    found = acquisition_state(observations, SIZES, "calls", new)
    assert found.is_new_better
    assert best_new(found) in new
    assert found.best_known is None


def best_new(found: AcquisitionState, model: str | None = None) -> Choices:
    place = found.best_new(model)
    assert place is not None
    return found.choices(place)


def test_a_known_candidate_is_run_again_where_that_decides_more(
    observations: ObservationStore, space: SearchSpace
) -> None:
    few, more = (few_shot_starts(space, size)[0] for size in (1, 4))
    first = measured(observations, few, 8)
    close = measured(observations, more, 8, cost=2e-6)
    found = acquisition_state(observations, SIZES, "calls")
    assert found.best_new() is None
    assert found.best_known is not None
    assert found.knowledge_gradient[found.best_known] > 0
    stats = found.known[found.best_known]
    for _ in range(7):
        observations.add_block(stats, stats.blocks[0])
    after = acquisition_state(observations, SIZES, "calls")
    assert after.best_known is not None
    other = after.known[after.best_known]
    assert {id(stats), id(other)} == {id(first), id(close)}


@pytest.mark.parametrize("right", range(11))
def test_a_candidate_with_blocks_left_can_always_run_one(
    observations: ObservationStore, space: SearchSpace, right: int
) -> None:
    measured(observations, few_shot_starts(space, 4)[0], right)
    assert acquisition_state(observations, SIZES, "calls").best_known == 0


def test_a_candidate_like_the_best_is_proposed_before_one_like_the_worst(
    observations: ObservationStore, space: SearchSpace
) -> None:
    none, few, many = (few_shot_starts(space, size)[0] for size in (0, 1, 4))
    measured(observations, none, 1, blocks=3)
    measured(observations, few, 6, blocks=3)
    leader = measured(observations, many, 9, blocks=3)
    new = proposals(space, [leader.choices or {}], observations.tried_choices, Random(0))
    found = acquisition_state(observations, SIZES, "calls", new)
    name = next(one for one in many if one.part == "demos")
    assert best_new(found).get(name, 1) > 0
    assert best_new(found, LARGE.name)[MODEL] == LARGE.name


def test_pending_blocks_lower_the_gain_of_similar_ones(
    observations: ObservationStore, space: SearchSpace
) -> None:
    few, more = (few_shot_starts(space, size)[0] for size in (1, 4))
    measured(observations, few, 7, blocks=2)
    measured(observations, more, 7, blocks=2)
    new = proposals(space, [few, more], observations.tried_choices, Random(0))
    found = acquisition_state(observations, SIZES, "calls", new)
    first = found.best_new()
    assert first is not None
    pending = found.with_pending(first)
    second = pending.best_new()
    assert second is not None
    assert second != first
    assert pending.inputs.done[first] == 1
    assert pending.posterior.quality == pytest.approx(found.posterior.quality)
    variances = [np.diag(state.posterior.covariance) for state in (found, pending)]
    assert np.all(variances[1] <= variances[0] + 1e-12)
    assert variances[1][first] < variances[0][first]
    assert pending.knowledge_gradient[second] <= found.knowledge_gradient[first]


def test_quality_is_shrunk_towards_others_and_a_long_measurement_is_not(
    observations: ObservationStore, space: SearchSpace
) -> None:
    for model in (SMALL, LARGE):
        starts = [c for size in (1, 4) for c in few_shot_starts(space, size) if c[MODEL] == model.name]
        for choices in starts:
            measured(observations, choices, 5, blocks=4)
    lucky = measured(observations, {**few_shot_starts(space, 8)[0]}, 10)
    assert 0.5 < observations.quality(lucky) < 0.95
    for _ in range(30):
        observations.add_block(lucky, lucky.blocks[0])
    assert observations.quality(lucky) == pytest.approx(1.0, abs=0.03)


def test_variances_are_fitted_at_certain_lengths_of_the_history(
    observations: ObservationStore, space: SearchSpace
) -> None:
    """So that a process that takes up a study computes the same posterior."""
    choices = [c for size in (0, 1, 2, 4, 8) for c in few_shot_starts(space, size)]
    registered = [measured(observations, one, 3 + place % 5) for place, one in enumerate(choices)]
    found = observations.features_of(registered)
    first = dict(observations.variances(found))
    again = ObservationStore()
    for stats in registered:
        again.register(stats.candidate, stats.choices)
    for stats, number in observations.history:
        again.add_block(again.stats[stats.candidate.id], stats.blocks[number])
    assert dict(again.variances(found)) == first


@pytest.mark.parametrize("costs", [(0.0, 0.0), (0.0, 1e-6)])
def test_free_candidates_can_be_searched(
    observations: ObservationStore, space: SearchSpace, costs: tuple[float, float]
) -> None:
    few, more = (few_shot_starts(space, size)[0] for size in (1, 4))
    for choices, cost in zip((few, more), costs, strict=True):
        measured(observations, choices, 7, cost=cost)
    found = acquisition_state(
        observations, SIZES, "dollars", proposals(space, [few], observations.tried_choices, Random(0))
    )
    assert np.isfinite(found.knowledge_gradient).all()
    assert found.knowledge_gradient.max() > 0


@pytest.mark.parametrize(
    ("budget", "unit"),
    [
        (Budget(trials=40), "calls"),
        (Budget(dollars=1.0, trials=10), "dollars"),
        (Budget(tokens=1000), "tokens"),
        (Budget(calls=100, seconds=60), "calls"),
    ],
)
def test_the_unit_of_spend_is_what_the_budget_limits(budget: Budget, unit: str) -> None:
    assert scarcest_unit(budget) == unit


def test_the_ucb_candidate_of_each_model_may_be_its_best(
    observations: ObservationStore, space: SearchSpace
) -> None:
    (small, large), (small_more, large_more) = (few_shot_starts(space, size)[:2] for size in (1, 4))
    well_known = measured(observations, small, 8, blocks=7)
    hardly_known = measured(observations, small_more, 8)
    bad, done = measured(observations, large, 3), measured(observations, large_more, 10, blocks=len(SIZES))
    found = acquisition_state(observations, SIZES, "calls")
    ucb_candidates = [found.known[place] for place in found.ucb_candidates]
    assert hardly_known in ucb_candidates
    assert well_known not in ucb_candidates
    # The large model's best has run all blocks, and the other one is not expected to come near it.
    assert bad not in ucb_candidates
    assert done not in ucb_candidates


def test_no_ucb_candidate_where_all_blocks_have_run(
    observations: ObservationStore, space: SearchSpace
) -> None:
    for choices in few_shot_starts(space, 1):
        measured(observations, choices, 8, blocks=len(SIZES))
    assert acquisition_state(observations, SIZES, "calls").ucb_candidates == []
