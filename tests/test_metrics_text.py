"""Text metrics: what counts as the same words, and what must occur."""

from __future__ import annotations

from typing import Any

import dspy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics.fields import Metric
from metrics.text import contains, matches, normalised, token_f1

texts = st.text(max_size=40)


def score(metric: Metric, label: Any, predicted: Any) -> float:
    return metric(dspy.Example(x=label), dspy.Prediction(x=predicted))


@pytest.mark.parametrize(
    ("label", "predicted", "expected"),
    [
        ("The Eiffel Tower!", "eiffel tower", 1.0),
        ("a b c d", "b c", 2 * 1.0 * (2 / 3) / (1.0 + 2 / 3)),  # the article a is no word
        ("cat cat dog", "cat", 0.5),
        ("cat", "dog", 0.0),
        ("«été», 2024", "ete été 2024", 0.8),
        ("", "the", 1.0),
        ("", "word", 0.0),
        (["New York City", "NYC"], "NYC", 1.0),
        (2024, 2024, 1.0),
        ("none", None, 0.0),
    ],
)
def test_token_f1_by_hand(label: Any, predicted: Any, expected: float) -> None:
    assert score(token_f1("x"), label, predicted) == pytest.approx(expected)


@given(texts, texts)
def test_token_f1_is_symmetric_and_a_score(one: str, other: str) -> None:
    forth = score(token_f1("x"), one, other)
    assert 0 <= forth <= 1
    assert forth == score(token_f1("x"), other, one)
    assert score(token_f1("x"), one, one) == 1.0


@given(texts)
def test_normalising_twice_changes_nothing(text: str) -> None:
    assert normalised(normalised(text)) == normalised(text)


@pytest.mark.parametrize(
    ("label", "predicted", "expected"),
    [
        ("Paris", "It is in Paris, France.", 1.0),
        ("Paris", "the comparison", 0.0),
        ("par", "Paris", 0.0),
        ("new york", "New\nYork!", 1.0),
        (["Rome", "Paris"], "in paris", 1.0),
        ("the", "the", 0.0),
        ("Paris", None, 0.0),
    ],
)
def test_contains_looks_for_whole_words(label: Any, predicted: Any, expected: float) -> None:
    assert score(contains("x"), label, predicted) == expected


def test_matches_wants_the_whole_text() -> None:
    metric = matches("x", r"[A-Z]{2}-\d{4}")
    assert score(metric, "", " AB-1234\n") == 1.0
    assert score(metric, "", "see AB-1234") == 0.0
    assert score(matches("x", ".*end"), "", "one\nend") == 1.0
    with pytest.raises(ValueError, match="no regular expression"):
        matches("x", "(")


@pytest.mark.parametrize("metric", [token_f1("x"), contains("x"), matches("x", ".*")])
def test_a_field_that_was_not_predicted_scores_zero(metric: Metric) -> None:
    for lacking in (dspy.Prediction(y="1"), {}, None):
        assert metric(dspy.Example(x="1"), lacking) == 0.0
