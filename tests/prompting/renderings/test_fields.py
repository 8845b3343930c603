"""Values as text: what a model may write and still be understood, and what is refused."""

from __future__ import annotations

import datetime
import enum
import math
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from optimizers.prompting.renderings.fields import (
    closed_values,
    format_value,
    is_one_line,
    json_value,
    label,
    one_line,
    parse_value,
)


class Level(enum.Enum):
    LOW = 1
    HIGH = 2


class Tone(enum.Enum):
    WARM = "warm tone"


class Point(BaseModel):
    x: int
    tags: list[str]


Label = Literal["positive", "negative"]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("sentiment", "Sentiment"),
        ("review_text", "Review text"),
        ("reviewText", "Review text"),
        ("URL", "URL"),
    ],
)
def test_labels_read_as_words(name: str, shown: str) -> None:
    assert label(name) == shown


@pytest.mark.parametrize(
    ("annotation", "values"),
    [
        (Label, ("positive", "negative")),
        (Literal[1, 2], ("1", "2")),
        (Level, ("1", "2")),
        (bool, ("true", "false")),
        (str, None),
        (Label | None, None),
        (list[str], None),
    ],
)
def test_closed_values(annotation: Any, values: tuple[str, ...] | None) -> None:
    assert closed_values(annotation) == values


@pytest.mark.parametrize(
    ("text", "annotation", "value"),
    [
        (" Positive\n", Label, "positive"),
        ('"positive"', Label, "positive"),
        ("negative.", Label, "negative"),
        ('"Negative."', Label, "negative"),
        ('"Negative".', Label, "negative"),
        ("2", Literal[1, 2], 2),
        ("etc.", Literal["etc.", "etc"], "etc."),
        ("us", Literal["US", "us"], "us"),
        ("2", Level, Level.HIGH),
        ("high", Level, Level.HIGH),
        ("Warm  tone", Tone, Tone.WARM),
        ("True", bool, True),
        (" -7 ", int, -7),
        ("1e3", float, 1000.0),
        (" two words ", str, "two words"),
        ("none", Label | None, None),
        ("negative", Label | None, "negative"),
        ("null", int | None, None),
        ("3", int | None, 3),
        ('["a", "b"]', list[str], ["a", "b"]),
        ('{"x": 1, "tags": ["{"]}', Point, Point(x=1, tags=["{"])),
        ("2024-02-29", datetime.date, datetime.date(2024, 2, 29)),
        ("plain", int | str, "plain"),
    ],
)
def test_what_is_understood(text: str, annotation: Any, value: Any) -> None:
    assert parse_value(text, annotation) == value


@pytest.mark.parametrize(
    ("text", "annotation"),
    [
        ("mostly positive", Label),
        ("positive, negative", Label),
        ("Us", Literal["US", "us"]),
        ("", Label),
        ("none", Label),
        ("yes", bool),
        ("3.0", int),
        ("three", int),
        ("1,000", int),
        ("nan", float),
        ("1e999", float),
        ("a, b", list[str]),
        ('{"x": "far"}', Point),
        ("3", Level),
    ],
)
def test_what_is_refused(text: str, annotation: Any) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (the message is the type's own)
        parse_value(text, annotation)


@pytest.mark.parametrize(
    ("value", "annotation", "text"),
    [
        ("as {it} is", None, "as {it} is"),
        (True, None, "true"),
        (Level.LOW, None, "1"),
        (None, None, "none"),
        ({"a": ["é", 1]}, None, '{"a":["é",1]}'),
        (Point(x=1, tags=[]), None, '{"x":1,"tags":[]}'),
        ("Positive", Label, "positive"),
        ("WARM", Tone, "warm tone"),
        ("unheard of", Label, "unheard of"),
        ("03", str, "03"),
    ],
)
def test_how_values_are_written(value: Any, annotation: Any, text: str) -> None:
    assert format_value(value, annotation) == text


def test_data_given_as_text_becomes_json_of_its_type() -> None:
    assert json_value("3", int) == 3
    assert json_value("3", str) == "3"
    assert json_value(Tone.WARM, Tone) == "warm tone"


@given(st.text())
def test_one_line_has_no_line_break(text: str) -> None:
    assert "\n" not in one_line(text)
    assert "\r" not in one_line(text)


@given(
    st.one_of(
        st.tuples(st.integers(), st.just(int)),
        st.tuples(st.floats(allow_nan=False, allow_infinity=False), st.just(float)),
        st.tuples(st.booleans(), st.just(bool)),
        st.tuples(st.lists(st.text(st.characters(codec="utf-8"))), st.just(list[str])),
    )
)
def test_what_is_written_reads_back(pair: tuple[Any, Any]) -> None:
    value, annotation = pair
    read = parse_value(format_value(value, annotation), annotation)
    assert read == value or (isinstance(value, float) and math.isclose(read, value))


def test_one_line_types() -> None:
    assert is_one_line(Label)
    assert is_one_line(int | None)
    assert not is_one_line(str)
    assert not is_one_line(list[int])
