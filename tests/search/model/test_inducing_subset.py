"""The candidates that the posterior is computed from."""

from __future__ import annotations

from fakes import candidate, rollouts

from optimizers.records.parameters import Parameter
from optimizers.records.rows import Block
from optimizers.search.model.inducing_subset import LEADING, SAMPLED, CandidateStats, training_data
from optimizers.search.model.observations import SUBSET_EVERY, ObservationStore


def measured(observations: ObservationStore, name: str, right: int, *, cost: float = 1e-6) -> CandidateStats:
    entered = candidate("small", name)
    observations.register(entered, {Parameter("m", "p", "instruction"): name})
    stats = observations.stats[entered.id]
    observations.add_block(
        stats, Block.of(rollouts(entered, [1.0] * right + [0.0] * (10 - right), cost=cost))
    )
    return stats


def test_few_candidates_are_all_kept_with_all_their_blocks() -> None:
    observations = ObservationStore()
    one, two = measured(observations, "one", 7), measured(observations, "two", 2)
    observations.add_block(one, one.blocks[0])
    known, scores = training_data(observations.history)
    assert known == [one, two]
    assert list(zip(scores.candidate, scores.block, scores.mean, strict=True)) == [
        (0, 0, 0.7),
        (0, 1, 0.7),
        (1, 0, 0.2),
    ]


def test_of_many_the_best_the_cheapest_and_some_others_are_kept() -> None:
    observations = ObservationStore()
    for number in range(500):
        measured(observations, f"poor {number}", 3 + number % 3)
    best, cheap = measured(observations, "best", 10), measured(observations, "cheap", 4, cost=1e-7)
    for number in range(100):
        measured(observations, f"late {number}", 2)
    known, scores = training_data(observations.history)
    assert len(known) == LEADING + SAMPLED == len(scores.mean)
    assert best in known
    assert cheap in known
    assert any(stats.mean < 0.3 for stats in known)


def test_the_measured_subset_stays_small_and_has_the_latest() -> None:
    observations = ObservationStore()
    best = measured(observations, "best", 10)
    for number in range(500):
        latest = measured(observations, str(number), 3 + number % 5)
    found = observations.measured_subset()
    assert best in found
    assert latest in found
    assert len(found) <= LEADING + SAMPLED + SUBSET_EVERY
    assert observations.best_of("small") is best
    assert observations.tried == {"small": 501}


def test_a_model_off_the_frontier_keeps_its_best() -> None:
    observations = ObservationStore()
    for number in range(400):
        measured(observations, str(number), 8, cost=1e-6 * (1 + number))
    entered = [candidate("other", str(number)) for number in range(3)]
    for number, one in enumerate(entered):
        observations.register(one, {Parameter("m", "p", "draw"): number})
        stats = observations.stats[one.id]
        observations.add_block(stats, Block.of(rollouts(one, [1.0] * number + [0.0] * 9, cost=1e-3)))
    for number in range(400, 450):
        measured(observations, str(number), 8, cost=1e-6 * (1 + number))
    best = observations.best_of("other")
    assert best is not None
    assert best.candidate.id == entered[2].id


def test_later_blocks_do_not_change_the_earlier_subset() -> None:
    observations, longer = ObservationStore(), ObservationStore()
    for number in range(300):
        for one in (observations, longer):
            measured(one, str(number), number % 8)
    for number in range(300, 400):
        measured(longer, str(number), 9)
    longer.add_block(longer.stats[candidate("small", "1").id], observations.history[9][0].blocks[0])
    before = [stats.candidate.id for stats in training_data(observations.history)[0]]
    again = [stats.candidate.id for stats in training_data(longer.history[:300])[0]]
    assert before == again


def test_a_block_in_which_all_failed_has_no_entry() -> None:
    observations = ObservationStore()
    entered = candidate("small", "down")
    observations.register(entered, {})
    stats = observations.stats[entered.id]
    observations.add_block(stats, Block.of(rollouts(entered, [None] * 10, cost=0.0)))
    known, scores = training_data(observations.history)
    assert known == [stats]
    assert len(scores.mean) == 0
    assert observations.frontier() == []
