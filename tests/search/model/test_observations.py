"""The observation store: each candidate's statistics, and the leaders."""

from __future__ import annotations

from fakes import candidate, fill

from optimizers.search.model.observations import ObservationStore


def test_a_failure_is_tried_but_not_a_wrong_answer() -> None:
    observations = ObservationStore()
    stats = fill(observations, candidate("a", "x"), [1.0, None, 1.0], 1.0)
    assert (stats.n, stats.mean) == (3, 1.0)


def test_a_lucky_short_measurement_does_not_beat_a_long_one() -> None:
    observations = ObservationStore()
    lucky = fill(observations, candidate("a", "lucky"), [1.0] * 5, 1.0)
    solid = fill(observations, candidate("a", "solid"), [1.0] * 90 + [0.0] * 10, 1.0)
    fill(observations, candidate("a", "poor"), [0.0, 1.0] * 50, 1.0)
    assert observations.quality(solid) > observations.quality(lucky)


def test_the_frontier_keeps_cheap_and_good_candidates() -> None:
    observations = ObservationStore()
    cheap = fill(observations, candidate("a", "cheap"), [1.0, 0.0] * 40, 1.0)
    good = fill(observations, candidate("b", "good"), [1.0] * 80, 5.0)
    fill(observations, candidate("b", "dominated"), [1.0, 0.0] * 40, 6.0)
    assert {s.candidate.id for s in observations.frontier()} == {cheap.candidate.id, good.candidate.id}


def test_with_quality_as_the_only_objective_the_best_leads_alone() -> None:
    observations = ObservationStore(("quality",))
    cheap = fill(observations, candidate("a", "cheap"), [1.0, 0.0] * 40, 1.0)
    good = fill(observations, candidate("a", "good"), [1.0] * 80, 5.0)
    fill(observations, candidate("a", "dominated"), [1.0, 0.0] * 40, 6.0)
    assert observations.frontier() == [good]
    assert observations.leaders() == [good]
    assert observations.objective_values(cheap) == [observations.quality(cheap)]


def test_a_model_off_the_frontier_still_has_its_best_among_the_leaders() -> None:
    observations = ObservationStore()
    fill(observations, candidate("small", "x"), [1.0] * 80, 1.0)
    beaten = fill(observations, candidate("big", "y"), [1.0, 0.0] * 40, 9.0)
    assert beaten not in observations.frontier()
    assert beaten in observations.leaders()
