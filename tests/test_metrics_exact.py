"""Exact match: what counts as the same answer, and what does not."""

from __future__ import annotations

from enum import Enum
from typing import Any

import dspy
import pytest
from pydantic import BaseModel

from metrics.exact import exact_match


class Mood(Enum):
    GOOD = "good"
    BAD = "bad"


class Person(BaseModel):
    name: str
    age: int


def score(gold: Any, predicted: Any) -> float:
    return exact_match("x")(dspy.Example(x=gold), dspy.Prediction(x=predicted))


@pytest.mark.parametrize(
    ("gold", "predicted"),
    [
        ("Positive", " positive\n"),
        ("body  part", "Body Part"),
        ("good", Mood.GOOD),
        (Mood.GOOD, Mood.GOOD),
        (True, "true"),
        ("2", 2),
        (2.0, 2),
        (["A", "b"], ("a", "B")),
        ({"name": "Ann", "age": 3}, Person(name="ann", age=3)),
        (None, None),
        (["b", "A", "b"], {"a", "b"}),
        ([["x", 1], ["y", 2]], {("y", 2), ("x", 1)}),
        ({"tags": {"a", "b"}}, {"tags": {"b", "a"}}),
    ],
)
def test_equal_answers_score_one(gold: Any, predicted: Any) -> None:
    assert score(gold, predicted) == 1.0


@pytest.mark.parametrize(
    ("gold", "predicted"),
    [
        ("positive", "positive."),
        ("positive", "not positive"),
        (Mood.GOOD, Mood.BAD),
        (True, False),
        (2, 3),
        (["a", "b"], ["b", "a"]),
        (["a", "c"], {"a", "b"}),
        ("none", None),
        ("", None),
    ],
)
def test_other_answers_score_zero(gold: Any, predicted: Any) -> None:
    assert score(gold, predicted) == 0.0


def test_every_field_must_agree() -> None:
    metric = exact_match("a", "b")
    gold = dspy.Example(a="1", b="2")
    assert metric(gold, dspy.Prediction(a="1", b="2")) == 1.0
    assert metric(gold, dspy.Prediction(a="1", b="3")) == 0.0


def test_a_field_that_was_not_predicted_scores_zero() -> None:
    metric = exact_match("a")
    for lacking in (dspy.Prediction(b="1"), {}, None):
        assert metric(dspy.Example(a=None), lacking) == 0.0


def test_a_field_that_is_not_labelled_is_an_error() -> None:
    with pytest.raises(KeyError, match="a"):
        exact_match("a")(dspy.Example(b="1"), dspy.Prediction(a="1"))


def test_the_name_says_what_is_compared() -> None:
    assert exact_match("sentiment").__name__ == "exact_match(sentiment)"
    assert exact_match("a", "b").__name__ == "exact_match(a, b)"
    with pytest.raises(ValueError, match="fields"):
        exact_match()
