"""The verdict over several points: what decides, what must not, and what would."""

from __future__ import annotations

from dataclasses import replace

import pytest

from optimizers.results.verdict import Contender, compare, compare_pairs


def contender(
    scores: list[float], *, coverage: float = 1.0, groups: dict[str, str] | None = None
) -> Contender:
    return Contender({str(index): score for index, score in enumerate(scores)}, 1.0, coverage, groups or {})


SOLID = [1.0] * 380 + [0.0] * 20


def test_an_equal_matches_and_needs_no_more() -> None:
    (found,) = compare([contender(SOLID)], contender(SOLID), against="r", margin=0.02, min_coverage=0.95)
    assert (found.verdict, found.more) == ("match", None)


@pytest.mark.parametrize("side", ["contender", "reference"])
def test_what_was_hardly_measured_decides_nothing(side: str) -> None:
    thin, full = contender(SOLID, coverage=0.9), contender(SOLID)
    own, reference = (thin, full) if side == "contender" else (full, thin)
    (found,) = compare([own], reference, against="r", margin=0.02, min_coverage=0.95)
    assert (found.verdict, found.more) == ("indecisive", None)
    (found,) = compare([own], reference, against="r", margin=0.02, min_coverage=0.9)
    assert found.verdict == "match"


def test_hardly_measured_losers_are_not_condemned_either() -> None:
    poor = contender([0.0] * 400, coverage=0.5)
    (found,) = compare([poor], contender(SOLID), against="r", margin=0.02, min_coverage=0.95)
    assert found.verdict == "indecisive"


def test_more_points_compared_need_more_examples_to_settle_one() -> None:
    near = contender([0.0] * 8 + [1.0] * 372 + [1.0] * 8 + [0.0] * 12)
    far = [contender([0.0] * 8 + [1.0] * 372 + [1.0] * 8 + [0.0] * 12) for _ in range(4)]
    (alone,) = compare([near], contender(SOLID), against="r", margin=0.015, min_coverage=0)
    together = compare([near, *far], contender(SOLID), against="r", margin=0.015, min_coverage=0)[0]
    assert alone.verdict == together.verdict == "indecisive"
    assert alone.more is not None
    assert together.more is not None
    assert together.more > alone.more


def test_answers_in_groups_that_repeat_each_other_match_less_easily() -> None:
    groups = {str(index): f"text {index // 20}" for index in range(400)}
    (plain,) = compare([contender(SOLID)], contender(SOLID), against="r", margin=0.02, min_coverage=0)
    (grouped,) = compare(
        [contender(SOLID, groups=groups)], contender(SOLID), against="r", margin=0.02, min_coverage=0
    )
    assert (plain.verdict, grouped.verdict) == ("match", "indecisive")
    assert grouped.high - grouped.low > plain.high - plain.low


def test_only_examples_that_both_have_are_compared() -> None:
    short = contender([1.0] * 100)
    (found,) = compare([contender(SOLID)], short, against="r", margin=0.02, min_coverage=0.95)
    assert found.n == 100


def test_pairs_with_yardsticks_of_their_own_are_one_family() -> None:
    worse = contender([1.0] * 374 + [0.0] * 26)
    pairs = [(worse, contender(SOLID)), (contender(SOLID), worse)]
    alone = [compare([one], other, against="r", margin=0.03, min_coverage=0)[0] for one, other in pairs]
    together = compare_pairs(pairs, against=["a", "b"], margin=0.03, min_coverage=0)
    assert [found.against for found in together] == ["a", "b"]
    assert [found.difference for found in together] == [found.difference for found in alone]
    assert min(found.p_value for found in together) > min(found.p_value for found in alone)


@pytest.mark.parametrize(("own", "theirs", "ratio"), [(2.0, 4.0, 0.5), (0.0, 0.0, 1.0), (0.002, 0.0, None)])
def test_costs_are_compared_where_they_can_be(own: float, theirs: float, ratio: float | None) -> None:
    dear, yardstick = (replace(contender(SOLID), cost=cost) for cost in (own, theirs))
    (found,) = compare([dear], yardstick, against="r", margin=0.02, min_coverage=0.95)
    assert found.cost_ratio == ratio
