"""Sets, records and schemas: which parts of a structured answer are right."""

from __future__ import annotations

from datetime import date
from itertools import permutations
from typing import Any

import dspy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from metrics.fields import Metric
from metrics.structured import field_f1, set_f1, valid


class Line(BaseModel):
    product: str
    quantity: int


class Order(BaseModel):
    customer: str
    day: date | None = None
    lines: list[Line] = []


def score(metric: Metric, label: Any, predicted: Any) -> float:
    return metric(dspy.Example(x=label), dspy.Prediction(x=predicted))


scalars = st.one_of(st.none(), st.booleans(), st.integers(0, 3), st.sampled_from(["", "a", "b", "c"]))
records = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("pqr"), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("label", "predicted", "expected"),
    [
        (["a", "b"], ["B", "a "], 1.0),
        (["a", "b"], ["a", "a"], 2 / 3),
        (["a", "b"], ["c"], 0.0),
        ([], [], 1.0),
        ([], ["a"], 0.0),
        ([{"p": 1, "q": 2}], [{"q": 2, "p": 1}], 1.0),
        ({1, 2}, [1, 2, 3], 0.8),
        (["a"], "a", 0.0),
        (["a"], None, 0.0),
    ],
)
def test_set_f1_by_hand(label: Any, predicted: Any, expected: float) -> None:
    assert score(set_f1("x"), label, predicted) == pytest.approx(expected)


LABEL = {
    "customer": "Ann",
    "day": "2026-05-01",
    "lines": [{"product": "lamp", "quantity": 2}, {"product": "rug", "quantity": 1}],
}


def order(*lines: tuple[str, int], day: date | None = date(2026, 5, 1)) -> Order:
    return Order(customer="ann", day=day, lines=[Line(product=p, quantity=q) for p, q in lines])


@pytest.mark.parametrize(
    ("predicted", "expected"),
    [
        (order(("lamp", 2), ("rug", 1)), 1.0),
        (order(("rug", 1), ("lamp", 2)), 1.0),
        (order(("lamp", 1), ("rug", 2)), 2 * 4 / 12),  # each line keeps its product alone
        (order(("lamp", 2), ("rug", 1), day=None), 2 * 5 / 11),
        (order(("lamp", 2)), 2 * 4 / 10),
        (order(("lamp", 2), ("rug", 1), ("mat", 9)), 2 * 6 / 14),
        ({"lines": "lamp"}, 0.0),
        (None, 0.0),
    ],
)
def test_field_f1_of_records_by_hand(predicted: Any, expected: float) -> None:
    assert score(field_f1("x"), LABEL, predicted) == pytest.approx(expected)


def test_an_absent_field_is_the_same_as_null() -> None:
    assert score(field_f1("x"), {"a": 1, "b": None}, {"a": 1}) == 1.0
    assert score(field_f1("x"), {"a": None}, {}) == 1.0
    assert score(field_f1("x"), {"a": None}, {"a": 3}) == 0.0


def test_several_fields_count_leaf_by_leaf() -> None:
    metric = field_f1("name", "tags")
    label = dspy.Example(name="Ann", tags=["a", "b"])
    assert metric(label, dspy.Prediction(name="ann", tags=["b"])) == pytest.approx(2 * 2 / 5)
    assert metric(label, dspy.Prediction(tags=["b", "a"])) == pytest.approx(2 * 2 / 5)
    with pytest.raises(ValueError, match="fields"):
        field_f1()


@given(records, records)
def test_field_f1_is_symmetric_and_a_score(one: Any, other: Any) -> None:
    forth = score(field_f1("x"), one, other)
    assert 0 <= forth <= 1
    assert forth == score(field_f1("x"), other, one)
    assert score(field_f1("x"), one, one) == 1.0


@given(st.lists(records, max_size=4), st.lists(records, max_size=4))
def test_the_order_of_a_list_does_not_count(label: list[Any], predicted: list[Any]) -> None:
    scores = {score(field_f1("x"), label, list(order)) for order in permutations(predicted)}
    assert len(scores) == 1


SCHEMA = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}


@pytest.mark.parametrize(
    ("schema", "value", "expected"),
    [
        (Line, {"product": "lamp", "quantity": 2}, 1.0),
        (Line, Line(product="lamp", quantity=2), 1.0),
        (Line, '{"product": "lamp", "quantity": 2}', 1.0),
        (Line, '{"product": "lamp", "quantity": "2"}', 0.0),
        (Line, "a lamp", 0.0),
        (Order, {"customer": "Ann", "day": "2026-05-01"}, 1.0),
        (Order, {"customer": "Ann", "day": "tomorrow"}, 0.0),
        (list[int], [1, 2], 1.0),
        (str, "{not json", 1.0),
        (str, '"quoted"', 1.0),
        (SCHEMA, {"age": 3}, 1.0),
        (SCHEMA, '{"age": 3}', 1.0),
        (SCHEMA, {"age": "3"}, 0.0),
        (SCHEMA, {}, 0.0),
        (SCHEMA, None, 0.0),
        (SCHEMA, object(), 0.0),
    ],
)
def test_valid_by_type_and_by_json_schema(schema: Any, value: Any, expected: float) -> None:
    assert score(valid("x", schema), None, value) == expected


def test_what_is_no_schema_is_refused() -> None:
    with pytest.raises(ValueError, match="no JSON schema"):
        valid("x", {"type": "objekt"})
    assert valid("x", SCHEMA)(dspy.Example(), dspy.Prediction(y=1)) == 0.0
