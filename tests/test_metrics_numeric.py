"""Numbers in values and texts, and what tolerance lets pass."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import dspy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics.numeric import last_number, numeric_match

numbers = st.decimals(min_value=-(10**9), max_value=10**9, places=3)


def score(label: Any, predicted: Any, **tolerance: float) -> float:
    return numeric_match("x", **tolerance)(dspy.Example(x=label), dspy.Prediction(x=predicted))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("16 - 3 - 4 = 9, so she makes 9 * 2 = $18.", 18),
        ("1,450,000 people", 1_450_000),
        ("5\u202f000", 5000),
        ("1,2345", 2345),
        ("costs $-3.50", Fraction(-7, 2)),
        ("-$3.50", Fraction(-7, 2)),
        ("\u22124", -4),
        ("10-12", 12),
        ("- 18 apples", 18),
        (".5", Fraction(1, 2)),
        ("2e-3", Fraction(1, 500)),
        ("3/4 of it", Fraction(3, 4)),
        ("2 1/2 cups", Fraction(5, 2)),
        ("on 3/4/2024", 2024),
        ("12 %", Fraction(3, 25)),
        ("12 percent", Fraction(3, 25)),
        ("version 1.2.3", Fraction(6, 5)),
    ],
)
def test_the_last_number_of_a_text(text: str, expected: Fraction | int) -> None:
    found = last_number(text)
    assert found is not None
    assert found.value == expected


@pytest.mark.parametrize("nothing", ["no number", "a1b2", "1/0", "9" * 500, "1e999999999", True, None, []])
def test_what_is_no_number(nothing: Any) -> None:
    assert last_number(nothing) is None
    assert last_number(float("nan")) is None


@given(numbers)
def test_a_number_is_read_back_however_it_is_written(number: Any) -> None:
    for written in (number, str(number), f"{number:,}", f"so the answer is {number:,}."):
        found = last_number(written)
        assert found is not None
        assert found.value == Fraction(number)


@pytest.mark.parametrize(
    ("label", "predicted", "expected"),
    [
        (18, "the answer is 18", 1.0),
        ("#### 1,600", 1600.0, 1.0),
        (18, "18 eggs in 2 days", 0.0),
        (0.1, "0.1", 1.0),
        (25, "25%", 1.0),
        (0.25, "25%", 1.0),
        ("25%", 25, 1.0),
        ("25%", "0.25%", 0.0),
        (25, 0.25, 0.0),
        (18, "eighteen", 0.0),
        (18, None, 0.0),
    ],
)
def test_the_same_number(label: Any, predicted: Any, expected: float) -> None:
    assert score(label, predicted) == expected


def test_a_difference_equal_to_the_tolerance_is_within_it() -> None:
    assert score(1.0, 1.1, absolute=0.1) == 1.0
    assert score(1.0, 1.11, absolute=0.1) == 0.0
    assert score(-200, "-202", relative=0.01) == 1.0
    assert score(-200, "-202.1", relative=0.01) == 0.0


@given(numbers, numbers, st.floats(min_value=0, max_value=10**6))
def test_more_tolerance_never_loses_a_match(label: Any, predicted: Any, tolerance: float) -> None:
    narrow = score(label, predicted, absolute=tolerance)
    assert score(label, predicted, absolute=2 * tolerance, relative=0.1) >= narrow
    assert narrow == (abs(Fraction(label) - Fraction(predicted)) <= Fraction(str(tolerance)))


def test_what_cannot_be_scored_is_an_error() -> None:
    with pytest.raises(ValueError, match="holds no number"):
        score("unknown", 3)
    for wrong in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="tolerance"):
            numeric_match("x", absolute=wrong)
