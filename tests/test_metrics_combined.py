"""Metrics made of metrics."""

from __future__ import annotations

from typing import Any

import dspy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics.combined import only_if, weighted
from metrics.exact import exact_match
from metrics.fields import Metric


def always(value: float, asked: list[float] | None = None) -> Metric:
    def metric(example: Any, pred: Any, trace: Any = None) -> float:
        if asked is not None:
            asked.append(value)
        return value

    return metric


def told(example: Any, pred: Any, trace: Any = None) -> Any:
    return dspy.Prediction(score=0.5, feedback="half")


parts = st.lists(st.tuples(st.floats(0, 1), st.floats(1e-6, 1e6)), min_size=1, max_size=6)


def test_a_part_may_say_why() -> None:
    assert weighted((told, 1.0), (always(1.0), 1.0))(None, None) == 0.75


def test_weighted_is_the_weighted_mean() -> None:
    assert weighted((always(1.0), 3), (always(0.0), 1))(None, None) == 0.75
    assert weighted((exact_match("a"), 2), (exact_match("b"), 2)).__name__ == (
        "weighted(0.5 exact_match(a), 0.5 exact_match(b))"
    )


@given(parts)
def test_weighted_lies_between_its_parts(drawn: list[tuple[float, float]]) -> None:
    score = weighted(*((always(value), weight) for value, weight in drawn))(None, None)
    values = [value for value, _ in drawn]
    assert min(values) - 1e-9 <= score <= max(values) + 1e-9
    assert 0 <= score <= 1


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan"), float("inf")])
def test_a_weight_must_be_above_zero(weight: float) -> None:
    with pytest.raises(ValueError, match="weight"):
        weighted((always(1.0), weight))
    with pytest.raises(ValueError, match="needs metrics"):
        weighted()


def test_only_if_is_zero_unless_every_constraint_holds() -> None:
    assert only_if(always(0.4), always(1.0), always(1.0))(None, None) == 0.4
    assert only_if(always(0.4), always(1.0), always(0.99))(None, None) == 0.0
    with pytest.raises(ValueError, match="constraint"):
        only_if(always(0.4))


def test_a_dear_metric_is_asked_only_where_the_constraints_hold() -> None:
    asked: list[float] = []
    only_if(always(0.4, asked), always(0.0))(None, None)
    assert asked == []
