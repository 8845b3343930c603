"""What as much search again would gain: never negative, never past 1, more where gains still come."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizers.results.statistics.forecast import NOTHING, Forecast, Scored, forecast


def rising(levels: list[float], n: int = 100, seed: int = 0, others: int = 30) -> Forecast:
    """The forecast for a search that found candidates of these qualities, each at double the spend.

    Others that were no good are tried along the way.
    """
    random = np.random.default_rng(seed)
    scored, final = [], {}
    for number in range(others):
        scores = tuple((random.random(10) < 0.15).astype(float).tolist())
        scored.append(Scored(spent=800.0 * (number + 1) / others, candidate=f"other {number}", scores=scores))
        final[f"other {number}"] = scores
    for number, level in enumerate(levels):
        scores = tuple((random.random(n) < level).astype(float).tolist())
        scored.append(Scored(spent=100.0 * 2**number, candidate=str(number), scores=scores))
        final[str(number)] = scores
    return forecast(scored, final)


def test_a_search_that_still_gains_is_foretold_more_than_one_that_gained_nothing_lately() -> None:
    climbing, flat = rising([0.3, 0.5, 0.65, 0.75]), rising([0.75, 0.5, 0.55, 0.5])
    assert climbing.mean > 2 * flat.mean
    assert climbing.quantile(0.9) > flat.quantile(0.9)


def test_a_gain_that_fades_is_not_carried_on_as_it_was() -> None:
    assert rising([0.2, 0.6, 0.75, 0.76], n=400).mean < 0.8 * rising([0.2, 0.3, 0.5, 0.76], n=400).mean


def test_a_luckier_measurement_of_few_examples_is_no_gain() -> None:
    few = rising([0.7, 0.7, 0.7, 0.9], n=8)
    many = rising([0.7, 0.7, 0.7, 0.9], n=400)
    assert few.mean < many.mean


def test_nothing_is_foretold_past_a_quality_of_one() -> None:
    assert rising([0.5, 0.8, 0.95, 1.0], n=400).quantile(1.0) < 0.02


def test_before_anything_is_measured_there_is_the_prior_alone() -> None:
    assert 0 < forecast([], {}).mean < 0.5


def test_the_more_was_tried_the_less_is_left_to_find() -> None:
    means = [rising([0.5, 0.6, 0.7, 0.7], others=others).mean for others in (4, 20, 100)]
    assert means == sorted(means, reverse=True)


@pytest.mark.parametrize(("gap", "odds"), [(-0.1, 1.0), (0.1, 0.0)])
def test_without_any_gain_a_gap_stays_as_it_is(gap: float, odds: float) -> None:
    assert NOTHING.reaching(gap, 0.0) == pytest.approx(odds)


def test_where_the_gap_is_not_known_well_it_may_be_closed_already() -> None:
    for gap, error in ((0.0, 0.05), (-0.001, 0.02), (0.02, 0.02), (0.05, 0.03)):
        assert NOTHING.reaching(gap, error) == pytest.approx(NormalDist(gap, error).cdf(0.0))


def test_one_candidate_says_nothing_of_what_search_gains() -> None:
    scores = (1.0, 0.0) * 10
    alone = forecast([Scored(10.0, "a", scores)], {"a": scores})
    assert alone.mean == pytest.approx(forecast([], {"a": scores}).mean)
    assert alone.mean > rising([0.5, 0.5, 0.5, 0.5]).mean


@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.lists(st.sampled_from([0.0, 0.5, 1.0]), max_size=12)), max_size=20
    )
)
def test_forecasts_are_quantiles_of_a_gain(blocks: list[tuple[int, list[float]]]) -> None:
    scored, final = [], {}
    for number, (candidate, scores) in enumerate(blocks, start=1):
        scored.append(Scored(float(number), str(candidate), tuple(scores)))
        final.setdefault(str(candidate), []).extend(scores)
    found = forecast(scored, final)
    assert (np.diff(found.gains) >= 0).all()
    assert found.gains[0] >= 0
    assert found.gains[-1] <= 1
    odds = [found.reaching(gap, 0.01) for gap in (-0.1, 0.0, 0.1, 0.5)]
    assert odds == sorted(odds, reverse=True)
    assert 0 <= odds[-1] <= odds[0] <= 1


def test_intervals_hold_what_they_promise_where_gains_fade_as_held() -> None:
    """Made-up searches of the kind the model holds for: 80% intervals hold about 80%."""
    random, held, gained, predicted = np.random.default_rng(1), [], [], []
    for _ in range(60):
        last = float(np.exp(random.normal(np.log(0.03), 0.7)))
        share = float(random.uniform(0.4, 0.8))
        steps = [random.gamma(0.5, last / share**back / 0.5) for back in (2, 1, 0)]
        levels = np.minimum(0.98, 0.4 + np.concatenate([[0.0], np.cumsum(steps)]))
        coming = min(random.gamma(0.5, last * share / 0.5), 1.0 - levels[-1])
        found = rising(levels.tolist(), n=200, seed=int(random.integers(2**31)))
        held.append(found.quantile(0.1) <= coming + 0.002 and coming <= found.quantile(0.9))
        gained.append(coming)
        predicted.append(found.mean)
    assert 0.7 <= np.mean(held) <= 0.95
    assert np.mean(predicted) == pytest.approx(np.mean(gained), abs=0.015)
